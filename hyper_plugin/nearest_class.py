"""Find the known class that looks most like a new one, which then starts as that class.

    nearest(new) = argmin over known k of |m(new) - m(k)|,   m: mean over a class's images of the discriminator's features

The features are the input of its last layer (HyperDiscriminator.features); without a discriminator, the pixels, averaged down
to 32x32. Up to NUM_IMAGES real images of each class are used. If the data has none of the known classes, generated images of
these are used instead.
"""
from typing import Any

import numpy as np
import torch

from .class_growth import ClassGrowth

NUM_IMAGES = 64
SIDE = 32  # pixels
PASS = 8  # images per pass, unless the discriminator's groups determine it


@torch.no_grad()
def nearest_classes(growth: ClassGrowth, G: Any, D: Any | None, dataset: Any, seed: int, device: torch.device) -> dict[int, int]:
    """{index of a new class: index of the nearest known class}. G, D: of the snapshot, on the device."""
    if not growth.new:
        return {}
    classes = dataset.classes()
    order = np.random.RandomState(seed).permutation(len(classes))
    means = {place: _mean_of_real(dataset, order[classes[order] == place], D, device) for place in range(len(growth.names))}
    candidates = {known: means[place] for place, known in enumerate(growth.old) if known is not None}
    if not candidates:
        candidates = {known: _mean_of_generated(G, known, D, seed, device) for known in range(G.c_dim)}
    return {place: min(candidates, key=lambda known: float((means[place] - candidates[known]).square().sum()))
            for place in growth.new}


def _mean_of_real(dataset: Any, indices: np.ndarray, D: Any | None, device: torch.device) -> torch.Tensor:
    """The mean feature of a class's real images, at least one. indices: of these images -> [F]."""
    size = _pass_size(D)
    count = -(-min(len(indices), NUM_IMAGES) // size) * size  # images repeat in the last pass
    batches = np.resize(indices, count).reshape(-1, size)
    images = (torch.from_numpy(np.stack([dataset[int(index)][0] for index in batch])) for batch in batches)
    return _mean([_features(batch.to(device).float() / 127.5 - 1, D) for batch in images])


def _mean_of_generated(G: Any, known: int, D: Any | None, seed: int, device: torch.device) -> torch.Tensor:
    """The mean feature of a class's generated images, [F]."""
    size = _pass_size(D)
    z = torch.randn([NUM_IMAGES // size * size or size, G.z_dim], generator=torch.Generator().manual_seed(seed)).to(device)
    c = torch.eye(G.c_dim, device=device)[[known] * size]
    return _mean([_features(G(batch, c, noise_mode='const').clamp(-1, 1), D) for batch in z.split(size)])


def _pass_size(D: Any | None) -> int:
    """Images that fill a group of the minibatch deviation."""
    deviation = None if D is None else D.b4.mbstd
    return PASS if deviation is None or deviation.group_size is None else deviation.group_size


def _features(images: torch.Tensor, D: Any | None) -> torch.Tensor:
    """[N, C, H, W] in [-1, 1] -> [N, F]."""
    if D is None:
        side = min(images.shape[2], SIDE)
        return torch.nn.functional.adaptive_avg_pool2d(images, side).flatten(1)
    return D.features(images, torch.zeros([len(images), D.c_dim], device=images.device))


def _mean(features: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat(features).cpu().double().mean(dim=0)
