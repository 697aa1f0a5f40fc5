"""The slow controllers of training: averaged generator, strength of adaptive augmentation, decay of the learning rates."""

import math
from collections.abc import Iterable

import torch

FINAL_RATE = 0.1  # of a learning rate that decays, at the end


def ema_beta(batch_size: int, ema_kimg: float, images_done: int, ema_rampup: float | None) -> float:
    """Decay per batch for a half-life of ema_kimg thousand images, at most ema_rampup times the images so far."""
    half_life = ema_kimg * 1000
    if ema_rampup is not None:
        half_life = min(half_life, images_done * ema_rampup)
    return 0.5 ** (batch_size / max(half_life, 1e-8))


@torch.no_grad()
def update_ema(average: torch.nn.Module, module: torch.nn.Module, beta: float) -> None:
    """Parameters p_avg <- p + beta (p_avg - p); buffers are copied. Both modules have the same structure."""
    for p_avg, p in zip(average.parameters(), module.parameters(), strict=True):
        p_avg.lerp_(p, 1 - beta)
    for b_avg, b in zip(average.buffers(), module.buffers(), strict=True):
        b_avg.copy_(b)


def next_augment_p(p: float, mean_sign: float, target: float, num_images: int, ada_kimg: float) -> float:
    """Adaptive augmentation (Karras et al. 2020, arXiv:2006.06676, section 3).

    Overfitting shows as D(x) > 0 on nearly all real x: where mean_sign = E[sign D(x)] exceeds the target, p rises, else it falls,
    by num_images / (ada_kimg * 1000), num_images being those since the last change. Never below 0; without a measurement (NaN), p
    stays.
    """
    if math.isnan(mean_sign):
        return p
    direction = (mean_sign > target) - (mean_sign < target)
    return max(p + direction * num_images / (ada_kimg * 1000), 0.0)


def rate_factor(progress: float, decay_share: float) -> float:
    """What learning rates are multiplied by: 1 until the last decay_share of the training, then linear down to FINAL_RATE.

    progress, decay_share: shares of the whole training, from 0 to 1.
    """
    if decay_share == 0:
        return 1.0
    decayed = (progress - (1 - decay_share)) / decay_share
    return 1 - (1 - FINAL_RATE) * min(max(decayed, 0.0), 1.0)


def set_rates(optimizers: Iterable[torch.optim.Optimizer], factor: float) -> None:
    """Learning rates: factor times those that the optimisers were built with."""
    for opt in optimizers:
        for group in opt.param_groups:
            group['lr'] = opt.defaults['lr'] * factor
