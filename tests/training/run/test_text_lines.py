"""Logs and statistics of any size are read line by line."""

from training.run.run_history import MAX_NOTES, read_history


def test_the_newest_notes_are_kept(tmp_path):
    (tmp_path / 'training_options.json').write_text('{}')
    (tmp_path / 'log.txt').write_text(''.join(f'Note: {i}\n' for i in range(MAX_NOTES + 5)) + 'Note: 7\nDone: runs/1\n')
    run = read_history(tmp_path)
    assert run.notes == [f'Note: {i}' for i in range(5, MAX_NOTES + 5)] and run.ended == 'Done: runs/1'
    assert run.problems == [f'log.txt has {MAX_NOTES + 5} notes and warnings; the last {MAX_NOTES} are shown']
