"""A snapshot's averaged generator, ready to draw pictures by seed."""

import functools
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from tqdm import tqdm

from torch_utils.allocator import keep_freed_memory
from training.data.class_labels import NetworkLabels, list_names
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
    word: ClassVar[str] = 'seed'  # what a number of a latent is called

    def images(self, seeds: list[int], labels: np.ndarray) -> Iterator[np.ndarray]:
        """seeds: N of them, labels: float32 [N, K] -> N times uint8 [H, W, C], with a progress bar after 2 seconds."""
        chunks = [slice(start, start + self.batch) for start in range(0, len(seeds), self.batch)]
        return _to_pictures((self.draw(seeds[chunk], labels[chunk]) for chunk in chunks), len(seeds),
                            lambda index: f'{self.word} {seeds[index]}')

    def images_of_ws(self, batches: Iterator[torch.Tensor], total: int, name: Callable[[int], str]) -> Iterator[np.ndarray]:
        """batches: of ws [N, num_ws, w_dim], `total` in all -> pictures as above. name: of a picture, for a warning."""
        return _to_pictures((self.draw_ws(ws) for ws in batches), total, name)

    @torch.inference_mode()
    def draw(self, seeds: list[int], labels: np.ndarray) -> torch.Tensor:
        """seeds: N; labels: float32 [N, K] -> images [N, C, H, W]."""
        return self._run(self._on_device(self.latents(seeds)), self._on_device(labels))

    @torch.inference_mode()
    def draw_ws(self, ws: torch.Tensor) -> torch.Tensor:
        """ws: [N, num_ws, w_dim] -> images [N, C, H, W]."""
        return self.G.synthesis(ws, **self.options)

    def ws(self, seeds: list[int], labels: np.ndarray) -> torch.Tensor:
        """seeds: N; labels: float32 [N, K] -> truncated ws [N, num_ws, w_dim]."""
        return self.ws_of_latents(self.latents(seeds), labels)

    @torch.inference_mode()
    def ws_of_latents(self, z: np.ndarray, labels: np.ndarray) -> torch.Tensor:
        """The same for z, float32 [N, z_dim]."""
        return self.G.mapping(self._on_device(z), self._on_device(labels), truncation_psi=self.psi)

    def latents(self, seeds: list[int]) -> np.ndarray:
        """float32 [N, z_dim]: the latent codes that every tool of this family gives to the seeds."""
        return np.stack([np.random.RandomState(seed).randn(self.G.z_dim) for seed in seeds]).astype(np.float32)

    def default_label(self) -> np.ndarray:
        """The label of pictures for which none was asked, float32 [0]; ValueError for networks that need one."""
        if self.labels.num_dims == 0:
            return np.zeros(0, np.float32)
        if not self.labels.class_names:
            raise ValueError(f'the network takes label vectors: add --label, {self.labels.num_dims} numbers separated by commas, '
                             'like its training labels')
        raise ValueError(f'the network is class-conditional: add --class=NAME ({list_names(self.labels.class_names)}), --grid '
                         'for all classes, or --label=NUMBERS')

    @property
    def options(self) -> dict[str, Any]:
        """Keywords of the synthesis network."""
        return dict(noise_mode=self.noise_mode, force_fp32=self.device.type == 'cpu')

    @functools.cached_property
    def _run(self) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        options = dict(truncation_psi=self.psi, **self.options)
        return GraphedGenerator(self.G, self.batch, **options) if self.graph else functools.partial(self.G, **options)

    def _on_device(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values).to(self.device)


def _to_pictures(batches: Iterator[torch.Tensor], total: int, name: Callable[[int], str]) -> Iterator[np.ndarray]:
    """batches: images [N, C, H, W], `total` in all -> that many times uint8 [H, W, C]. Warns if some are not finite."""
    done, num_bad, first_bad = 0, 0, ''
    with tqdm(total=total, unit='img', delay=2) as progress:
        for images in batches:
            bad = [index for index, image in enumerate(images, done) if not image.isfinite().all()]
            if bad:
                num_bad, first_bad = num_bad + len(bad), first_bad or name(bad[0])
            done += len(images)
            yield from to_pixels(images)
            progress.update(len(images))
    if num_bad:
        print(f'Warning: {num_bad} of {total} pictures have NaN or infinite values, the first with {first_bad}: '
              'training of the network failed, or --trunc is too large', file=sys.stderr, flush=True)


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
