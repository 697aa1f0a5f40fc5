"""Metrics of a snapshot, computed from its averaged generator and real images, and written beside it as metric-NAME.jsonl."""

from typing import Any

import click

from commands.cli import MAX_SEED, UserPath, command_errors, device_option, resolve_device, verbose_option
from commands.measuring import check_data, check_needs, data_of, measure, measure_as_process, place_of_reports, say_unlimited
from metrics.features.open_data import OpenData
from metrics.metric_main import list_valid_metrics
from metrics.metric_needs import check_metric
from metrics.registry import find_metric
from training.parallel.processes import check_devices
from training.parallel.spawning import start_processes
from training.run.run_dir import DEFAULT_RUNS_DIR, newest_snapshot
from training.snapshot.reading import open_snapshot

EPILOG = f"""\b
Examples:
  python calc_metrics.py --metrics=fid50k_full,kid50k_full --gpus=2
  python calc_metrics.py --network=network-snapshot-000200.pkl --data=animals.zip --metrics=kid_per_class
      --detector=classifier --num-gen=5000 --repeats=3
  python calc_metrics.py --metrics=gan_train,memorization --test-data=animals-test.zip

Metrics: {', '.join(list_valid_metrics())}
"""


@click.command(epilog=EPILOG)
@click.option('--network', metavar='PATH|URL', type=UserPath(),
              help=f'Snapshot (.pkl) to measure.  [default: the newest network-snapshot-*.pkl under {DEFAULT_RUNS_DIR}]')
@click.option('--metrics', default='fid50k_full', show_default=True, metavar='LIST',
              help='Names separated by commas; see below.')
@click.option('--data', type=UserPath(), help='Real images, folder or zip.  [default: those the network was trained on]')
@click.option('--test-data', type=UserPath(), help='Held-out real images of the same classes, for gan_test, gan_train and '
              'memorization. The metrics *_per_class and dc5k5_full also measure them as if they were generated, for '
              'reference.')
@click.option('--detector', default='inception', show_default=True, metavar='NAME|PATH|URL', type=UserPath(),
              help="Feature network: inception (each metric's usual one; fetched once), dinov2 or dinov2:FILE (fetched once, "
                   'or weights from a file), imagenet (an installed package, no download), classifier (learns from the '
                   'labelled real images, no download), or a TorchScript file.')
@click.option('--num-gen', type=click.IntRange(min=2), help='Images to generate; the count becomes part of the name, as in '
              "fid5k_full.  [default: the metric's, 50000 for most]")
@click.option('--max-real', type=click.IntRange(min=2), help='Maximum number of real images, drawn at random, for FID, KID, '
              "precision, recall, density and coverage. Other metrics use all.  [default: the metric's]")
@click.option('--mirror', type=click.BOOL, help='Add mirrored copies of the real images, for metrics without _full.  [default: '
              'as in training]')
@click.option('--seed', type=click.IntRange(0, MAX_SEED), default=0, show_default=True,
              help='Seed of latents, labels and subsets.')
@click.option('--repeats', type=click.IntRange(min=1), default=1, show_default=True,
              help='Number of measurements, with consecutive seeds from --seed on. Results are means with standard deviations.')
@click.option('--batch', type=click.IntRange(min=1), default=64, show_default=True,
              help='Batch size of the detector, in images.')
@click.option('--workers', type=click.IntRange(min=0),
              help='Number of processes that read images.  [default: 3 on CUDA, else 0]')
@click.option('--gpus', type=click.IntRange(min=1), default=1, show_default=True,
              help='Number of processes; on CUDA each uses its own GPU.')
@click.option('--outdir', '-o', type=UserPath(file_okay=False), help='Folder for metric-NAME.jsonl and pictures.  '
              '[default: that of the snapshot]')
@click.option('--cache/--no-cache', default=True, show_default=True,
              help='Cache features of real images and trained classifiers for the next call.')
@click.option('--trust-pickle', is_flag=True, help='Run the code stored in the snapshot, for network classes that this program '
              'does not know. Only for files from people you trust.')
@device_option
@verbose_option
def main(network: str | None, metrics: str, data: str | None, test_data: str | None, mirror: bool | None, batch: int,
         workers: int | None, gpus: int, outdir: str | None, trust_pickle: bool, device: str, verbose: bool,
         **options: Any) -> None:
    """Measure a trained network.

    Each result is a line of JSON on standard output and in metric-NAME.jsonl beside the snapshot. Conditional networks generate
    classes as often as they occur in the data.
    """
    with command_errors(verbose):
        names = list(dict.fromkeys(find_metric(name.strip()).name for name in metrics.split(',')))
        kind = resolve_device(device).type
        check_devices(kind, gpus)
        network = network or str(newest_snapshot())
        snapshot = open_snapshot(network, trust_pickle)
        check_needs(names, snapshot, test_data)
        say_unlimited(names, options['max_real'])
        dataset_kwargs, opened = data_of(snapshot, data, mirror), OpenData()
        check_data(snapshot, dataset_kwargs, opened)
        if test_data is not None:
            options['test_dataset_kwargs'] = data_of(snapshot, test_data, mirror=False, option='--test-data')
            check_data(snapshot, options['test_dataset_kwargs'], opened)
        for name in names:
            check_metric(find_metric(name), dataset_kwargs, options.get('test_dataset_kwargs'), detector=options['detector'],
                         num_gen=options['num_gen'], max_real=options['max_real'], data=opened)
        click.echo(f'Network: {network}\nData: {dataset_kwargs["path"]}', err=True)
        config = dict(network=network, trust=trust_pickle, metrics=names, dataset_kwargs=dataset_kwargs, device=kind,
                      run_dir=place_of_reports(outdir, network),
                      options=dict(options, batch_size=batch, num_workers=workers))
        if gpus > 1:
            start_processes(measure_as_process, (config,), gpus)
        else:
            measure(0, config, snapshot, opened)


if __name__ == '__main__':
    main()
