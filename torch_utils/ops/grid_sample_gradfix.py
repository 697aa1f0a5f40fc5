"""Bilinear sampling of images whose gradient can be differentiated once more.

Sampling is linear in the image: y = S(grid) x. PyTorch gives the first derivative S^T but not a derivative of that, so
both S and S^T are made autograd functions here, each the other's backward pass. With respect to the grid the result is
differentiable once. Devices without a kernel for S^T (MPS) gather the four neighbours of every point instead.
"""

from typing import Any

import torch
import torch.nn.functional as F

# Part of the interface: training loops set it to True. Both values give the same sampling.
enabled = False

_BILINEAR, _ZEROS = 0, 0      # codes of PyTorch's kernels for the interpolation and the padding


def grid_sample(input: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Read [N, C, H, W] at grid [N, h, w, 2] = (x, y) -> [N, C, h, w].

    Bilinear, zero outside the image; -1 and 1 are the outer edges of the border pixels.
    """
    if input.ndim != 4 or grid.ndim != 4 or grid.shape[3] != 2 or grid.shape[0] != input.shape[0]:
        raise ValueError(f'expected images [N, C, H, W] and a grid [N, h, w, 2]: got {list(input.shape)} and {list(grid.shape)}')
    return _Sample.apply(input, grid) if input.device.type in ('cpu', 'cuda') else _gather(input, grid)


def _gather(image: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """The same from elementary operations, each of which PyTorch differentiates any number of times."""
    height, width = image.shape[2:]
    x = (grid[..., 0] + 1) * (width / 2) - 0.5      # [N, h, w], in pixels, 0 at the centre of the first
    y = (grid[..., 1] + 1) * (height / 2) - 0.5
    left, top = x.detach().floor(), y.detach().floor()
    pixels = image.flatten(2)                       # [N, C, H * W]
    total = torch.zeros([], dtype=image.dtype, device=image.device)
    for column, weight_x in ((left, left + 1 - x), (left + 1, x - left)):
        for row, weight_y in ((top, top + 1 - y), (top + 1, y - top)):
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            index = torch.where(inside, row * width + column, 0).long().flatten(1)      # [N, h * w]
            value = pixels.gather(2, index[:, None].expand(-1, image.shape[1], -1)).unflatten(2, x.shape[1:])
            total = total + value * torch.where(inside, weight_x * weight_y, 0)[:, None]
    return total


def _transposed(grad: torch.Tensor, image: torch.Tensor, grid: torch.Tensor, wants: list[bool]) -> tuple[torch.Tensor, ...]:
    """Gradients of sampling: [for the image, for the grid], those that `wants` names."""
    return torch.ops.aten.grid_sampler_2d_backward(grad, image, grid, _BILINEAR, _ZEROS, False, wants)


class _Sample(torch.autograd.Function):
    """y = S(grid) x."""

    @staticmethod
    def forward(ctx: Any, image: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(image, grid)
        return F.grid_sample(image, grid, mode='bilinear', padding_mode='zeros', align_corners=False)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        image, grid = ctx.saved_tensors
        grad_image = _Scatter.apply(grad, grid, image.shape) if ctx.needs_input_grad[0] else None
        grad_grid = _transposed(grad, image, grid, [False, True])[1] if ctx.needs_input_grad[1] else None
        return grad_image, grad_grid


class _Scatter(torch.autograd.Function):
    """x = S(grid)^T y."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, grid: torch.Tensor, shape: torch.Size) -> torch.Tensor:
        ctx.save_for_backward(grid)
        image = values.new_empty(1).expand(shape)       # only its shape is used
        return _transposed(values, image, grid, [True, False])[0]

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, None, None]:
        grid, = ctx.saved_tensors
        return _Sample.apply(grad, grid), None, None
