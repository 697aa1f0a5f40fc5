"""Class conditioning that fades in during training, against the collapse of classes with few images.

"Collapse by Conditioning" (Shahbazi et al. 2022, arXiv:2201.06578): GANs of few images collapse when they are conditional
from the first step, and not when they learn without classes first. The strength of the classes is, after t images,

    lambda(t) = clip((t - START) / (END - START), 0, 1)

The paper scales the label's embedding in the generator with lambda, and adds lambda times a conditional loss to that of an
unconditional head of the discriminator. Here the labels themselves fade, around the mean label of the data set,

    c_lambda = mean + lambda (c - mean)

for real and generated images alike. At lambda = 0 all images have the same label: unconditional training, in
any network that takes soft labels, plain or hyper-modulated, with no head and no loss of its own.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch


def parse_ramp(text: str) -> list[float]:
    """'200,400' -> [200, 400], thousands of images. ValueError unless 0 <= START <= END, both finite."""
    try:
        start, end = (float(part) for part in text.split(','))
    except ValueError:
        start = end = math.nan
    if not 0 <= start <= end < math.inf:  # false for NaN too
        raise ValueError(f'--cond-ramp={text}: expected START,END in thousands of images, 0 <= START <= END; '
                         'write for example --cond-ramp=200,400')
    return [start, end]


def ramp_strength(images_done: int, cond_ramp: Sequence[float] | None) -> float:
    """lambda in [0, 1] after images_done images. cond_ramp: START, END in thousands of images; None: 1 throughout."""
    if cond_ramp is None:
        return 1.0
    start, end = (1000 * kimg for kimg in cond_ramp)
    if images_done >= end:  # also where START = END, a step
        return 1.0
    return 0.0 if images_done <= start else (images_done - start) / (end - start)


def mean_label(dataset: Any) -> torch.Tensor:
    """float32 [label_dim]: the mean over the data set's images; for classes, their shares of the images."""
    if dataset.has_onehot_labels:
        return torch.from_numpy((dataset.class_counts() / len(dataset)).astype(np.float32))
    return torch.from_numpy(dataset.labels().mean(axis=0, dtype=np.float64).astype(np.float32))


def fade_labels(c: torch.Tensor, mean_label: torch.Tensor, strength: float) -> torch.Tensor:
    """Labels c [N, K] drawn towards the mean label [K]. strength 1: c itself; 0: the mean, bit for bit."""
    return c if strength == 1 else mean_label.expand_as(c).lerp(c, strength)
