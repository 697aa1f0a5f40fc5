"""A run that goes on: which options may differ from those it was started with, and what they change."""

import inspect
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from training.run.run_dir import LATEST, OPTIONS, Run, find_run
from training.training_loop import training_loop

from .cli import check_outdir, given_options, resolve_device
from .config import metrics_config, share_batch
from .data_facts import DataFacts
from .launch import Plan

# Options that leave what is learnt alone, or that only move its end. --data may name another place of the same data.
CHANGEABLE = ('data', 'kimg', 'snap', 'tick', 'keep_snapshots', 'metrics', 'metrics_ticks', 'metrics_detector', 'metrics_num_gen',
              'device', 'gpus', 'batch_gpu', 'workers', 'threads', 'nobench')


def run_and_options(command: str, outdir: str, options: dict[str, Any]) -> tuple[Run | None, dict[str, Any]]:
    """The run that the command line goes on with, None if it starts one, and the options that hold. ValueError, OSError."""
    options = absolute_paths(options)
    run = find_run(options['resume'], outdir, command)
    if run is not None:
        options = merged_options(run, options, given_options())
    check_outdir(outdir if run is None else run.path)
    return run, {**options, 'device': resolve_device(options['device']).type}  # 'auto' may mean another one the next time


def plan_to_go_on(run: Run, config: dict[str, Any], data: DataFacts, options: dict[str, Any], num_gpus: int, device: str) -> Plan:
    """The plan of a run whose training has begun, config being what it was started with.

    ValueError if the data is another one, or the batch cannot be shared out among the processes.
    """
    check_config(run, config)
    check_same_data(run, data)
    return Plan(run.command, options, changed_config(run, config, options, num_gpus, device), data, run=run)


def merged_options(run: Run, options: dict[str, Any], given: Collection[str]) -> dict[str, Any]:
    """The run's options, with those that are given on the command line now and may change. ValueError for others that differ.

    options: the command line's, with the defaults of what is not given; a run of an older version lacks some.
    """
    before = {**options, **run.options}
    now = {name: options[name] for name in given if name in options}
    if 'resume' in now and (now['resume'] == LATEST or Path(now['resume']) == run.path):
        del now['resume']
    for name, value in now.items():
        if name not in CHANGEABLE and value != before[name]:
            raise ValueError(f'--{name.replace("_", "-")}={value} found, {run.path} was started with {before[name]}: leave '
                             'it out to go on, or start a new run from its newest snapshot; these may change: '
                             + ', '.join(f'--{name.replace("_", "-")}' for name in CHANGEABLE))
    return {**before, **now}


def absolute_paths(options: dict[str, Any]) -> dict[str, Any]:
    """The options with the names of existing files made absolute: a run may go on from another directory."""
    names = [name for name in ('data', 'resume', 'metrics_detector')
             if options[name] and options[name] != LATEST and os.path.exists(options[name])]
    return {**options, **{name: os.path.abspath(options[name]) for name in names}}


def check_config(run: Run, config: dict[str, Any]) -> None:
    """ValueError unless config has what training_loop() takes."""
    parameters = inspect.signature(training_loop).parameters
    missing = [name for name, parameter in parameters.items()
               if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty and name not in config]
    unknown = [name for name in config if name not in parameters]
    if missing or unknown:
        raise ValueError(f'{run.path / OPTIONS} is damaged, or of another version of this program (missing: {missing or "none"}, '
                         f'unknown: {unknown or "none"}): restore it, or start a new run from the newest snapshot')


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
    if options['data'] != config['training_set_kwargs']['path']:
        changes['training_set_kwargs'] = config['training_set_kwargs'] | dict(path=options['data'])
    if num_gpus != config['num_gpus'] or options['batch_gpu'] != run.options.get('batch_gpu'):
        group = config['D_kwargs'].get('epilogue_kwargs', {}).get('mbstd_group_size', 4)
        batch_gpu = options['batch_gpu']
        if batch_gpu == run.options.get('batch_gpu') and batch_gpu and batch_gpu > config['batch_size'] // num_gpus:
            batch_gpu = None  # what was asked for fewer processes, which is at most as much: a process's whole share
        changes['batch_gpu'] = share_batch(config['batch_size'], num_gpus, batch_gpu, group)
    if options['workers'] is not None:
        loader = dict(num_workers=options['workers'], pin_memory=config['data_loader_kwargs']['pin_memory'])
        changes['data_loader_kwargs'] = loader | (dict(prefetch_factor=2) if options['workers'] else {})
    moved = run.path / Path(config['resume_pkl'] or '').name
    if config['resume_pkl'] and not os.path.exists(config['resume_pkl']) and moved.is_file():
        changes['resume_pkl'] = str(moved.absolute())  # the run's own selfinit.pkl, in a directory that was renamed
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
