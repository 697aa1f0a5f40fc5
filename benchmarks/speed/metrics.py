"""What a measurement's time goes to: generated images, their features and the distances between them; and a whole command.

    python -m benchmarks.speed.metrics [--images=N]

A random network of the demo's sizes, 32x32 in colour, and the ImageNet detector. Writes metrics.json and metrics.md to
benchmarks/results/speed.
"""
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from PIL import Image

import legacy
from benchmarks.digits_task import ROOT
from benchmarks.markdown import head, row
from metrics.classes.per_class import MAX_SUBSET_SIZE, NUM_SUBSETS, mean_cov
from metrics.features.detectors import get_detector
from metrics.features.neighbours import placed
from metrics.frechet_inception_distance import frechet_distance
from metrics.kernel_inception_distance import kernel_distance
from metrics.metric_options import MetricOptions
from metrics.metric_utils import generate_images
from metrics.precision_recall import precision_recall

from .networks import random_snapshots
from .results import outdir_option, write
from .run import machine

METRICS = 'fid50k_full', 'kid_per_class', 'pr_per_class'
CLASSES, BATCH = 10, 64
NOTE = """
*The command* measures the three with as many real images. The first draws labels as the data have them, the others ask for each
class equally often: two sets of images are generated, and three have their features computed.
"""


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What it gives, and its seconds."""
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def stages(network: Path, num: int) -> dict[str, float]:
    """Seconds of each for `num` images. Distances: of `num` features to as many others, in ten classes but for FID."""
    with open(network, 'rb') as file:
        G = legacy.load_network_pkl(file)['G_ema']
    opts = MetricOptions(G=G, device=torch.device('cpu'))
    made, generation = timed(lambda: [images for images, _ in generate_images(opts, num, BATCH, balanced_labels=True)])
    detector = get_detector('imagenet', 'cpu')
    x, features = timed(lambda: np.concatenate([detector(images, return_features=True).numpy() for images in made]))
    y = np.random.default_rng(0).permuted(x, axis=0)  # the same values of each feature, in other company
    pairs = list(zip(np.array_split(x, CLASSES), np.array_split(y, CLASSES), strict=True))
    kid = lambda x, y: kernel_distance(x, y, NUM_SUBSETS, MAX_SUBSET_SIZE, np.random.default_rng(0))  # noqa: E731
    pr = lambda x, y: precision_recall(placed(x, 'cpu'), placed(y, 'cpu'))  # noqa: E731
    works: dict[str, Callable[[], Any]] = dict(fid50k_full=lambda: frechet_distance(*mean_cov(x), *mean_cov(y)),
                 kid_per_class=lambda: [kid(*pair) for pair in pairs], pr_per_class=lambda: [pr(*pair) for pair in pairs])
    return dict(generation=generation, features=features, **{name: timed(work)[1] for name, work in works.items()})


def command_seconds(network: Path, folder: Path, num: int) -> float:
    """Of calc_metrics.py with `num` generated images and as many others in place of real ones, nothing kept from before."""
    data = folder / 'data'
    with open(network, 'rb') as file:
        found = legacy.load_network_pkl(file)
    opts = MetricOptions(G=found['G_ema'], device=torch.device('cpu'), seed=1)
    for name in found['class_names']:
        (data / name).mkdir(parents=True)
    images = (image for batch, _ in generate_images(opts, num, BATCH, balanced_labels=True) for image in batch)
    for number, image in zip(range(num), images, strict=False):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(data / found['class_names'][number % CLASSES] / f'{number}.png')
    command = [sys.executable, 'calc_metrics.py', f'--network={network}', f'--data={data}', f'--metrics={",".join(METRICS)}',
               f'--num-gen={num}', '--detector=imagenet', '--device=cpu', '--no-cache', f'--outdir={folder}']
    return timed(lambda: subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))[1]


def markdown(report: dict[str, Any]) -> str:
    """The table."""
    text = head('work', 'seconds', 'images/s')
    for name, seconds in report['seconds'].items():
        text += row(name, f'{seconds:.1f}', f'{report["images"] / seconds:,.0f}')
    return text + NOTE


@click.command()
@click.option('--images', type=click.IntRange(min=100), default=10_000, show_default=True, help='Generated, and real.')
@outdir_option
def main(images: int, outdir: Path) -> None:
    """Measure what metrics of 32x32 images take."""
    with tempfile.TemporaryDirectory() as folder:
        network = random_snapshots(Path(folder))['32x32']
        seconds = {**stages(network, images), 'the command': command_seconds(network, Path(folder), images)}
    report = dict(machine=machine('cpu'), images=images, seconds=seconds)
    write(outdir, 'metrics', report, markdown(report))


if __name__ == '__main__':
    main()
