"""A run of the study from beginning to end, in a process of its own: training, then a line for each of its snapshots."""
from pathlib import Path
from typing import Any

from benchmarks.transfer.judging import Judge, add_line, judged_line, read_lines, unjudged
from benchmarks.transfer.trained_run import finished_run, train
from benchmarks.transfer.transfers import Files


def run_cell(folder: Path, settings: dict[str, Any], files: Files, judge: Judge | None, results: Path) -> str:
    """Trains and judges what is not done yet of a run. Returns what was done, in words."""
    done = []
    record = finished_run(folder, settings)
    if record is None:
        record = train(folder, settings, files)
        done.append(f'trained in {record["minutes"]:.1f} minutes')
    snapshots = unjudged(record, judge.facts(), read_lines(results)) if judge else []
    for snapshot in snapshots:
        assert judge is not None
        add_line(results, judged_line(folder, record, snapshot, judge, files))
    return ', '.join([*done, f'{len(snapshots)} snapshots judged'])
