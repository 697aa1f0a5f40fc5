"""Spread within classes: how far apart images of one class lie, reduced to 8x8, where noise and texture count little.

A generator that learns a class from few images soon draws it in one way: the discriminator judges images one by one, and its
minibatch deviation has only the few images of a class that a batch holds. This compares their distances with those of real ones.
"""
import torch

SIZE = 8  # pixels that images are reduced to, as for the measured spread


def distances(img: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    """Euclidean distances, [P], of the reduced images of all pairs with equal labels. img: [N, C, H, W]; c: [N, K]."""
    small = torch.nn.functional.adaptive_avg_pool2d(img.to(torch.float32), SIZE).flatten(1)
    same = (c[:, None] == c[None]).all(dim=2)
    first, second = same.triu(diagonal=1).nonzero(as_tuple=True)
    return (small[first] - small[second]).square().sum(dim=1).add(1e-8).sqrt()


def shortfall(spread: torch.Tensor, real_spread: torch.Tensor) -> torch.Tensor:
    """max(0, log(real_spread / spread)): 0 for images as far apart as real ones, or farther."""
    return torch.log(real_spread / spread).clamp(min=0)
