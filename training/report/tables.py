"""The tables of the report: state, metrics and options of runs."""

import dataclasses
import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from training.run.run_history import MetricLine, RunHistory, flatten, last

from .charts import number
from .curves import class_series

SNAPSHOT = 'Thousand images'  # heads the column that says which snapshot a result is of
NUM_ROWS = 10  # of a table that are not folded
MAX_CLASS_SNAPSHOTS = 5  # columns of a table of classes
MAX_TEXT = 300  # characters of an option's value


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns after the first num_names hold numbers. Rows after the first num_shown open on demand, under the title."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ''
    num_shown: int = sys.maxsize
    num_names: int = sys.maxsize
    kind: str = ''  # class for the style


def state(run: RunHistory) -> str:
    """Whether the run is finished, judging by its files."""
    total = run.total_kimg
    if run.ended.startswith('Stopped'):
        return 'stopped'
    if run.ended.startswith('Done') or (total is not None and run.kimg >= total * (1 - 1e-6) > 0):
        return 'done'
    return 'not finished'


def progress(run: RunHistory) -> dict[str, str]:
    """Progress, duration and speed of a run: {label with unit: number}."""
    of_total = '' if run.total_kimg is None else f' of {number(run.total_kimg)}'
    seconds = sum(value for _, value in run.series.get('Timing/sec_per_tick', []) if math.isfinite(value))
    facts = {'thousand images': number(run.kimg) + of_total, 'minutes of training': number(round(seconds / 60, 1))}
    if 'Timing/images_per_sec' in run.series:
        facts['images per second'] = number(last(run.series['Timing/images_per_sec']))
    classes = {name: value for name, series in class_series(run).items() if math.isfinite(value := last(series))}
    if classes:
        name = min(classes, key=lambda key: classes[key])
        facts[f'lowest diversity of a class ({_shorten(name, 40)}); 1: like the real images'] = number(classes[name])
    return facts


def notes(runs: Mapping[str, RunHistory]) -> list[str]:
    """Notes and warnings of logs and metrics, unreadable files, and why a run stopped."""
    texts = []
    for label, run in runs.items():
        of_metrics = dict.fromkeys(f'Warning: {line.metric}: {text}' for line in run.metrics for text in line.warnings)
        stops = [run.ended] if state(run) == 'stopped' else []
        texts += [f'{label}: {text}' if len(runs) > 1 else text for text in [*run.notes, *of_metrics, *run.problems, *stops]]
    return texts


def metric_tables(runs: Mapping[str, RunHistory]) -> list[Table]:
    """Results of all snapshots, the newest first, and of one run also those of every class."""
    names = list(dict.fromkeys(name for run in runs.values() for line in run.metrics for name in line.results if '/' not in name))
    rows = []
    for label, run in runs.items():
        by_snapshot: dict[tuple[float, str], dict[str, float]] = {}
        for line in run.metrics:
            place = (math.inf if line.kimg is None else line.kimg, _snapshot_name(line))
            by_snapshot.setdefault(place, {}).update(line.results)
        rows += [[label, snapshot, *_numbers(results, names)]
                 for (_, snapshot), results in sorted(by_snapshot.items(), reverse=True)]
    if len(runs) > 1:
        return [Table(['Run', SNAPSHOT, *names], rows, 'More', 3 * NUM_ROWS, 2)]
    run = next(iter(runs.values()))
    newest_first = Table([SNAPSHOT, *names], [row[1:] for row in rows], 'Older snapshots', NUM_ROWS, 1)
    return [newest_first, *(_class_table(run, name) for name in names)]


def main_options(run: RunHistory) -> dict[str, str]:
    """The main options of a run, {label with unit: value}."""
    get = flatten(run.options).get
    pipe, target, weight = get('augment_kwargs.class_name'), get('ada_target'), get('loss_kwargs.contrastive_weight')
    ada = f'fixed p = {text(get("augment_p"))}' if target is None else f'adaptive, target {text(target)}'
    found = {
        'Data': get('training_set_kwargs.path'),
        'Resolution (pixels)': get('training_set_kwargs.resolution'),
        'Labels': 'used' if get('training_set_kwargs.use_labels') else 'not used',
        'Starts from': get('resume_pkl') or 'nothing',
        'Length (thousand images)': get('total_kimg'),
        'Batch (images)': get('batch_size'),
        'Processes': get('num_gpus'),
        'Device': get('device'),
        'Generator': get('G_kwargs.class_name'),
        'Discriminator': get('D_kwargs.class_name'),
        'R1 weight gamma': get('loss_kwargs.r1_gamma'),
        'Learning rate of G': get('G_opt_kwargs.lr'),
        'Learning rate of D': get('D_opt_kwargs.lr'),
        'Augmentation': 'none' if pipe is None else ada,
        'Contrastive loss': f'{get("loss_kwargs.contrastive_loss")}, weight {text(weight)}' if weight is not None else None,
        'Spread loss': f'weight {text(get("loss_kwargs.spread_weight"))}' if get('loss_kwargs.spread_weight') else None,
        'Mismatched labels': f'weight {text(get("loss_kwargs.mismatch_weight"))}' if get('loss_kwargs.mismatch_weight') else None,
        'Self-initialisation': _given(run).get('selfinit'),
        'Seed': get('random_seed'),
    }
    return {label: text(value) for label, value in found.items() if value is not None}


def option_tables(run: RunHistory) -> list[Table]:
    """The main options, and all others on demand."""
    parts = {'Options of the command': _given(run), 'All options of the training': run.options,
             'Data': run.recorded('data')}
    rows = {title: [[name, text(value)] for name, value in flatten(values).items()] for title, values in parts.items()}
    return [Table(['Option', 'Value'], list(main_options(run).items()), kind='names'),
            *(Table(['Option', 'Value'], rows[title], title, num_shown=0, kind='names') for title in parts)]


def differing_options(runs: Mapping[str, RunHistory]) -> Table:
    """Options that differ between the runs."""
    recorded = all(map(_given, runs.values()))  # runs of other tools have no record of their command
    flat = {label: flatten(run.options) | ({f'--{name}': value for name, value in _given(run).items()} if recorded else {})
            for label, run in runs.items()}
    names = list(dict.fromkeys(name for options in flat.values() for name in options))
    rows = [[name, *(text(options[name]) if name in options else '-' for options in flat.values())] for name in names]
    differing = [row for row in rows if len(set(row[1:])) > 1]
    return Table(['Option', *runs], differing, 'More options that differ', NUM_ROWS, kind='names')


def overview(runs: Mapping[str, RunHistory]) -> Table:
    """State and progress of several runs."""
    facts = {label: progress(run) for label, run in runs.items()}
    names = ['thousand images', 'minutes of training', 'images per second']
    rows = [[label, state(run), *(facts[label].get(name, '') for name in names), str(run.path)] for label, run in runs.items()]
    return Table(['Run', 'State', *names, 'Directory'], rows, kind='overview')


def text(value: Any) -> str:
    """An option's value for people."""
    if isinstance(value, float) and math.isfinite(value):
        return f'{value:.6g}'
    return _shorten(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _shorten(words: str, most: int = MAX_TEXT) -> str:
    return words if len(words) <= most else f'{words[:most - 4]} ...'


def _given(run: RunHistory) -> dict[str, Any]:
    """The options of the command line, from the record of the run or of the transfer."""
    options = run.transfer.get('options')
    return run.recorded('options') or (options if isinstance(options, dict) else {})


def _snapshot_name(line: MetricLine) -> str:
    return number(line.kimg) if line.kimg is not None else line.snapshot or 'not named'


def _numbers(results: Mapping[str, float], names: Sequence[str]) -> list[str]:
    return [number(results[name]) if name in results else '' for name in names]


def _class_table(run: RunHistory, name: str) -> Table:
    lines = [line for line in run.metrics if any(key.startswith(f'{name}/') for key in line.results)][-MAX_CLASS_SNAPSHOTS:]
    keys = list(dict.fromkeys(key for line in lines for key in line.results if key.startswith(f'{name}/')))
    rows = [[key.removeprefix(f'{name}/'), *(_numbers(line.results, [key])[0] for line in lines)] for key in keys]
    return Table(['Class', *map(_snapshot_name, lines)], rows, f'{name} by class', 0, 1)
