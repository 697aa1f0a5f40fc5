"""Bilinear sampling against a loop over pixels, and its derivatives against finite differences."""

import math

import numpy as np
import pytest
import torch

from torch_utils.ops import grid_sample_gradfix


def operands(reach=1.3, channels=2):
    """The grid goes beyond the image, and stays off the lines where the derivative jumps."""
    rng = np.random.default_rng(0)
    image, grid = rng.normal(size=(2, channels, 5, 7)), rng.uniform(-reach, reach, size=(2, 3, 4, 2))
    return torch.tensor(image, requires_grad=True), torch.tensor(grid, requires_grad=True)


def loop(image, grid):
    result = np.zeros([*image.shape[:2], *grid.shape[1:3]])
    height, width = image.shape[2:]
    for n, i, j in np.ndindex(*grid.shape[:3]):
        x, y = ((grid[n, i, j] + 1) * [width, height] - 1) / 2
        for column in (math.floor(x), math.floor(x) + 1):
            for row in (math.floor(y), math.floor(y) + 1):
                if 0 <= column < width and 0 <= row < height:
                    result[n, :, i, j] += image[n, :, row, column] * (1 - abs(x - column)) * (1 - abs(y - row))
    return result


@pytest.mark.parametrize('way', [grid_sample_gradfix.grid_sample, grid_sample_gradfix._gather])
def test_matches_loop(way):
    image, grid = operands()
    np.testing.assert_allclose(way(image, grid).detach().numpy(), loop(image.detach().numpy(), grid.detach().numpy()), atol=1e-12)


@pytest.mark.parametrize('way', [grid_sample_gradfix.grid_sample, grid_sample_gradfix._gather])
def test_derivatives(way):
    image, grid = operands()
    assert torch.autograd.gradcheck(way, (image, grid))
    assert torch.autograd.gradgradcheck(lambda image: way(image, grid.detach()).square(), (image,))


def test_type_is_kept():
    image, grid = (t.detach().float() for t in operands())
    assert grid_sample_gradfix.grid_sample(image, grid).dtype == torch.float32


def test_wrong_shapes():
    for image, grid in [((2, 3, 4), (2, 1, 1, 2)), ((2, 3, 4, 4), (2, 1, 1, 3)), ((2, 3, 4, 4), (1, 1, 1, 2))]:
        with pytest.raises(ValueError, match='expected images'):
            grid_sample_gradfix.grid_sample(torch.zeros(image), torch.zeros(grid))
