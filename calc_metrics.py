"""Metrics of a snapshot: computed on its averaged generator and real images, written beside it as metric-NAME.jsonl."""

import os
from pathlib import Path
from typing import Any

import click
import torch

import dnnlib
import legacy
from metrics.metric_main import compute_metrics, list_valid_metrics
from metrics.metric_needs import check_metric
from metrics.metric_options import ProgressMonitor
from metrics.registry import find_metric
from metrics.sampling import check_same_shape
from torch_utils.allocator import keep_freed_memory
from training.class_labels import given_class_names, list_names
from training.cli import (
    DEFAULT_RUNS_DIR,
    MAX_SEED,
    check_outdir,
    command_errors,
    device_option,
    newest_snapshot,
    resolve_device,
    verbose_option,
)
from training.processes import check_devices, from_environment, join, rank_device
from training.spawning import start_processes

DATASET_CLASS = 'training.dataset.ImageFolderDataset'
# What a snapshot may say of its data, and what kind that has to be; never a class name.
TRUSTED_DATA: dict[str, Any] = dict(path=str | None, max_size=int | None, xflip=int, random_seed=int)

EPILOG = f"""\b
Examples:
  python calc_metrics.py --metrics=fid50k_full,kid50k_full --gpus=2
  python calc_metrics.py --network=network-snapshot-000200.pkl --data=animals.zip --metrics=kid_per_class
      --detector=classifier --num-gen=5000 --repeats=3
  python calc_metrics.py --metrics=gan_train,memorization --test-data=animals-test.zip

Metrics: {', '.join(list_valid_metrics())}
"""


def measure(rank: int, config: dict[str, Any]) -> None:
    """One process's part of the work; everything is in config, which is plain values."""
    device = rank_device(config['device'], rank)
    if device.type == 'cuda':
        torch.cuda.set_device(device)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # its rounding shows in the metrics
    else:
        keep_freed_memory()
    snapshot = load_snapshot(config['network'], config['trust'])
    options = dict(config['options'], num_gpus=config['num_gpus'], rank=rank, device=device,
                   progress=ProgressMonitor(verbose=rank == 0))
    compute_metrics(config['metrics'], snapshot['G_ema'], config['dataset_kwargs'], run_dir=config['run_dir'],
                    snapshot_pkl=config['network'], **options)


def measure_as_process(rank: int, config: dict[str, Any]) -> None:
    """measure() in one of several processes."""
    num_gpus = config['num_gpus']
    if config['device'] != 'cuda':
        torch.set_num_threads(max(torch.get_num_threads() // num_gpus, 1))  # they share the processor
    member = from_environment()
    assert member is not None, 'start_processes() sets it'
    with join(member, rank_device(config['device'], rank)):
        measure(rank, config)


def load_snapshot(network: str, trust: bool) -> dict[str, Any]:
    """The snapshot at a path or URL. Errors: OSError, ValueError."""
    with dnnlib.util.open_url(network) as file:
        return legacy.load_network_pkl(file, trust=trust)


def data_of(snapshot: dict[str, Any], data: str | None, mirror: bool | None, option: str = '--data') -> dict[str, Any]:
    """construct_class_by_name's arguments for the real images: those of the option, else those that the network learnt from.

    FileNotFoundError if they are not there, ValueError if the snapshot does not say which they are, or not in a way that fits.
    """
    known = snapshot['training_set_kwargs'] or {}
    found: dict[str, Any] = {key: known[key] for key in (('xflip',) if data else TRUSTED_DATA) if key in known}
    for key, value in found.items():
        if not isinstance(value, TRUSTED_DATA[key]):
            raise ValueError(f'{key} in training_set_kwargs of the snapshot is of type {type(value).__name__}, which is no '
                             f'{key} of a data set: the file is damaged')
    if data:
        found['path'] = data
    if not found.get('path'):
        raise ValueError('--data is missing, and the snapshot does not say which images it learnt from: give a folder or zip')
    if not os.path.exists(found['path']):
        whose = option if data else 'the snapshot learnt from'
        raise FileNotFoundError(f'{whose} {found["path"]}: no such folder or zip' + ('' if data else '; give --data'))
    if mirror is not None:
        found['xflip'] = mirror
    return dict(found, class_name=DATASET_CLASS, use_labels=snapshot['G_ema'].c_dim > 0)


def check_needs(metrics: list[str], snapshot: dict[str, Any], test_data: str | None) -> None:
    """ValueError if a metric needs what is not there; said now, not after the metrics before it."""
    for name in metrics:
        needs = find_metric(name).needs
        if 'classes' in needs and not snapshot['G_ema'].c_dim:
            raise ValueError(f'--metrics={name} looks at classes, and the network is unconditional: give a class-conditional one')
        if 'test_data' in needs and test_data is None:
            raise ValueError(f'--metrics={name} needs real images that the network has not seen: give them with --test-data')


def say_unlimited(metrics: list[str], max_real: int | None) -> None:
    """Say of which metrics --max-real changes nothing."""
    unlimited = [name for name in metrics if not find_metric(name).uses_reals]
    if max_real is not None and unlimited:
        click.echo(f'--max-real={max_real} changes nothing of {", ".join(unlimited)}', err=True)


def check_data(snapshot: dict[str, Any], dataset_kwargs: dict[str, Any]) -> None:
    """ValueError unless images and classes of the data or test data are those of the network."""
    G = snapshot['G_ema']
    check_same_shape(G, dataset_kwargs)
    dataset = dnnlib.util.construct_class_by_name(**dataset_kwargs)
    dataset.close()
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
        click.echo('Results are printed, not kept: give --outdir to keep them', err=True)
    else:
        check_outdir(run_dir)
    return run_dir


@click.command(epilog=EPILOG)
@click.option('--network', metavar='PATH|URL',
              help=f'Snapshot (.pkl) to measure.  [default: the newest network-snapshot-*.pkl under {DEFAULT_RUNS_DIR}]')
@click.option('--metrics', default='fid50k_full', show_default=True, metavar='LIST', help='Names, with commas; see below.')
@click.option('--data', metavar='PATH', help='Real images, folder or zip.  [default: those that the network learnt from]')
@click.option('--test-data', metavar='PATH', help='Real images of the same classes that the network has not seen, for gan_test, '
              'gan_train and memorization. Metrics *_per_class and dc5k5_full also measure them as if they were generated.')
@click.option('--detector', default='inception', show_default=True, metavar='NAME|PATH|URL',
              help="Network that gives the features: inception (each metric's usual one; fetched once), dinov2 or dinov2:FILE "
                   '(fetched once, or weights from a file), imagenet (an installed package, no download), classifier (learns '
                   'from the labelled real images, no download), or a TorchScript file.')
@click.option('--num-gen', type=click.IntRange(min=2), help='Images to generate; the count becomes part of the name, as in '
              "fid5k_full.  [default: the metric's, 50000 for most]")
@click.option('--max-real', type=click.IntRange(min=2), help='Most real images, drawn at random, for FID, KID, '
              "precision and recall, density and coverage; other metrics have no such limit.  [default: the metric's]")
@click.option('--mirror', type=click.BOOL, help='Count mirrored copies among the real images, for metrics that are not *_full.  '
              '[default: as in training]')
@click.option('--seed', type=click.IntRange(0, MAX_SEED), default=0, show_default=True, help='Fixes latents, labels and subsets.')
@click.option('--repeats', type=click.IntRange(min=1), default=1, show_default=True,
              help='Times to measure, with seeds from --seed on; the results are means, with their standard deviation.')
@click.option('--batch', type=click.IntRange(min=1), default=64, show_default=True, help='Images at a time in the detector.')
@click.option('--workers', type=click.IntRange(min=0), help='Processes that read images.  [default: 3 on CUDA, else 0]')
@click.option('--gpus', type=click.IntRange(min=1), default=1, show_default=True, help='Processes, on CUDA each with a GPU.')
@click.option('--outdir', '-o', type=click.Path(file_okay=False), help='Folder for metric-NAME.jsonl and pictures.  '
              '[default: that of the snapshot]')
@click.option('--cache/--no-cache', default=True, show_default=True,
              help='Keep features of real images, and what a classifier learnt from them, for the next time.')
@click.option('--trust-pickle', is_flag=True, help='Run the program text in the snapshot, for network classes that are unknown '
              'here. Only for files from people whom you trust.')
@device_option
@verbose_option
def main(network: str | None, metrics: str, data: str | None, test_data: str | None, mirror: bool | None, batch: int,
         workers: int | None, gpus: int, outdir: str | None, trust_pickle: bool, device: str, verbose: bool,
         **options: Any) -> None:
    """Measure a trained network.

    Each result is a line of JSON on standard output, and in metric-NAME.jsonl beside the snapshot. Conditional networks are
    asked for the classes as often as the data have them.
    """
    with command_errors(verbose):
        names = list(dict.fromkeys(find_metric(name.strip()).name for name in metrics.split(',')))
        kind = resolve_device(device).type
        check_devices(kind, gpus)
        network = network or str(newest_snapshot())
        snapshot = load_snapshot(network, trust_pickle)
        check_needs(names, snapshot, test_data)
        say_unlimited(names, options['max_real'])
        dataset_kwargs = data_of(snapshot, data, mirror)
        check_data(snapshot, dataset_kwargs)
        if test_data is not None:
            options['test_dataset_kwargs'] = data_of(snapshot, test_data, mirror=False, option='--test-data')
            check_data(snapshot, options['test_dataset_kwargs'])
        for name in names:
            check_metric(find_metric(name), dataset_kwargs, options.get('test_dataset_kwargs'), detector=options['detector'],
                         num_gen=options['num_gen'], max_real=options['max_real'])
        click.echo(f'Network: {network}\nData: {dataset_kwargs["path"]}', err=True)
        config = dict(network=network, trust=trust_pickle, metrics=names, dataset_kwargs=dataset_kwargs, num_gpus=gpus,
                      device=kind, run_dir=place_of_reports(outdir, network),
                      options=dict(options, batch_size=batch, num_workers=workers))
        if gpus > 1:
            start_processes(measure_as_process, (config,), gpus)
        else:
            measure(0, config)


if __name__ == '__main__':
    main()
