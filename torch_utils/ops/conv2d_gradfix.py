"""Convolutions for networks under a gradient penalty.

A penalty differentiates a gradient with respect to images or latents; gradients with respect to weights are not wanted in
that first pass. PyTorch's own convolutions serve well: they are differentiable any number of times, and
`torch.autograd.grad(y, [x])` tells the kernel to leave the weight gradients out (a test looks at the calls). On a CPU,
large 3x3 convolutions take a form with fewer multiplications (cpu/winograd.py), which is told so here.
"""

import contextlib
from collections.abc import Iterator

import torch
import torch.nn.functional as F

try:
    from .cpu import winograd as cpu_winograd
except ImportError:  # this file by itself mends other codebases (patches/mends/gradient_fix.py)
    cpu_winograd = None  # type: ignore[assignment]

# Part of the interface: training loops set it to True. Both values give the same convolutions.
enabled = False

Pair = int | tuple[int, int]
_PLAIN_3X3 = ((1, 1, 1, 1), (1, (1, 1), 1, 1))  # stride, padding, dilation and groups of a convolution that keeps the size


@contextlib.contextmanager
def no_weight_gradients() -> Iterator[None]:
    """Context in which a gradient with respect to inputs may leave out those of weights."""
    if cpu_winograd is None:
        yield
    else:
        with cpu_winograd.no_weight_gradients():
            yield


def conv2d(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, stride: Pair = 1, padding: Pair = 0,
           dilation: Pair = 1, groups: int = 1) -> torch.Tensor:
    """Correlate [N, I, H, W] with [O, I/groups, kh, kw]; arguments as in torch.nn.functional.conv2d."""
    plain = bias is None and (stride, padding, dilation, groups) in _PLAIN_3X3
    if plain and cpu_winograd is not None and cpu_winograd.fits(input, weight):
        return cpu_winograd.convolve(input, weight)
    return F.conv2d(input, weight, bias, stride=stride, padding=padding, dilation=dilation, groups=groups)


def conv_transpose2d(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, stride: Pair = 1,
                     padding: Pair = 0, output_padding: Pair = 0, groups: int = 1, dilation: Pair = 1) -> torch.Tensor:
    """Transpose of `conv2d`: [N, I, H, W] with [I, O/groups, kh, kw]; arguments as in torch.nn.functional.conv_transpose2d."""
    return F.conv_transpose2d(input, weight, bias, stride=stride, padding=padding, output_padding=output_padding,
                              groups=groups, dilation=dilation)
