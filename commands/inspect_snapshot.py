"""python -m legacy inspect FILE: what a snapshot contains, without running or building anything from it."""

import json

import click

from training.snapshot.inspection import inspect_snapshot, report

from .cli import UserPath, command_errors, verbose_option


@click.group(context_settings=dict(help_option_names=['-h', '--help']))
def main() -> None:
    """Network snapshots."""


@main.command('inspect')
@click.argument('file', type=UserPath())
@click.option('--json', 'as_json', is_flag=True, help='Print JSON.')
@verbose_option
def inspect_command(file: str, as_json: bool, verbose: bool) -> None:
    """Show what a snapshot contains (networks, constructor arguments, sizes, code) and whether it is safe to open.

    Runs and builds nothing from it. Exit code 0: safe; 1: unsafe or unreadable; 2: no such file.
    """
    with command_errors(verbose):
        facts = inspect_snapshot(file)
    click.echo(json.dumps(facts, indent=2) if as_json else report(facts))
    if not facts['safe']:
        raise click.exceptions.Exit(1)
