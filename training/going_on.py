"""A run that goes on: which options may differ from those it was started with, and what they change."""

from typing import Any

from .config import metrics_config, share_batch
from .data_facts import DataFacts
from .launch import Plan
from .run_dir import LATEST, Run
from .source_sizes import set_precision

# Options that leave what is learnt alone, or that only move its end. --data may name another place of the same data.
CHANGEABLE = ('data', 'kimg', 'snap', 'tick', 'keep_snapshots', 'metrics', 'metrics_ticks', 'metrics_detector', 'metrics_num_gen',
              'device', 'gpus', 'batch_gpu', 'workers', 'threads', 'nobench')


def plan_to_go_on(run: Run, config: dict[str, Any], data: DataFacts, options: dict[str, Any], num_gpus: int, device: str) -> Plan:
    """The plan of a run whose training has begun, config being what it was started with.

    ValueError if the data is another one, or the batch cannot be shared out among the processes.
    """
    check_same_data(run, data)
    return Plan(run.command, options, changed_config(run, config, options, num_gpus, device), data, run=run)


def merged_options(run: Run, given: dict[str, Any]) -> dict[str, Any]:
    """The run's options, with those of `given` (on the command line now) that may change. ValueError for others that differ."""
    given = {name: value for name, value in given.items() if name in run.options}
    if given.get('resume') == LATEST or given.get('resume') == str(run.path):
        del given['resume']
    for name, value in given.items():
        if name not in CHANGEABLE and value != run.options[name]:
            raise ValueError(f'--{name.replace("_", "-")}={value} found, {run.path} was started with {run.options[name]}: leave '
                             'it out to go on, or start a new run from its newest snapshot; these may change: '
                             + ', '.join(f'--{name.replace("_", "-")}' for name in CHANGEABLE))
    return {**run.options, **given}


def check_same_data(run: Run, data: DataFacts) -> None:
    """ValueError if the data is not what the run was started with."""
    found = data.record()
    different = [f'{name} {run.data[name]} -> {found[name]}' for name in run.data if run.data[name] != found.get(name)]
    if different:
        raise ValueError(f'{data.path} is not the data that {run.path} was started with ({", ".join(different)}): give that '
                         'data with --data, or start a new run from the newest snapshot')


def changed_config(run: Run, config: dict[str, Any], options: dict[str, Any], num_gpus: int, device: str) -> dict[str, Any]:
    """The config of a run, for the options of now. ValueError if the batch cannot be shared out among the processes."""
    changes: dict[str, Any] = {}
    if options['data'] != run.options['data']:
        changes['training_set_kwargs'] = config['training_set_kwargs'] | dict(path=options['data'])
    if num_gpus != config['num_gpus'] or options['batch_gpu'] != run.options['batch_gpu']:
        group = config['D_kwargs'].get('epilogue_kwargs', {}).get('mbstd_group_size', 4)
        changes['batch_gpu'] = share_batch(config['batch_size'], num_gpus, options['batch_gpu'], group)
    if options['workers'] is not None:
        loader = dict(num_workers=options['workers'], pin_memory=config['data_loader_kwargs']['pin_memory'])
        changes['data_loader_kwargs'] = loader | (dict(prefetch_factor=2) if options['workers'] else {})
    if device != 'cuda':  # half precision is used there only
        G_kwargs = config['G_kwargs']
        changes['G_kwargs'] = G_kwargs | dict(synthesis_kwargs=set_precision(G_kwargs['synthesis_kwargs'], False))
        changes['D_kwargs'] = set_precision(config['D_kwargs'], False)
    return config | changes | dict(
        num_gpus=num_gpus,
        device=device,
        total_kimg=options['kimg'],
        kimg_per_tick=options['tick'],
        image_snapshot_ticks=options['snap'],
        network_snapshot_ticks=options['snap'],
        keep_snapshots=options['keep_snapshots'],
        metrics=metrics_config(options),
        num_threads=options['threads'],
        cudnn_benchmark=not options['nobench'],
    )
