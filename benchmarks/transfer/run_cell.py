"""A run of the study from beginning to end, in a process of its own: training, then a line for each of its snapshots."""
from pathlib import Path
from typing import Any

from benchmarks.transfer.judging import Judge, add_line, judged_line, read_lines, unjudged
from benchmarks.transfer.trained_run import finished_run, train
from benchmarks.transfer.transfers import Files


def run_cell(
    folder: Path, settings: dict[str, Any], files: Files, judge: Judge, results: Path, only: str | None = None, last: bool = False
) -> str:
    """Trains and judges what is not done yet of a run, or does the one alone. Returns what was done, in words.

    last: judges the last snapshot alone.
    """
    done = []
    record = finished_run(folder, settings)
    if record is None and only == 'judge':
        return 'has not ended yet'
    if record is None:
        record = train(folder, settings, files)
        done.append(f'trained in {record["minutes"]:.1f} minutes')
    if only != 'train':
        snapshots = unjudged(record, judge.facts(), read_lines(results))
        if last:
            snapshots = [snapshot for snapshot in snapshots if snapshot is record['snapshots'][-1]]
        for snapshot in snapshots:
            add_line(results, judged_line(folder, record, snapshot, judge, files))
        done.append(f'{len(snapshots)} snapshots judged')
    return ', '.join(done or ['was there'])
