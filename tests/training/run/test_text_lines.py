"""Logs and statistics of any size are read line by line."""

import json

from training.run.run_history import MAX_NOTES, read_history
from training.run.text_lines import MAX_LINE, text_lines


def test_the_newest_notes_are_kept(tmp_path):
    (tmp_path / 'training_options.json').write_text('{}')
    (tmp_path / 'log.txt').write_text(''.join(f'Note: {i}\n' for i in range(MAX_NOTES + 5)) + 'Note: 7\nDone: runs/1\n')
    run = read_history(tmp_path)
    assert run.notes == [f'Note: {i}' for i in range(5, MAX_NOTES + 5)] and run.ended == 'Done: runs/1'
    assert run.problems == [f'log.txt has {MAX_NOTES + 5} notes and warnings; the last {MAX_NOTES} are shown']


def test_long_lines_come_in_pieces(tmp_path):
    path = tmp_path / 'stats.jsonl'
    path.write_text(json.dumps(dict(a='\u00e9' * MAX_LINE)) + '\n{}\n', encoding='utf-8')
    assert ''.join(text_lines(path)) == path.read_text() and max(map(len, text_lines(path))) == MAX_LINE
