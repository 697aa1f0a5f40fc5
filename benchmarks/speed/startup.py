"""How long a command takes from a cold start, beside `import torch`, which none can do without.

    python -m benchmarks.speed.startup [--repeats=N]

Each starts in a process of its own, in turns. Writes startup.json and startup.md to benchmarks/results/speed.
"""
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
from tqdm import trange

from benchmarks.digits_task import OPTIONS, ROOT, SOURCE, make_data
from benchmarks.markdown import head, row

from .networks import random_snapshots
from .results import outdir_option, write
from .run import machine

IMPORT = 'import torch'
NOTE = """
Median of {repeats} starts, with the range; over `import torch`: median of the ratios within a turn. The run of one batch writes
all that a run writes: grids at its beginning and end, a snapshot, the training state, the report. The networks are random, of the
demo's sizes at 32x32, and of `paper256` sizes with hypernetworks of rank 16 at 256x256. Files are in the system's cache.
"""


def commands(folder: Path) -> dict[str, list[str]]:
    """What Python is called with, by name. folder: for files."""
    found = {IMPORT: ['-c', IMPORT]}
    for script in ('generate.py', 'train_hyper.py', 'calc_metrics.py', 'dataset_tool.py', 'export.py'):
        found[f'{script} --help'] = [script, '--help']
    for name, snapshot in random_snapshots(folder).items():
        found[f'generate.py, one picture of {name}'] = ['generate.py', f'--network={snapshot}', '--class=class 0', '--seeds=0',
                                                        '--device=cpu', f'--outdir={folder / name}']
    data = make_data(folder)['train']
    found['train_hyper.py, one batch of the demo'] = [
        'train_hyper.py', f'--data={data}', f'--resume={SOURCE}', '--selfinit', *OPTIONS, '--kimg=0.001',
        '--device=cpu', f'--outdir={folder / "runs"}']
    return found


def seconds(arguments: list[str]) -> float:
    """Of one start of Python."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def markdown(report: dict[str, Any]) -> str:
    """The table."""
    text = head('start', 'seconds', 'over import torch')
    for name, times in report['seconds'].items():
        ratio = statistics.median(a / b for a, b in zip(times, report['seconds'][IMPORT], strict=True))
        text += row(f'`{name}`', f'{statistics.median(times):.2f} ({min(times):.2f}-{max(times):.2f})', f'{ratio:.2f}')
    return text + NOTE.format(repeats=report['repeats'])


@click.command()
@click.option('--repeats', type=click.IntRange(min=1), default=5, show_default=True, help='Starts of each.')
@outdir_option
def main(repeats: int, outdir: Path) -> None:
    """Measure how long commands take from a cold start."""
    with tempfile.TemporaryDirectory() as folder:
        starts = commands(Path(folder))
        times: dict[str, list[float]] = {name: [] for name in starts}
        for _turn in trange(repeats, desc='Turns'):
            for name, arguments in starts.items():
                times[name].append(seconds(arguments))
    report = dict(machine=machine('cpu'), repeats=repeats, seconds=times)
    write(outdir, 'startup', report, markdown(report))


if __name__ == '__main__':
    main()
