"""The command of the report.

    python -m training.report RUNDIR              rewrites RUNDIR/report.html
    python -m training.report RUNDIR RUNDIR ...   writes report.html, which compares the runs
"""

import os

import click

from commands.cli import InputError, UserPath, command_errors, verbose_option

from .page import write_comparison, write_report
from .viewer import REPORT


@click.command(context_settings=dict(help_option_names=['-h', '--help']))
@click.argument('runs', metavar='RUNDIR...', nargs=-1, type=UserPath())
@click.option('--out', metavar='FILE', type=UserPath(), help='Page to write.  [default: report.html, in the run directory for '
                                            'one run, in the current directory for several]')
@verbose_option
def main(runs: tuple[str, ...], out: str | None, verbose: bool) -> None:
    """Rewrite the report of a training run, or write one page that compares several.

    The page shows options, curves, metrics, and grids of generated images over time. It opens in any browser, offline.
    """
    with command_errors(verbose):
        if not runs:
            raise InputError('RUNDIR is missing: give one run directory such as training-runs/00000-..., or several to compare')
        if out is not None and os.path.isdir(out):
            raise InputError(f'--out={out} is a directory: give the name of a file, as {os.path.join(out, REPORT)}')
        path = write_report(runs[0], out) if len(runs) == 1 else write_comparison(runs, out or REPORT)
        click.echo(f'Written: {path}')


if __name__ == '__main__':
    main(prog_name='python -m training.report')
