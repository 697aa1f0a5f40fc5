"""report.html: one self-contained page about a training run, or a comparison of several runs."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from dnnlib.files import write_whole
from training.run.run_history import RunHistory, read_history

from .curves import comparing_charts, metric_charts, other_charts, run_charts, selfinit_charts
from .tables import differing_options, metric_tables, notes, option_tables, overview, progress, state
from .viewer import REPORT, view

TEMPLATES = Path(__file__).parent / 'templates'


def write_report(run_dir: str | Path, out: str | Path | None = None) -> Path:
    """Write the page of a run, to run_dir/report.html by default; returns its path. The file is whole or absent.

    OSError or ValueError, one line, if run_dir is no run directory or nothing can be written.
    """
    run_dir = Path(run_dir)
    return _save(run_page(read_history(run_dir)), run_dir / REPORT if out is None else Path(out))


def refresh_report(run_dir: Path, say: Callable[[str], None]) -> None:
    """write_report() that never raises, for the training loop: a failure becomes one warning."""
    try:
        write_report(run_dir)
    except Exception as error:
        say(f'Warning: could not write {REPORT} ({type(error).__name__}: {error})')


def write_comparison(run_dirs: Sequence[str | Path], out: str | Path) -> Path:
    """Write one page about two or more runs to `out`. Errors as write_report()."""
    paths = [Path(run_dir) for run_dir in run_dirs]
    return _save(comparing_page(dict(zip(run_labels(paths), map(read_history, paths), strict=True))), Path(out))


def run_page(run: RunHistory) -> str:
    """The page of one run as HTML."""
    name = run.path.resolve().name
    command = run.record.get('command')
    return _render('run.html', {name: run}, title=f'{name}: training report', heading=name, curves=run_charts(run),
                   command=command if isinstance(command, str) else '', tiles={'State': state(run), **progress(run)},
                   has_statistics=bool(run.series), options=option_tables(run), further=other_charts(run))


def comparing_page(runs: Mapping[str, RunHistory]) -> str:
    """The page that compares runs, {label: run}, as HTML."""
    title = f'{len(runs)} training runs'
    return _render('comparison.html', runs, title=title, heading=title, curves=comparing_charts(runs), overview=overview(runs),
                   differing=differing_options(runs))


def run_labels(paths: Sequence[Path]) -> list[str]:
    """A short name for each run, all different: the number of the directory, its name, or the nearest parent that tells.

    ValueError if a run comes twice.
    """
    resolved = [path.resolve() for path in paths]
    twice = next((path for path in paths if resolved.count(path.resolve()) > 1), None)
    if twice is not None:
        raise ValueError(f'{twice} is given twice: name each run directory only once')
    numbers = [re.split('[^0-9]', path.name)[0] for path in resolved]
    by_depth = zip(*(reversed(path.parts[1:]) for path in resolved), strict=False)
    for labels in (numbers, *map(list, by_depth)):
        if len(set(labels)) == len(labels) and all(labels):
            return labels
    return [str(path) for path in resolved]


def _render(template: str, runs: Mapping[str, RunHistory], **parts: Any) -> str:
    """A template of this folder, with what both pages share. Jinja escapes every text; charts escape their own."""
    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined)
    pictures = view(runs)  # first: what cannot be read is added to the notes
    return environment.get_template(template).render(
        pictures=pictures, notes=notes(runs), metric_curves=metric_charts(runs), metric_tables=metric_tables(runs),
        selfinit_curves=selfinit_charts(runs), written=time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime()), **parts)


def _save(html: str, path: Path) -> Path:
    # A name that is not valid Unicode holds surrogates, which UTF-8 has no bytes for.
    write_whole(path, html.encode('utf-8', errors='xmlcharrefreplace'))
    return path
