"""Resampling by its definition: zeros put between the samples, scipy's convolution in two dimensions, samples dropped."""

import numpy as np
import scipy.signal


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def four_borders(padding):
    values = [padding] if isinstance(padding, int) else list(padding)
    return [v for v in values for _ in range(4 // len(values))]


def reference(x, f, up=(1, 1), down=(1, 1), padding=0, flip=False, gain=1.0):
    """The definition, step by step: x [N, C, H, W], f [kh, kw], up and down (x, y)."""
    left, right, top, bottom = four_borders(padding)
    spread = np.zeros([*x.shape[:2], x.shape[2] * up[1], x.shape[3] * up[0]])
    spread[:, :, ::up[1], ::up[0]] = x
    spread = np.pad(spread, [(0, 0), (0, 0), (max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0))])
    height, width = spread.shape[2:]
    spread = spread[:, :, max(-top, 0):height - max(-bottom, 0), max(-left, 0):width - max(-right, 0)]
    apply = scipy.signal.correlate2d if flip else scipy.signal.convolve2d
    full = np.stack([np.stack([apply(channel, f, mode='valid') for channel in image]) for image in spread])
    return gain * full[:, :, ::down[1], ::down[0]]
