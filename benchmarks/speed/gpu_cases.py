"""What benchmarks/speed/gpu.py runs: the operators that have a Triton form, at the sizes of StyleGAN2-ADA's paper256 networks.

A case names the bytes that each part has to move between memory and the chip: every tensor that it reads or writes, once.
Those, over the bandwidth of a plain copy, are the time below which no kernel gets.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from hyper_plugin.networks import adafm
from torch_utils.ops.bias_act import bias_act
from torch_utils.ops.scaled_act import scaled_act
from torch_utils.ops.upfirdn2d import setup_filter, upfirdn2d

CHANNELS = {256: 64, 64: 256, 16: 512}      # resolution: channels
FORMATS = {'nchw': torch.contiguous_format, 'channels_last': torch.channels_last}
Parts = dict[str, Callable[[], Sequence[torch.Tensor]]]


@dataclass(frozen=True)
class Case:
    """parts(tensors, impl) -> what can be timed, by name; tensors are of the shapes, in the type and memory format given."""
    name: str
    dtype: torch.dtype
    memory_format: str
    shapes: tuple[tuple[int, ...], ...]
    parts: Callable[[list[torch.Tensor], str], Parts]
    elements: dict[str, int]        # moved by each part

    @property
    def title(self) -> str:
        return f'{self.name}, {str(self.dtype).removeprefix("torch.")}, {self.memory_format}'

    def tensors(self, device: str) -> list[torch.Tensor]:
        """Normally distributed numbers, the same each time."""
        generator = torch.Generator(device).manual_seed(0)
        found = [torch.randn(shape, generator=generator, device=device).to(self.dtype) for shape in self.shapes]
        return [t.contiguous(memory_format=FORMATS[self.memory_format]) if t.ndim == 4 else t for t in found]


def all_cases(batch: int, quick: bool) -> list[Case]:
    """quick: two images of 8x8 in place of `batch` of up to 256x256."""
    sizes = [(2, 4, 8, 8)] if quick else [(batch, channels, res, res) for res, channels in CHANNELS.items()]
    layouts = [(torch.float16, 'nchw'), (torch.float16, 'channels_last'), (torch.bfloat16, 'channels_last'),
               (torch.float32, 'nchw')]
    cases = []
    for size in sizes:
        for dtype, memory_format in layouts:
            cases += [bias_act_case(size, dtype, memory_format, act) for act in ('lrelu', 'swish')]
            cases.append(scaled_act_case(size, dtype, memory_format))
            cases += [fir_case(size, dtype, memory_format, up, down) for up, down in ((1, 1), (2, 1), (1, 2))]
    image = (2, 3, 8, 8) if quick else (batch, 3, 256, 256)
    cases += [fir_case(image, torch.float32, 'nchw', 2, 1), fir_case(image, torch.float32, 'nchw', 2, 1, num_taps=12)]
    for classes, channels in [(2, 4)] if quick else [(10, 512), (10, 64), (100, 512)]:
        cases += [adafm_case(classes, channels, memory_format) for memory_format in FORMATS]
    return cases


def bias_act_case(size: tuple[int, ...], dtype: torch.dtype, memory_format: str, act: str) -> Case:
    """forward; backward by x and b; second: the gradient of x's gradient by that of y (and by x, where act bends)."""
    def parts(tensors: list[torch.Tensor], impl: str) -> Parts:
        x, dy, ddx, b = (t.requires_grad_() for t in tensors)
        y = bias_act(x, b, act=act, clamp=256, impl=impl)
        dx, = torch.autograd.grad(y, x, dy, create_graph=True)
        fixed = x.detach(), b.detach()
        return dict(
            forward=lambda: [bias_act(*fixed, act=act, clamp=256, impl=impl)],
            backward=lambda: torch.autograd.grad(y, [x, b], dy.detach(), retain_graph=True),
            second=lambda: torch.autograd.grad(dx, [dy] if act == 'lrelu' else [dy, x], ddx.detach(), retain_graph=True),
        )

    count = torch.Size(size).numel()
    # backward: dy, s -> dx, which db reads again. second: ddx, s -> gradient by dy; for swish again, with dy -> gradient by x,
    # which that by b reads again.
    return Case(f'bias_act {act} {"x".join(map(str, size))}', dtype, memory_format, (size, size, size, (size[1],)), parts,
                dict(forward=2 * count, backward=4 * count, second=3 * count if act == 'lrelu' else 8 * count))


def scaled_act_case(size: tuple[int, ...], dtype: torch.dtype, memory_format: str) -> Case:
    """What follows a modulated convolution: demodulation, noise, bias, leaky ReLU. backward: by x, scale, offset and noise."""
    shapes = (size, size, size[:2], (size[1],), (size[0], 1, *size[2:]))

    def parts(tensors: list[torch.Tensor], impl: str) -> Parts:
        x, dy, scale, offset, noise = tensors
        inputs = [t.requires_grad_() for t in (x, scale, offset, noise)]
        call = partial(scaled_act, act='lrelu', gain=1.4, clamp=256, impl=impl)
        y, fixed = call(*inputs), [t.detach() for t in inputs]
        return dict(forward=lambda: [call(*fixed)],
                    backward=lambda: torch.autograd.grad(y, inputs, dy, retain_graph=True))

    count = torch.Size(size).numel()
    return Case(f'scaled_act {"x".join(map(str, size))}', dtype, memory_format, shapes, parts,
                dict(forward=2 * count, backward=4 * count))       # back, at the least: x, y, dy -> dx


def fir_case(size: tuple[int, ...], dtype: torch.dtype, memory_format: str, up: int, down: int, num_taps: int = 4) -> Case:
    """4: the 4x4 filter of the networks; 12: one as long as AugmentPipe's, in two passes."""
    padding = num_taps // 2
    f = setup_filter([1, 3, 3, 1] * (num_taps // 4), separable=num_taps > 4)
    out = [(n * up + 2 * padding - num_taps) // down + 1 for n in size[2:]]
    result = (*size[:2], *out)

    def parts(tensors: list[torch.Tensor], impl: str) -> Parts:
        x, dy = tensors
        x.requires_grad_()
        taps = f.to(x.device)
        y = upfirdn2d(x, taps, up, down, padding, impl=impl)
        return dict(forward=lambda: [upfirdn2d(x.detach(), taps, up, down, padding, impl=impl)],
                    backward=lambda: torch.autograd.grad(y, x, dy, retain_graph=True))

    between = 0 if num_taps == 4 else 2 * size[0] * size[1] * size[2] * out[1]
    moved = torch.Size(size).numel() + torch.Size(result).numel() + between
    return Case(f'upfirdn2d {num_taps} taps up {up} down {down} {"x".join(map(str, size))}', dtype, memory_format, (size, result),
                parts, dict(forward=moved, backward=moved))


def adafm_case(classes: int, channels: int, memory_format: str) -> Case:
    """3x3 kernels for so many classes; float32, as the weights are."""
    weight, offsets = (channels, channels, 3, 3), (classes, channels, channels)

    def parts(tensors: list[torch.Tensor], impl: str) -> Parts:
        weight, dg, db, dk, dp = tensors
        dk = dk.reshape(classes, *weight.shape)
        dg, db = dg.requires_grad_(), db.requires_grad_()
        results = adafm(weight, dg, db, impl=impl)
        return dict(forward=lambda: adafm(weight, dg.detach(), db.detach(), impl=impl),
                    backward=lambda: torch.autograd.grad(results, [dg, db], [dk, dp], retain_graph=True))

    pairs = classes * channels ** 2
    return Case(f'adafm {classes} classes {channels} channels', torch.float32, memory_format,
                (weight, offsets, offsets, (classes * channels, channels, 3, 3), offsets), parts,
                dict(forward=9 * channels ** 2 + (9 + 3) * pairs, backward=9 * channels ** 2 + (9 + 5) * pairs))
