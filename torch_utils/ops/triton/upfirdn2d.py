"""upfirdn2d in Triton: each sample of the result gathers the taps of its phase, and no inserted zero is touched.

With taps g[0..K) in correlation order, factors u, d and padding p before the first sample, along each axis:

    y[o] = sum_k g[k] x[(o d + k - p) / u]    over the k for which the division leaves no remainder

The gradient with respect to x is the same operator with u and d exchanged, the taps reversed and padding K - 1 - p; so are
all further derivatives. Arithmetic is in float32, in float64 for float64 images.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
import triton
import triton.language as tl

from . import support as triton_support
from .tile import tile

Pair = tuple[int, int]      # along (y, x)
STRIP = 8                   # lines of the result that one block of _filter_kernel makes from 3 more


@dataclass(frozen=True)
class Geometry:
    """One pass over the images. pad: before the first sample, negative to crop. size: of the result. flip: taps run backwards."""
    up: Pair
    down: Pair
    pad: Pair
    size: Pair
    flip: bool
    gain: float


def upfirdn2d(x: torch.Tensor, f: torch.Tensor, up: Pair, down: Pair, padding: tuple[int, int, int, int], flip_filter: bool,
              gain: float) -> torch.Tensor:
    """upfirdn2d.upfirdn2d with all arguments checked and given: up, down (x, y); padding (left, right, top, bottom).

    The result has the memory format of x. Differentiable any number of times with respect to x.
    """
    left, right, top, bottom = padding
    taps = (f.shape[0], f.shape[-1])
    size = tuple((n * u + before + after - k) // d + 1 for n, u, before, after, k, d in zip(
        x.shape[2:], up[::-1], (top, left), (bottom, right), taps, down[::-1], strict=True))
    whole = Geometry(up[::-1], down[::-1], (top, left), size, not flip_filter, gain)
    if f.ndim == 2:
        return _UpFirDn.apply(x, f, whole)
    along_x = replace(whole, up=(1, up[0]), down=(1, down[0]), pad=(0, left), size=(x.shape[2], size[1]), gain=1.0)
    along_y = replace(whole, up=(up[1], 1), down=(down[1], 1), pad=(top, 0))
    return _UpFirDn.apply(_UpFirDn.apply(x, f[None, :], along_x), f[:, None], along_y)


def probe(device: torch.device) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Results of the kernels on a few numbers, and what they should be."""
    f = torch.arange(16.0, device=device).reshape(4, 4) / 16
    x = torch.linspace(-1, 1, 64, device=device).reshape(1, 4, 4, 4)
    for up, down in ((1, 1), (1, 2), (2, 1)):
        spread = x.new_zeros(1, 4, 4 * up, 4 * up)
        spread[:, :, ::up, ::up] = x
        want = F.conv2d(F.pad(spread, [2] * 4), f.expand(4, 1, 4, 4), stride=down, groups=4)
        for dtype in (torch.float16, torch.float32):
            for memory_format in (torch.contiguous_format, torch.channels_last):
                image = x.to(dtype).contiguous(memory_format=memory_format)
                yield upfirdn2d(image, f, (up, up), (down, down), (2, 2, 2, 2), True, 1.0), want


class _UpFirDn(torch.autograd.Function):
    """One pass with taps f [kh, kw], which get no gradient."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, f: torch.Tensor, geometry: Geometry) -> torch.Tensor:
        ctx.save_for_backward(f)
        ctx.geometry, ctx.size = geometry, tuple(x.shape[2:])
        return _launch(x, f, geometry)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        f, = ctx.saved_tensors
        g = ctx.geometry
        pad = (f.shape[0] - 1 - g.pad[0], f.shape[1] - 1 - g.pad[1])
        back = replace(g, up=g.down, down=g.up, pad=pad, size=ctx.size, flip=not g.flip)
        return _UpFirDn.apply(dy, f, back), None, None


def _launch(x: torch.Tensor, f: torch.Tensor, geometry: Geometry) -> torch.Tensor:
    images, channels, height, width = x.shape
    channels_last = x.stride(1) == 1 and channels > 1
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    x = x.contiguous(memory_format=memory_format)
    y = torch.empty((images, channels, *geometry.size), dtype=x.dtype, device=x.device, memory_format=memory_format)
    if y.numel() == 0:
        return y
    cols = channels if channels_last else geometry.size[1]
    is_filter = geometry.up == geometry.down == (1, 1) and f.shape[0] == 4
    rows = y.numel() // cols // (geometry.size[0] if is_filter else 1)
    block_rows, block_cols, num_tiles = triton_support.tile(rows, cols)
    arguments = (x, f.contiguous(), y, rows, cols, height, width, *geometry.size, *geometry.pad, geometry.gain)
    common = dict(TAPS_X=f.shape[1], FLIP=geometry.flip, CHANNELS_LAST=channels_last, BLOCK_ROWS=block_rows,
                  BLOCK_COLS=block_cols)
    with triton_support.on_device(x):
        if is_filter:
            _filter_kernel[(num_tiles, -(-geometry.size[0] // STRIP))](*arguments, LINES=STRIP, **common)
        else:
            _upfirdn2d_kernel[(num_tiles,)](*arguments, UP_Y=geometry.up[0], UP_X=geometry.up[1], DOWN_Y=geometry.down[0],
                                            DOWN_X=geometry.down[1], TAPS_Y=f.shape[0], **common)
    return y


@triton.jit
def _upfirdn2d_kernel(x_ptr, f_ptr, y_ptr, rows, cols, height, width, out_height, out_width, pad_y, pad_x, gain,
                      UP_Y: tl.constexpr, UP_X: tl.constexpr, DOWN_Y: tl.constexpr, DOWN_X: tl.constexpr, TAPS_Y: tl.constexpr,
                      TAPS_X: tl.constexpr, FLIP: tl.constexpr, CHANNELS_LAST: tl.constexpr, BLOCK_ROWS: tl.constexpr,
                      BLOCK_COLS: tl.constexpr):
    """Rows of the result's memory: pixels of `cols` channels each if channels-last, else lines of `cols` pixels."""
    WIDE: tl.constexpr = tl.float64 if x_ptr.dtype.element_ty == tl.float64 else tl.float32
    row, col, offset, exists = tile(rows, cols, BLOCK_ROWS, BLOCK_COLS)
    if CHANNELS_LAST:
        out_x, line = row % out_width, row // out_width
        step = cols
    else:
        out_x, line = col, row
        step = 1
    out_y, plane = line % out_height, line // out_height
    source = x_ptr + plane.to(tl.int64) * (height * width * step)
    if CHANNELS_LAST:
        source += col
    first_y = _first_sample(out_y * DOWN_Y, pad_y, UP_Y)
    first_x = _first_sample(out_x * DOWN_X, pad_x, UP_X)
    tap_y, tap_x = 0, 0     # the same everywhere, which saves memory accesses
    if UP_Y > 1:
        tap_y = first_y * UP_Y - (out_y * DOWN_Y - pad_y)
    if UP_X > 1:
        tap_x = first_x * UP_X - (out_x * DOWN_X - pad_x)
    total = tl.zeros([BLOCK_ROWS, BLOCK_COLS], dtype=WIDE)
    for i in tl.static_range((TAPS_Y + UP_Y - 1) // UP_Y):
        for j in tl.static_range((TAPS_X + UP_X - 1) // UP_X):
            ky, kx = tap_y + i * UP_Y, tap_x + j * UP_X
            is_tap = (ky < TAPS_Y) & (kx < TAPS_X)
            if FLIP:
                ky, kx = TAPS_Y - 1 - ky, TAPS_X - 1 - kx
            tap = tl.load(f_ptr + ky * TAPS_X + kx, mask=is_tap, other=0).to(WIDE)
            y, x = first_y + i, first_x + j
            is_sample = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            sample = tl.load(source + (y * width + x) * step, mask=exists & is_sample, other=0).to(WIDE)
            total += tap * sample
    tl.store(y_ptr + offset, total * gain, mask=exists)


@triton.jit
def _filter_kernel(x_ptr, f_ptr, y_ptr, rows, cols, height, width, out_height, out_width, pad_y, pad_x, gain,
                   LINES: tl.constexpr, TAPS_X: tl.constexpr, FLIP: tl.constexpr, CHANNELS_LAST: tl.constexpr,
                   BLOCK_ROWS: tl.constexpr, BLOCK_COLS: tl.constexpr):
    """Factors of 1 and four taps along y, as the networks have most: a block walks down its lines, reads each sample once for
    the four lines of the result that it belongs to, and keeps their sums.

    Rows: pixels in one line of each image, with `cols` channels, if channels-last; else planes, with `cols` pixels in a line.
    """
    WIDE: tl.constexpr = tl.float64 if x_ptr.dtype.element_ty == tl.float64 else tl.float32
    row, col, _offset, exists = tile(rows, cols, BLOCK_ROWS, BLOCK_COLS)
    if CHANNELS_LAST:
        out_x, plane, channel = row % out_width, row // out_width, col
        step = cols
    else:
        out_x, plane, channel = col, row, 0
        step = 1
    source = x_ptr + plane.to(tl.int64) * (height * width * step) + channel
    target = y_ptr + plane.to(tl.int64) * (out_height * out_width * step) + out_x * step + channel
    top = tl.program_id(1) * LINES + row * 0    # a block, as masks have to be
    lacks_three = tl.zeros([BLOCK_ROWS, BLOCK_COLS], dtype=WIDE)    # sums of the lines of which 3, 2, 1 terms are missing
    lacks_two, lacks_one = lacks_three, lacks_three
    for i in tl.static_range(LINES + 3):
        y = top + i - pad_y
        first = tl.zeros([BLOCK_ROWS, BLOCK_COLS], dtype=WIDE)
        second, third, fourth = first, first, first
        for j in tl.static_range(TAPS_X):
            x = out_x + j - pad_x
            is_sample = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            sample = tl.load(source + (y * width + x) * step, mask=exists & is_sample, other=0).to(WIDE)
            first += _tap(f_ptr, 0, j, TAPS_X, FLIP).to(WIDE) * sample
            second += _tap(f_ptr, 1, j, TAPS_X, FLIP).to(WIDE) * sample
            third += _tap(f_ptr, 2, j, TAPS_X, FLIP).to(WIDE) * sample
            fourth += _tap(f_ptr, 3, j, TAPS_X, FLIP).to(WIDE) * sample
        line = top + i - 3
        if i >= 3:
            tl.store(target + line * out_width * step, (lacks_one + fourth) * gain, mask=exists & (line < out_height))
        lacks_one, lacks_two, lacks_three = lacks_two + third, lacks_three + second, first


@triton.jit
def _tap(f_ptr, y: tl.constexpr, x: tl.constexpr, TAPS_X: tl.constexpr, FLIP: tl.constexpr):
    """Tap (y, x), correlated, of a filter with four lines."""
    if FLIP:
        tap = tl.load(f_ptr + (4 * TAPS_X - 1 - y * TAPS_X - x))
    else:
        tap = tl.load(f_ptr + (y * TAPS_X + x))
    return tap


@triton.jit
def _first_sample(position, pad, UP: tl.constexpr):
    """ceil((position - pad) / UP), made of numbers that are not negative: Triton's division cuts towards zero."""
    whole = (tl.maximum(pad, 0) + UP - 1) // UP     # at least pad / UP
    return (position - pad + whole * UP + UP - 1) // UP - whole
