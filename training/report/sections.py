"""The sections of the report about a run's state, metrics and options."""

import math
from collections.abc import Mapping
from html import escape
from typing import Any

from training.run.run_record import MetricLine, Run, flatten, last

from .charts import number
from .curves import class_series
from .html import folded, long_table, section, shorten, table, text

SNAPSHOT = 'Thousand images'  # heads the column that says which snapshot a result is of
NUM_ROWS = 10  # of a table that are not folded
MAX_CLASS_SNAPSHOTS = 5  # columns of a table of classes


def heading(run: Run, name: str) -> str:
    """Name, command and state of a run."""
    command = run.record.get('command')
    tiles = {'State': state(run), **progress(run)}
    boxes = ''.join(f'<div><b>{escape(value)}</b><small>{escape(label)}</small></div>' for label, value in tiles.items())
    return '\n'.join(filter(None, [
        f'<h1>{escape(name)}</h1>',
        f'<p class="soft">made by <code>{escape(command)}</code></p>' if isinstance(command, str) else '',
        f'<div class="tiles">{boxes}</div>',
        '' if run.series else '<p>No statistics yet: stats.jsonl is missing or empty.</p>']))


def state(run: Run) -> str:
    """Whether the run is done, as far as its files tell."""
    total = run.total_kimg
    if run.ended.startswith('Stopped'):
        return 'stopped'
    if run.ended.startswith('Done') or (total is not None and run.kimg >= total * (1 - 1e-6) > 0):
        return 'done'
    return 'not finished'


def progress(run: Run) -> dict[str, str]:
    """How far a run is, how long it took, how fast it is: {label with unit: number}."""
    of_total = '' if run.total_kimg is None else f' of {number(run.total_kimg)}'
    seconds = sum(value for _, value in run.series.get('Timing/sec_per_tick', []) if math.isfinite(value))
    facts = {'thousand images': number(run.kimg) + of_total, 'minutes of training': number(round(seconds / 60, 1))}
    if 'Timing/images_per_sec' in run.series:
        facts['images per second'] = number(last(run.series['Timing/images_per_sec']))
    classes = {name: value for name, series in class_series(run).items() if math.isfinite(value := last(series))}
    if classes:
        name = min(classes, key=lambda key: classes[key])
        facts[f'lowest diversity of a class ({shorten(name, 40)}); 1: as the real images'] = number(classes[name])
    return facts


def notes(runs: Mapping[str, Run]) -> str:
    """Notes and warnings of the logs and of the metrics, what could not be read, and why a run stopped."""
    texts = []
    for label, run in runs.items():
        of_metrics = dict.fromkeys(f'Warning: {line.metric}: {text}' for line in run.metrics for text in line.warnings)
        stops = [run.ended] if state(run) == 'stopped' else []
        texts += [f'{label}: {text}' if len(runs) > 1 else text for text in [*run.notes, *of_metrics, *run.problems, *stops]]
    return f'<ul class="notes">{"".join(f"<li>{escape(text)}</li>" for text in texts)}</ul>' if texts else ''


def metric_tables(runs: Mapping[str, Run]) -> str:
    """Results of all snapshots, the newest first, and of one run also those of every class."""
    names = list(dict.fromkeys(name for run in runs.values() for line in run.metrics for name in line.results if '/' not in name))
    rows = []
    for label, run in runs.items():
        by_snapshot: dict[tuple[float, str], dict[str, float]] = {}
        for line in run.metrics:
            place = (math.inf if line.kimg is None else line.kimg, _snapshot_name(line))
            by_snapshot.setdefault(place, {}).update(line.results)
        rows += [[label, snapshot, *(number(results[name]) if name in results else '' for name in names)]
                 for (_, snapshot), results in sorted(by_snapshot.items(), reverse=True)]
    if len(runs) > 1:
        return long_table(['Run', SNAPSHOT, *names], rows, 3 * NUM_ROWS, 'More', 2)
    run = next(iter(runs.values()))
    newest_first = long_table([SNAPSHOT, *names], [row[1:] for row in rows], NUM_ROWS, 'Older snapshots', 1)
    return '\n'.join([newest_first, *(_class_table(run, name) for name in names)])


def main_options(run: Run) -> dict[str, str]:
    """The options that say most about a run, {label with unit: value}."""
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
        'Self-initialisation': _given(run).get('selfinit'),
        'Seed': get('random_seed'),
    }
    return {label: text(value) for label, value in found.items() if value is not None}


def options_section(run: Run) -> str:
    """The main options, the others folded."""
    main, given = main_options(run), _given(run)
    data = run.record.get('data')
    parts = {'Options of the command': given, 'All options of the training': run.options,
             'Data': data if isinstance(data, dict) else {}}
    return section('Options', table(['Option', 'Value'], list(main.items()), kind='names'), *(
        folded(title, table(['Option', 'Value'], [[name, text(value)] for name, value in flatten(values).items()], kind='names'))
        for title, values in parts.items()))


def differing_options(runs: Mapping[str, Run]) -> str:
    """Options that are not the same in all runs."""
    recorded = all(map(_given, runs.values()))  # runs of other tools have no record of their command
    flat = {label: flatten(run.options) | ({f'--{name}': value for name, value in _given(run).items()} if recorded else {})
            for label, run in runs.items()}
    names = list(dict.fromkeys(name for options in flat.values() for name in options))
    rows = [[name, *(text(options[name]) if name in options else '-' for options in flat.values())] for name in names]
    differing = [row for row in rows if len(set(row[1:])) > 1]
    if not differing:
        return '<p>All options are the same.</p>'
    return long_table(['Option', *runs], differing, NUM_ROWS, 'More options that differ', kind='names')


def overview(runs: Mapping[str, Run]) -> str:
    """State and progress of several runs as a table."""
    facts = {label: progress(run) for label, run in runs.items()}
    names = ['thousand images', 'minutes of training', 'images per second']
    rows = [[label, state(run), *(facts[label].get(name, '') for name in names), str(run.path)] for label, run in runs.items()]
    return table(['Run', 'State', *names, 'Directory'], rows, kind='overview')


def _given(run: Run) -> dict[str, Any]:
    """The options of the command line, from the record of the run or of the transfer."""
    options = run.record.get('options') or run.transfer.get('options')
    return options if isinstance(options, dict) else {}


def _snapshot_name(line: MetricLine) -> str:
    return number(line.kimg) if line.kimg is not None else line.snapshot or 'not named'


def _class_table(run: Run, name: str) -> str:
    lines = [line for line in run.metrics if any(key.startswith(f'{name}/') for key in line.results)][-MAX_CLASS_SNAPSHOTS:]
    keys = list(dict.fromkeys(key for line in lines for key in line.results if key.startswith(f'{name}/')))
    rows = [[key.removeprefix(f'{name}/'), *(number(line.results[key]) if key in line.results else '' for line in lines)]
            for key in keys]
    return folded(f'{name} by class', table(['Class', *map(_snapshot_name, lines)], rows, 1))
