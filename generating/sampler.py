"""A snapshot's averaged generator, ready to draw pictures by seed."""

import functools
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from torch_utils.allocator import keep_freed_memory
from training.data.class_labels import NetworkLabels
from training.data.image_grid import to_pixels
from training.snapshot.reading import open_snapshot

from .graphed_generator import GraphedGenerator, check_device


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
        bad: list[int] = []
        with tqdm(total=len(seeds), unit='img', delay=2) as progress:
            for start in range(0, len(seeds), self.batch):
                chunk = slice(start, start + self.batch)
                z = torch.from_numpy(np.concatenate([latent(seed, self.G.z_dim) for seed in seeds[chunk]]))
                c = torch.from_numpy(labels[chunk])
                with torch.inference_mode():
                    images = draw(z.to(self.device), c.to(self.device))
                    bad += [seed for seed, image in zip(seeds[chunk], images, strict=True) if not image.isfinite().all()]
                yield from to_pixels(images)
                progress.update(len(images))
        if bad:
            print(f'Warning: {len(bad)} of {len(seeds)} pictures have NaN or infinite values, the first with seed {bad[0]}: '
                  'training of the network failed, or --trunc is too large', file=sys.stderr, flush=True)


def latent(seed: int, z_dim: int) -> np.ndarray:
    """float32 [1, z_dim]: the latent code that every tool of this family gives to the seed."""
    return np.random.RandomState(seed).randn(1, z_dim).astype(np.float32)


def load_sampler(network: str, trust: bool, device: torch.device, psi: float, noise_mode: str, batch: int,
                 graph: bool = False) -> Sampler:
    """The averaged generator of the snapshot, ready to draw. Errors: OSError, ValueError."""
    if not math.isfinite(psi):
        raise ValueError(f'--trunc={psi}: expected a finite number, usually between 0 and 1')
    if graph:
        check_device(device)
    snapshot = open_snapshot(network, trust)
    G = snapshot['G_ema'].eval().requires_grad_(False).to(device)
    if device.type == 'cpu':
        keep_freed_memory()
    return Sampler(G, NetworkLabels.of(snapshot), device, psi, noise_mode, batch, graph)
