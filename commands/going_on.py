"""Continuing a run: which options may differ from those it was started with, and what they change."""

import dataclasses
import os
from collections.abc import Collection
from pathlib import Path
from typing import TypeVar

import torch

from training.config import TrainingConfig
from training.loop.preparation import build_loss, build_networks
from training.loop.state_check import check_state
from training.loop.training_state import ADVICE, find_start, read_state
from training.run.run_dir import LATEST, OPTIONS, RECORD, Run, find_run, read_json

from .cli import check_outdir, given_options, resolve_device
from .config import changeable_settings, check_finite, loader_config, share_batch
from .data_facts import DataFacts
from .launch import Plan
from .options import TrainingOptions, option_name, with_recorded

# Options that leave what is learnt alone, or that only move its end. --data may name another place of the same data.
CHANGEABLE = ('data', 'kimg', 'snap', 'tick', 'keep_snapshots', 'metrics', 'metrics_ticks', 'metrics_detector', 'metrics_num_gen',
              'device', 'gpus', 'batch_gpu', 'workers', 'threads', 'nobench')
T = TypeVar('T', bound=TrainingOptions)


def run_and_options(command: str, outdir: str, options: T) -> tuple[Run | None, T]:
    """The run to continue (None for a new one) and the effective options. Raises ValueError, OSError."""
    options = absolute_paths(options)
    run = find_run(options.resume, outdir, command)
    if run is not None:
        options = merged_options(run, options, given_options())
        if find_start(run.path) is not None and not run.has_begun:
            raise ValueError(f'{run.path} has a training state but no {OPTIONS}, which is needed to continue: {ADVICE}')
    check_finite(options)
    check_outdir(outdir if run is None else run.path)
    # 'auto' may mean another device the next time.
    return run, dataclasses.replace(options, device=resolve_device(options.device).type)


def plan_to_go_on(run: Run, data: DataFacts, options: TrainingOptions, num_gpus: int) -> Plan:
    """The plan of a run whose training has begun. ValueError if its files are damaged, the data differs, or the batch cannot be
    split among the processes."""
    config = read_config(run)
    check_same_data(run, config, data)
    config = changed_config(run, config, data, options, num_gpus)
    check_start(run, config, data)
    return Plan(run.command, options, config, data, run=run)


def merged_options(run: Run, options: T, given: Collection[str]) -> T:
    """The run's options, updated by those on the command line that may change. ValueError for others that differ.

    options: those of the command line, defaults included; a run of an older version lacks some.
    """
    try:
        before = with_recorded(options, run.options)
    except ValueError as error:
        raise ValueError(f'{run.path / RECORD} is damaged ({error}): restore it, or start a new run') from error
    now = {name: value for name, value in vars(options).items() if name in given}
    if 'resume' in now and (now['resume'] == LATEST or Path(now['resume']) == run.path):
        del now['resume']
    for name, value in now.items():
        if name not in CHANGEABLE and value != getattr(before, name):
            raise ValueError(f'{option_name(name)}={value} differs from the value {getattr(before, name)} of {run.path}: leave '
                             'the option out to continue, or start a new run from its newest snapshot; only these may change: '
                             + ', '.join(map(option_name, CHANGEABLE)))
    return dataclasses.replace(before, **now)


def absolute_paths(options: T) -> T:
    """The options with paths of existing files made absolute: a run may be continued from another directory."""
    names = {name: getattr(options, name) for name in ('data', 'resume', 'metrics_detector')}
    return dataclasses.replace(options, **{name: os.path.abspath(path) for name, path in names.items()
                                           if path and path != LATEST and os.path.exists(path)})


def read_config(run: Run) -> TrainingConfig:
    """The config that a run was started with. ValueError, one line, if its file is damaged."""
    path = run.path / OPTIONS
    values = read_json(path)
    try:
        return TrainingConfig.from_json(values)
    except ValueError as error:
        raise ValueError(f'{path} is damaged, or was written by another version of this program ({error}): {ADVICE}') from error


def check_same_data(run: Run, config: TrainingConfig, data: DataFacts) -> None:
    """ValueError if the data is not what the run was started with."""
    found = data.record()
    different = [f'{name} {run.data.get(name)} -> {found[name]}' for name in found if run.data.get(name) != found[name]]
    if different:
        raise ValueError(f'{data.path} differs from the data that {run.path} was started with ({", ".join(different)}): give '
                         'the original data with --data, or start a new run from the newest snapshot')
    if dataclasses.replace(config.training_set_kwargs, path=data.path) != data.dataset:
        raise ValueError(f'{run.path / OPTIONS} and {RECORD} describe different data: {ADVICE}')


def changed_config(run: Run, config: TrainingConfig, data: DataFacts, options: TrainingOptions, num_gpus: int) -> TrainingConfig:
    """The config of a run, updated by the current options. ValueError if the batch cannot be split among the processes."""
    before, loader = run.options.get('batch_gpu'), config.data_loader_kwargs
    batch_gpu: int | None = config.batch_gpu
    if num_gpus != config.num_gpus or options.batch_gpu != before:
        batch_gpu = options.batch_gpu
        if batch_gpu == before and batch_gpu and batch_gpu > config.batch_size // num_gpus:
            batch_gpu = None  # what was asked for fewer processes, which is at most as much: a process's whole share
    resume_pkl, moved = config.resume_pkl, run.path / Path(config.resume_pkl or '').name
    if resume_pkl and not os.path.exists(resume_pkl) and moved.is_file():
        resume_pkl = str(moved.absolute())  # the run's own selfinit.pkl, in a directory that was renamed
    return dataclasses.replace(
        config,
        training_set_kwargs=data.dataset,
        data_loader_kwargs=loader if options.workers is None else loader_config(options.workers, loader.pin_memory),
        batch_gpu=share_batch(config.batch_size, num_gpus, batch_gpu, config.mbstd_group or config.batch_size),
        resume_pkl=resume_pkl,
        num_gpus=num_gpus,
        **changeable_settings(options),
    )


def check_start(run: Run, config: TrainingConfig, data: DataFacts) -> None:
    """ValueError, one line, unless the config's networks and loss can be built and the run's state fits them. Builds without
    memory."""
    try:
        with torch.device('meta'):
            G, D = (network.to('meta') for network in build_networks(data, config))
            loss = build_loss(config, G, D, None, torch.device('meta'))
    except Exception as error:  # a constructor may raise anything
        raise ValueError(f'{run.path / OPTIONS} describes networks or a loss that cannot be built ({type(error).__name__}: '
                         f'{str(error).partition(chr(10))[0]}): {ADVICE}') from error
    path = find_start(run.path)
    if path is not None:
        content = read_state(path)
        try:
            check_state(content, G, D, loss, config)
        except ValueError as error:
            raise ValueError(f'{path} does not match {OPTIONS}, or is damaged ({error}): {ADVICE}') from error
