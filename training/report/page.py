"""report.html: what a training run did, as one page that needs nothing but a browser; or several runs compared."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from dnnlib.files import whole_file
from training.run.run_record import Run, read_run

from .curves import comparing_charts, metric_charts, other_charts, run_charts, selfinit_charts
from .html import charts, folded, page, section
from .sections import differing_options, heading, metric_tables, notes, options_section, overview
from .viewer import REPORT, viewer


def write_report(run_dir: str | Path, out: str | Path | None = None) -> Path:
    """Write the page of a run, to run_dir/report.html by default; returns its path. The file is whole or absent.

    OSError or ValueError, one line, if run_dir is no run directory or nothing can be written.
    """
    run_dir = Path(run_dir)
    return _save(run_page(read_run(run_dir)), run_dir / REPORT if out is None else Path(out))


def refresh_report(run_dir: Path, say: Callable[[str], None]) -> None:
    """write_report() for a training, which it must not end: it only shows what is saved elsewhere. What went wrong is said."""
    try:
        write_report(run_dir)
    except Exception as error:
        say(f'Warning: no {REPORT} is written ({type(error).__name__}: {error})')


def write_comparison(run_dirs: Sequence[str | Path], out: str | Path) -> Path:
    """Write one page about two or more runs to `out`. Errors as write_report()."""
    paths = [Path(run_dir) for run_dir in run_dirs]
    return _save(comparing_page(dict(zip(run_labels(paths), map(read_run, paths), strict=True))), Path(out))


def run_page(run: Run) -> str:
    """The page of one run as HTML."""
    name = run.path.resolve().name
    runs = {name: run}
    pictures, others = viewer(runs), other_charts(run)  # pictures first: what cannot be read is added to the notes
    return page(f'{name}: training report', [
        heading(run, name), notes(runs), section('Pictures', pictures), section('Curves', charts(run_charts(run))),
        section('Metrics', charts(metric_charts(runs)), metric_tables(runs)),
        section('Self-initialisation', charts(selfinit_charts(runs))), options_section(run),
        section('Further statistics', folded(f'Charts: {len(others)}', charts(others))), _written()])


def comparing_page(runs: Mapping[str, Run]) -> str:
    """The page that compares runs, {label: run}, as HTML."""
    pictures = viewer(runs)
    return page(f'{len(runs)} training runs', [
        f'<h1>{len(runs)} training runs</h1>', overview(runs), notes(runs),
        section('Options that differ', differing_options(runs)), section('Pictures', pictures),
        section('Curves', charts(comparing_charts(runs))),
        section('Metrics', charts(metric_charts(runs)), metric_tables(runs)),
        section('Self-initialisation', charts(selfinit_charts(runs))), _written()])


def run_labels(paths: Sequence[Path]) -> list[str]:
    """A short name for each run, all different: the number of the directory, its name, or the nearest parent that tells.

    ValueError if a run comes twice.
    """
    resolved = [path.resolve() for path in paths]
    twice = next((path for path in paths if resolved.count(path.resolve()) > 1), None)
    if twice is not None:
        raise ValueError(f'{twice} is given twice: name each run directory once')
    numbers = [re.split('[^0-9]', path.name)[0] for path in resolved]
    by_depth = zip(*(reversed(path.parts[1:]) for path in resolved), strict=False)
    for labels in (numbers, *map(list, by_depth)):
        if len(set(labels)) == len(labels) and all(labels):
            return labels
    return [str(path) for path in resolved]


def _written() -> str:
    return f'<p class="soft">Written {time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())}.</p>'


def _save(html: str, path: Path) -> Path:
    with whole_file(path) as part:
        # A name that is not valid Unicode holds surrogates, which UTF-8 has no bytes for.
        part.write_bytes(html.encode('utf-8', errors='xmlcharrefreplace'))
    return path
