"""Projection: the w, and the class, of which a generator's image comes near a given one (Karras et al. 2020, arXiv:1912.04958,
appendix D).

    minimise  |e(G(w + s(t) n)) - e(target)|^2 + 1e5 sum_i L_i      over w, the noise maps m_i and, if asked, the class mix
    L_i       over m_i and its halvings down to 8 pixels: the squared mean products with the neighbour on either axis
    s(t)      0.05 std(w) max(0, 1 - t / 0.75)^2, n normal, t from 0 to 1

e: a perceptual embedding. The mix of classes is a softmax, so it stays among the labels that the network knows, and starts by
how near each class's image of the mean w is. Where the class is a part of w itself, as in plain conditional networks, it is
the class that starts nearest.

Shapes: K classes, L copies of w, S size of the class code.
"""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import avg_pool2d

from metrics.features.perceptual import Embedding
from training.data.image_grid import images_to_uint8

NUM_MEAN_SAMPLES, MEAN_SEED = 10_000, 123  # as other tools of this family have them
LEARNING_RATE, RISE, FALL = 0.1, 0.05, 0.25  # shares of the steps in which the rate rises and falls
NOISE_SCALE, NOISE_END = 0.05, 0.75  # of the noise on w, in deviations of w, and the share of the steps at which it is gone
MAP_WEIGHT, SMALLEST_MAP = 1e5, 8
NOISE_BUFFER = 'noise_const'


@dataclass(frozen=True)
class Projection:
    """ws: [1, L, w_dim], with the class code. label: [K]. maps: the noise buffers by name. image: uint8 [C, H, W]. distance and
    start_distance: of the embeddings, squared, at the end and at the mean w."""

    ws: torch.Tensor
    label: torch.Tensor
    maps: dict[str, torch.Tensor]
    image: torch.Tensor
    distance: float
    start_distance: float


class Projector:
    """The search for one target. Its steps change nothing in G."""

    def __init__(self, G: Any, embed: Embedding, target: torch.Tensor, label: torch.Tensor | None, layerwise: bool,
                 generator: torch.Generator):
        """target: float [1, C, H, W] in [-1, 1]. label: [K], or None to find it among the classes. layerwise: a w of its own for
        each copy (W+). generator: on the CPU."""
        self.G, self.embed, self.generator = G, embed, generator
        self.synthesis = copy.deepcopy(G.synthesis)
        self.maps = {name: buffer for name, buffer in self.synthesis.named_buffers() if name.endswith(NOISE_BUFFER)}
        self.logits: torch.Tensor | None = None
        with torch.no_grad():
            self.wanted = embed(target)
            self.fixed_label = self._first_label(target.device) if label is None else label
            mean, self.deviation = w_statistics(G, self.fixed_label)
            self.w = mean.repeat(1, G.num_ws if layerwise else 1, 1).requires_grad_()
            self.start_distance = float(self.distance(self.ws(self.w, self.label))[0])
            for noise in self.maps.values():
                noise.copy_(self._randn(noise)).requires_grad_()
        learning = [self.w, *self.maps.values(), *([] if self.logits is None else [self.logits.requires_grad_()])]
        self.optimizer = torch.optim.Adam(learning, lr=LEARNING_RATE)

    @property
    def label(self) -> torch.Tensor:
        """[K], as it is now."""
        return self.fixed_label if self.logits is None else self.logits.softmax(dim=0)

    def ws(self, w: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """w: [1, 1 or L, source's w_dim]; label: [K] -> [1, L, w_dim], with the label's code where the network has codes."""
        ws = w.expand(-1, self.G.num_ws, -1)
        return with_code(self.G, ws, label[None]) if has_code(self.G) else ws

    def distance(self, ws: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """-> squared distance of the embeddings, a scalar, and the image."""
        image = self.synthesis(ws, noise_mode='const', force_fp32=True)
        return (self.embed(image) - self.wanted).square().sum(), image

    def step(self, t: float) -> tuple[float, torch.Tensor]:
        """t: share of the steps that are done -> the distance and the image [1, C, H, W] before this one."""
        self.optimizer.param_groups[0]['lr'] = learning_rate(t)
        noise = self._randn(self.w) * self.deviation * NOISE_SCALE * max(0, 1 - t / NOISE_END) ** 2
        distance, image = self.distance(self.ws(self.w + noise, self.label))
        self.optimizer.zero_grad()
        (distance + MAP_WEIGHT * torch.stack([map_roughness(noise) for noise in self.maps.values()]).sum()).backward()
        self.optimizer.step()
        with torch.no_grad():
            for noise in self.maps.values():
                noise.copy_((noise - noise.mean()) / noise.std(correction=0))
        return float(distance.detach()), image.detach()

    @torch.no_grad()
    def result(self) -> Projection:
        """As it is now. RuntimeError if the numbers are not finite."""
        ws = self.ws(self.w.detach(), self.label)
        distance, image = self.distance(ws)
        if not distance.isfinite():
            raise RuntimeError('the projection gave numbers that are not finite: the network or the detector is broken')
        maps = {name: noise.detach() for name, noise in self.maps.items()}
        return Projection(ws, self.label, maps, images_to_uint8(image)[0], float(distance), self.start_distance)

    def _first_label(self, device: torch.device) -> torch.Tensor:
        """The one-hot label of the class that starts nearest, [K]. Where the mix of classes can be found, sets its logits."""
        if self.G.c_dim == 0:
            return torch.zeros(0, device=device)
        distances = []
        for label in torch.eye(self.G.c_dim, device=device):
            mean, _deviation = w_statistics(self.G, label)
            distances.append(self.distance(self.ws(mean, label))[0])
        near = -torch.stack(distances)
        if has_code(self.G):
            self.logits = (near - near.mean()) / near.std(correction=0).clamp(min=torch.finfo(near.dtype).tiny)
        return torch.eye(self.G.c_dim, device=device)[near.argmax()]

    def _randn(self, like: torch.Tensor) -> torch.Tensor:
        return torch.randn(like.shape, generator=self.generator).to(like.device)


def has_code(G: Any) -> bool:
    """Whether the class is a part of ws by itself, so that it can be changed there."""
    return hasattr(G.mapping, 'class_code')


def w_statistics(G: Any, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """label: [K] -> mean of w [1, 1, w_dim], without the class code, and its deviation, the root of the mean squared distance."""
    normal = np.random.RandomState(MEAN_SEED).randn(NUM_MEAN_SAMPLES, G.z_dim)
    z = torch.from_numpy(normal).to(label.device, torch.float32)
    w = G.mapping(z, label.repeat(len(z), 1))[:, :1, :G.synthesis.w_dim]
    mean = w.mean(dim=0, keepdim=True)
    return mean, (w - mean).square().sum().div(len(w)).sqrt()


def learning_rate(t: float) -> float:
    """t: share of the steps that are done. A linear rise, and half a cosine down to 0."""
    fall = 0.5 - 0.5 * math.cos(math.pi * min(1, (1 - t) / FALL))
    return LEARNING_RATE * fall * min(1, t / RISE)


def map_roughness(noise: torch.Tensor) -> torch.Tensor:
    """noise: [H, W] -> sum of squared mean products of neighbours: 0 if noise is white at every size."""
    products = [(level * level.roll(1, axis)).mean().square() for level in _halvings(noise[None, None]) for axis in (2, 3)]
    return torch.stack(products).sum()


def _halvings(noise: torch.Tensor) -> Iterator[torch.Tensor]:
    """noise: [1, 1, H, W], and its means over 2 x 2 pixels, times 2 to keep the variance, and so on."""
    yield noise
    if noise.shape[2] > SMALLEST_MAP:
        yield from _halvings(avg_pool2d(noise, 2) * 2)


def with_code(G: Any, ws: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """ws: [N, L, any], labels: [N, K] -> the source's part of ws, and the labels' codes."""
    code = G.mapping.class_code(labels)
    return torch.cat([ws[:, :, :G.synthesis.w_dim], code[:, None].expand(-1, ws.shape[1], -1)], dim=2)
