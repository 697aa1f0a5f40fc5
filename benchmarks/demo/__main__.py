"""The main job on built-in data: a model of letters becomes one of the ten digits, and a judge says how well.

    python -m benchmarks.demo [--kimg=N] [--seed=N] [--outdir=DIR] [-- OPTION_OF_TRAIN_HYPER ...]

Runs the commands that a user would type, in turn: dataset_tool.py, train_hyper.py, generate.py, calc_metrics.py. Leaves in the
output directory: the data sets, the run, a labelled grid of pictures, results.json and results.md.
"""
import json
import time
from pathlib import Path

import click

from benchmarks.digits_task import OPTIONS, make_data, num_gen_option, resume_option, run_command
from commands.cli import UserPath
from dnnlib.files import write_whole
from training.run.run_dir import newest_snapshot

from .table import results_table

METRICS = {  # by detector
    'imagenet': ('kid_per_class', 'pr_per_class'),
    'classifier': ('dc5k5_full', 'gan_test', 'gan_train', 'memorization', 'spread_per_class'),
}
NUM_CLASSES = 10
# More than two threads only get in each other's way with tensors of this size.
TRANSFER = ('--selfinit', *OPTIONS, '--threads=2', '--snap=1000')


def measure(network: Path, data: dict[str, Path], num_gen: int, seed: int) -> dict[str, dict]:
    """The results of calc_metrics.py by metric. num_gen: images in all. Its files lie beside the network."""
    found: dict[str, dict] = {}
    for detector, names in METRICS.items():
        printed = run_command(
            'calc_metrics.py', f'--network={network}', f'--metrics={",".join(names)}', f'--data={data["train"]}',
            f'--test-data={data["test"]}', f'--detector={detector}', f'--num-gen={num_gen}', f'--seed={seed}', capture=True)
        found.update(zip(names, map(json.loads, printed.splitlines()), strict=True))
    return found


def summary(results: dict) -> str:
    """What the table does not say: how the transfer started, and how long everything took; as markdown."""
    selfinit = results['selfinit']
    start = f"{selfinit['method']}, relative error {selfinit['relative_error']:.2g}" if selfinit else 'none'
    return (
        f"\nSelf-initialisation: {start}. Transfer: {results['images']:,} images, seed {results['seed']}, "
        f"{results['train_minutes']:.1f} minutes; judging {results['judge_minutes']:.1f} minutes; all steps together "
        f"{results['total_minutes']:.1f} minutes.\n"
    )


@click.command()
@resume_option
@click.option('--kimg', type=click.IntRange(min=1), default=16, show_default=True, help='Thousands of images of the transfer.')
@num_gen_option
@click.option('--seed', type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help='Seed of training and judging.')
@click.option('--outdir', type=UserPath(file_okay=False, path_type=Path), default=Path('training-runs/demo'), show_default=True,
              help='Where everything is written.')
@click.argument('train_hyper_options', nargs=-1)
def main(resume: Path, kimg: int, num_gen: int, seed: int, outdir: Path, train_hyper_options: tuple[str, ...]) -> None:
    """Transfer a model of letters to the ten digits and judge the result. Options after -- go to train_hyper.py.

    Example: python -m benchmarks.demo --kimg=20 -- --hyper-rank=16
    """
    started = time.monotonic()
    outdir.mkdir(parents=True, exist_ok=True)
    data = make_data(outdir)

    train_started = time.monotonic()
    run_command('train_hyper.py', f'--outdir={outdir}', f'--data={data["train"]}', f'--resume={resume}', f'--kimg={kimg}',
                f'--seed={seed}', *TRANSFER, *train_hyper_options)
    train_minutes = (time.monotonic() - train_started) / 60
    try:
        network = newest_snapshot(outdir)
    except FileNotFoundError as error:
        raise click.ClickException(f'train_hyper.py left no network-snapshot-*.pkl under {outdir}') from error

    run_command('generate.py', f'--network={network}', '--grid', '--seeds=0-15', f'--outdir={outdir}')
    judge_started = time.monotonic()
    metrics = measure(network, data, num_gen * NUM_CLASSES, seed)
    selfinit = network.with_name('selfinit.json')
    results = dict(
        metrics=metrics,
        seed=seed,
        num_gen_per_class=num_gen,
        selfinit=json.loads(selfinit.read_text()) if selfinit.is_file() else None,
        images=kimg * 1000,
        train_minutes=train_minutes,
        judge_minutes=(time.monotonic() - judge_started) / 60,
        total_minutes=(time.monotonic() - started) / 60,
        train_hyper_options=[*TRANSFER, *train_hyper_options],
    )
    text = results_table(results) + summary(results)
    write_whole(outdir / 'results.json', json.dumps(results, indent=1) + '\n')
    write_whole(outdir / 'results.md', text)
    click.echo(f'\n{text}\nPictures, results.json and results.md are in {outdir}, the model is {network}')


if __name__ == '__main__':
    main()
