"""The work of calc_metrics.py: checks of snapshot, data and metrics, then the measurement in each process."""

import os
from pathlib import Path
from typing import Any

import click
import torch

import dnnlib
from dnnlib.schema import describe
from metrics.features.open_data import OpenData
from metrics.features.sampling import check_same_shape
from metrics.metric_main import compute_metrics
from metrics.metric_options import ProgressMonitor
from metrics.registry import find_metric
from torch_utils.allocator import keep_freed_memory
from torch_utils.collectives import num_processes
from training.data.class_labels import given_class_names, list_names
from training.parallel.processes import from_environment, join, rank_device
from training.snapshot.reading import open_snapshot

from .cli import check_outdir

DATASET_CLASS = 'training.dataset.ImageFolderDataset'
# Arguments of the data set that a snapshot may give, with their types; never a class name.
TRUSTED_DATA: dict[str, Any] = dict(path=str | None, max_size=int | None, xflip=int, random_seed=int)


def measure(rank: int, config: dict[str, Any], snapshot: dict[str, Any] | None = None, data: OpenData | None = None) -> None:
    """Measure in one process. config: plain values. snapshot, data: already open ones, if any."""
    device = rank_device(config['device'], rank)
    if device.type == 'cuda':
        torch.cuda.set_device(device)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # its rounding shows in the metrics
    else:
        keep_freed_memory()
    snapshot = snapshot or open_snapshot(config['network'], config['trust'])
    options = dict(config['options'], num_gpus=num_processes(), rank=rank, device=device,
                   progress=ProgressMonitor(verbose=rank == 0))
    compute_metrics(config['metrics'], snapshot['G_ema'], config['dataset_kwargs'], run_dir=config['run_dir'],
                    snapshot_pkl=config['network'], data=data, **options)


def measure_as_process(rank: int, config: dict[str, Any]) -> None:
    """measure() in one of several processes."""
    member = from_environment()
    assert member is not None, 'start_processes() sets it'
    if config['device'] != 'cuda':
        torch.set_num_threads(max(torch.get_num_threads() // member.world_size, 1))  # they share the processor
    with join(member, rank_device(config['device'], rank)):
        measure(rank, config)


def data_of(snapshot: dict[str, Any], data: str | None, mirror: bool | None, option: str = '--data') -> dict[str, Any]:
    """Arguments with which construct_class_by_name() opens the real images: those of the option, else the training images.

    FileNotFoundError if they are missing; ValueError if the snapshot does not name its training images, or is damaged.
    """
    known = snapshot['training_set_kwargs'] or {}
    found: dict[str, Any] = {key: known[key] for key in (('xflip',) if data else TRUSTED_DATA) if key in known}
    for key, value in found.items():
        if not isinstance(value, TRUSTED_DATA[key]):
            raise ValueError(f'training_set_kwargs of the snapshot has {key} of type {type(value).__name__}, expected '
                             f'{describe(TRUSTED_DATA[key])}: the file is damaged')
    if data:
        found['path'] = data
    if not found.get('path'):
        raise ValueError('--data is missing, and the snapshot does not name its training images: give a folder or zip')
    if not os.path.exists(found['path']):
        whose = option if data else 'the training images of the snapshot,'
        raise FileNotFoundError(f'{whose} {found["path"]}: no such folder or zip' + ('' if data else '; give --data'))
    if mirror is not None:
        found['xflip'] = mirror
    return dict(found, class_name=DATASET_CLASS, use_labels=snapshot['G_ema'].c_dim > 0)


def check_needs(metrics: list[str], snapshot: dict[str, Any], test_data: str | None) -> None:
    """ValueError if a metric needs classes or test data that are missing."""
    for name in metrics:
        needs = find_metric(name).needs
        if 'classes' in needs and not snapshot['G_ema'].c_dim:
            raise ValueError(f'--metrics={name} needs classes, but the network is unconditional: give a class-conditional one')
        if 'test_data' in needs and test_data is None:
            raise ValueError(f'--metrics={name} needs held-out real images: give them with --test-data')


def say_unlimited(metrics: list[str], max_real: int | None) -> None:
    """Name the metrics that ignore --max-real."""
    unlimited = [name for name in metrics if not find_metric(name).uses_reals]
    if max_real is not None and unlimited:
        click.echo(f'--max-real={max_real} has no effect on {", ".join(unlimited)}', err=True)


def check_data(snapshot: dict[str, Any], dataset_kwargs: dict[str, Any], data: OpenData) -> None:
    """ValueError unless images and classes of the data or test data match those of the network."""
    G, dataset = snapshot['G_ema'], data(dataset_kwargs, resolution=None)
    check_same_shape(G, dataset)
    if dataset.label_dim != G.c_dim:
        raise ValueError(f'the network has {G.c_dim} classes, {dataset_kwargs["path"]} has {dataset.label_dim or "no labels"}: '
                         'give images of the classes that it was trained on')
    names = given_class_names(snapshot)
    if names and names != dataset.class_names:
        raise ValueError(f'the classes differ: the network has {list_names(names)}, {dataset_kwargs["path"]} has '
                         f'{list_names(dataset.class_names)}')


def place_of_reports(outdir: str | None, network: str) -> str | None:
    """--outdir, else the snapshot's directory; None for a snapshot from the web. ValueError if it cannot be written to."""
    run_dir = outdir or (None if dnnlib.util.is_url(network, allow_file_urls=True) else str(Path(network).absolute().parent))
    if run_dir is None:
        click.echo('Results are only printed: give --outdir to save them', err=True)
    else:
        check_outdir(run_dir)
    return run_dir
