"""Logs and statistics of any size are read line by line."""

import json
import tracemalloc

import pytest

from training.run.run_history import MAX_NOTES, read_history
from training.run.text_lines import MAX_LINE, text_lines


@pytest.mark.parametrize('text, num_notes', [
    ('tick 1  kimg 0.1\n' * 1_000_000, 0), ('x' * 20_000_000, 0), ('\n' * 10_000_000, 0),
    (''.join(f'Note: {i} {"x" * 500}\n' for i in range(40_000)), MAX_NOTES), ('Note: ' + 'x' * 20_000_000, 1),
], ids=['lines', 'one line', 'empty lines', 'notes', 'one note'])
def test_a_report_holds_no_log(text, num_notes, tmp_path):
    (tmp_path / 'training_options.json').write_text('{}')
    (tmp_path / 'log.txt').write_text(text)
    size = len(text)
    del text
    tracemalloc.start()
    run = read_history(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * MAX_LINE < size + 3e6 and len(run.notes) == num_notes
    assert all(len(note) < 3000 for note in run.notes)


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
