"""scaled_act in Triton:  y = clip(g act(x * scale + offset + noise), -c, c)  in one pass over memory.

For piecewise linear functions. The gradients start from y, by the derivative of triton_bias_act and PyTorch's operators, so
that they can be differentiated again. Arithmetic is in float32, in float64 for float64 images.
"""

from collections.abc import Iterator
from typing import Any

import torch
import triton
import triton.language as tl

from . import activations as triton_activations
from . import support as triton_support
from .bias_act import Settings, derivative
from .tile import tile


def scaled_act(x: torch.Tensor, scale: torch.Tensor | None, offset: torch.Tensor | None, noise: torch.Tensor | None,
               act: str, alpha: float, gain: float, clamp: float | None) -> torch.Tensor:
    """scaled_act.scaled_act for a piecewise linear act, all arguments given. The result has the memory format of x."""
    settings = Settings(act, float(alpha), float(gain), clamp, 1)
    return _ScaledAct.apply(triton_support.plain_layout(x), scale, offset, noise, settings)


def probe(device: torch.device) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Results of the kernel on a few numbers, and what they should be."""
    x = torch.linspace(-1, 1, 128, device=device).reshape(2, 4, 4, 4)
    scale, offset, noise = x[:, :, 0, 0] + 2, x[0, :, 1, 1], x[:, :1] / 2
    v = x * scale[:, :, None, None] + offset.reshape(4, 1, 1) + noise
    for dtype in (torch.float16, torch.float32):
        for memory_format in (torch.contiguous_format, torch.channels_last):
            image = x.to(dtype).contiguous(memory_format=memory_format)
            got = scaled_act(image, scale, offset, noise, 'lrelu', 0.2, 2.0, 3.0)
            yield got, torch.where(v > 0, 2 * v, 0.4 * v).clamp(-3, 3)


class _ScaledAct(torch.autograd.Function):
    """y from x, NCHW or channels-last without holes; scale [N, C]; offset [C] or [N, C]; noise [H, W] or [N, 1, H, W]."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, scale: torch.Tensor | None, offset: torch.Tensor | None, noise: torch.Tensor | None,
                settings: Settings) -> torch.Tensor:
        y = _launch(x, scale, offset, noise, settings)
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, scale, y if settings.saves else None)
        ctx.settings = settings
        ctx.like_offset, ctx.like_noise = (None if t is None else (t.shape, t.dtype) for t in (offset, noise))
        return y

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, scale, y = ctx.saved_tensors
        wants = ctx.needs_input_grad
        g = dy if y is None and ctx.settings.gain == 1 else derivative(dy, y, ctx.settings)
        dx = dscale = doffset = dnoise = None
        if wants[0]:
            dx = g if scale is None else g * scale.to(g.dtype)[:, :, None, None]
        if wants[1]:
            dscale = (g * x).sum(dim=(2, 3), dtype=scale.dtype)
        if wants[2]:
            shape, dtype = ctx.like_offset
            doffset = g.sum(dim=(2, 3) if len(shape) == 2 else (0, 2, 3), dtype=dtype).sum_to_size(shape)
        if wants[3]:
            shape, dtype = ctx.like_noise
            dnoise = g.sum(dim=1, keepdim=True, dtype=dtype).sum_to_size(shape)
        return dx, dscale, doffset, dnoise, None


def _launch(x: torch.Tensor, scale: torch.Tensor | None, offset: torch.Tensor | None, noise: torch.Tensor | None,
            settings: Settings) -> torch.Tensor:
    y = torch.empty_like(x)
    if x.numel() == 0:
        return y
    images, channels, height, width = x.shape
    pixels = height * width
    channels_last = not x.is_contiguous()
    rows, cols = (images * pixels, channels) if channels_last else (images * channels, pixels)
    block_rows, block_cols, num_tiles = triton_support.tile(rows, cols)
    scale, offset, noise = (None if t is None else t.contiguous() for t in (scale, offset, noise))
    with triton_support.on_device(x):
        _scaled_act_kernel[(num_tiles,)](
            x, scale, offset, noise, y, rows, cols, channels, pixels, settings.alpha, settings.gain, settings.clamp or 0.0,
            ACT=settings.act, LIMITED=settings.clamp is not None, OWN_OFFSETS=offset is not None and offset.numel() > channels,
            OWN_NOISE=noise is not None and noise.numel() > pixels, CHANNELS_LAST=channels_last, BLOCK_ROWS=block_rows,
            BLOCK_COLS=block_cols)
    return y


@triton.jit
def _scaled_act_kernel(x_ptr, scale_ptr, offset_ptr, noise_ptr, y_ptr, rows, cols, channels, pixels, alpha, gain,
                       clamp, ACT: tl.constexpr, LIMITED: tl.constexpr, OWN_OFFSETS: tl.constexpr, OWN_NOISE: tl.constexpr,
                       CHANNELS_LAST: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_COLS: tl.constexpr):
    """Rows of the result's memory: pixels with `cols` channels if channels-last, else planes of `cols` pixels."""
    WIDE: tl.constexpr = tl.float64 if x_ptr.dtype.element_ty == tl.float64 else tl.float32
    row, col, offset, exists = tile(rows, cols, BLOCK_ROWS, BLOCK_COLS)
    if CHANNELS_LAST:
        rows_per_image = pixels
        pixel, channel = row % pixels, col
    else:
        rows_per_image = channels
        pixel, channel = col, row % channels
    image = row // rows_per_image
    v = tl.load(x_ptr + offset, mask=exists, other=0).to(WIDE)
    if scale_ptr is not None:
        v *= tl.load(scale_ptr + image * channels + channel, mask=exists, other=0).to(WIDE)
    if offset_ptr is not None:
        own = image * channels if OWN_OFFSETS else image * 0
        v += tl.load(offset_ptr + own + channel, mask=exists, other=0).to(WIDE)
    if noise_ptr is not None:
        own_pixels = image * pixels if OWN_NOISE else image * 0
        v += tl.load(noise_ptr + own_pixels + pixel, mask=exists, other=0).to(WIDE)
    y = triton_activations.value(v, alpha, ACT) * gain
    if LIMITED:     # NaN passes
        y = tl.where(y > clamp, clamp, tl.where(y < -clamp, -clamp, y))
    tl.store(y_ptr + offset, y, mask=exists)
