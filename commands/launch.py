"""From a configuration to a finished run: the run directory, the log, the processes."""

import contextlib
import dataclasses
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import click

import dnnlib
from training.config import TrainingConfig
from training.data.class_labels import list_names
from training.loop.snapshot_metrics import check_metrics
from training.parallel.processes import Member, check_devices, from_environment, join, rank_device, share_plan
from training.parallel.spawning import start_processes
from training.parallel.stop_signals import StopSignals
from training.parallel.watch import is_of_communication
from training.report.page import refresh_report
from training.run.run_dir import OPTIONS, Run, make_run_dir, record_run, save_json
from training.run.run_lock import lock_run
from training.training_loop import training_loop

from .data_facts import DataFacts
from .options import TrainingOptions
from .source_sizes import in_full_precision

LOG = 'log.txt'
ORPHAN_SEC = 60  # in which processes find that their parent is gone
Prepare = Callable[[Path, TrainingConfig], TrainingConfig | None]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a command will do: train by config, in the directory of `run` or in a new one under outdir.

    options: the command's, for the record of the run. prepare(run_dir, config) runs first, with its output in the log, and
    returns the config to train with, or None if it was asked to stop. then: what follows: 'train', 'end', or 'hand over' if
    another program trains.
    """

    command: str
    options: TrainingOptions
    config: TrainingConfig
    data: DataFacts
    outdir: str = ''
    description: str = ''
    run: Run | None = None
    prepare: Prepare | None = None
    then: Literal['train', 'end', 'hand over'] = 'train'


def launch(plan: Plan, dry_run: bool = False, member: Member | None = None) -> Path | None:
    """Carry out the plan and return the run directory. A dry run prints the config as JSON instead.

    member: this process's place if a launcher started several; the others call follow().
    """
    check_metrics(plan.config)
    if dry_run:
        click.echo(describe_run(plan.config, plan.data), err=True)
        click.echo(json.dumps(plan.config.to_json(), indent=2))
        return None
    if member is None:
        check_devices(plan.config.device, plan.config.num_gpus)
    path = plan.run.path if plan.run else make_run_dir(plan.outdir, plan.description)
    with lock_run(path):
        if (path / LOG).exists():
            with lock_run(path / LOG, patience_sec=ORPHAN_SEC):  # of processes whose parent died
                pass
        _run(Run(path, plan.command, vars(plan.options), plan.data.record()), plan, member)
    return path


def _run(run: Run, plan: Plan, member: Member | None) -> None:
    """Prepare and train in the run directory; all output also goes to its log."""
    record_run(run)  # also where it goes on: with the options of this time
    to_go_on = _to_go_on(run, member)
    with dnnlib.util.Logger(file_name=str(run.path / LOG), file_mode='a'):
        with StopSignals() as stop:
            config = _prepare(run, plan)
            if config is None or stop.asked:
                print(to_go_on)
                return
        if plan.then == 'end':
            print(f'Done: {run.path}')
        if plan.then != 'train':
            return
        if member is not None:
            share_plan(member, dict(run_dir=str(run.path), config=config.to_json()))
            _train_as_member(member, run.path, config, to_go_on)
        elif config.num_gpus == 1:
            _train(run.path, config, to_go_on)
    if member is None and config.num_gpus > 1:
        _train_in_processes(run.path, config, to_go_on)


def _prepare(run: Run, plan: Plan) -> TrainingConfig | None:
    """Prepare the training; returns the config to train with, None if it was stopped."""
    if plan.then != 'end':
        print(describe_run(plan.config, plan.data))
    print(f'Directory:   {run.path}')
    config = plan.prepare(run.path, plan.config) if plan.prepare else plan.config
    if config is not None:
        save_json(run.path / OPTIONS, config.to_json())
    return config


def _train_in_processes(run_dir: Path, config: TrainingConfig, to_go_on: str) -> None:
    try:
        start_processes(_run_process, (run_dir, config, to_go_on), config.num_gpus)
    except (RuntimeError, ValueError) as error:  # the first process, which writes the log, may have been the one to die
        with contextlib.suppress(OSError), open(run_dir / LOG, 'a', encoding='utf-8') as log:
            log.write(f'Stopped: {error}\n')
        raise
    except KeyboardInterrupt:
        click.echo(to_go_on)
        raise


def follow(member: Member) -> None:
    """What every process but the first does if a launcher started them: train by the plan of the first, if it has one."""
    shared = share_plan(member, None)
    if shared is not None:
        _train_as_member(member, Path(shared['run_dir']), TrainingConfig.from_json(shared['config']), '')


def process_count(gpus: int, member: Member | None) -> int:
    """The number of training processes: as many as a launcher started, else --gpus. ValueError if the two differ."""
    if member is None:
        return gpus
    if gpus not in (1, member.world_size):
        raise ValueError(f'--gpus={gpus} found, but the launcher started {member.world_size} processes (WORLD_SIZE): '
                         'leave --gpus out')
    return member.world_size


def describe_run(config: TrainingConfig, data: DataFacts) -> str:
    """A summary of the run, for the log."""
    notes = list(data.warnings)
    if data.num_images < config.batch_size:
        notes.append(f'{data.num_images} images are fewer than one batch of {config.batch_size}: batches repeat images')
    rates = f'{config.G_opt_kwargs.lr:g} (G) and {config.D_opt_kwargs.lr:g} (D)'
    processes = f'{config.num_gpus} processes' if config.num_gpus > 1 else 'one process'
    return '\n'.join([
        f'Data:        {data.path}: {data.num_images} images, {data.resolution}x{data.resolution}x{data.num_channels}',
        f'Labels:      {_describe_labels(data)}',
        f'Length:      {config.total_kimg:g} thousand images, batch {config.batch_size}, {processes} on {config.device}',
        f'Settings:    {_describe_gamma(config)}learning rates {rates}, augmentation {_describe_augmentation(config)}',
        *([f'Starts from: {config.resume_pkl}'] if config.resume_pkl else []),
        *(f'Note:        {note}' for note in notes),
    ])


def _describe_gamma(config: TrainingConfig) -> str:
    gamma = config.loss_kwargs.get('r1_gamma')
    return '' if gamma is None else f'gamma {gamma:g}, '


def _describe_labels(data: DataFacts) -> str:
    if not data.label_dim:
        return 'none used'
    if not data.class_names:
        return f'vectors of {data.label_dim} numbers'
    return f'{data.label_dim} classes: {list_names(list(data.class_names))}'


def _describe_augmentation(config: TrainingConfig) -> str:
    if config.augment_kwargs is None:
        return 'none'
    return f'with p = {config.augment_p:g}' if config.ada_target is None else f'adaptive, target {config.ada_target:g}'


def _run_process(rank: int, run_dir: Path, config: TrainingConfig, to_go_on: str) -> None:
    member = from_environment()
    assert member is not None
    with contextlib.ExitStack() as stack:
        if rank == 0:
            stack.enter_context(dnnlib.util.Logger(file_name=str(run_dir / LOG), file_mode='a'))
            stack.enter_context(lock_run(run_dir / LOG))  # the parent holds the directory, and may die first
        _train_as_member(member, run_dir, config, to_go_on)


def _train_as_member(member: Member, run_dir: Path, config: TrainingConfig, to_go_on: str) -> None:
    with join(member, member.device(config.device)):
        if member.rank == 0:
            _train(run_dir, config, to_go_on)
        else:
            training_loop(run_dir, _on_device(config, member.local_rank), rank=member.rank)


def _train(run_dir: Path, config: TrainingConfig, to_go_on: str) -> None:
    """Train in the first process; if it stops early, the log says why."""
    try:
        finished = training_loop(run_dir, _on_device(config, 0), refresh_report=refresh_report)
    except BaseException as error:
        reason = 'another process has ended' if is_of_communication(error) else f'{type(error).__name__}: {error}'.rstrip(': ')
        print(f'Stopped: {reason}')
        refresh_report(run_dir, print)
        raise
    print(f'Done: {run_dir}' if finished else to_go_on)
    refresh_report(run_dir, print)  # again, now that the log tells how it ended


def _on_device(config: TrainingConfig, index: int) -> TrainingConfig:
    config = dataclasses.replace(config, device=str(rank_device(config.device, index)))
    return config if config.device.startswith('cuda') else in_full_precision(config)


def _to_go_on(run: Run, member: Member | None) -> str:
    """The message of a stopped run: the command that continues it."""
    resume = f'--resume={shlex.quote(str(run.path))}'
    how = f'python {run.command} {resume}' if member is None else f'start {run.command} as before, with {resume}'
    return f'Stopped; everything is saved. To continue: {how}'
