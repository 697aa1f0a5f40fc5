"""A batch whose images stand in runs, each run convolved with a kernel of its own: what a batch of several classes asks for.

One autograd function for all runs: PyTorch's own splitting and joining would copy the batch, its gradient and all kernels again.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.weak import WeakIdKeyDictionary

from .cpu import winograd as cpu_winograd

FORMS_BYTES = 1 << 29  # of kernels that stay, in the form that convolutions read: 200 of 128 x 128 channels and more
_forms = WeakIdKeyDictionary()  # kernel -> its forms, by what makes them
_filling = threading.Lock()


def conv2d_runs(x: torch.Tensor, kernels: torch.Tensor | Sequence[torch.Tensor], counts: list[int], up: int = 1,
                padding: int = 0) -> torch.Tensor:
    """x: [N, I, H, W]; kernels: [K, O, I, k, k]; counts: K numbers of images that add up to N -> [N, O, H', W'].

    up 1: correlation with `padding`. Else the transposed convolution of stride `up`, without padding: positions that the
    kernel covers partly stay. Differentiable any number of times. ValueError if the counts do not fit.

    Separate kernels, K times [O, I, k, k], are taken as ones that serve many batches and never change: no
    gradients, and what convolutions make of a kernel is kept as long as that lives.
    """
    if len(counts) != len(kernels) or sum(counts) != len(x):
        raise ValueError(f'{len(kernels)} kernels and {len(x)} images found for runs of {counts}')
    by_winograd = up == 1 and padding == 1 and cpu_winograd.fits(x, kernels[0])
    if isinstance(kernels, torch.Tensor):
        return cpu_winograd.convolve_runs(x, kernels, counts) if by_winograd else _Runs.apply(x, kernels, counts, up, padding)
    if by_winograd:
        return cpu_winograd.convolve_transformed(x, [_form(kernel, _transformed) for kernel in kernels], counts)
    if up > 1:
        kernels = [_form(kernel, _transposed).transpose(0, 1) for kernel in kernels]
    return _convolve(x, kernels, counts, up, padding)


def _form(kernel: torch.Tensor, make: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """What was made of the kernel, or is now."""
    form = _forms.get(kernel, {}).get(make)
    if form is None:
        form = make(kernel)
        with _filling:
            kept = sum(other.nbytes for forms in _forms.values() for other in forms.values())
            if kept + form.nbytes <= FORMS_BYTES:  # what is kept stays: in a cycle of too many, the last come is the next to go
                _forms.setdefault(kernel, {})[make] = form
    return form


def _transformed(kernel: torch.Tensor) -> torch.Tensor:
    return cpu_winograd.transform(kernel[None])[0]


def _transposed(kernel: torch.Tensor) -> torch.Tensor:
    """[O, I, k, k] -> [I, O, k, k] as a convolution of stored channels-last images wants it."""
    return kernel.transpose(0, 1).contiguous(memory_format=torch.channels_last)


def _convolve(x: torch.Tensor, kernels: Iterable[torch.Tensor], counts: list[int], up: int, padding: int) -> torch.Tensor:
    """The specification, from PyTorch's operators."""
    parts = [F.conv2d(run, kernel, padding=padding) if up == 1 else F.conv_transpose2d(run, kernel.transpose(0, 1), stride=up)
             for run, kernel in zip(x.split(counts), kernels, strict=True) if len(run) > 0]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


class _Runs(torch.autograd.Function):
    """_convolve(). Gradients that are to be differentiated again come from PyTorch's operators."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, kernels: torch.Tensor, counts: list[int], up: int, padding: int) -> torch.Tensor:
        ctx.save_for_backward(x, kernels)
        ctx.settings = counts, up, padding
        return _convolve(x, kernels, counts, up, padding)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, kernels = ctx.saved_tensors
        wants = ctx.needs_input_grad[:2]
        if torch.is_grad_enabled():
            wanted = [tensor for tensor, wants_it in zip((x, kernels), wants, strict=True) if wants_it]
            found = iter(torch.autograd.grad(_convolve(x, kernels, *ctx.settings), wanted, dy, create_graph=True))
            return (*[next(found) if wants_it else None for wants_it in wants], None, None, None)
        parts = list(_run_gradients(dy, x, kernels, ctx.settings, wants))
        dx = torch.cat([part for _place, part, _kernel in parts]) if wants[0] else None
        dkernels = None
        if wants[1]:
            outputs, inputs, height, width = kernels.shape[1:]
            dkernels = kernels.new_zeros(len(kernels), outputs, height, width, inputs).permute(0, 1, 4, 2, 3)
            for place, _part, gradient in parts:
                dkernels[place].copy_(gradient)
        return dx, dkernels, None, None, None


def _run_gradients(dy: torch.Tensor, x: torch.Tensor, kernels: torch.Tensor, settings: tuple[list[int], int, int],
                   wants: tuple[bool, bool]) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
    """For each run that has images: its place, the gradient of its images, and that of its kernel [O, I, k, k]."""
    counts, up, padding = settings
    transposed = up > 1
    rest = [up, up], [0, 0] if transposed else [padding, padding], [1, 1], transposed, [0, 0], 1, [*wants, False]
    for place, (slope, image, kernel) in enumerate(zip(dy.split(counts), x.split(counts), kernels.unbind(), strict=True)):
        if len(image) > 0:
            weight = kernel.transpose(0, 1) if transposed else kernel
            dx, dweight, _none = torch.ops.aten.convolution_backward(slope, image, weight, None, *rest)
            yield place, dx, dweight.transpose(0, 1) if transposed and wants[1] else dweight
