"""From a configuration to a finished run: the run directory, the log, the processes."""

import json
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

import dnnlib
from dnnlib.files import whole_file

from .data_facts import DataFacts
from .processes import check_devices, process_group, rank_device, start_processes
from .training_loop import training_loop

Config = dict[str, Any]
Prepare = Callable[[Path, Config], Config]


def make_run_dir(outdir: str | Path, description: str) -> Path:
    """Make outdir/00000-description, with the number that follows the highest there."""
    outdir = Path(outdir)
    outdir.mkdir(parents=True, exist_ok=True)
    description = re.sub(r'[^\w.,+-]+', '_', description)[:150]
    while True:
        numbers = [int(match[1]) for path in outdir.iterdir() if (match := re.match(r'(\d+)-', path.name))]
        run_dir = outdir / f'{max(numbers, default=-1) + 1:05d}-{description}'
        try:
            run_dir.mkdir()
            return run_dir
        except FileExistsError:  # another run took the number in the same moment
            continue


def save_json(path: Path, value: Any) -> None:
    """Write value as indented JSON; the file is whole or absent."""
    with whole_file(path) as part:
        part.write_text(json.dumps(value, indent=2) + '\n', encoding='ascii')


def launch(
    config: Config, data: DataFacts, outdir: str | Path, description: str, dry_run: bool = False, prepare: Prepare | None = None
) -> Path | None:
    """Train as config says, in a new run directory under outdir; returns it. A dry run prints the config as JSON instead.

    prepare(run_dir, config) may do work of its own in the run directory first, with its output in the log, and returns the
    config to train with.
    """
    if dry_run:
        click.echo(describe_run(config, data), err=True)
        click.echo(json.dumps(config, indent=2))
        return None
    check_devices(config['device'], config['num_gpus'])
    run_dir = make_run_dir(outdir, description)
    with dnnlib.util.Logger(file_name=str(run_dir / 'log.txt'), file_mode='a'):
        print(describe_run(config, data))
        print(f'Directory:   {run_dir}')
        save_json(run_dir / 'training_options.json', config)
        if prepare is not None:
            config = prepare(run_dir, config)
            save_json(run_dir / 'training_options.json', config)
        if config['num_gpus'] == 1:
            _train(run_dir, config)
    if config['num_gpus'] > 1:
        with tempfile.TemporaryDirectory() as temp_dir:
            start_processes(_run_process, (run_dir, config, os.path.join(temp_dir, 'init')), config['num_gpus'])
    return run_dir


def describe_run(config: Config, data: DataFacts) -> str:
    """What is about to happen, for the log."""
    notes = list(data.warnings)
    if data.num_images < config['batch_size']:
        notes.append(f'{data.num_images} images are fewer than a batch of {config["batch_size"]}: batches repeat images')
    rates = f'{config["G_opt_kwargs"]["lr"]:g} (G) and {config["D_opt_kwargs"]["lr"]:g} (D)'
    processes = f'{config["num_gpus"]} processes' if config['num_gpus'] > 1 else 'one process'
    return '\n'.join([
        f'Data:        {data.path}: {data.num_images} images, {data.resolution}x{data.resolution}x{data.num_channels}',
        f'Labels:      {_describe_labels(data)}',
        f'Length:      {config["total_kimg"]:g} thousand images, batch {config["batch_size"]}, {processes} on {config["device"]}',
        f'Settings:    {_describe_gamma(config)}learning rates {rates}, augmentation {_describe_augmentation(config)}',
        *([f'Starts from: {config["resume_pkl"]}'] if config['resume_pkl'] else []),
        *(f'Note:        {note}' for note in notes),
    ])


def _describe_gamma(config: Config) -> str:
    gamma = config['loss_kwargs'].get('r1_gamma')
    return '' if gamma is None else f'gamma {gamma:g}, '


def _describe_labels(data: DataFacts) -> str:
    if not data.label_dim:
        return 'none used'
    if not data.class_names:
        return f'vectors of {data.label_dim} numbers'
    return f'{data.label_dim} classes: {", ".join(data.class_names[:12])}{" ..." if data.label_dim > 12 else ""}'


def _describe_augmentation(config: Config) -> str:
    if config['augment_kwargs'] is None:
        return 'none'
    return f'with p = {config["augment_p"]:g}' if config['ada_target'] is None else f'adaptive, target {config["ada_target"]:g}'


def _run_process(rank: int, run_dir: Path, config: Config, init_file: str) -> None:
    device = rank_device(config['device'], rank)
    with process_group(rank, config['num_gpus'], init_file, device):
        if rank == 0:
            with dnnlib.util.Logger(file_name=str(run_dir / 'log.txt'), file_mode='a'):
                _train(run_dir, config)
        else:
            training_loop(run_dir, rank=rank, **config)


def _train(run_dir: Path, config: Config) -> None:
    """The first process's part; what ended it early stands in the log."""
    try:
        training_loop(run_dir, **config)
    except BaseException as error:
        print(f'Stopped: {type(error).__name__}: {error}'.rstrip(': '))
        raise
    print(f'Done: {run_dir}')
