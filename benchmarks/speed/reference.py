"""The straightforward composition of the networks, which the benchmark compares with.

Within composition() the repository's networks compute the same images, logits and gradients, up to rounding, from their own
weights, by PyTorch's ready-made operations one after another, as the papers write them:

- images stored plane by plane (NCHW);
- one kernel per image: (gathered by class and) modulated, demodulated, and used in a grouped convolution;
- upfirdn2d by putting the zeros in, padding, and a convolution per channel with the whole filter at every position;
- bias, activation, gain and clamp each by itself;
- nothing kept between calls, no kernels of our own.

Shapes: N batch, U distinct class codes in it, I/O input/output channels, H, W pixels, k kernel size.
"""
import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import nn

from hyper_plugin import networks as hyper
from torch_utils.ops import upfirdn2d as resampling
from training import networks

ACTIVATIONS = {'linear': lambda x: x, 'relu': F.relu, 'lrelu': lambda x: F.leaky_relu(x, 0.2)}
ACTIVATION_GAINS = {'linear': 1.0, 'relu': 2 ** 0.5, 'lrelu': 2 ** 0.5}
RESNET_GAIN = 0.5 ** 0.5


@contextlib.contextmanager
def composition(*modules: nn.Module) -> Iterator[None]:
    """Inside, all networks run as the straightforward composition; the weights of `modules` are stored plane by plane for it
    (and stay so)."""
    for module in modules:
        store_plane_by_plane(module)
    with contextlib.ExitStack() as stack:
        for layer, forward in FORWARDS.items():
            stack.enter_context(mock.patch.object(layer, 'forward', forward))
        stack.enter_context(mock.patch.object(resampling, 'upfirdn2d', upfirdn2d))  # which filter2d() and the others call
        yield


@torch.no_grad()
def store_plane_by_plane(module: nn.Module) -> None:
    """Give all parameters and buffers the default layout."""
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.data = tensor.data.clone(memory_format=torch.contiguous_format)


@torch.no_grad()
def update_average(average: nn.Module, module: nn.Module, beta: float) -> None:
    """The averaged generator: parameters p_avg <- p + beta (p_avg - p), buffers copied, one after another."""
    for p_avg, p in zip(average.parameters(), module.parameters(), strict=True):
        p_avg.copy_(p + beta * (p_avg - p))
    for b_avg, b in zip(average.buffers(), module.buffers(), strict=True):
        b_avg.copy_(b)


# Operations.

def bias_act(x: torch.Tensor, bias: torch.Tensor | None, act: str = 'linear', gain: float | None = None,
             clamp: float | None = None) -> torch.Tensor:
    """x [N, C, ...], bias [C]: add, activate, scale, clamp."""
    if bias is not None:
        x = x + bias.to(x.dtype).reshape(1, -1, *[1] * (x.ndim - 2))
    x = ACTIVATIONS[act](x)
    gain = ACTIVATION_GAINS[act] if gain is None else gain
    if gain != 1:
        x = x * gain
    return x if clamp is None else x.clamp(-clamp, clamp)


def upfirdn2d(x: torch.Tensor, f: torch.Tensor | None, up: int = 1, down: int = 1, padding: Any = 0, flip_filter: bool = False,
              gain: float = 1, impl: str = 'ref') -> torch.Tensor:
    """x [N, C, H, W]: zeros in, padding, every channel convolved with f at every position, every down-th sample kept.

    f [kh, kw], or [k] for a pass along each axis; padding: one number or (left, right, top, bottom). impl is of no effect.
    """
    left, right, top, bottom = padding if isinstance(padding, (list, tuple)) else [padding] * 4
    count, channels, height, width = x.shape
    x = F.pad(x.reshape(count, channels, height, 1, width, 1), (0, up - 1, 0, 0, 0, up - 1))
    x = F.pad(x.reshape(count, channels, height * up, width * up), (left, right, top, bottom))
    f = torch.ones(1, 1, device=x.device) if f is None else f
    if not flip_filter:
        f = f.flip(list(range(f.ndim)))  # PyTorch correlates
    f = (f * gain ** (f.ndim / 2)).to(x.dtype)
    for kernel in ([f] if f.ndim == 2 else [f[None, :], f[:, None]]):
        x = F.conv2d(x, kernel.repeat(channels, 1, 1, 1), groups=channels)
    return x[:, :, ::down, ::down]


def convolve(x: torch.Tensor, w: torch.Tensor, f: Any = None, up: int = 1, down: int = 1,
             groups: int = 1) -> torch.Tensor:
    """Convolve x [N, I, H, W] with w [O, I/groups, k, k], keeping the size, before it upsampled or after it downsampled with f.

    Up: a transposed convolution, then the filter; down: the filter, then a strided convolution; 1x1 at the lower resolution.
    The kernel is mirrored where it upsamples, as published weights have it.
    """
    k = w.shape[2]
    if down > 1:
        before, after = (f.shape[0] - down + 1) // 2 + k // 2, (f.shape[0] - down) // 2 + k // 2
        x = upfirdn2d(x, f, down=down if k == 1 else 1, padding=(before, after, before, after))
        return F.conv2d(x, w, stride=1 if k == 1 else down, groups=groups)
    if up == 1:
        return F.conv2d(x, w, padding=k // 2, groups=groups)
    if k == 1:
        return resampling.upsample2d(F.conv2d(x, w, groups=groups), f, up=up)
    outputs, inputs = w.shape[0] // groups, w.shape[1]
    w = w.reshape(groups, outputs, inputs, k, k).transpose(1, 2).reshape(groups * inputs, outputs, k, k)
    x = F.conv_transpose2d(x, w, stride=up, groups=groups)  # k - up samples more than up times as many
    taps = f.shape[0]
    before, after = (taps + up - 1) // 2 - k // 2, (taps - up) // 2 - (k // 2 - up + 1)
    return upfirdn2d(x, f, padding=(before, after, before, after), gain=up ** 2)


def convolve_each(x: torch.Tensor, kernels: torch.Tensor, styles: torch.Tensor, demodulate: bool = True,
                  **resample: Any) -> torch.Tensor:
    """x [N, I, H, W], every image with its own kernel: kernels [N or 1, O, I, k, k] scaled by styles [N, I] and demodulated."""
    if demodulate and x.dtype != torch.float32:  # half precision: scales that demodulation divides out again
        kernels = kernels / (kernels.abs().amax(dim=(2, 3, 4), keepdim=True) * kernels[0, 0].numel() ** 0.5)
        styles = styles / styles.abs().amax(dim=1, keepdim=True)
    kernels = kernels * styles[:, None, :, None, None]
    if demodulate:
        kernels = kernels * torch.rsqrt(kernels.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8)
    # A plain copy: with a batch of one, kernels that lie otherwise get wrong gradients from PyTorch 2.13's grouped convolution.
    kernels = kernels.flatten(0, 1).to(x.dtype).clone(memory_format=torch.contiguous_format)
    y = convolve(x.reshape(1, -1, *x.shape[2:]), kernels, groups=len(x), **resample)
    return y.reshape(len(x), -1, *y.shape[2:])


# Layers: what their forward() does.

def fully_connected(layer: Any, x: torch.Tensor) -> torch.Tensor:
    """[N, I] -> [N, O]."""
    x = x @ (layer.weight * layer.weight_gain).to(x.dtype).T
    return bias_act(x, None if layer.bias is None else layer.bias * layer.bias_gain, layer.activation)


def convolution(layer: Any, x: torch.Tensor, gain: float = 1) -> torch.Tensor:
    """A discriminator's layer, or a shortcut."""
    weight = (layer.weight * layer.weight_gain).to(x.dtype)
    return activate(layer, convolve(x, weight, layer.resample_filter, layer.up, layer.down), layer.bias, gain)


def activate(layer: Any, x: torch.Tensor, bias: torch.Tensor | None, gain: float) -> torch.Tensor:
    clamp = None if layer.conv_clamp is None else layer.conv_clamp * gain
    return bias_act(x, bias, layer.activation, layer.act_gain * gain, clamp)


def add_noise(layer: Any, x: torch.Tensor, noise_mode: str) -> torch.Tensor:
    if not layer.use_noise or noise_mode == 'none':
        return x
    plane = layer.noise_const
    if noise_mode == 'random':
        plane = torch.randn(len(x), 1, *plane.shape, device=x.device)
    return x + (plane * layer.noise_strength).to(x.dtype)


def synthesis_layer(layer: Any, x: torch.Tensor, w: torch.Tensor, noise_mode: str = 'random', gain: float = 1) -> torch.Tensor:
    """[N, I, H, W] -> [N, O, up * H, up * W]."""
    x = convolve_each(x, layer.weight[None], layer.affine(w), f=layer.resample_filter, up=layer.up)
    return activate(layer, add_noise(layer, x, noise_mode), layer.bias, gain)


def hyper_synthesis_layer(layer: Any, x: torch.Tensor, w: torch.Tensor, code: hyper.BatchCodes, noise_mode: str = 'random',
                          gain: float = 1) -> torch.Tensor:
    """As synthesis_layer, with kernels and biases by class. The images stand in the order of the batch."""
    index = code.restore(code.index)
    dg, db_w, db = (offset[index] for offset in layer.hyper.modulations(code.layer(layer.ws_index)))
    mu = layer.weight.mean(dim=(2, 3), keepdim=True)
    sigma = (layer.weight - mu).square().mean(dim=(2, 3), keepdim=True).sqrt()
    kernels = layer.weight + dg[..., None, None] * (layer.weight - mu) + sigma * db_w[..., None, None]
    x = convolve_each(x, kernels, layer.affine(w), f=layer.resample_filter, up=layer.up)
    x = add_noise(layer, x, noise_mode) + (layer.bias + db)[:, :, None, None].to(x.dtype)
    return activate(layer, x, None, gain)


def image_layer(layer: Any, x: torch.Tensor, w: torch.Tensor, **_interface: Any) -> torch.Tensor:
    """[N, I, H, W] -> [N, channels, H, W]."""
    x = convolve_each(x, layer.weight[None], layer.affine(w) * layer.weight_gain, demodulate=False)
    return bias_act(x, layer.bias, clamp=layer.conv_clamp)


# Blocks and networks.

def data_type(block: Any, force_fp32: bool) -> torch.dtype:
    return networks.HALF_TYPES[block.half_type] if block.use_fp16 and not force_fp32 else torch.float32


def synthesis_block(block: Any, x: Any, img: torch.Tensor | None, ws: torch.Tensor, force_fp32: bool = False,
                    fused_modconv: bool | None = None, **given: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
    """x, img, ws as networks.SynthesisBlock has them. fused_modconv: part of the interface; there is one way here."""
    w = iter(ws.unbind(dim=1))
    if block.in_channels == 0:
        x = block.const.repeat(len(ws), 1, 1, 1).to(data_type(block, force_fp32))
        x = block.conv1(x, next(w), **given)
    else:
        x = x.to(data_type(block, force_fp32))
        resnet = block.architecture == 'resnet'
        shortcut = block.skip(x, gain=RESNET_GAIN) if resnet else None
        x = block.conv0(x, next(w), **given)
        x = shortcut + block.conv1(x, next(w), gain=RESNET_GAIN, **given) if resnet else block.conv1(x, next(w), **given)
    if img is not None:
        img = resampling.upsample2d(img, block.resample_filter)
    if block.num_torgb:
        rgb = block.torgb(x, next(w)).to(torch.float32)
        img = rgb if img is None else img + rgb
    return x, img


def synthesis(net: Any, ws: torch.Tensor, **given: Any) -> torch.Tensor:
    """ws [N, num_ws, w_dim] -> images."""
    x: Any = None
    img: Any = None
    first = 0
    for res in net.block_resolutions:
        block = getattr(net, f'b{res}')
        x, img = block(x, img, ws[:, first:first + block.num_conv + block.num_torgb], **given)
        first += block.num_conv
    return img


def hyper_synthesis(net: Any, ws: torch.Tensor, code: torch.Tensor | None = None, update_emas: bool = False,
                    **given: Any) -> torch.Tensor:
    """ws [N, num_ws, w_dim + S], or w_dim with the code [N, S] beside it -> images. update_emas: part of the interface."""
    w, v = ws.split([net.w_dim, net.code_size], dim=2) if code is None else (ws, code[:, None])
    return synthesis(net, w, code=hyper.BatchCodes(v, apart=code is None), **given)


def discriminator_block(block: Any, x: torch.Tensor | None, img: Any,
                        force_fp32: bool = False) -> tuple[torch.Tensor, torch.Tensor | None]:
    """x, img as networks.DiscriminatorBlock has them."""
    dtype = data_type(block, force_fp32)
    if x is not None:
        x = x.to(dtype)
    if block.in_channels == 0 or block.architecture == 'skip':
        seen = block.fromrgb(img.to(dtype))
        x = seen if x is None else x + seen
        img = resampling.downsample2d(img, block.resample_filter) if block.architecture == 'skip' else None
    if block.architecture != 'resnet':
        return block.conv1(block.conv0(x)), img
    return block.skip(x, gain=RESNET_GAIN) + block.conv1(block.conv0(x), gain=RESNET_GAIN), img


FORWARDS = {
    networks.FullyConnectedLayer: fully_connected,
    networks.Conv2dLayer: convolution,
    networks.SynthesisLayer: synthesis_layer,
    networks.ToRGBLayer: image_layer,
    networks.SynthesisBlock: synthesis_block,
    networks.SynthesisNetwork: synthesis,
    networks.DiscriminatorBlock: discriminator_block,
    hyper.HyperSynthesisLayer: hyper_synthesis_layer,
    hyper.HyperSynthesis: hyper_synthesis,
}
