"""Pictures from a snapshot: one file for each seed, a grid of all classes, or a path from one class to another."""

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

import dnnlib
import legacy
from commands.cli import (
    DEFAULT_RUNS_DIR,
    command_errors,
    device_option,
    newest_snapshot,
    parse_seeds,
    resolve_device,
    verbose_option,
)
from exporting.file_names import MAX_LENGTH, file_name
from generating.graphed_generator import GraphedGenerator, check_device
from torch_utils.allocator import keep_freed_memory
from training.data.class_labels import NetworkLabels, class_index, interpolate_labels, list_names
from training.data.image_grid import images_to_uint8, make_grid, save_image, to_picture

EXAMPLES = """\b
Examples:
  python generate.py --class=cat --seeds=0-63
  python generate.py --network=ffhq.pkl --trunc=0.7
  python generate.py --grid --seeds=0-7 --outdir=grids
  python generate.py --interpolate=cat,dog --seeds=3
"""


@dataclass
class Sampler:
    """A generator with how to draw from it.

    G: a Generator or HyperGenerator, or whatever a trusted snapshot brings. psi: truncation, 1 = none, 0 = the mean image.
    batch: images at a time; pictures do not depend on it. graph: record a pass as a CUDA graph, and replay it.
    """

    G: Any
    labels: NetworkLabels
    device: torch.device
    psi: float
    noise_mode: str
    batch: int
    graph: bool = False

    def images(self, seeds: list[int], labels: np.ndarray) -> Iterator[np.ndarray]:
        """seeds: N of them, labels: float32 [N, K] -> N times uint8 [H, W, C], with a progress bar after 2 seconds."""
        options = dict(truncation_psi=self.psi, noise_mode=self.noise_mode, force_fp32=self.device.type == 'cpu')
        draw = GraphedGenerator(self.G, self.batch, **options) if self.graph else functools.partial(self.G, **options)
        with tqdm(total=len(seeds), unit='img', delay=2) as progress:
            for start in range(0, len(seeds), self.batch):
                chunk = slice(start, start + self.batch)
                z = torch.from_numpy(np.concatenate([latent(seed, self.G.z_dim) for seed in seeds[chunk]]))
                c = torch.from_numpy(labels[chunk])
                with torch.inference_mode():
                    images = draw(z.to(self.device), c.to(self.device))
                yield from images_to_uint8(images)
                progress.update(len(images))


def latent(seed: int, z_dim: int) -> np.ndarray:
    """float32 [1, z_dim]: the latent code that every tool of this family gives to the seed."""
    return np.random.RandomState(seed).randn(1, z_dim).astype(np.float32)


def load_sampler(network: str | None, trust: bool, device: torch.device, psi: float, noise_mode: str, batch: int,
                 graph: bool = False) -> Sampler:
    """The averaged generator of the snapshot, ready to draw. Errors: OSError, ValueError."""
    if not math.isfinite(psi):
        raise ValueError(f'--trunc={psi}: expected a finite number, as a rule between 0 and 1')
    if graph:
        check_device(device)
    if network is None:
        network = str(newest_snapshot())
        click.echo(f'Network: {network}')
    with dnnlib.util.open_url(network) as file:
        snapshot = legacy.load_network_pkl(file, trust=trust)
    G = snapshot['G_ema'].eval().requires_grad_(False).to(device)
    if device.type == 'cpu':
        keep_freed_memory()
    return Sampler(G, NetworkLabels.of(snapshot), device, psi, noise_mode, batch, graph)


def save_each(sampler: Sampler, seeds: list[int], class_text: str | None, vector: str | None, outdir: Path) -> None:
    """outdir/seed0000.png, or with a class outdir/cat-seed0000.png, with a label vector outdir/label_0.2_1-seed0000.png."""
    if vector is not None:
        label = sampler.labels.of_vector(vector)
        prefix = file_name(f'label_{vector.replace(" ", "")}') + '-'
    elif class_text is not None:
        label = sampler.labels.of_class(class_text)
        prefix = f'{_as_file_name(class_text, sampler.labels.class_names)}-'
    else:
        label, prefix = _no_label(sampler.labels), ''
    outdir.mkdir(parents=True, exist_ok=True)
    images = sampler.images(seeds, np.tile(label, [len(seeds), 1]))
    for seed, image in zip(seeds, images, strict=True):
        save_image(to_picture(image), outdir / f'{prefix}seed{seed:04d}.png')
    click.echo(f'Saved {len(seeds)} picture{"s" if len(seeds) > 1 else ""} in {outdir}')


def save_class_grid(sampler: Sampler, seeds: list[int], outdir: Path) -> None:
    """outdir/grid.png: a row for each class, a column for each seed; without classes as square as the seeds allow."""
    num_seeds, num_classes = len(seeds), len(sampler.labels.class_names)
    if sampler.labels.num_dims:
        sampler.labels.check_classes('rows for --grid')
        num_columns, labels = num_seeds, np.repeat(np.eye(num_classes, dtype=np.float32), num_seeds, axis=0)
    else:
        num_columns = next(k for k in range(math.isqrt(num_seeds - 1) + 1, num_seeds + 1) if num_seeds % k == 0)
        labels = np.zeros([num_seeds, 0], dtype=np.float32)
    images = np.stack(list(sampler.images(seeds * max(num_classes, 1), labels)))
    _save_picture(make_grid(images, num_columns, sampler.labels.class_names or None), outdir / 'grid.png')


def save_path(sampler: Sampler, seeds: list[int], ends: str, num_steps: int, outdir: Path) -> None:
    """outdir/cat-to-dog.png: a row for each seed, from the one class on the left to the other on the right."""
    first, comma, last = (part.strip() for part in ends.partition(','))
    if not comma:
        raise ValueError(f'--interpolate={ends}: expected two classes, for example --interpolate=cat,dog')
    path = interpolate_labels(sampler.labels.of_class(first), sampler.labels.of_class(last), num_steps)
    all_seeds = [seed for seed in seeds for _ in range(num_steps)]
    images = np.stack(list(sampler.images(all_seeds, np.tile(path, [len(seeds), 1]))))
    name = '-to-'.join(_as_file_name(end, sampler.labels.class_names, MAX_LENGTH // 2) for end in (first, last)) + '.png'
    _save_picture(make_grid(images, num_steps, [f'seed {seed}' for seed in seeds]), outdir / name)


def _save_picture(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_image(picture, path)
    click.echo(f'Saved {path}')


def _no_label(labels: NetworkLabels) -> np.ndarray:
    """float32 [0]; ValueError for networks that need a label."""
    if labels.num_dims == 0:
        return np.zeros(0, np.float32)
    if not labels.class_names:
        raise ValueError(f'the network takes label vectors: add --label, {labels.num_dims} numbers with commas, as the labels of '
                         'its training data have')
    raise ValueError(f'the network is class-conditional: add --class=NAME ({list_names(labels.class_names)}), --grid for all '
                     'classes, or --label=NUMBERS')


def _as_file_name(class_text: str, names: list[str], max_length: int = MAX_LENGTH) -> str:
    """The class's name, also when it was given by number; a mix as it was written."""
    text = class_text if class_text in names or ':' in class_text else names[class_index(class_text, names)]
    return file_name(text, max_length)


@click.command(epilog=EXAMPLES)
@click.option('--network', metavar='PATH|URL',
              help=f'Snapshot (.pkl) to draw from.  [default: the newest network-snapshot-*.pkl under {DEFAULT_RUNS_DIR}]')
@click.option('--seeds', default='0-15', show_default=True, metavar='LIST',
              help='Seeds of the latent codes: numbers and ranges, as in 0-63,70.')
@click.option('--class', 'class_text', metavar='NAME|INDEX|MIX',
              help='Class to draw, by name or number, or a mix of classes with their shares, as in cat:0.3,dog:0.7.')
@click.option('--label', 'vector', metavar='NUMBERS', help='Label to draw, for networks of label vectors: as many numbers as the '
              'labels of the training data have, with commas, as in 0.2,1,0.')
@click.option('--grid', is_flag=True, help='One picture, grid.png: a row for each class, a column for each seed.')
@click.option('--interpolate', metavar='A,B', help='One picture, A-to-B.png: a row for each seed, from class A to class B.')
@click.option('--steps', type=click.IntRange(2, 1000), default=9, show_default=True, help='Images in a row of --interpolate.')
@click.option('--trunc', 'psi', type=float, default=1, show_default=True,
              help='Truncation psi: 1 keeps all variety, 0 gives the mean image; about 0.7 is a usual choice.')
@click.option('--noise-mode', type=click.Choice(['const', 'random', 'none']), default='const', show_default=True,
              help='Per-pixel noise: the same for every image, fresh each time, or none.')
@click.option('--outdir', type=click.Path(file_okay=False, path_type=Path), default='out', show_default=True,
              help='Folder for the pictures; made if it is absent.')
@click.option('--batch', type=click.IntRange(min=1), default=8, show_default=True, help='Images computed at a time.')
@click.option('--cuda-graph', is_flag=True, help='Record a pass once and replay it, which is faster for small images. Plain '
              'networks on CUDA, as export.py makes them of classes.')
@click.option('--trust-pickle', is_flag=True, help='Run the program text in the snapshot, for network classes that are unknown '
              'here. Only for files from people whom you trust.')
@device_option
@verbose_option
def main(network: str | None, seeds: str, class_text: str | None, vector: str | None, grid: bool, interpolate: str | None,
         steps: int, psi: float, noise_mode: str, outdir: Path, batch: int, cuda_graph: bool, trust_pickle: bool,
         device: str, verbose: bool) -> None:
    """Draw pictures from a trained network.

    Files are named by seed: seed0000.png, or with --class cat-seed0000.png. A seed gives the same latent code for every
    class, and as in the other tools that read these snapshots.
    """
    if sum([class_text is not None, vector is not None, grid, interpolate is not None]) > 1:
        raise click.UsageError('--class, --label, --grid and --interpolate exclude each other: give one of them')
    with command_errors(verbose):
        seed_list = parse_seeds(seeds)
        sampler = load_sampler(network, trust_pickle, resolve_device(device), psi, noise_mode, batch, cuda_graph)
        if grid:
            save_class_grid(sampler, seed_list, outdir)
        elif interpolate is not None:
            save_path(sampler, seed_list, interpolate, steps, outdir)
        else:
            save_each(sampler, seed_list, class_text, vector, outdir)


if __name__ == '__main__':
    main()
