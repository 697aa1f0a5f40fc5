"""Metrics of a snapshot: computed on its averaged generator and real images, written beside it as metric-NAME.jsonl."""

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
@click.option('--metrics', default='fid50k_full', show_default=True, metavar='LIST', help='Names, with commas; see below.')
@click.option('--data', type=UserPath(), help='Real images, folder or zip.  [default: those that the network learnt from]')
@click.option('--test-data', type=UserPath(), help='Real images of the same classes that the network has not seen, for gan_test, '
              'gan_train and memorization. Metrics *_per_class and dc5k5_full also measure them as if they were generated.')
@click.option('--detector', default='inception', show_default=True, metavar='NAME|PATH|URL', type=UserPath(),
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
@click.option('--outdir', '-o', type=UserPath(file_okay=False), help='Folder for metric-NAME.jsonl and pictures.  '
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
        config = dict(network=network, trust=trust_pickle, metrics=names, dataset_kwargs=dataset_kwargs, num_gpus=gpus,
                      device=kind, run_dir=place_of_reports(outdir, network),
                      options=dict(options, batch_size=batch, num_workers=workers))
        if gpus > 1:
            start_processes(measure_as_process, (config,), gpus)
        else:
            measure(0, config, snapshot, opened)


if __name__ == '__main__':
    main()
