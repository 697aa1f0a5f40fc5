"""A toy set of two attributes: handwritten digits, each sheared to a slant, labelled with [class one-hot, slant].

The slant of an image is what its moments say, -cov(x, y) / var(y), weighted by brightness: how far right the top leans for
each unit of height. Every digit is first set upright, then sheared by MAX_SHEAR times the number in its label.
"""

import numpy as np
from PIL import Image

from training.data.builtin_data import digits
from training.data.dataset_writer import DatasetWriter

MAX_SHEAR = 0.35


def measured_slant(images):
    """uint8 or float [N, H, W], black is 0 -> float64 [N]."""
    weights = np.asarray(images, dtype=np.float64)
    weights = weights / weights.sum(axis=(1, 2), keepdims=True)
    y, x = np.mgrid[:weights.shape[1], :weights.shape[2]]
    x = x - (weights * x).sum(axis=(1, 2), keepdims=True)
    y = y - (weights * y).sum(axis=(1, 2), keepdims=True)
    return -(weights * x * y).sum(axis=(1, 2)) / (weights * y * y).sum(axis=(1, 2))


def sheared(image, shear):
    """uint8 [H, W], whose top moves right by shear times the height above the middle."""
    middle = (image.shape[0] - 1) / 2
    # Pillow maps output (x, y) to input (x + shear * (y - middle), y).
    matrix = (1, shear, -shear * (middle + 0.5), 0, 1, 0)
    size = image.shape[::-1]
    return np.asarray(Image.fromarray(image).transform(size, Image.Transform.AFFINE, matrix, resample=Image.Resampling.BILINEAR))


def make_slanted_digits(count, classes=10, seed=0):
    """-> uint8 [count, 32, 32], float32 labels [count, classes + 1]."""
    pixels, numbers = digits('train')
    pixels, numbers = pixels[numbers < classes], numbers[numbers < classes]
    rng = np.random.default_rng(seed)
    chosen = np.arange(count) % len(pixels)
    slants = rng.uniform(-1, 1, count)
    images = []
    for index, slant in zip(chosen, slants, strict=True):
        upright = sheared(pixels[index], -measured_slant(pixels[index][None])[0])
        images.append(sheared(upright, MAX_SHEAR * slant))
    labels = np.concatenate([np.eye(classes)[numbers[chosen]], slants[:, None]], axis=1)
    return np.stack(images), labels.astype(np.float32)


def write_slanted_digits(path, count, classes=10, seed=0):
    """The set as a zip; returns its path."""
    with DatasetWriter(path) as writer:
        for image, label in zip(*make_slanted_digits(count, classes, seed), strict=True):
            writer.add(Image.fromarray(image), [float(number) for number in label])
    return path
