"""Upsample, filter, downsample: resampling of images with FIR filters.

    y = down( filter( pad( up(x) ) ) )

up puts u - 1 zeros after every sample, pad adds zeros or crops, filter keeps the positions that the filter covers fully,
down keeps every d-th sample. The zeros are never stored, and only samples that are kept are computed: in C++ on a CPU (see
native_upfirdn2d), or by PyTorch's strided convolutions, transposed for upsampling, with one kernel per channel.

Along one axis, with n samples, filter size k and padding (p0, p1), the transposed convolution gives (n-1)u + k samples,
of which k-1-p0 at the beginning and k-u-p1 at the end are not wanted (wanted and zero, if negative).

Filters come from `setup_filter`: [kh, kw], or [k] for the outer product of a filter with itself (two 1-D passes).
Many channels are about four times as fast on a CPU if they are channels-last.
"""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import torch
import torch.nn.functional as F

from .cpu import upfirdn2d as native_upfirdn2d
from .implementation import choose

Scaling = int | Sequence[int]       # one factor or (x, y)
Padding = int | Sequence[int]       # one number, (x, y) or (left, right, top, bottom)
Borders = tuple[int, int, int, int]  # left, right, top, bottom


def setup_filter(f: torch.Tensor | Sequence | float | None, device: torch.device | str = 'cpu', normalize: bool = True,
                 flip_filter: bool = False, gain: float = 1, separable: bool | None = None) -> torch.Tensor:
    """Prepare a filter for the functions of this module: float32, [k] or [kh, kw].

    f: taps [k] or [kh, kw]; a number or None is one tap. normalize: divide by the sum. flip_filter: mirror. gain: factor on
    an image's values. separable: keep 1-D taps as they are; None does so from 8 taps on.
    """
    taps = torch.as_tensor(1 if f is None else f, dtype=torch.float32, device='cpu')
    if taps.ndim > 2 or taps.numel() == 0:
        raise ValueError(f'a filter needs taps [k] or [kh, kw]: got shape {list(taps.shape)}')
    if taps.ndim == 0:
        taps = taps[None]
    if separable is None:
        separable = taps.ndim == 1 and len(taps) >= 8
    if separable and taps.ndim == 2:
        raise ValueError(f'a separable filter is given by its 1-D taps: got shape {list(taps.shape)}')
    if taps.ndim == 1 and not separable:
        taps = torch.outer(taps, taps)
    if normalize:
        taps = taps / taps.sum()
    if flip_filter:
        taps = taps.flip(list(range(taps.ndim)))
    return (taps * gain ** (taps.ndim / 2)).to(device)


def upfirdn2d(x: torch.Tensor, f: torch.Tensor | None, up: Scaling = 1, down: Scaling = 1, padding: Padding = 0,
              flip_filter: bool = False, gain: float = 1, impl: str = 'cuda') -> torch.Tensor:
    """Upsample, pad or crop, filter, downsample [N, C, H, W].

    f: from `setup_filter`, or None for a single 1. up, down: factors, (x, y) if two. padding: in samples of the upsampled
    image, negative to crop. flip_filter: False convolves, True correlates. gain: factor on the result.
    impl: as in `implementation.choose`; C++ takes separable filters. No gradient for f. ValueError for wrong arguments, or if
    nothing is left of the image.
    """
    if x.ndim != 4:
        raise ValueError(f'expected images [N, C, H, W]: got shape {list(x.shape)}')
    form = choose(impl, x)
    ups, downs, borders = _parse_scaling(up, 'up'), _parse_scaling(down, 'down'), _parse_padding(padding)
    if f is None:
        f = torch.ones([1, 1], device=x.device)
    if f.ndim not in (1, 2):
        raise ValueError(f'a filter has 1 or 2 dimensions: got shape {list(f.shape)}')
    size = _size_of_result(x, f, ups, downs, borders)
    if form == 'triton':
        from .triton import upfirdn2d as triton_upfirdn2d  # the package triton need not be there
        return triton_upfirdn2d.upfirdn2d(x, f, ups, downs, borders, flip_filter, gain)
    if form == 'native':
        taps = native_upfirdn2d.split_filter(f, flip_filter, gain)
        if taps is not None:
            along_x, along_y = (native_upfirdn2d.Axis(size[i], ups[i], downs[i], borders[2 * i], taps[i]) for i in range(2))
            return native_upfirdn2d.resample(x, along_x, along_y)
        if impl == 'native':
            raise ValueError("impl='native' needs a separable filter: this one is no outer product of two; "
                             'leave impl out to get the fast form')
    return _upfirdn2d_ref(x, f, ups, downs, borders, flip_filter, gain)


def filter2d(x: torch.Tensor, f: torch.Tensor | None, padding: Padding = 0, flip_filter: bool = False, gain: float = 1,
             impl: str = 'cuda') -> torch.Tensor:
    """Filter [N, C, H, W] without changing its size, apart from `padding`; zeros beyond the border."""
    return upfirdn2d(x, f, padding=padding_for_filter(f, padding), flip_filter=flip_filter, gain=gain, impl=impl)


def upsample2d(x: torch.Tensor, f: torch.Tensor | None, up: Scaling = 2, padding: Padding = 0, flip_filter: bool = False,
               gain: float = 1, impl: str = 'cuda') -> torch.Tensor:
    """Enlarge [N, C, H, W] `up` times, centred, keeping the brightness; `padding` in output samples."""
    up_x, up_y = _parse_scaling(up, 'up')
    return upfirdn2d(x, f, up=up, padding=padding_for_filter(f, padding, up=up), flip_filter=flip_filter,
                     gain=gain * up_x * up_y, impl=impl)


def downsample2d(x: torch.Tensor, f: torch.Tensor | None, down: Scaling = 2, padding: Padding = 0, flip_filter: bool = False,
                 gain: float = 1, impl: str = 'cuda') -> torch.Tensor:
    """Reduce [N, C, H, W] `down` times, centred; `padding` in input samples."""
    return upfirdn2d(x, f, down=down, padding=padding_for_filter(f, padding, down=down), flip_filter=flip_filter,
                     gain=gain, impl=impl)


def padding_for_filter(f: torch.Tensor | None, padding: Padding = 0, up: Scaling = 1, down: Scaling = 1) -> Borders:
    """`padding` enlarged, as (left, right, top, bottom), such that resampling with the filter f keeps images centred.

    With k taps along an axis, upsampling u times takes (k+u-1)//2 before and (k-u)//2 after, downsampling d times
    (k-d+1)//2 and (k-d)//2; both amounts if both happen. Plain filtering is u = 1.
    """
    total = list(_parse_padding(padding))
    size = (1, 1) if f is None else (int(f.shape[-1]), int(f.shape[0]))     # int: constants of a traced program
    for axis, (k, u, d) in enumerate(zip(size, _parse_scaling(up, 'up'), _parse_scaling(down, 'down'), strict=True)):
        before, after = 2 * axis, 2 * axis + 1
        if u > 1 or d == 1:
            total[before] += (k + u - 1) // 2
            total[after] += (k - u) // 2
        if d > 1:
            total[before] += (k - d + 1) // 2
            total[after] += (k - d) // 2
    return total[0], total[1], total[2], total[3]


def _parse_scaling(scaling: Scaling, name: str) -> tuple[int, int]:
    """-> factors along (x, y)."""
    values = list(scaling) if isinstance(scaling, Sequence) else [scaling, scaling]
    if len(values) != 2 or not all(isinstance(v, Integral) and v >= 1 for v in values):
        raise ValueError(f'{name} must be one or two whole numbers from 1 on: got {scaling}')
    return int(values[0]), int(values[1])


def _parse_padding(padding: Padding) -> Borders:
    """-> (left, right, top, bottom)."""
    values = list(padding) if isinstance(padding, Sequence) else [padding]
    if len(values) not in (1, 2, 4) or not all(isinstance(v, Integral) for v in values):
        raise ValueError(f'padding must be 1, 2 or 4 whole numbers: got {padding}')
    left, right, top, bottom = (int(v) for v in values for _ in range(4 // len(values)))
    return left, right, top, bottom


def _size_of_result(x: torch.Tensor, f: torch.Tensor, up: tuple[int, int], down: tuple[int, int],
                    padding: Borders) -> tuple[int, int]:
    """-> (width, height)."""
    kernel = f.shape[-1], f.shape[0]
    width, height = ((x.shape[3 - i] * up[i] + padding[2 * i] + padding[2 * i + 1] - kernel[i]) // down[i] + 1 for i in range(2))
    if width < 1 or height < 1:
        raise ValueError(f'nothing is left of a {x.shape[3]}x{x.shape[2]} image with up {up}, padding {padding} and a filter '
                         f'of {kernel[0]}x{kernel[1]} taps; pad more')
    return width, height


def _upfirdn2d_ref(x: torch.Tensor, f: torch.Tensor, up: tuple[int, int], down: tuple[int, int], padding: Borders,
                   flip_filter: bool, gain: float) -> torch.Tensor:
    """`upfirdn2d` of checked arguments by PyTorch's operators."""
    if flip_filter:
        f = f.flip(list(range(f.ndim)))
    f = (f * gain ** (f.ndim / 2)).to(x.dtype)       # from here on: a convolution with f
    if f.ndim == 2:
        return _resample(x, f, up, down, padding)
    x = _resample(x, f[None, :], (up[0], 1), (down[0], 1), (*padding[:2], 0, 0))
    return _resample(x, f[:, None], (1, up[1]), (1, down[1]), (0, 0, *padding[2:]))


def _resample(x: torch.Tensor, f: torch.Tensor, up: tuple[int, int], down: tuple[int, int],
              padding: Borders) -> torch.Tensor:
    """One pass of upfirdn2d: convolution with f [kh, kw]."""
    kh, kw = f.shape
    left, right, top, bottom = padding
    if up == (1, 1) and f.numel() == 1:
        return pad2d(x, padding)[:, :, ::down[1], ::down[0]] * f
    size = x.shape[:2]
    if size[1] < 16:        # too few for a CPU's depthwise kernels, but the filter is the same for all images
        x = x.reshape(1, -1, *x.shape[2:])
    if up == (1, 1):
        y = _filter_then_drop(x, f, down, padding)
    else:
        crop = (kw - 1 - left, kw - up[0] - right, kh - 1 - top, kh - up[1] - bottom)
        y = _spread_then_filter(x, f, up, crop)[:, :, ::down[1], ::down[0]]
    return y.reshape(*size, *y.shape[2:])


def _filter_then_drop(x: torch.Tensor, f: torch.Tensor, down: tuple[int, int], padding: Borders) -> torch.Tensor:
    """Pad, convolve, keep every down-th sample: a strided convolution per channel."""
    left, right, top, bottom = padding
    own = (max(0, min(top, bottom)), max(0, min(left, right)))      # what the convolution can pad by itself
    x = pad2d(x, (left - own[1], right - own[1], top - own[0], bottom - own[0]))
    return _Depthwise.apply(x, f.flip([0, 1]), down[::-1], own, None)      # flipped: PyTorch correlates here


def _spread_then_filter(x: torch.Tensor, f: torch.Tensor, up: tuple[int, int], crop: Borders) -> torch.Tensor:
    """Put zeros between samples, convolve, crop: a strided transposed convolution per channel."""
    left, right, top, bottom = crop
    own = (max(0, min(top, bottom)), max(0, min(left, right)))
    size = [(n - 1) * u + k - 2 * c for n, u, k, c in zip(x.shape[2:], up[::-1], f.shape, own, strict=True)]
    y = _Depthwise.apply(x, f, up[::-1], own, size)
    return pad2d(y, (own[1] - left, own[1] - right, own[0] - top, own[0] - bottom))


class _Depthwise(torch.autograd.Function):
    """The same kernel [kh, kw] for every channel, and no gradient for it: correlation, or its transpose to a given size.

    Each is the other's backward pass. PyTorch's own derivatives are right too, but the second one computes gradients of
    the kernel, channel by channel, only to drop them: about three times slower on a CPU.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, kernel: torch.Tensor, stride: tuple[int, int], padding: tuple[int, int],
                transposed_size: Sequence[int] | None) -> torch.Tensor:
        ctx.save_for_backward(kernel)
        ctx.settings = stride, padding, (x.shape[2:] if transposed_size is None else None)
        weight = kernel.expand(x.shape[1], 1, *kernel.shape)
        if transposed_size is None:
            return F.conv2d(x, weight, stride=stride, padding=padding, groups=x.shape[1])
        rest = [size - (n - 1) * s - k + 2 * p
                for size, n, s, k, p in zip(transposed_size, x.shape[2:], stride, kernel.shape, padding, strict=True)]
        return F.conv_transpose2d(x, weight, stride=stride, padding=padding, output_padding=rest, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None, None, None]:
        kernel, = ctx.saved_tensors
        return _Depthwise.apply(grad, kernel, *ctx.settings), None, None, None, None


def pad2d(x: torch.Tensor, padding: Borders) -> torch.Tensor:
    """Put zeros around [N, C, H, W]: (left, right, top, bottom), negative to crop."""
    added, cropped = [max(n, 0) for n in padding], [min(n, 0) for n in padding]
    for step in (added, cropped):  # in this order: more may be cropped on one side than there was
        x = F.pad(x, step) if any(step) else x
    return x
