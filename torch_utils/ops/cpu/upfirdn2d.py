"""Upsample, filter, downsample on a CPU by the kernel in cpu/upfirdn2d.cpp: float32, separable filters, any memory format.

Along one axis, with the taps c of length K and padding p in front,

    y[o] = sum_k c[k] x[i]   over   i * up = o * down + k - p.

For the gradient the sum runs over o instead of i: up and down change places, the taps turn around, the padding becomes
K-1-p. So the kernel serves derivatives of every order.
"""

import ctypes
import functools
from typing import Any, NamedTuple

import numpy as np
import torch

from torch_utils import custom_ops

RANK_1_TOLERANCE = 1e-6     # of the largest tap: products and quotients in float32 are as near as that


class Axis(NamedTuple):
    """What happens along one axis, of which the result has `size` samples."""
    size: int
    up: int
    down: int
    pad: int
    taps: tuple[float, ...]     # correlated with the image


def split_filter(f: torch.Tensor, flip_filter: bool, gain: float) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Taps along x and y such that correlation with both is f's work, f [k] or [kh, kw]; None if f is no outer product."""
    return _split(f.detach().to(torch.float32).numpy().tobytes(), tuple(f.shape), flip_filter, gain)


@functools.lru_cache(maxsize=256)
def _split(values: bytes, shape: tuple[int, ...], flip: bool, gain: float) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    f = np.frombuffer(values, np.float32).astype(np.float64).reshape(shape)
    if f.ndim == 1:
        x_taps, y_taps = f, f
    else:
        row, column = np.unravel_index(abs(f).argmax(), shape)
        x_taps = f[row] / (abs(f[row]).sum() or 1)
        y_taps = f[:, column] / (x_taps[column] or 1)
        if (abs(np.outer(y_taps, x_taps) - f) > RANK_1_TOLERANCE * abs(f).max()).any():
            return None
    order = 1 if flip else -1
    return tuple(x_taps[::order].tolist()), tuple((gain * y_taps)[::order].tolist())


def resample(x: torch.Tensor, along_x: Axis, along_y: Axis) -> torch.Tensor:
    """[N, C, H, W] -> [N, C, along_y.size, along_x.size], in the memory format of x."""
    return _Resample.apply(x, along_x, along_y)


class _Resample(torch.autograd.Function):

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, along_x: Axis, along_y: Axis) -> torch.Tensor:
        ctx.transposed = _transposed(along_x, x.shape[3]), _transposed(along_y, x.shape[2])
        return _run(x, along_x, along_y)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return resample(grad, *ctx.transposed), None, None


def _transposed(axis: Axis, size: int) -> Axis:
    return Axis(size, axis.down, axis.up, len(axis.taps) - 1 - axis.pad, axis.taps[::-1])


def _run(x: torch.Tensor, along_x: Axis, along_y: Axis) -> torch.Tensor:
    shape, strides = x.shape, x.stride()
    channels_last = _is_channels_last(shape, strides)
    if strides[3] != (shape[1] if channels_last else 1):
        x = x.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
        strides = x.stride()
    y = torch.empty((shape[0], shape[1], along_y.size, along_x.size), dtype=x.dtype, device=x.device,
                    memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    geometry, taps = _pack(shape, strides, channels_last, along_x, along_y)
    custom_ops.kernel('upfirdn2d', 'ppppi')(x.data_ptr(), y.data_ptr(), geometry, taps, torch.get_num_threads())
    return y


def _is_channels_last(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether an image's channels are next to each other, of more than one; in doubt, about one pixel, the strides decide."""
    return strides[1] == 1 and shape[1] > 1 and strides[3] != 1


@functools.lru_cache(maxsize=1024)
def _pack(shape: tuple[int, ...], strides: tuple[int, ...], channels_last: bool, along_x: Axis, along_y: Axis) -> tuple[Any, Any]:
    """The kernel's `Geometry` and taps, as it reads them."""
    planes, channels = (1, shape[1]) if channels_last else (shape[1], 1)
    fields = [shape[0], planes, channels, *strides[:3]]
    for size, axis in [(shape[3], along_x), (shape[2], along_y)]:
        fields += [size, axis.size, axis.up, axis.down, axis.pad, len(axis.taps)]
    taps = [*along_x.taps, *along_y.taps]
    return (ctypes.c_int64 * len(fields))(*fields), (ctypes.c_float * len(taps))(*taps)
