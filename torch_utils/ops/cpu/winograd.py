"""3x3 convolutions on the CPU by Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray 2016, arXiv:1509.09308).

That takes a quarter of the multiplications. In float32 it rounds about eight times as coarsely as the plain sum.

An image's result does not depend on the other images of its batch, not even in the last bit.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from torch_utils.custom_ops import kernel
from torch_utils.ops.implementation import choose

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
    return _Winograd.apply(x, weight[None], [len(x)], False)


def convolve_runs(x: torch.Tensor, weights: torch.Tensor, counts: list[int]) -> torch.Tensor:
    """The same where runs of images, counts of them, have a kernel each of weights [K, O, I, 3, 3]."""
    return _Winograd.apply(x, weights, counts, False)


def transform(weights: torch.Tensor, transposed: bool = False) -> torch.Tensor:
    """G g G^T of kernels [K, O, I, 3, 3]: [K, 36, I, O], or those of the gradient of images, [K, 36, O, I]."""
    outputs, inputs = weights.shape[1:3]
    if transposed:
        outputs, inputs = inputs, outputs
    taps = weights.permute(0, 1, 3, 4, 2).contiguous()  # [K, O, 3, 3, I]
    u = taps.new_empty(len(taps), 36, inputs, outputs)
    kernel('winograd_weights', 'ppnnnii')(taps.data_ptr(), u.data_ptr(), len(taps), inputs, outputs, transposed,
                                          torch.get_num_threads())
    return u


def convolve_transformed(x: torch.Tensor, transformed: Sequence[torch.Tensor], counts: list[int]) -> torch.Tensor:
    """The convolution of x with what transform() made of each run's kernel, without gradients."""
    x = x.contiguous(memory_format=torch.channels_last)
    images, inputs, height, width = x.shape
    outputs = transformed[0].shape[2]
    runs, places = (torch.tensor(numbers, dtype=torch.int64, device=x.device)
                    for numbers in (counts, [u.data_ptr() for u in transformed]))
    y = torch.empty([images, outputs, height, width], dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    kernel('winograd_convolve', 'ppppnnnnni')(x.data_ptr(), places.data_ptr(), runs.data_ptr(), y.data_ptr(), len(counts),
                                              height, width, inputs, outputs, torch.get_num_threads())
    return y


class _Wishes(threading.local):
    learning = True  # whether gradients of weights are wanted just now, by this thread


_wishes = _Wishes()


@contextlib.contextmanager
def no_weight_gradients() -> Iterator[None]:
    """Context in which a gradient with respect to images leaves out those of weights, also where the weights learn."""
    before, _wishes.learning = _wishes.learning, False
    try:
        yield
    finally:
        _wishes.learning = before


class _Winograd(torch.autograd.Function):
    """y = C(weight) x for each run of images, or, `transposed`, C(weight)^T x. Each is the other's backward pass."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weights: torch.Tensor, counts: list[int], transposed: bool) -> torch.Tensor:
        ctx.save_for_backward(x, weights)
        ctx.settings = counts, transposed
        return convolve_transformed(x, list(transform(weights, transposed).unbind()), counts)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None, None]:
        x, weights = ctx.saved_tensors
        counts, transposed = ctx.settings
        dx = dw = None
        if ctx.needs_input_grad[0]:
            dx = _Winograd.apply(dy, weights, counts, not transposed)
        if ctx.needs_input_grad[1] and _wishes.learning:
            image, slope = (dy, x) if transposed else (x, dy)
            dw = _weight_gradients(image, slope, weights, counts)
        return dx, dw, None, None


def _weight_gradients(image: torch.Tensor, slope: torch.Tensor, weights: torch.Tensor, counts: list[int]) -> torch.Tensor:
    """Of the convolutions of image [N, I, H, W] whose result has the gradient slope [N, O, H, W]: [K, O, I, 3, 3]."""
    if torch.is_grad_enabled():  # to be differentiated again, which PyTorch's own can be
        rest = [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [False, True, False]
        return torch.stack([torch.ops.aten.convolution_backward(*each, None, *rest)[1]
                            for each in zip(slope.split(counts), image.split(counts), weights.unbind(), strict=True)])
    image, slope = (t.contiguous(memory_format=torch.channels_last) for t in (image, slope))
    _images, inputs, height, width = image.shape
    outputs, runs = slope.shape[1], torch.tensor(counts, dtype=torch.int64, device=image.device)
    taps = image.new_empty(len(counts), outputs, 3, 3, inputs)
    kernel('winograd_weight_gradient', 'ppppnnnnni')(
        image.data_ptr(), slope.data_ptr(), runs.data_ptr(), taps.data_ptr(), len(counts), height, width, inputs, outputs,
        torch.get_num_threads())
    return taps.permute(0, 1, 4, 2, 3)
