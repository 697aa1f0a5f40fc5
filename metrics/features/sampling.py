"""Latents, labels and noise for generated images that are to be measured.

They come from one sequence of numbers, fixed by the seed, of which every process takes its share: neither the batch size
nor the number of processes changes them.
"""
import contextlib
import copy
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from metrics.metric_options import MetricOptions
from training.data.image_grid import images_to_uint8

PIXELS_PER_BATCH = 1 << 20  # one image of 1024x1024 or 16 of 256x256: activations stay below some 2 GiB


class LatentSampler:
    """Draws z [N, z_dim], and c [N, c_dim] as the labels of images that are drawn uniformly from the data set.

    balanced: the classes take turns instead, 0, 1, 2 ...
    """

    def __init__(self, opts: MetricOptions, c_dim: int, z_dim: int, balanced: bool = False):
        self.z_dim, self.num_gpus, self.rank, self.device = z_dim, opts.num_gpus, opts.rank, opts.device
        self.z_rng, self.c_rng, self.t_rng = map(np.random.default_rng, np.random.SeedSequence(opts.seed).spawn(3))
        self.num_balanced = 0 if balanced else None  # conditions so far
        self.labels = np.eye(c_dim, dtype=np.float32) if c_dim > 0 else np.zeros([1, 0], dtype=np.float32)  # [images, c_dim]
        if c_dim > 0 and not balanced:
            dataset = opts.data(opts.dataset_kwargs, use_labels=True)
            if dataset.label_dim != c_dim:
                raise ValueError(f'the network has {c_dim} classes, the data set {dataset.name} has {dataset.label_dim}: '
                                 'give the data that the network was trained on')
            self.labels = dataset.labels()
            dataset.close()

    def latents(self, num: int, *several: int) -> torch.Tensor:
        """float32 [num, *several, z_dim], standard normal: one latent for each image, or several that belong together."""
        z = self.z_rng.standard_normal([num * self.num_gpus, *several, self.z_dim], dtype=np.float32)
        return self._share(z)

    def conditions(self, num: int) -> torch.Tensor:
        """float32 [num, c_dim]."""
        total = num * self.num_gpus
        if self.num_balanced is None:
            index = (self.c_rng.random(total) * len(self.labels)).astype(np.int64)
        else:
            index = (self.num_balanced + np.arange(total)) % len(self.labels)
            self.num_balanced += total
        return self._share(self.labels[index])

    def uniform(self, num: int) -> torch.Tensor:
        """float32 [num], from 0 to 1."""
        return self._share(self.t_rng.random(num * self.num_gpus).astype(np.float32))

    def _share(self, rows: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(rows[self.rank::self.num_gpus].copy()).to(self.device)


def prepare_generator(opts: MetricOptions) -> tuple[Any, dict[str, Any]]:
    """A frozen copy of the generator on the device, and the keywords to call it with. ValueError if it does not fit the data."""
    if opts.G is None:
        raise ValueError('this metric needs a generator, found none')
    G = copy.deepcopy(opts.G).eval().requires_grad_(False).to(opts.device)
    if opts.dataset_kwargs:
        check_same_shape(G, opts.data(opts.dataset_kwargs, resolution=None))
    on_cpu = dict(force_fp32=True) if opts.device.type == 'cpu' else {}  # half precision is slow there
    return G, {**on_cpu, **opts.G_kwargs}


def check_same_shape(G: Any, dataset: Any) -> None:
    """ValueError unless generated and real images have the same resolution and channels."""
    real, made = (dataset.resolution, dataset.num_channels), (G.img_resolution, G.img_channels)
    if real != made:
        raise ValueError(f'the network makes images of {made[0]}x{made[0]} with {made[1]} channels, the data set {dataset.name} '
                         f'has {real[0]}x{real[0]} with {real[1]}: convert the data with dataset_tool.py')


def generation_batch(opts: MetricOptions, resolution: int) -> int:
    """How many images of that resolution to make at a time."""
    return max(min(opts.batch_size, PIXELS_PER_BATCH // resolution**2), 1)


@contextlib.contextmanager
def seeded_noise(opts: MetricOptions) -> Iterator[None]:
    """torch's own random numbers, which the per-pixel noise takes, start from the seed; afterwards they are as before."""
    devices = [opts.device] if opts.device.type == 'cuda' else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(opts.seed * opts.num_gpus + opts.rank)
        yield


@torch.no_grad()
def generate_images(
    opts: MetricOptions, num_items: int, batch: int | None = None, balanced_labels: bool = False
) -> Iterator[tuple[torch.Tensor, torch.Tensor | None]]:
    """This process's share of num_items images: batches of uint8 [n, C, H, W] and class indices int64 [n], None without.

    balanced_labels: the classes take turns. All processes get equally many; the surplus of the last round is the caller's to
    cut. ValueError for images with NaN.
    """
    G, G_kwargs = prepare_generator(opts)
    sampler = LatentSampler(opts, G.c_dim, G.z_dim, balanced_labels)
    left = math.ceil(num_items / opts.num_gpus)
    batch = batch or generation_batch(opts, G.img_resolution)
    with seeded_noise(opts):
        while left > 0:
            num = min(batch, left)
            z, c = sampler.latents(num), sampler.conditions(num)
            images = G(z, c, **G_kwargs)
            check_finite(images)
            yield images_to_uint8(images), c.argmax(dim=1) if G.c_dim > 0 else None
            left -= num


def check_finite(images: torch.Tensor) -> None:
    """ValueError if any of the images [N, C, H, W] is not finite."""
    if not torch.isfinite(images).all():
        bad = int((~torch.isfinite(images)).flatten(1).any(dim=1).sum())
        raise ValueError(f'{bad} of {len(images)} generated images hold NaN or infinity: the network is broken, '
                         'take an older snapshot')
