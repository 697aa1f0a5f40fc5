"""The C++ form of `scaled_act` and `bias_act` (cpu/scaled_act.cpp), with gradients."""

from typing import Any

import torch

from torch_utils.custom_ops import kernel, pointer

SLOPES = {'linear': 1.0, 'lrelu': 0.2}  # the activations that it has, and their slopes below zero


def fits(x: torch.Tensor, *others: torch.Tensor | None) -> bool:
    """Whether the C++ form takes these tensors: float32 throughout, and x [N, C, H, W] channels-last."""
    return (x.ndim == 4 and x.numel() > 0 and x.is_contiguous(memory_format=torch.channels_last)
            and all(t is None or t.dtype == torch.float32 for t in others))


class ScaledAct(torch.autograd.Function):
    """clip(gain * act(x * scale + offset + noise)) for an act that is `slope` times its argument below zero.

    Gradients that are to be differentiated again come from PyTorch's operators.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, scale: torch.Tensor | None, offset: torch.Tensor | None, noise: torch.Tensor | None,
                slope: float, gain: float, clamp: float | None) -> torch.Tensor:
        y = torch.empty_like(x)
        images, channels, height, width = x.shape
        settings = (slope, gain, float('inf') if clamp is None else float(clamp))
        scale, offset, noise = (None if t is None else t.contiguous() for t in (scale, offset, noise))
        positions = height * width
        kernel('scaled_act_forward', 'ppnpnpnpnnnfffi')(
            x.data_ptr(), pointer(scale), channels, pointer(offset), channels if offset is not None and offset.ndim == 2 else 0,
            pointer(noise), positions if noise is not None and noise.numel() > positions else 0,
            y.data_ptr(), images, positions, channels, *settings, torch.get_num_threads())
        wants_scale = scale is not None and ctx.needs_input_grad[1]
        ctx.save_for_backward(x if wants_scale else None, scale, offset, noise, y)
        ctx.settings = settings
        return y

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, scale, offset, noise, y = ctx.saved_tensors
        wants = ctx.needs_input_grad
        if torch.is_grad_enabled():
            return *_differentiable(dy, x, scale, offset, noise, y, ctx.settings, wants), None, None, None
        dy = dy.contiguous(memory_format=torch.channels_last)
        images, channels, height, width = dy.shape
        dx = torch.empty_like(dy)
        dscale = dy.new_empty(images, channels) if x is not None else None
        doffset = dy.new_empty(images, channels) if wants[2] else None
        dnoise = dy.new_empty(images, 1, height, width) if wants[3] else None
        kernel('scaled_act_backward', 'ppppnppppnnnfffi')(
            dy.data_ptr(), y.data_ptr(), pointer(x), pointer(scale), channels, dx.data_ptr(), pointer(dscale),
            pointer(doffset), pointer(dnoise), images, height * width, channels, *ctx.settings, torch.get_num_threads())
        return (dx, dscale, None if doffset is None else _sum_to(doffset, offset),
                None if dnoise is None else _sum_to(dnoise, noise), None, None, None)


def _differentiable(dy: torch.Tensor, x: torch.Tensor | None, scale: torch.Tensor | None, offset: torch.Tensor | None,
                    noise: torch.Tensor | None, y: torch.Tensor, settings: tuple[float, float, float],
                    wants: tuple[bool, ...]) -> tuple[torch.Tensor | None, ...]:
    """Gradients for (x, scale, offset, noise) from PyTorch's operators. act is piecewise linear: its slope is a constant."""
    slope, gain, limit = settings
    factor = torch.where(y.detach() > 0, gain, gain * slope)
    if limit < float('inf'):
        factor = torch.where(y.detach().abs() < limit, factor, 0)
    g = dy * factor
    dx = g if scale is None else g * scale[:, :, None, None]
    return (dx, None if x is None else (g * x).sum(dim=(2, 3)),
            _sum_to(g.sum(dim=(2, 3)), offset) if wants[2] else None,
            _sum_to(g.sum(dim=1, keepdim=True), noise) if wants[3] else None)


def _sum_to(gradient: torch.Tensor, like: Any) -> torch.Tensor:
    """The gradient of each image summed over the images where they share the tensor `like`."""
    return gradient.sum_to_size(like.shape) if gradient.shape != like.shape else gradient
