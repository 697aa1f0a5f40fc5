"""bias_act in Triton:  y = clip(g f(x + b), -c, c)  in one pass over memory, and so its first and second derivative.

Arithmetic is in float32, in float64 for float64 tensors. The derivatives start from what forward saves, s:
    s = y: f' and f'' are functions of f = y / g, and d f'(y) / dy = f'' / (g f');
    s = x where f does not determine f' ('swish'; 'lrelu' with a negative slope);
    nothing for 'linear' without limit.
A tensor is a [rows, cols] matrix of its memory, whatever the order of its dimensions: bias runs along the columns if the
channels are innermost, else each row has one channel.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl

from . import activations as triton_activations
from . import support as triton_support
from .tile import tile

PIECEWISE_LINEAR = ('linear', 'relu', 'lrelu')


@dataclass(frozen=True)
class Settings:
    """act: a key of bias_act.activation_funcs. clamp: the limit c, None if there is none. dim: the bias' dimension of x."""
    act: str
    alpha: float
    gain: float
    clamp: float | None
    dim: int

    @property
    def saves(self) -> str | None:
        """What the derivatives need: 'x', 'y' or None."""
        if self.act == 'linear' and self.clamp is None:
            return None
        return 'x' if self.act == 'swish' or (self.act == 'lrelu' and self.alpha < 0) else 'y'


def bias_act(x: torch.Tensor, b: torch.Tensor | None, dim: int, act: str, alpha: float, gain: float,
             clamp: float | None) -> torch.Tensor:
    """bias_act.bias_act with all arguments checked and given. Differentiable twice."""
    return _BiasAct.apply(triton_support.dense(x), b, Settings(act, float(alpha), float(gain), clamp, dim % x.ndim))


def probe(device: torch.device) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Results of the kernels on a few numbers, and what they should be."""
    settings = Settings('lrelu', 0.2, 1.0, 0.55, 1)
    x = torch.linspace(-1, 1, 64, device=device).reshape(1, 4, 4, 4)
    b = torch.linspace(-0.5, 0.5, 4, device=device)
    v = x + b.reshape(4, 1, 1)
    y = torch.where(v > 0, v, 0.2 * v)
    slope = torch.where(v > 0, 1.0, 0.2) * (y < 0.55)  # y > -0.55
    for dtype in (torch.float16, torch.float32):
        got = _launch_forward(x.to(dtype), b, settings)
        yield got, y.clamp(max=0.55)
        yield _launch_derivative(x.to(dtype), None, got, None, settings), x * slope


class _BiasAct(torch.autograd.Function):
    """y from dense x and b."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, b: torch.Tensor | None, settings: Settings) -> torch.Tensor:
        y = _launch_forward(x, b, settings)
        saved = {'x': x, 'y': y, None: None}[settings.saves]
        ctx.save_for_backward(saved, b if settings.saves == 'x' else None)
        ctx.settings, ctx.bias_type = settings, None if b is None else b.dtype
        return y

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:
        dx = _Slope.apply(dy, *ctx.saved_tensors, ctx.settings)
        return dx, _sum_to_bias(dx, ctx.settings.dim, ctx.bias_type) if ctx.needs_input_grad[1] else None, None


def derivative(dy: torch.Tensor, s: torch.Tensor | None, settings: Settings) -> torch.Tensor:
    """dy times the derivative, from what forward saves, y or nothing. Differentiable."""
    return _Slope.apply(dy, s, None, settings)


class _Slope(torch.autograd.Function):
    """dx = dy g f', zero beyond the limits, from s."""

    @staticmethod
    def forward(ctx: Any, dy: torch.Tensor, s: torch.Tensor | None, b: torch.Tensor | None, settings: Settings) -> torch.Tensor:
        ctx.save_for_backward(dy, s, b)
        ctx.settings = settings
        return dy * settings.gain if s is None else _launch_derivative(dy, None, s, b, settings)

    @staticmethod
    def backward(ctx: Any, ddx: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        dy, s, b = ctx.saved_tensors
        d_dy = _Slope.apply(ddx, s, b, ctx.settings) if ctx.needs_input_grad[0] else None
        if ctx.settings.act in PIECEWISE_LINEAR or not (ctx.needs_input_grad[1] or ctx.needs_input_grad[2]):
            return d_dy, None, None, None
        d_s = _Bend.apply(ddx, dy, s, b, ctx.settings)
        return d_dy, d_s, _sum_to_bias(d_s, ctx.settings.dim, b.dtype) if ctx.needs_input_grad[2] else None, None


class _Bend(torch.autograd.Function):
    """What _Slope's result, weighted with ddx, changes by with s."""

    @staticmethod
    def forward(ctx: Any, ddx: torch.Tensor, dy: torch.Tensor, s: torch.Tensor, b: torch.Tensor | None,
                settings: Settings) -> torch.Tensor:
        return _launch_derivative(dy, ddx, s, b, settings)

    @staticmethod
    def backward(ctx: Any, _grad: torch.Tensor) -> tuple[None, ...]:
        raise NotImplementedError("bias_act in Triton has two derivatives, and a third was asked for: take impl='ref'")


def _sum_to_bias(dx: torch.Tensor, dim: int, dtype: torch.dtype | None) -> torch.Tensor:
    others = [d for d in range(dx.ndim) if d != dim]
    return dx.sum(others, dtype=dtype) if others else dx.to(dtype)


def _launch_forward(x: torch.Tensor, b: torch.Tensor | None, settings: Settings) -> torch.Tensor:
    y = torch.empty_like(x)
    if x.numel() == 0:
        return y
    rows, cols, channels, along_cols = _as_matrix(x, b, settings.dim)
    block_rows, block_cols, num_tiles = triton_support.tile(rows, cols)
    with triton_support.on_device(x):
        _forward_kernel[(num_tiles,)](
            x, None if b is None else b.contiguous(), y, rows, cols, channels, settings.alpha, settings.gain,
            settings.clamp or 0.0, ACT=settings.act, LIMITED=settings.clamp is not None, ALONG_COLS=along_cols,
            BLOCK_ROWS=block_rows, BLOCK_COLS=block_cols)
    return y


def _launch_derivative(dy: torch.Tensor, ddx: torch.Tensor | None, s: torch.Tensor, b: torch.Tensor | None,
                       settings: Settings) -> torch.Tensor:
    """First derivative without ddx, second with it. All in the layout and type of s."""
    out = torch.empty_like(s)
    if s.numel() == 0:
        return out
    rows, cols, channels, along_cols = _as_matrix(s, b, settings.dim)
    block_rows, block_cols, num_tiles = triton_support.tile(rows, cols)
    dy = triton_support.like(dy, s.stride())
    ddx = None if ddx is None else triton_support.like(ddx, s.stride())
    with triton_support.on_device(s):
        _derivative_kernel[(num_tiles,)](
            dy, ddx, s, None if b is None else b.contiguous(), out, rows, cols, channels, settings.alpha, settings.gain,
            1 / settings.gain if settings.gain else 0.0, settings.clamp or 0.0, ACT=settings.act, FROM_Y=settings.saves == 'y',
            LIMITED=settings.clamp is not None, ALONG_COLS=along_cols, BLOCK_ROWS=block_rows, BLOCK_COLS=block_cols)
    return out


def _as_matrix(x: torch.Tensor, b: torch.Tensor | None, dim: int) -> tuple[int, int, int, bool]:
    """-> rows, cols, channels of dense x, and whether an element's bias is that of its column; else it is row % channels."""
    if b is None or len(b) == 1:
        return 1, x.numel(), 1, False
    channels, inner = len(b), x.stride(dim)
    cols = channels if inner == 1 else inner
    return x.numel() // cols, cols, channels, inner == 1


@triton.jit
def _forward_kernel(x_ptr, b_ptr, y_ptr, rows, cols, channels, alpha, gain, clamp, ACT: tl.constexpr, LIMITED: tl.constexpr,
                    ALONG_COLS: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_COLS: tl.constexpr):
    WIDE: tl.constexpr = tl.float64 if x_ptr.dtype.element_ty == tl.float64 else tl.float32
    row, col, offset, inside = tile(rows, cols, BLOCK_ROWS, BLOCK_COLS)
    v = tl.load(x_ptr + offset, mask=inside, other=0).to(WIDE)
    if b_ptr is not None:
        v += _bias(b_ptr, row, col, rows, cols, channels, ALONG_COLS).to(WIDE)
    y = triton_activations.value(v, alpha, ACT) * gain
    if LIMITED:     # NaN passes
        y = tl.where(y > clamp, clamp, tl.where(y < -clamp, -clamp, y))
    tl.store(y_ptr + offset, y, mask=inside)


@triton.jit
def _derivative_kernel(dy_ptr, ddx_ptr, s_ptr, b_ptr, out_ptr, rows, cols, channels, alpha, gain, inverse_gain, clamp,
                       ACT: tl.constexpr, FROM_Y: tl.constexpr, LIMITED: tl.constexpr, ALONG_COLS: tl.constexpr,
                       BLOCK_ROWS: tl.constexpr, BLOCK_COLS: tl.constexpr):
    WIDE: tl.constexpr = tl.float64 if s_ptr.dtype.element_ty == tl.float64 else tl.float32
    row, col, offset, inside = tile(rows, cols, BLOCK_ROWS, BLOCK_COLS)
    s = tl.load(s_ptr + offset, mask=inside, other=0).to(WIDE)
    out = tl.load(dy_ptr + offset, mask=inside, other=0).to(WIDE)
    if FROM_Y:
        v = s * inverse_gain        # f, which has the sign of x + b where that is wanted
        f = v
    else:
        v = s
        if b_ptr is not None:
            v += _bias(b_ptr, row, col, rows, cols, channels, ALONG_COLS).to(WIDE)
        f = triton_activations.value(v, alpha, ACT)
    if ddx_ptr is None:
        out *= triton_activations.slope(v, f, alpha, ACT) * gain
    else:
        out *= tl.load(ddx_ptr + offset, mask=inside, other=0).to(WIDE) * triton_activations.bend(v, f, ACT)
        if not FROM_Y:
            out *= gain
    if LIMITED:
        if FROM_Y:      # limited values have been rounded like y
            limit = (tl.zeros_like(s) + clamp).to(s_ptr.dtype.element_ty).to(WIDE)
            out = tl.where(tl.abs(s) < limit, out, 0.0)
        else:
            out = tl.where(tl.abs(f * gain) < clamp, out, 0.0)
    tl.store(out_ptr + offset, out, mask=inside)


@triton.jit
def _bias(b_ptr, row, col, rows, cols, channels, ALONG_COLS: tl.constexpr):
    if ALONG_COLS:
        b = tl.load(b_ptr + col, mask=col < cols, other=0)
    else:
        b = tl.load(b_ptr + row % channels, mask=row < rows, other=0)
    return b
