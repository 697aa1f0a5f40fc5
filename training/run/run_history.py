"""The content of a run directory: options, statistics over thousands of images, metrics, pictures, notes of the log.

Only training_options.json must be there and whole. Everything else may be missing, cut off or damaged, as while a run
writes it or after a crash; `RunHistory.problems` lists what could not be read.
"""

import dataclasses
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dnnlib.errors import cut
from dnnlib.schema import parse_json

from .run_dir import OPTIONS, RECORD, read_json
from .text_lines import text_lines

MAX_NUMBER, MIN_NUMBER = 1e300, 1e-280  # so that no range of a chart overflows or vanishes
MAX_NOTES = 100
KIMG = 'Progress/kimg'
NAN = math.nan

Series = list[tuple[float, float]]  # (thousands of images, value); NaN: the value was not finite


@dataclasses.dataclass(frozen=True)
class MetricLine:
    """One line of a metric-*.jsonl. kimg: None if the snapshot's name does not say it."""

    metric: str
    snapshot: str
    kimg: float | None
    results: dict[str, float]
    warnings: list[str]


@dataclasses.dataclass
class RunHistory:
    """A run directory, read. frames: (thousands of images, picture), in order; ended: the last line of the log if the run ended,
    else ''."""

    path: Path
    options: dict[str, Any]
    record: dict[str, Any] = dataclasses.field(default_factory=dict)
    transfer: dict[str, Any] = dataclasses.field(default_factory=dict)
    series: dict[str, Series] = dataclasses.field(default_factory=dict)
    metrics: list[MetricLine] = dataclasses.field(default_factory=list)
    selfinit: Series = dataclasses.field(default_factory=list)
    frames: list[tuple[float, Path]] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    ended: str = ''
    problems: list[str] = dataclasses.field(default_factory=list)

    def recorded(self, name: str) -> dict[str, Any]:
        """The 'options' of the command or facts about the 'data', from the record of the run; {} if it has none."""
        found = self.record.get(name)
        return found if isinstance(found, dict) else {}

    @property
    def kimg(self) -> float:
        """Thousands of images so far."""
        return last(self.series.get(KIMG, []), 0.0)

    @property
    def total_kimg(self) -> float | None:
        """Thousands of images that were asked for, if the options say it."""
        return _number(self.options.get('total_kimg'))

    @property
    def reals(self) -> Path | None:
        """The grid of real images."""
        path = self.path / 'reals.png'
        return path if path.is_file() else None


def read_history(run_dir: Path) -> RunHistory:
    """Read a run directory. OSError or ValueError, one line, if it is none or its options are damaged."""
    if not run_dir.is_dir():
        raise FileNotFoundError(f'{run_dir}: no such directory; give a run directory such as training-runs/00000-...')
    if not (run_dir / OPTIONS).is_file():
        raise FileNotFoundError(f'{run_dir} has no {OPTIONS}: expected a run directory such as training-runs/00000-...')
    run = RunHistory(run_dir, read_json(run_dir / OPTIONS), frames=find_frames(run_dir))
    run.record, run.transfer = (_read_object(run, name) for name in (RECORD, 'transfer.json'))
    run.series = series_of(list(_read_lines(run, run_dir / 'stats.jsonl')))
    run.metrics = [line for path in sorted(run_dir.glob('metric-*.jsonl'))
                   for value in _read_lines(run, path) if (line := metric_line(value))]
    curve = _read_object(run, 'selfinit.json').get('curve')
    pairs = [pair for pair in curve if isinstance(pair, list) and len(pair) == 2] if isinstance(curve, list) else []
    run.selfinit = [(images / 1000, error) for images, error in ((_number(x), _number(y)) for x, y in pairs)
                    if images is not None and error is not None]
    _read_log(run)
    return run


def series_of(lines: list[dict[str, Any]]) -> dict[str, Series]:
    """Lines of stats.jsonl -> the mean of each statistic against thousands of images.

    Ticks repeated after a restart replace the earlier ones. A statistic that a tick lacks is left out there; one whose mean is
    not finite is NaN.
    """
    kept: list[tuple[float, dict[str, Any]]] = []
    for line in lines:
        kimg = _mean(line.get(KIMG))
        if kimg is None or math.isnan(kimg):
            continue
        while kept and kept[-1][0] >= kimg:
            kept.pop()
        kept.append((kimg, line))
    series: dict[str, Series] = {}
    for kimg, line in kept:
        for name, entry in line.items():
            if (value := _mean(entry)) is not None:
                series.setdefault(name, []).append((kimg, value))
    return series


def metric_line(value: dict[str, Any]) -> MetricLine | None:
    """A parsed line of a metric-*.jsonl; None if it holds no number. Entries other than numbers are left out."""
    results = value.get('results')
    if not isinstance(results, dict):
        return None
    numbers = {str(name): number for name, entry in results.items() if (number := _number(entry)) is not None}
    snapshot = value.get('snapshot_pkl')
    snapshot = Path(snapshot).name if isinstance(snapshot, str) else ''
    digits = re.search(r'(\d{1,12})\.pkl$', snapshot)
    warnings = results.get('warnings', [])
    texts = [text for text in warnings if isinstance(text, str)] if isinstance(warnings, list) else []
    name = str(value.get('metric') or next(iter(numbers), ''))
    return MetricLine(name, snapshot, float(digits[1]) if digits else None, numbers, texts) if numbers else None


def find_frames(run_dir: Path) -> list[tuple[float, Path]]:
    """(thousands of images, picture) of fakes_init.png and fakes*.png, in order."""
    start = run_dir / 'fakes_init.png'
    named = [(float(match[1]), path) for path in run_dir.glob('fakes*.png')
             if (match := re.fullmatch(r'fakes(\d{1,12})', path.stem))]
    return ([(0.0, start)] if start.is_file() else []) + sorted(named)


def last(series: Series, default: float = NAN) -> float:
    """The last value of a series."""
    return series[-1][1] if series else default


def flatten(options: dict[str, Any], prefix: str = '') -> dict[str, Any]:
    """{'a': {'b': 1}} -> {'a.b': 1}. Lists are values."""
    flat: dict[str, Any] = {}
    for key, value in options.items():
        flat.update(flatten(value, f'{prefix}{key}.') if isinstance(value, dict) and value else {f'{prefix}{key}': value})
    return flat


def _mean(entry: Any) -> float | None:
    """The mean of a statistic: None without reports, NaN if the mean of the reports is not finite."""
    if not isinstance(entry, dict) or not entry.get('num') or 'mean' not in entry:
        return None
    return NAN if entry['mean'] is None else _number(entry['mean'])


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if not abs(value) < MAX_NUMBER:
        return NAN
    return float(value) if abs(value) > MIN_NUMBER else 0.0


def _read_object(run: RunHistory, name: str) -> dict[str, Any]:
    """A JSON object that may be missing."""
    try:
        return read_json(run.path / name) if (run.path / name).is_file() else {}
    except (OSError, ValueError) as error:
        run.problems.append(f'{name} could not be read: {error}')
        return {}


def _read_lines(run: RunHistory, path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file with one JSON object a line; others are counted and left out."""
    if not path.is_file():
        return
    num_bad = 0
    for text in text_lines(path):
        try:
            value = parse_json(text)
        except ValueError:
            value = None
        if isinstance(value, dict):
            yield value
        elif text.strip():
            num_bad += 1
    if num_bad:
        run.problems.append(f'{path.name}: {num_bad} line{"s" if num_bad > 1 else ""} could not be read and were left out')


def _read_log(run: RunHistory) -> None:
    """Notes and warnings, each once, and how the log ends."""
    path = run.path / 'log.txt'
    if not path.is_file():
        return
    notes: dict[str, None] = {}
    line, num_left_out = '', 0
    for line in filter(str.strip, text_lines(path)):
        if line.startswith(('Note:', 'Warning:')):
            notes[cut(' '.join(line.split()))] = None
            if len(notes) > MAX_NOTES:
                del notes[next(iter(notes))]
                num_left_out += 1
    run.notes = list(notes)
    if num_left_out:
        run.problems.append(f'log.txt has {num_left_out + MAX_NOTES} notes and warnings; the last {MAX_NOTES} are shown')
    run.ended = cut(line.rstrip('\n')) if line.startswith(('Done', 'Stopped')) else ''
