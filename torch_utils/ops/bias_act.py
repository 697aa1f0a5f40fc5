"""Bias, activation, gain and clamp in one call:  y = clip(gain * act(x + b), -clamp, clamp).

The default gains keep the second moment of a standard normal input about the same (He et al. 2015, arXiv:1502.01852).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .cpu import act as cpu_act
from .implementation import choose


@dataclass(frozen=True)
class Activation:
    """An activation function of x and alpha, and the values that `bias_act` takes when it is given none."""
    func: Callable[[torch.Tensor, float], torch.Tensor]
    def_alpha: float = 0.0
    def_gain: float = 1.0
    homogeneous: bool = False     # func(g * x) = g * func(x) for g > 0


_SQRT2 = 2 ** 0.5


def _leaky_relu_of_temporary(x: torch.Tensor, alpha: float) -> torch.Tensor:
    """Overwrites x where PyTorch can work out the gradient from the result, that is, where the result keeps the sign."""
    return F.leaky_relu_(x, alpha) if alpha >= 0 else F.leaky_relu(x, alpha)


# The functions get a tensor that nobody else holds and may overwrite it.
activation_funcs: dict[str, Activation] = {
    'linear': Activation(lambda x, alpha: x, homogeneous=True),
    'relu': Activation(lambda x, alpha: F.relu_(x), def_gain=_SQRT2, homogeneous=True),
    'lrelu': Activation(_leaky_relu_of_temporary, def_alpha=0.2, def_gain=_SQRT2, homogeneous=True),
    'tanh': Activation(lambda x, alpha: torch.tanh(x)),
    'sigmoid': Activation(lambda x, alpha: torch.sigmoid(x)),
    'elu': Activation(lambda x, alpha: F.elu(x)),
    'selu': Activation(lambda x, alpha: F.selu(x)),
    'softplus': Activation(lambda x, alpha: F.softplus(x)),
    'swish': Activation(lambda x, alpha: F.silu(x), def_gain=_SQRT2),
}


def bias_act(x: torch.Tensor, b: torch.Tensor | None = None, dim: int = 1, act: str = 'linear', alpha: float | None = None,
             gain: float | None = None, clamp: float | None = None, impl: str = 'cuda') -> torch.Tensor:
    """Add a bias, apply an activation, scale and clamp.

    x: any shape, floating point; the result has its shape and type. b: [x.shape[dim]] or None.
    alpha: slope of 'lrelu' below zero, of no effect on the others. gain: factor after the activation; None takes that of
    `activation_funcs`. clamp: the scaled value is limited to +-clamp; None is no limit. impl: as in `implementation.choose`.
    ValueError for an unknown activation or impl, a negative clamp, or a bias that doesn't fit.
    """
    form = choose(impl, x)
    if act not in activation_funcs:
        raise ValueError(f"unknown activation {act!r}; expected one of {', '.join(activation_funcs)}")
    if clamp is not None and clamp < 0:
        raise ValueError(f'clamp must be at least 0, or None for no limit: got {clamp}')
    chosen = activation_funcs[act]
    alpha = chosen.def_alpha if alpha is None else float(alpha)
    gain = chosen.def_gain if gain is None else float(gain)
    if form == 'native' and act in cpu_act.SLOPES and dim == 1 and gain > 0 and alpha >= 0 and cpu_act.fits(x, b):
        check_bias(x, b, dim)
        return cpu_act.ScaledAct.apply(x, None, b, None, alpha if act == 'lrelu' else 1.0, gain, clamp)
    if form == 'triton':
        from .triton import bias_act as triton_bias_act  # needs a package that only some have
        check_bias(x, b, dim)
        return triton_bias_act.bias_act(x, b, dim, act, alpha, gain, clamp)
    if chosen.homogeneous and gain > 0:
        y = chosen.func(_scaled_sum(x, b, dim, gain), alpha)     # one pass over x less than scaling afterwards
    else:
        y = chosen.func(_scaled_sum(x, b, dim, 1.0), alpha) * gain
    # hardtanh is clamp with a cheaper gradient: one pass, and zero also exactly at the limits.
    return y if clamp is None else F.hardtanh(y, -float(clamp), float(clamp))


def _scaled_sum(x: torch.Tensor, b: torch.Tensor | None, dim: int, gain: float) -> torch.Tensor:
    """gain * (x + b) as a new tensor, b along dimension `dim`."""
    if b is None:
        return x * gain
    check_bias(x, b, dim)
    shape = [1] * x.ndim
    shape[dim] = -1
    b = (b * gain).to(x.dtype).reshape(shape)
    if torch.compiler.is_compiling():  # PyTorch 2.13's compiler forgets alpha where x is a matrix product
        return b + x * gain
    return torch.add(b, x, alpha=gain)


def check_bias(x: torch.Tensor, b: torch.Tensor | None, dim: int) -> None:
    """ValueError unless b is a bias along dimension `dim` of x, or None."""
    if b is not None and (b.ndim != 1 or b.shape[0] != x.shape[dim]):
        raise ValueError(f'bias must have the size of dimension {dim} of x, {x.shape[dim]}: got shape {list(b.shape)}')
