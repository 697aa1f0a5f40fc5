"""Transfers by hyper-modulation and by what people do today, from the same source, data, batch and seeds.

    python -m benchmarks.transfer [--transfers=NAMES] [--methods=NAMES] [--seeds=0,1,2] [--kimg=N] [--jobs=N]

Every run trains by the commands that a user types, in a folder of its own under --workdir, and keeps four snapshots, which are
then measured: a line of results.jsonl each. Training and measuring are apart: what has a line is not measured again, a run that
ended is not repeated, one that was cut off starts anew: stop the study with Ctrl-C whenever you like.
"""
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from benchmarks.digits_task import ROOT
from benchmarks.transfer.judging import Judge
from benchmarks.transfer.methods import FIRST, METHODS
from benchmarks.transfer.run_cell import run_cell
from benchmarks.transfer.trained_run import Cell, settings_of
from benchmarks.transfer.transfers import TRANSFERS, Files, find_files
from commands.cli import UserPath

QUICK = dict(transfers=['letters-digits'], methods=['hyper', 'splice', 'scratch'], seeds=[0], kimg=1)


class Names(click.ParamType):
    """Names of a table, with commas, each once; all: every one."""

    name = 'names'

    def __init__(self, table: Sequence[str]):
        self.table = list(table)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        """'a,b' -> ['a', 'b']."""
        if isinstance(value, list):
            return value
        names = self.table if value == 'all' else list(dict.fromkeys(value.split(',')))
        strange = [name for name in names if name not in self.table]
        if strange:
            self.fail(f'{", ".join(strange)}: expected all, or names of {", ".join(self.table)}, with commas', param, ctx)
        return names


class Seeds(click.ParamType):
    """Whole numbers with commas, each once."""

    name = 'seeds'

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        """'0,1' -> [0, 1]."""
        if isinstance(value, list):
            return value
        if not all(seed.isdecimal() and int(seed) < 2**31 for seed in value.split(',')):
            self.fail(f'{value!r}: expected whole numbers from 0 to 2147483647, with commas', param, ctx)
        return list(dict.fromkeys(map(int, value.split(','))))


def found_transfers(names: Sequence[str], shared: Path, workdir: Path) -> dict[str, Files]:
    """Files of the transfers whose files are there; the others are named and left out."""
    found = {}
    for name in names:
        try:
            found[name] = find_files(TRANSFERS[name], shared, workdir)
        except FileNotFoundError as error:
            click.echo(f'{name} is left out: {error}', err=True)
    return found


def run_all(calls: Sequence[tuple[Any, ...]], jobs: int) -> None:
    """run_cell() with each of these arguments, in their order, jobs at a time. A run that fails does not stop the others.

    ClickException (exit code 1) at the end if any failed.
    """
    num_failed = 0
    # Processes and not threads: each counts the CPU time of its own children.
    executor = ProcessPoolExecutor(jobs, multiprocessing.get_context('spawn'))
    try:
        with tqdm(total=len(calls), desc='Runs', unit='run') as bar:
            folders = {executor.submit(run_cell, *call): call[0] for call in calls}
            for future in as_completed(folders):
                try:
                    found = future.result()
                except (click.ClickException, OSError, ValueError) as error:
                    num_failed += 1
                    found = str(error)
                bar.write(f'{folders[future]}: {found}', file=sys.stderr)
                bar.update()
    finally:
        executor.shutdown(cancel_futures=True)
    if num_failed:
        raise click.ClickException(f'{num_failed} of {len(calls)} runs failed; the same command tries them again')


@click.command()
@click.option('--transfers', type=Names(list(TRANSFERS)), default='all', show_default=True, help='Which to run, in this order.')
@click.option('--methods', type=Names(list(METHODS)), default=','.join(FIRST), show_default=True,
              help='Methods to compare, in this order; all: every one.')
@click.option('--seeds', type=Seeds(), default='0,1,2', show_default=True, help='Seeds of the training.')
@click.option('--kimg', type=click.IntRange(min=1), default=16, show_default=True, help='Thousands of images of each run.')
@click.option('--jobs', type=click.IntRange(min=1), default=1, show_default=True, help='Runs at a time, one thread each.')
@click.option('--quick', is_flag=True, help='Three methods on built-in data, one seed, 1,000 images; results go under --workdir.')
@click.option('--only', type=click.Choice(['train', 'judge']), help='Only train, or only measure the runs that have ended.')
@click.option('--last', is_flag=True, help='Measure only the last snapshot of each run; the others, for curves, another time.')
@click.option('--num-gen', type=click.IntRange(min=4), default=200, show_default=True, help='Images of each class to measure.')
@click.option('--workdir', type=UserPath(file_okay=False, path_type=Path), default=Path('training-runs/transfer-study'),
              show_default=True, help='Where runs and built-in data are kept.')
@click.option('--shared', type=UserPath(file_okay=False, path_type=Path), default=ROOT.parent / 'shared',
              show_default='../shared', help='Folder of the sources and data sets that are not built in.')
@click.option('--outdir', type=UserPath(file_okay=False, path_type=Path), default=ROOT / 'benchmarks' / 'results' / 'transfer',
              show_default='benchmarks/results/transfer', help='Where results.jsonl is.')
def main(transfers: list[str], methods: list[str], seeds: list[int], kimg: int, jobs: int, quick: bool, only: str | None,
         last: bool, num_gen: int, workdir: Path, shared: Path, outdir: Path) -> None:
    """Train every method on every transfer with every seed, and measure its snapshots.

    Example: python -m benchmarks.transfer --transfers=letters-digits --methods=hyper,splice --seeds=0
    """
    if quick:
        transfers, methods, seeds, kimg, outdir = *QUICK.values(), workdir / 'quick'  # type: ignore[assignment]
    files = found_transfers(transfers, shared, workdir)
    judge, results = Judge(num_gen=num_gen), outdir / 'results.jsonl'
    cells = [Cell(name, method, seed, kimg) for name in files for seed in seeds for method in methods]
    run_all([(cell.folder(workdir), settings_of(cell, files[cell.transfer]), files[cell.transfer], judge, results, only, last)
             for cell in cells], jobs)


if __name__ == '__main__':
    main()
