"""results.jsonl as tables, curves and pictures: results.md, curves-TRANSFER-KIMG.png and grid-TRANSFER-KIMG.png beside it.

    python -m benchmarks.transfer.tables [--outdir=DIR] [--workdir=DIR]
"""
import statistics
from collections.abc import Sequence
from pathlib import Path

import click

from benchmarks.digits_task import ROOT
from benchmarks.markdown import head, row
from benchmarks.transfer.judging import read_lines
from benchmarks.transfer.methods import COMMON, METHODS
from benchmarks.transfer.pictures import curves, side_by_side
from benchmarks.transfer.results import COLUMNS, Column, Line, at_the_end, at_time, comparisons, minutes_until
from commands.cli import UserPath
from dnnlib.files import write_whole

NOTE = """
Mean over seeds, and the range where there are several. Compared with the test images, which no method has seen: KID, recall and
precision (k = 3) of each class by `{detector}`, mean over classes; spread, the mean distance between two images of a class
reduced to 8x8, over that of the test images. GAN-test: share of {num_gen} images a class that a classifier of real images puts
into the class asked for. GAN-train: share of test images that a classifier recognises after learning from generated ones.
Copies: share nearer to a training image than 99% of the test images. Minutes: CPU time of one thread, the start of the program
included, which other work on the machine lengthens; *until* is when every run was as good as weight copying at its end. *Real
images* are the training images in place of generated ones.
"""


def cell(values: list[float], spec: str) -> str:
    """Mean, and the range of several values."""
    if not values:
        return '-'
    mean = format(statistics.fmean(values), spec)
    return mean if len(values) == 1 else f'{mean} ({min(values):{spec}} to {max(values):{spec}})'


def end_table(methods: dict[str, list[Line]]) -> str:
    """What each method reached at its last snapshot, and what real images have."""
    text = head('method', *(column.title for column in COLUMNS), 'minutes', 'images/s', 'seeds')
    for name, lines in methods.items():
        ends = at_the_end(lines)
        numbers = [cell([line['values'][column.name] for line in ends if column.name in line['values']], column.spec)
                   for column in COLUMNS]
        minutes = [line['cpu_minutes'] for line in ends]
        rates = [1000 * line['kimg'] / (60 * line['cpu_minutes']) for line in ends]
        text += row(name, *numbers, cell(minutes, '.1f'), cell(rates, '.0f'), str(len(ends)))
    return text + row('*real images*', *real_values(methods, COLUMNS), '-', '-', '-')


def real_values(methods: dict[str, list[Line]], columns: Sequence[Column]) -> list[str]:
    """What the training images have in place of generated ones."""
    found = next(line['values'] for lines in methods.values() for line in at_the_end(lines))
    return [cell([found[name]] if (name := f'{column.name}_reference') in found else [], column.spec) for column in columns]


def time_table(methods: dict[str, list[Line]]) -> str:
    """All methods after the time that the fastest one takes for the whole run."""
    minutes = min(line['cpu_minutes'] for lines in methods.values() for line in at_the_end(lines))
    curves = [column for column in COLUMNS if column.curve]
    text = head(f'method, after {minutes:.1f} minutes', *(column.title for column in curves))
    for name, lines in methods.items():
        found = at_time(lines, minutes)
        if found:
            text += row(name, *(cell(found.get(column.name, []), column.spec) for column in curves))
    return text


def goal_table(methods: dict[str, list[Line]]) -> str:
    """The minutes that each method takes until it is as good as weight copying is at its end; nothing without weight copying."""
    ends = at_the_end(methods.get('splice', []))
    if not ends:
        return ''
    goals = {column: statistics.fmean(line['values'][column.name] for line in ends) for column in COLUMNS if column.curve}
    text = head('method, minutes until', *(f'{column.title} {goal:{column.spec}}' for column, goal in goals.items()))
    for name, lines in methods.items():
        cells = [cell(minutes_until(lines, column, goal), '.1f') for column, goal in goals.items()]
        if set(cells) != {'-'}:
            text += row(name, *cells)
    return f'\n{text}'


def markdown(lines: list[Line]) -> str:
    """All tables, and what they mean."""
    text = '# Transfers, by hyper-modulation and by what people do today\n'
    for (transfer, kimg), methods in comparisons(lines).items():
        if any(at_the_end(part) for part in methods.values()):
            text += (f'\n## {transfer}, {kimg},000 images\n\n{end_table(methods)}\n{time_table(methods)}{goal_table(methods)}'
                     f'\n![curves](curves-{transfer}-{kimg}k.png)\n![pictures](grid-{transfer}-{kimg}k.png)\n')
    asked = ''.join(f'- {name}: `{" ".join([method.command, *method.options])}`\n' for name, method in METHODS.items())
    return text + NOTE.format(**lines[-1]['judge']) + f'\nAll methods: `{" ".join(COMMON)}`, and:\n\n{asked}'


@click.command()
@click.option('--outdir', type=UserPath(file_okay=False, path_type=Path), default=ROOT / 'benchmarks' / 'results' / 'transfer',
              show_default='benchmarks/results/transfer', help='Where results.jsonl is, and what is made of it.')
@click.option('--workdir', type=UserPath(file_okay=False, path_type=Path), default=Path('training-runs/transfer-study'),
              show_default=True, help='Where the runs are, for their pictures.')
def main(outdir: Path, workdir: Path) -> None:
    """Make tables, curves and pictures of the lines that the study has written."""
    lines = read_lines(outdir / 'results.jsonl')
    if not lines:
        raise click.UsageError(f'{outdir / "results.jsonl"} has no lines yet: run python -m benchmarks.transfer first')
    lines = [line for line in lines if line['judge'] == lines[-1]['judge']]  # numbers of different judges do not compare
    write_whole(outdir / 'results.md', markdown(lines))
    for (transfer, kimg), methods in comparisons(lines).items():
        curves(methods).savefig(outdir / f'curves-{transfer}-{kimg}k.png', dpi=70)
        grid = side_by_side(workdir, methods)
        if grid:
            grid.save(outdir / f'grid-{transfer}-{kimg}k.png')
    click.echo((outdir / 'results.md').read_text())


if __name__ == '__main__':
    main()
