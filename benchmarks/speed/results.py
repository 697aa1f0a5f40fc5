"""Where the speed benchmarks write their numbers and tables."""
import json
from pathlib import Path
from typing import Any

import click

from benchmarks.digits_task import ROOT
from commands.cli import UserPath
from dnnlib.files import write_whole

RESULTS = ROOT / 'benchmarks' / 'results' / 'speed'

outdir_option = click.option('--outdir', type=UserPath(file_okay=False, path_type=Path), default=RESULTS,
                             show_default='benchmarks/results/speed', help='Where numbers and tables are written.')


def write(outdir: Path, name: str, report: dict[str, Any], text: str) -> None:
    """outdir/name.json has all numbers, name.md the tables, which are also shown."""
    outdir.mkdir(parents=True, exist_ok=True)
    write_whole(outdir / f'{name}.json', json.dumps(report, indent=1) + '\n')
    write_whole(outdir / f'{name}.md', text)
    click.echo(text)
