"""Scale, offset, noise, activation, gain and clamp in one pass over memory:

    y = clip(gain * act(x * scale + offset + noise), -clamp, clamp)

What follows a modulated convolution (StyleGAN2, Figure 2d: demodulation, noise, bias, leaky ReLU).
"""

import torch

from . import bias_act, fma
from .cpu import act as cpu_act
from .implementation import choose


def scaled_act(x: torch.Tensor, scale: torch.Tensor | None = None, offset: torch.Tensor | None = None,
               noise: torch.Tensor | None = None, act: str = 'linear', gain: float = 1, clamp: float | None = None,
               impl: str = 'auto') -> torch.Tensor:
    """x: [N, C, H, W]; scale: [N, C]; offset: [C] or [N, C]; noise: [N, 1, H, W] or [H, W] -> [N, C, H, W], of x's type.

    act: as in `bias_act`, with its default slope. gain: factor after it. clamp: the scaled value is limited to +-clamp.
    Differentiable any number of times with respect to all tensors. impl: as in `implementation.choose`; C++ serves
    'linear' and 'lrelu' on channels-last images, Triton on all. ValueError for other shapes.
    """
    _check(x, scale, offset, noise)
    form = choose(impl, x)
    if form == 'triton' and act in cpu_act.SLOPES and (scale is not None or offset is not None or noise is not None):
        from .triton import scaled_act as triton_scaled_act  # needs a package that only some have
        return triton_scaled_act.scaled_act(x, scale, offset, noise, act, cpu_act.SLOPES[act], gain, clamp)
    if form == 'native' and act in cpu_act.SLOPES and gain > 0 and cpu_act.fits(x, scale, offset, noise):
        return cpu_act.ScaledAct.apply(x, scale, offset, noise, cpu_act.SLOPES[act], float(gain), clamp)
    added = None if offset is None else offset.reshape(-1, x.shape[1], 1, 1)
    if noise is not None:
        added = noise if added is None else added + noise
    if added is not None:
        added = added.to(x.dtype)
    if scale is not None:
        scale = scale.to(x.dtype)[:, :, None, None]
        x = x * scale if added is None else fma.fma(x, scale, added)
    elif added is not None:
        x = x + added
    if act == 'linear' and gain == 1 and clamp is None:
        return x
    return bias_act.bias_act(x, act=act, gain=gain, clamp=clamp, impl=impl)


def _check(x: torch.Tensor, scale: torch.Tensor | None, offset: torch.Tensor | None, noise: torch.Tensor | None) -> None:
    """ValueError if the shapes do not fit: kernels would read what lies beside the tensors."""
    if x.ndim != 4:
        raise ValueError(f'x has shape {list(x.shape)}; expected [N, C, H, W]')
    count, channels, height, width = x.shape
    allowed: list[tuple[str, torch.Tensor | None, list[tuple[int, ...]]]] = [
        ('scale', scale, [(count, channels)]), ('offset', offset, [(channels,), (count, channels)]),
        ('noise', noise, [(height, width), (count, 1, height, width)])]
    for name, tensor, shapes in allowed:
        if tensor is not None and tensor.shape not in shapes:
            expected = ' or '.join(str(list(shape)) for shape in shapes)
            raise ValueError(f'{name} has shape {list(tensor.shape)}; expected {expected} for x {list(x.shape)}')
