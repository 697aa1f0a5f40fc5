"""The activation functions of bias_act in Triton, and two derivatives, for kernels to call.

v is the argument, f = f(v) the value; ACT is a key of bias_act.activation_funcs. Numbers are float32 or float64; the series are
as exact as float32.
"""

import triton
import triton.language as tl


@triton.jit
def value(v, alpha, ACT: tl.constexpr):
    """f(v). NaN gives NaN."""
    if ACT == 'relu':
        f = tl.where(v < 0, 0.0, v)
    elif ACT == 'lrelu':
        f = tl.where(v > 0, v, v * alpha)
    elif ACT == 'tanh':
        m = _expm1_of_negative(-2 * tl.abs(v))
        f = tl.where(v < 0, m, -m) / (2 + m)
    elif ACT == 'sigmoid':
        f = _sigmoid(v)
    elif ACT == 'elu':
        f = tl.where(v > 0, v, _expm1_of_negative(tl.where(v > 0, 0.0, v)))
    elif ACT == 'selu':
        f = 1.0507009873554805 * tl.where(v > 0, v, 1.6732632423543772 * _expm1_of_negative(tl.where(v > 0, 0.0, v)))
    elif ACT == 'softplus':
        f = tl.where(v < 0, 0.0, v) + _log1p_of_fraction(tl.exp(-tl.abs(v)))
    elif ACT == 'swish':
        f = v * _sigmoid(v)
    else:
        f = v
    return f


@triton.jit
def slope(v, f, alpha, ACT: tl.constexpr):
    """f'(v). Only the sign of v counts, but for 'swish'."""
    if ACT == 'relu':
        d = tl.where(v > 0, 1.0, 0.0)
    elif ACT == 'lrelu':
        d = tl.where(v > 0, 1.0, alpha)
    elif ACT == 'tanh':
        d = 1 - f * f
    elif ACT == 'sigmoid':
        d = f * (1 - f)
    elif ACT == 'elu':
        d = tl.where(v > 0, 1.0, f + 1)
    elif ACT == 'selu':
        d = tl.where(v > 0, 1.0507009873554805, f + 1.7580993408473766)     # scale, f + scale * alpha
    elif ACT == 'softplus':
        d = -_expm1_of_negative(-f)
    elif ACT == 'swish':
        p = _sigmoid(v)
        d = p * (1 + v * (1 - p))
    else:
        d = tl.zeros_like(f) + 1
    return d


@triton.jit
def bend(v, f, ACT: tl.constexpr):
    """f'' / f' of v; for 'swish', which is derived by x, f''. Piecewise linear functions have none."""
    if ACT == 'tanh':
        d = -2 * f
    elif ACT == 'sigmoid':
        d = 1 - 2 * f
    elif ACT == 'softplus':
        d = tl.exp(-f)
    elif ACT == 'swish':
        p = _sigmoid(v)
        d = p * (1 - p) * (2 + v * (1 - 2 * p))
    else:   # elu, selu
        d = tl.where(v > 0, 0.0, 1.0)
    return d


@triton.jit
def _sigmoid(v):
    e = tl.exp(-tl.abs(v))
    return tl.where(v < 0, e, 1.0) / (1 + e)


@triton.jit
def _expm1_of_negative(n):
    """exp(n) - 1 for n <= 0, with small results to full precision: the first terms of its series near 0."""
    series = n * (1 + n / 2 * (1 + n / 3 * (1 + n / 4 * (1 + n / 5 * (1 + n / 6 * (1 + n / 7))))))
    return tl.where(n > -0.25, series, tl.exp(n) - 1)


@triton.jit
def _log1p_of_fraction(e):
    """log(1 + e) for 0 <= e <= 1: 2 artanh(e / (2 + e)) as a series."""
    s = e / (2 + e)
    q = s * s       # at most 1/9
    return 2 * s * (1 + q * (1 / 3 + q * (1 / 5 + q * (1 / 7 + q * (1 / 9 + q * (1 / 11 + q / 13))))))
