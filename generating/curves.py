"""The curve of a video's latents: a function from positions [N] among the seeds and labels [N, K] to ws [N, num_ws, w_dim]."""

import functools
from collections.abc import Callable

import numpy as np
import torch

from . import walks
from .sampler import Sampler

Curve = Callable[[np.ndarray, np.ndarray], torch.Tensor]
MAX_KEPT = 1024  # labels whose keys stay: a row of a grid asks for its own in every frame


def fixed(sampler: Sampler, seeds: list[int]) -> Curve:
    """No way at all: positions are whole numbers."""
    return lambda position, labels: sampler.ws([seeds[int(place)] for place in position], labels)


def spherical_curve(sampler: Sampler, seeds: list[int]) -> Curve:
    """Arcs through the seeds' z."""
    z = sampler.latents(seeds)

    def point(position: np.ndarray, labels: np.ndarray) -> torch.Tensor:
        weights = walks.spherical_weights(position, z)
        return sampler.ws_of_latents((weights @ z).astype(np.float32), labels)

    return point


def cubic_curve(sampler: Sampler, seeds: list[int]) -> Curve:
    """A cubic spline through the seeds' ws, which depend on the label. What all keys share, as a class code, stays to the bit."""
    @functools.lru_cache(maxsize=MAX_KEPT)
    def keys_of(label: bytes) -> torch.Tensor:
        return sampler.ws(seeds, np.tile(np.frombuffer(label, np.float32), [len(seeds), 1]))

    def point(position: np.ndarray, labels: np.ndarray) -> torch.Tensor:
        points = []
        for weights, label in zip(walks.cubic_weights(position, len(seeds)), labels, strict=True):
            keys = keys_of(label.tobytes())  # [seeds, num_ws, w_dim]
            steps = torch.tensordot(torch.from_numpy(weights).to(keys), keys - keys[0], dims=1)
            points.append(keys[0] + steps)
        return torch.stack(points)

    return point


CURVES = dict(spherical=spherical_curve, cubic=cubic_curve)
