"""The pictures of a training run: real images and samples of the averaged generator.

With classes, one row per class with its name beside it, and one z per column, so that a column shows what the class alone
changes. Without, a plain grid.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.data.image_grid import make_grid, save_image, to_pixels

GRID_WIDTH, GRID_HEIGHT = 1280, 960  # pixels aimed at
MAX_CLASS_ROWS = 32


@dataclasses.dataclass(frozen=True)
class SampleGrid:
    """What every grid of a run shows. z: [N, z_dim], c: [N, c_dim], row by row; row_names None for a plain grid."""

    z: torch.Tensor
    c: torch.Tensor
    num_columns: int
    row_names: list[str] | None
    real_indices: list[int]


def choose_samples(dataset: Any, z_dim: int, seed: int, device: torch.device) -> SampleGrid:
    """Choose the latents and real images of a run's grids by `seed`."""
    random = np.random.RandomState(seed)
    height, width = dataset.image_shape[1:]
    num_columns = int(np.clip(GRID_WIDTH // width, 4, 16))
    num_rows = int(np.clip(GRID_HEIGHT // height, 2, 12))
    order = random.permutation(len(dataset))
    if dataset.has_labels and dataset.has_onehot_labels:
        num_rows, row_names, indices, labels = _class_rows(dataset, order, num_columns)
        latents = np.tile(random.randn(num_columns, z_dim), [num_rows, 1])
    else:
        row_names = None
        indices = np.resize(order, num_rows * num_columns).tolist()
        labels = dataset.labels(indices)
        latents = random.randn(num_rows * num_columns, z_dim)
    z, c = (torch.from_numpy(array.astype(np.float32)).to(device) for array in (latents, labels))
    return SampleGrid(z, c, num_columns, row_names, indices)


def _class_rows(dataset: Any, order: np.ndarray, num_columns: int) -> tuple[int, list[str], list[int], np.ndarray]:
    """-> rows, their names, indices of real images, labels; the images of a small class repeat."""
    classes = dataset.classes()[order]
    shown = [index for index in range(dataset.label_dim) if (classes == index).any()][:MAX_CLASS_ROWS]
    indices = [int(i) for index in shown for i in np.resize(order[classes == index], num_columns)]
    labels = np.repeat(np.eye(dataset.label_dim)[shown], num_columns, axis=0)
    return len(shown), [dataset.class_names[index] for index in shown], indices, labels


def save_reals(grid: SampleGrid, dataset: Any, path: Path) -> None:
    """Write the grid of real images."""
    images = np.stack([dataset[index][0] for index in grid.real_indices]).transpose(0, 2, 3, 1)  # [N, H, W, C]
    save_image(make_grid(images, grid.num_columns, grid.row_names), path)


@torch.no_grad()
def save_fakes(grid: SampleGrid, generator: torch.nn.Module, batch: int, path: Path) -> None:
    """Write the grid of generated images, made `batch` at a time with constant noise."""
    pairs = zip(grid.z.split(batch), grid.c.split(batch), strict=True)
    images = [to_pixels(generator(z, c, noise_mode='const').cpu()) for z, c in pairs]
    save_image(make_grid(np.concatenate(images), grid.num_columns, grid.row_names), path)
