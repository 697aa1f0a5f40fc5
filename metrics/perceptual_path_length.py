"""Perceptual path length (Karras et al. 2018, arXiv:1812.04948, section 4.1).

    l = E[ d(g(path(t)), g(path(t + epsilon))) / epsilon^2 ]

path: between two latents, along the sphere in Z, straight in W. d: squared distance of perceptual embeddings.
t: uniform in [0, 1), 'full', or 0, 'end'. Of the values, the lowest and the highest percent are left out.
"""
from typing import Any

import numpy as np
import torch

from metrics.features.detectors import VGG16_URL
from torch_utils.collectives import gather_rows

from . import metric_utils
from .metric_options import MetricOptions

EMBEDDED_SIZE = 256  # pixels: larger images are averaged down to it
TRIMMED_PERCENT = 1  # at each end
LPIPS = dict(resize_images=False, return_lpips=True)


def compute_ppl(
    opts: MetricOptions, num_samples: int, epsilon: float, space: str, sampling: str, crop: bool, batch_size: int
) -> float:
    """Path length from num_samples pairs of images. space: 'z' or 'w'. sampling: 'full' or 'end'. crop: keep the middle of
    faces. batch_size: pairs at a time. NaN in all processes but the first.
    """
    if space not in ('z', 'w') or sampling not in ('full', 'end'):
        raise ValueError(f"expected space 'z' or 'w' and sampling 'full' or 'end', found {space!r} and {sampling!r}")
    G, G_kwargs = metric_utils.prepare_generator(opts)
    detector = metric_utils.get_feature_detector(opts, VGG16_URL)
    sampler = metric_utils.LatentSampler(opts, G.c_dim, G.z_dim)
    progress = opts.progress.sub('Path lengths', num_samples)
    distances: list[np.ndarray] = []
    with metric_utils.seeded_noise(opts), torch.no_grad():
        for done in range(0, num_samples, batch_size * opts.num_gpus):
            z0, z1 = sampler.latents(batch_size, 2).unbind(dim=1)
            t = sampler.uniform(batch_size)[:, None] * (sampling == 'full')
            c = sampler.conditions(batch_size)
            redraw_noise(G.synthesis)
            ws = path_ends(G, z0, z1, c, t, epsilon, space)
            images = G.synthesis(ws, noise_mode='const', **{**G_kwargs, 'force_fp32': True})
            embedded = detector(to_levels(images, crop), **LPIPS)
            first, second = embedded.chunk(2)
            lengths = (first - second).square().sum(dim=1) / epsilon**2
            distances.append(gather_rows(lengths).cpu().numpy())
            progress.update(min(done + batch_size * opts.num_gpus, num_samples))
    opts.facts['num_gen'] = num_samples
    return trimmed_mean(np.concatenate(distances)[:num_samples]) if opts.rank == 0 else float('nan')


def path_ends(
    G: Any, z0: torch.Tensor, z1: torch.Tensor, c: torch.Tensor, t: torch.Tensor, epsilon: float, space: str
) -> torch.Tensor:
    """ws at t and at t + epsilon of N paths: [2 N, num_ws, w_dim]. z0, z1: [N, z_dim]; c: [N, c_dim]; t: [N, 1]."""
    if space == 'z':
        points = torch.cat([spherical(z0, z1, t), spherical(z0, z1, t + epsilon)])
        return G.mapping(points, c.repeat(2, 1))
    w0, w1 = G.mapping(torch.cat([z0, z1]), c.repeat(2, 1)).chunk(2)
    t = t[:, :, None]
    return torch.cat([w0 + (w1 - w0) * t, w0 + (w1 - w0) * (t + epsilon)])


def spherical(a: torch.Tensor, b: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Points of unit length at the share t [N, 1] of the arc from the direction of a to that of b, [N, D]."""
    a, b = a / a.norm(dim=1, keepdim=True), b / b.norm(dim=1, keepdim=True)
    cosine = (a * b).sum(dim=1, keepdim=True)
    aside = b - cosine * a
    aside = aside / aside.norm(dim=1, keepdim=True).clamp(min=torch.finfo(aside.dtype).tiny)
    angle = t * cosine.clamp(-1, 1).acos()
    return a * angle.cos() + aside * angle.sin()


def redraw_noise(synthesis: torch.nn.Module) -> None:
    """Fresh per-pixel noise in all buffers of a synthesis network, from torch's own generator."""
    for name, buffer in synthesis.named_buffers():
        if name.endswith('noise_const'):
            buffer.normal_()


def to_levels(images: torch.Tensor, crop: bool) -> torch.Tensor:
    """float [N, C, H, W] in [-1, 1] -> [0, 255]; cropped to rows 3/8 to 7/8 and columns 2/8 to 6/8; averaged to 256x256."""
    if not torch.isfinite(images).all():
        raise ValueError('generated images hold NaN or infinity: the network is broken, take an older snapshot')
    if crop:
        eighth = images.shape[2] // 8
        images = images[:, :, 3 * eighth:7 * eighth, 2 * eighth:6 * eighth]
    factor = images.shape[2] // EMBEDDED_SIZE
    if factor > 1:
        images = torch.nn.functional.avg_pool2d(images, factor)
    return (images + 1) * (255 / 2)


def trimmed_mean(values: np.ndarray) -> float:
    """Mean of the values from the 1 % order statistic (the lower one) to the 99 % one (the higher). values: [N]."""
    lo = np.percentile(values, TRIMMED_PERCENT, method='lower')
    hi = np.percentile(values, 100 - TRIMMED_PERCENT, method='higher')
    return float(values[(lo <= values) & (values <= hi)].mean(dtype=np.float64))
