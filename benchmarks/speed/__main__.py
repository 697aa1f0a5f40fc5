"""The benchmark of speed: training, sampling and their parts against the straightforward composition, within one run.

    python -m benchmarks.speed [--quick] [--check] [--device=cpu|cuda] [--groups=train,sample]

writes cpu.json (all numbers), cpu.md (tables) and cpu.png (picture); of a quick run, cpu-quick.*; with a GPU also cuda.*.
"""
import json
import sys
from pathlib import Path

import click

from benchmarks.digits_task import ROOT
from dnnlib.files import whole_file, write_whole

from .check import fill_page, regressions
from .report import markdown, plot
from .results import RESULTS, outdir_option
from .run import run

PAGE = ROOT / 'docs' / 'speed.md'
GROUPS = ('train', 'transfer', 'sample', 'part', 'memory')


def check_groups(_context: click.Context, _parameter: click.Parameter, value: str) -> list[str]:
    """The groups that are named."""
    unknown = [name for name in value.split(',') if name not in GROUPS]
    if unknown:
        raise click.BadParameter(f'{", ".join(map(repr, unknown))}: expected names of {", ".join(GROUPS)}, with commas')
    return value.split(',')


def check_device(_context: click.Context, _parameter: click.Parameter, value: str) -> list[str]:
    """The devices that are meant, if they are there."""
    import torch
    if value == 'cuda' and not torch.cuda.is_available():
        raise click.BadParameter('PyTorch sees no CUDA device; leave --device out to measure the CPU')
    if value == 'auto':
        return ['cpu', 'cuda'] if torch.cuda.is_available() else ['cpu']
    return [value]


def write_results(outdir: Path, report: dict) -> Path:
    """JSON, tables and picture; -> the tables' path."""
    outdir.mkdir(parents=True, exist_ok=True)
    stem = report['device'] + ('-quick' if report['quick'] else '')
    write_whole(outdir / f'{stem}.json', json.dumps(report, indent=1) + '\n')
    write_whole(outdir / f'{stem}.md', markdown(report))
    with whole_file(outdir / f'{stem}.png') as part:
        plot(report).savefig(part, dpi=80)
    return outdir / f'{stem}.md'


def committed(devices: list[str]) -> dict[str, dict]:
    """The results in the repository, of those devices that have some."""
    found = {device: path for device in devices if (path := RESULTS / f'{device}.json').is_file()}
    if not found:
        raise click.UsageError(f'{RESULTS} has no {devices[0]}.json to compare with; make bench writes it')
    return {device: json.loads(path.read_text()) for device, path in found.items()}


def fill_committed_page() -> None:
    """Put the tables of the committed results into docs/speed.md."""
    reports = [json.loads(path.read_text()) for name in ('cpu', 'cuda') if (path := RESULTS / f'{name}.json').is_file()]
    write_whole(PAGE, fill_page(PAGE.read_text(encoding='ascii'), reports))


@click.command()
@click.option('--quick', is_flag=True, help='Fewer repeats, 32 pixels and 10 classes.')
@click.option('--check', is_flag=True, help='Compare with the committed ratios; exit code 1 if one is more than 35 % worse.')
@click.option('--page', is_flag=True, help='Measure nothing; put the tables of the committed results into docs/speed.md.')
@click.option('--device', 'devices', callback=check_device, type=click.Choice(['auto', 'cpu', 'cuda']), default='auto',
              show_default=True, help='What to measure; auto: the CPU, and the GPU if there is one.')
@click.option('--threads', type=click.IntRange(min=1), help="Threads on the CPU  [default: PyTorch's choice]")
@click.option('--groups', callback=check_groups, default=','.join(GROUPS), show_default=True, help='Which cases to measure.')
@click.option('--tiny', is_flag=True, hidden=True)  # seconds instead of minutes, for a test
@outdir_option
def main(quick: bool, check: bool, page: bool, devices: list[str], threads: int | None, groups: list[str], tiny: bool,
         outdir: Path) -> None:
    """Measure training iterations, sampling and the other work against the straightforward composition.

    Example: python -m benchmarks.speed --quick --threads=2
    """
    if page:
        fill_committed_page()
        return
    import torch
    if threads is not None:
        torch.set_num_threads(threads)
    if check and groups == ['memory']:
        raise click.UsageError('--groups=memory has no times to check; add another group')
    before = committed(devices) if check else {}
    worse = []
    for device in before or devices:
        try:
            report = dict(command=' '.join(['python -m benchmarks.speed', *sys.argv[1:]]), **run(quick, device, groups, tiny))
            worse += regressions(before[device], report) if check else []
        except (ArithmeticError, ValueError) as error:
            raise click.ClickException(str(error)) from error
        click.echo(write_results(outdir, report).read_text())
    if worse:
        raise click.ClickException(f'slower than the committed results: {"; ".join(worse)}')


if __name__ == '__main__':
    main()
