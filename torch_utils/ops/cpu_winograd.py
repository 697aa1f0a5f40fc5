"""3x3 convolutions on the CPU by Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray 2016, arXiv:1509.09308).

That takes a quarter of the multiplications. In float32 it rounds about eight times as coarsely as the plain sum.

An image's result does not depend on the other images of its batch, not even in the last bit.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from torch_utils.custom_ops import kernel

from .implementation import choose

MIN_POSITIONS = 256  # of an image: below, transforming the kernel costs more than is saved
MIN_CHANNELS = 32
CHANNEL_GROUP = 16  # a multiple of the kernel's vectors


def fits(x: torch.Tensor, weight: torch.Tensor) -> bool:
    """Whether the convolution of x [N, I, H, W] with weight [O, I, k, k], stride 1 and padding k // 2, is one for this file."""
    if x.ndim != 4 or weight.shape[2:] != (3, 3) or x.shape[2] * x.shape[3] < MIN_POSITIONS or weight.dtype != x.dtype:
        return False
    outputs, inputs = weight.shape[:2]
    return (x.shape[1] == inputs and min(outputs, inputs) >= MIN_CHANNELS and len(x) > 0 and choose('auto', x) == 'native'
            and outputs % CHANNEL_GROUP == inputs % CHANNEL_GROUP == 0)


def convolve(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Correlate x [N, I, H, W] with weight [O, I, 3, 3], padding 1; differentiable any number of times."""
    return _Winograd.apply(x, weight, False)


@contextlib.contextmanager
def no_weight_gradients() -> Iterator[None]:
    """Context in which a gradient with respect to images leaves out those of weights, also where the weights learn."""
    before, _Winograd.learning = _Winograd.learning, False
    try:
        yield
    finally:
        _Winograd.learning = before


class _Winograd(torch.autograd.Function):
    """y = C(weight) x, or the transposed C(weight)^T x if `transposed`. Each is the other's backward pass."""

    learning = True  # whether gradients of weights are wanted just now

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, transposed: bool) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.transposed = transposed
        x = x.contiguous(memory_format=torch.channels_last)
        taps = weight.permute(0, 2, 3, 1).contiguous()  # [O, 3, 3, I]
        images, inputs, height, width = x.shape
        outputs = weight.shape[1 if transposed else 0]
        threads = torch.get_num_threads()
        u = x.new_empty(36, inputs, outputs)
        y = torch.empty([images, outputs, height, width], memory_format=torch.channels_last)
        kernel('winograd_weights', 'ppnnii')(taps.data_ptr(), u.data_ptr(), inputs, outputs, transposed, threads)
        kernel('winograd_convolve', 'pppnnnnni')(x.data_ptr(), u.data_ptr(), y.data_ptr(), images, height, width, inputs, outputs,
                                                 threads)
        return y

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:
        x, weight = ctx.saved_tensors
        dx = dw = None
        if ctx.needs_input_grad[0]:
            dx = _Winograd.apply(dy, weight, not ctx.transposed)
        if ctx.needs_input_grad[1] and _Winograd.learning:
            image, slope = (dy, x) if ctx.transposed else (x, dy)
            dw = _weight_gradient(image, slope, weight)
        return dx, dw, None


def _weight_gradient(image: torch.Tensor, slope: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Of the convolution of image [N, I, H, W] whose result has the gradient slope [N, O, H, W]: [O, I, 3, 3]."""
    if torch.is_grad_enabled():  # to be differentiated again, which PyTorch's own can be
        return torch.ops.aten.convolution_backward(slope, image, weight, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1,
                                                   [False, True, False])[1]
    image, slope = (t.contiguous(memory_format=torch.channels_last) for t in (image, slope))
    images, inputs, height, width = image.shape
    taps = image.new_empty(slope.shape[1], 3, 3, inputs)
    kernel('winograd_weight_gradient', 'pppnnnnni')(image.data_ptr(), slope.data_ptr(), taps.data_ptr(), images, height, width,
                                                    inputs, slope.shape[1], torch.get_num_threads())
    return taps.permute(0, 3, 1, 2)
