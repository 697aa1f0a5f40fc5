"""StyleGAN2 generator and discriminator (Karras et al. 2020, arXiv:1912.04958; ADA: arXiv:2006.06676).

Module, parameter and buffer names are those of the published snapshots, so that each side reads the other's.
Snapshots contain the text of the file that defines their classes. So the whole architecture is in this file, which
imports only what every host codebase offers and uses only Python 3.7 and PyTorch 1.9.

Shapes: N batch, I/O input/output channels, H, W pixels, k kernel size. Images are float32 in about [-1, 1].
Weights use the equalised learning rate (Karras et al. 2018, section 4.1): stored with unit variance, scaled when used.
"""
from __future__ import annotations

import math
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from torch_utils import misc, persistence

try:
    from torch_utils.ops import bias_act, conv2d_resample, fma, upfirdn2d
except ModuleNotFoundError:  # a host may use pkg_resources, which setuptools dropped, to read PyTorch's version
    sys.modules['pkg_resources'] = SimpleNamespace(parse_version=torch.torch_version.TorchVersion)
    from torch_utils.ops import bias_act, conv2d_resample, fma, upfirdn2d
    del sys.modules['pkg_resources']

try:  # one pass over memory, if the host codebase has it
    from torch_utils.ops.scaled_act import scaled_act
except ImportError:
    scaled_act = None

FIR = [1, 3, 3, 1]  # default resampling filter: a binomial low-pass
HALF_TYPES = {'float16': torch.float16, 'bfloat16': torch.bfloat16}


# Functions.

def normalize_2nd_moment(x: torch.Tensor, dim: int = 1, eps: float = 1e-8) -> torch.Tensor:
    """Scale x to a mean square of 1 along `dim` (pixel norm, Karras et al. 2018, section 4.2)."""
    mean_square = x.square().mean(dim=dim, keepdim=True)
    return x * torch.rsqrt(mean_square + eps)


class RoundedSqrt(torch.autograd.Function):
    """Square root of x > 0, correctly rounded on every CPU and twice differentiable.

    In float32 torch.sqrt may be off by one unit in the last place (with MKL on some processors, one time in five). In the
    second derivative of a deviation over few images nearly everything cancels, which exposes this error.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        wide = x.double() if x.device.type == 'cpu' else x
        root = wide.sqrt().to(x.dtype)
        ctx.save_for_backward(root)
        return root

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        root, = ctx.saved_tensors
        return grad / (2 * root)


def limit_range(weight: torch.Tensor, styles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale kernels [..., O, I, k, k] per output channel and styles [N, I] per sample to at most 1.

    Demodulation undoes both scales; without this step large styles overflow in half precision.
    """
    taps = weight.shape[-3:]
    peak = weight.abs().amax(dim=(-3, -2, -1), keepdim=True)
    weight = weight / (peak * float(np.sqrt(taps.numel())))
    return weight, styles / styles.abs().amax(dim=1, keepdim=True)


def modulated_conv2d(x: torch.Tensor, weight: torch.Tensor, styles: torch.Tensor, noise: torch.Tensor | None = None,
                     up: int = 1, down: int = 1, padding: int | list[int] = 0, resample_filter: torch.Tensor | None = None,
                     demodulate: bool = True, flip_weight: bool = True, fused_modconv: bool = True) -> torch.Tensor:
    """Convolution whose kernel is scaled by a style per input channel (StyleGAN2, Eqs. 1-3).

    x: [N, I, H, W]; weight: [O, I, k, k]; styles: [N, I]; noise: broadcastable to the result, added last.
    fused_modconv=True builds one kernel per image and runs a grouped convolution; False scales the activations
    before and after one shared convolution. The results agree up to rounding.
    """
    resample = dict(f=resample_filter, up=up, down=down, padding=padding, flip_weight=flip_weight)
    if fused_modconv:
        if demodulate and x.dtype in HALF_TYPES.values():
            weight, styles = limit_range(weight, styles)
        x = _convolve_with_own_kernels(x, weight, styles, demodulate, resample)
        return x if noise is None else x + noise.to(x.dtype)
    x, scale = modulated_activations(x, weight, styles, demodulate, resample)
    return demodulate_and_add(x, scale, noise)


def modulated_activations(x: torch.Tensor, weight: torch.Tensor, styles: torch.Tensor, demodulate: bool,
                          resample: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The convolution of x * styles, [N, O, H, W], and the factor of demodulation, [N, O] or None."""
    if demodulate and x.dtype in HALF_TYPES.values():
        weight, styles = limit_range(weight, styles)
    x = scale_channels(x, styles)
    x = conv2d_resample.conv2d_resample(x, weight.to(x.dtype), **resample)
    return x, demodulation(weight.square().sum(dim=(2, 3)), styles) if demodulate else None


def scale_channels(x: torch.Tensor, styles: torch.Tensor) -> torch.Tensor:
    """x [N, C, H, W] * styles [N, C]."""
    return x * styles.to(x.dtype)[:, :, None, None] if scaled_act is None else scaled_act(x, styles)


def demodulation(power: torch.Tensor, styles: torch.Tensor) -> torch.Tensor:
    """1 / norm of the modulated kernel. power: [O, I], sum of squares over the taps; styles: [N, I] -> [N, O]."""
    # bmm, because the order of sums in matmul depends on the batch size and on whether gradients are recorded.
    energy = torch.bmm(power.expand(styles.shape[0], -1, -1), styles.square().unsqueeze(2))  # [N, O, 1]
    return torch.rsqrt(energy.squeeze(2) + 1e-8)


def demodulate_and_add(x: torch.Tensor, scale: torch.Tensor | None, noise: torch.Tensor | None) -> torch.Tensor:
    """x * scale + noise; scale: [N, O] or None, noise: broadcastable to x or None."""
    if noise is not None:
        noise = noise.to(x.dtype)
    if scale is None:
        return x if noise is None else x + noise
    scale = scale.to(x.dtype)[:, :, None, None]
    return x * scale if noise is None else fma.fma(x, scale, noise)


def _convolve_with_own_kernels(x: torch.Tensor, weight: torch.Tensor, styles: torch.Tensor, demodulate: bool,
                               resample: dict[str, Any]) -> torch.Tensor:
    count = x.shape[0]
    kernels = weight * styles[:, None, :, None, None]  # [N, O, I, k, k]
    if demodulate:
        kernels = kernels * torch.rsqrt(kernels.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8)
    # NCHW strides: PyTorch 2.13's grouped convolution on CPU computes wrong weight gradients for a batch of one with
    # channels-last strides (seen with 1x1 kernels).
    kernels = kernels.flatten(0, 1).to(x.dtype).clone(memory_format=torch.contiguous_format)
    x = x.contiguous().reshape(1, -1, *x.shape[2:])
    y = conv2d_resample.conv2d_resample(x, kernels, groups=count, **resample)
    return y.reshape(count, -1, *y.shape[2:])


def _log2_resolution(img_resolution: int, smallest: int) -> int:
    exponent = int(img_resolution).bit_length() - 1
    if img_resolution < smallest or img_resolution != 1 << exponent:
        raise ValueError(f'img_resolution is {img_resolution}; expected a power of two, {smallest} or more')
    return exponent


def _check_architecture(architecture: str) -> None:
    if architecture not in ('orig', 'skip', 'resnet'):
        raise ValueError(f"architecture is {architecture!r}; expected 'orig', 'skip' or 'resnet'")


def _num_channels(resolution: int, channel_base: int, channel_max: int) -> int:
    return min(channel_base // resolution, channel_max)


def _uses_half(resolution: int, img_resolution: int, num_fp16_res: int) -> bool:
    """The num_fp16_res highest resolutions run in half precision, but never 4x4."""
    first = max(2 * img_resolution >> num_fp16_res, 8)
    return resolution >= first


def _memory_format(device: torch.device, channels_last: bool) -> torch.memory_format:
    """oneDNN convolves channels-last faster than NCHW, so a CPU always uses it."""
    return torch.channels_last if channels_last or device.type == 'cpu' else torch.contiguous_format


# Layers.

@persistence.persistent_class
class FullyConnectedLayer(nn.Module):
    """[N, in_features] -> [N, out_features], activation included. lr_multiplier scales the learning rate."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True, activation: str = 'linear',
                 lr_multiplier: float = 1, bias_init: float = 0):
        super().__init__()
        self.activation = activation
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.bias_gain = lr_multiplier
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((out_features,), float(bias_init))) if bias else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = nn.functional.linear(x, self.weight.to(x.dtype) * self.weight_gain)
        offset = None if self.bias is None else self.bias.to(x.dtype) * self.bias_gain
        return bias_act.bias_act(y, offset, act=self.activation)


@persistence.persistent_class
class Conv2dLayer(nn.Module):
    """Convolution with optional resampling, bias and activation. trainable=False keeps the weights as buffers."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, bias: bool = True, activation: str = 'linear',
                 up: int = 1, down: int = 1, resample_filter: list[int] = FIR, conv_clamp: float | None = None,
                 channels_last: bool = False, trainable: bool = True):
        super().__init__()
        self.activation = activation
        self.up = up
        self.down = down
        self.conv_clamp = conv_clamp
        self.padding = kernel_size // 2
        self.weight_gain = 1 / math.sqrt(in_channels * kernel_size ** 2)
        self.act_gain = bias_act.activation_funcs[activation].def_gain
        self.register_buffer('resample_filter', upfirdn2d.setup_filter(resample_filter))
        kernel = torch.randn(out_channels, in_channels, kernel_size, kernel_size)
        tensors = dict(weight=kernel.to(memory_format=_memory_format(kernel.device, channels_last)))
        if bias:
            tensors['bias'] = torch.zeros(out_channels)
        else:
            self.bias = None
        for name, tensor in tensors.items():
            if trainable:
                setattr(self, name, nn.Parameter(tensor))
            else:
                self.register_buffer(name, tensor)

    def forward(self, x: torch.Tensor, gain: float = 1) -> torch.Tensor:
        x = conv2d_resample.conv2d_resample(x, (self.weight * self.weight_gain).to(x.dtype), f=self.resample_filter, up=self.up,
                                            down=self.down, padding=self.padding, flip_weight=(self.up == 1))
        return _activate(self, x, None if self.bias is None else self.bias.to(x.dtype), gain)


def _activate(layer: Any, x: torch.Tensor, bias: torch.Tensor | None, gain: float) -> torch.Tensor:
    clamp = None if layer.conv_clamp is None else layer.conv_clamp * gain
    return bias_act.bias_act(x, bias, act=layer.activation, gain=layer.act_gain * gain, clamp=clamp)


@persistence.persistent_class
class MappingNetwork(nn.Module):
    """z [N, z_dim] and label c [N, c_dim] -> ws [N, num_ws, w_dim]; without num_ws -> [N, w_dim]."""

    def __init__(self, z_dim: int, c_dim: int, w_dim: int, num_ws: int | None, num_layers: int = 8,
                 embed_features: int | None = None, layer_features: int | None = None, activation: str = 'lrelu',
                 lr_multiplier: float = 0.01, w_avg_beta: float | None = 0.995):
        super().__init__()
        self.z_dim = z_dim
        self.c_dim = c_dim
        self.w_dim = w_dim
        self.num_ws = num_ws
        self.num_layers = num_layers
        self.w_avg_beta = w_avg_beta
        width = w_dim if layer_features is None else layer_features
        code = 0
        if c_dim > 0:
            code = w_dim if embed_features is None else embed_features
            self.embed = FullyConnectedLayer(c_dim, code)
        sizes = [z_dim + code, *[width] * (num_layers - 1), w_dim]
        for i in range(num_layers):
            layer = FullyConnectedLayer(sizes[i], sizes[i + 1], activation=activation, lr_multiplier=lr_multiplier)
            setattr(self, f'fc{i}', layer)
        if num_ws is not None and w_avg_beta is not None:
            self.register_buffer('w_avg', torch.zeros(w_dim))

    def forward(self, z: torch.Tensor | None, c: torch.Tensor | None, truncation_psi: float = 1,
                truncation_cutoff: int | None = None, skip_w_avg_update: bool = False) -> torch.Tensor:
        parts = []
        if self.z_dim > 0:
            misc.assert_shape(z, [None, self.z_dim])
            parts.append(normalize_2nd_moment(z.float()))
        if self.c_dim > 0:
            misc.assert_shape(c, [None, self.c_dim])
            parts.append(normalize_2nd_moment(self.embed(c.float())))
        w = torch.cat(parts, dim=1)
        for i in range(self.num_layers):
            w = getattr(self, f'fc{i}')(w)
        if self.training and self.w_avg_beta is not None and not skip_w_avg_update:
            self.w_avg.lerp_(w.detach().mean(dim=0), 1 - self.w_avg_beta)
        if self.num_ws is None:
            return w
        ws = w.unsqueeze(1).expand(-1, self.num_ws, -1).clone()
        if truncation_psi == 1:
            return ws
        near = ws[:, :truncation_cutoff]
        return torch.cat([self.w_avg.lerp(near, truncation_psi), ws[:, near.shape[1]:]], dim=1)


@persistence.persistent_class
class SynthesisLayer(nn.Module):
    """Style-modulated convolution, noise, bias, activation. x [N, I, H, W], w [N, w_dim] -> [N, O, up*H, up*W]."""

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, resolution: int, kernel_size: int = 3, up: int = 1,
                 use_noise: bool = True, activation: str = 'lrelu', resample_filter: list[int] = FIR,
                 conv_clamp: float | None = None, channels_last: bool = False):
        super().__init__()
        self.resolution = resolution
        self.up = up
        self.use_noise = use_noise
        self.activation = activation
        self.conv_clamp = conv_clamp
        self.padding = kernel_size // 2
        self.act_gain = bias_act.activation_funcs[activation].def_gain
        self.register_buffer('resample_filter', upfirdn2d.setup_filter(resample_filter))
        self.affine = FullyConnectedLayer(w_dim, in_channels, bias_init=1)
        kernel = torch.randn(out_channels, in_channels, kernel_size, kernel_size)
        self.weight = nn.Parameter(kernel.to(memory_format=_memory_format(kernel.device, channels_last)))
        if use_noise:
            self.register_buffer('noise_const', torch.randn(resolution, resolution))
            self.noise_strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def noise(self, count: int, noise_mode: str) -> torch.Tensor | None:
        """Scaled noise for `count` images: None, [res, res] (const) or [count, 1, res, res] (random)."""
        if noise_mode not in ('random', 'const', 'none'):
            raise ValueError(f"noise_mode is {noise_mode!r}; expected 'random', 'const' or 'none'")
        if not self.use_noise or noise_mode == 'none':
            return None
        if noise_mode == 'const':
            return self.noise_const * self.noise_strength
        return torch.randn(count, 1, self.resolution, self.resolution, device=self.noise_const.device) * self.noise_strength

    def forward(self, x: torch.Tensor, w: torch.Tensor, noise_mode: str = 'random', fused_modconv: bool = True,
                gain: float = 1) -> torch.Tensor:
        side = self.resolution // self.up
        misc.assert_shape(x, [None, self.weight.shape[1], side, side])
        noise = self.noise(x.shape[0], noise_mode)
        resample = dict(up=self.up, padding=self.padding, flip_weight=(self.up == 1))
        if fused_modconv or scaled_act is None:
            x = modulated_conv2d(x, self.weight, self.affine(w), noise=noise, resample_filter=self.resample_filter,
                                 fused_modconv=fused_modconv, **resample)
            return _activate(self, x, self.bias.to(x.dtype), gain)
        x, scale = modulated_activations(x, self.weight, self.affine(w), True, dict(resample, f=self.resample_filter))
        clamp = None if self.conv_clamp is None else self.conv_clamp * gain
        return scaled_act(x, scale, self.bias, noise, act=self.activation, gain=self.act_gain * gain, clamp=clamp)


@persistence.persistent_class
class ToRGBLayer(nn.Module):
    """Features to image channels: 1x1 modulated convolution without demodulation. -> [N, out_channels, H, W]."""

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, kernel_size: int = 1, conv_clamp: float | None = None,
                 channels_last: bool = False):
        super().__init__()
        self.conv_clamp = conv_clamp
        self.weight_gain = 1 / math.sqrt(in_channels * kernel_size ** 2)
        self.affine = FullyConnectedLayer(w_dim, in_channels, bias_init=1)
        kernel = torch.randn(out_channels, in_channels, kernel_size, kernel_size)
        self.weight = nn.Parameter(kernel.to(memory_format=_memory_format(kernel.device, channels_last)))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: torch.Tensor, w: torch.Tensor, fused_modconv: bool = True) -> torch.Tensor:
        styles = self.affine(w) * self.weight_gain
        x = modulated_conv2d(x, self.weight, styles, demodulate=False, fused_modconv=fused_modconv)
        return bias_act.bias_act(x, self.bias.to(x.dtype), clamp=self.conv_clamp)


# Generator.

@persistence.persistent_class
class SynthesisBlock(nn.Module):
    """The layers of one resolution. in_channels=0: the first block, whose input is a learned constant."""

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, resolution: int, img_channels: int, is_last: bool,
                 architecture: str = 'skip', resample_filter: list[int] = FIR, conv_clamp: float | None = None,
                 use_fp16: bool = False, fp16_channels_last: bool = False, half_type: str = 'float16', **layer_kwargs: Any):
        super().__init__()
        _check_architecture(architecture)
        self.in_channels = in_channels
        self.w_dim = w_dim
        self.resolution = resolution
        self.img_channels = img_channels
        self.is_last = is_last
        self.architecture = architecture
        self.use_fp16 = use_fp16
        self.half_type = half_type
        self.channels_last = use_fp16 and fp16_channels_last
        self.register_buffer('resample_filter', upfirdn2d.setup_filter(resample_filter))
        common = dict(w_dim=w_dim, conv_clamp=conv_clamp, channels_last=self.channels_last)
        layer = dict(common, resolution=resolution, **layer_kwargs)
        double = dict(up=2, resample_filter=resample_filter)
        self.num_conv = 1 if in_channels == 0 else 2
        if in_channels == 0:
            self.const = nn.Parameter(torch.randn(out_channels, resolution, resolution))
        else:
            self.conv0 = SynthesisLayer(in_channels, out_channels, **layer, **double)
        self.conv1 = SynthesisLayer(out_channels, out_channels, **layer)
        self.num_torgb = int(is_last or architecture == 'skip')
        if self.num_torgb:
            self.torgb = ToRGBLayer(out_channels, img_channels, **common)
        if in_channels != 0 and architecture == 'resnet':
            self.skip = Conv2dLayer(in_channels, out_channels, 1, bias=False, channels_last=self.channels_last, **double)

    def forward(self, x: torch.Tensor | None, img: torch.Tensor | None, ws: torch.Tensor, force_fp32: bool = False,
                fused_modconv: bool | None = None, **layer_kwargs: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
        """x: features of the block before; img: its image or None; ws: [N, num_conv + num_torgb, w_dim]."""
        misc.assert_shape(ws, [None, self.num_conv + self.num_torgb, self.w_dim])
        half = self.use_fp16 and not force_fp32
        dtype = HALF_TYPES[self.half_type] if half else torch.float32
        if fused_modconv is None:  # on a CPU, one kernel for the batch is faster than one per image
            fused_modconv = not self.training and (not half or ws.shape[0] == 1) and ws.device.type != 'cpu'
        layer_kwargs['fused_modconv'] = fused_modconv
        styles = iter(ws.unbind(dim=1))
        if self.in_channels == 0:
            x = self.const.unsqueeze(0).expand(ws.shape[0], -1, -1, -1)
        x = x.to(dtype=dtype, memory_format=_memory_format(ws.device, self.channels_last and half))
        x = self._convolve(x, styles, layer_kwargs)
        if img is not None:
            img = upfirdn2d.upsample2d(img, self.resample_filter)
        if self.num_torgb:
            rgb = self.torgb(x, next(styles), fused_modconv=fused_modconv).to(torch.float32)
            img = rgb if img is None else img + rgb
        return x, img

    def _convolve(self, x: torch.Tensor, styles: Any, layer_kwargs: dict[str, Any]) -> torch.Tensor:
        if self.in_channels == 0:
            return self.conv1(x, next(styles), **layer_kwargs)
        if self.architecture != 'resnet':
            return self.conv1(self.conv0(x, next(styles), **layer_kwargs), next(styles), **layer_kwargs)
        gain = float(np.sqrt(0.5))  # keeps the variance of a sum of two equal branches
        shortcut = self.skip(x, gain=gain)
        x = self.conv0(x, next(styles), **layer_kwargs)
        return shortcut + self.conv1(x, next(styles), gain=gain, **layer_kwargs)


@persistence.persistent_class
class SynthesisNetwork(nn.Module):
    """ws [N, num_ws, w_dim] -> image [N, img_channels, img_resolution, img_resolution]."""

    def __init__(self, w_dim: int, img_resolution: int, img_channels: int, channel_base: int = 32768, channel_max: int = 512,
                 num_fp16_res: int = 0, **block_kwargs: Any):
        super().__init__()
        self.w_dim = w_dim
        self.img_resolution = img_resolution
        self.img_resolution_log2 = _log2_resolution(img_resolution, smallest=4)
        self.img_channels = img_channels
        self.block_resolutions = [1 << i for i in range(2, self.img_resolution_log2 + 1)]
        self.num_ws = 0
        width = 0
        for res in self.block_resolutions:
            before, width = width, _num_channels(res, channel_base, channel_max)
            block = SynthesisBlock(before, width, w_dim=w_dim, resolution=res, img_channels=img_channels,
                                   is_last=(res == img_resolution), use_fp16=_uses_half(res, img_resolution, num_fp16_res),
                                   **block_kwargs)
            setattr(self, f'b{res}', block)
            # The next block starts with the w of this block's image layer, so only the last image layer adds a copy.
            self.num_ws += block.num_conv + (block.num_torgb if block.is_last else 0)

    def forward(self, ws: torch.Tensor, **block_kwargs: Any) -> torch.Tensor:
        misc.assert_shape(ws, [None, self.num_ws, self.w_dim])
        ws = ws.to(torch.float32)
        x = img = None
        first = 0
        for res in self.block_resolutions:
            block = getattr(self, f'b{res}')
            x, img = block(x, img, ws[:, first:first + block.num_conv + block.num_torgb], **block_kwargs)
            first += block.num_conv
        return img


@persistence.persistent_class
class Generator(nn.Module):
    """z [N, z_dim], label c [N, c_dim] (or None when c_dim is 0) -> image."""

    def __init__(self, z_dim: int, c_dim: int, w_dim: int, img_resolution: int, img_channels: int,
                 mapping_kwargs: dict[str, Any] = {}, synthesis_kwargs: dict[str, Any] = {}):  # noqa: B006
        super().__init__()
        self.img_resolution = img_resolution
        self.img_channels = img_channels
        self.z_dim = z_dim
        self.c_dim = c_dim
        self.w_dim = w_dim
        self.synthesis = SynthesisNetwork(w_dim, img_resolution, img_channels, **synthesis_kwargs)
        self.num_ws = self.synthesis.num_ws
        self.mapping = MappingNetwork(z_dim, c_dim, w_dim, num_ws=self.num_ws, **mapping_kwargs)

    def forward(self, z: torch.Tensor, c: torch.Tensor | None, truncation_psi: float = 1, truncation_cutoff: int | None = None,
                **synthesis_kwargs: Any) -> torch.Tensor:
        ws = self.mapping(z, c, truncation_psi, truncation_cutoff)
        return self.synthesis(ws, **synthesis_kwargs)


# Discriminator.

@persistence.persistent_class
class DiscriminatorBlock(nn.Module):
    """The layers of one resolution; halves it. in_channels=0: the first block, which reads the image."""

    def __init__(self, in_channels: int, tmp_channels: int, out_channels: int, resolution: int, img_channels: int,
                 first_layer_idx: int, architecture: str = 'resnet', activation: str = 'lrelu',
                 resample_filter: list[int] = FIR, conv_clamp: float | None = None, use_fp16: bool = False,
                 fp16_channels_last: bool = False, freeze_layers: int = 0, half_type: str = 'float16'):
        super().__init__()
        _check_architecture(architecture)
        self.in_channels = in_channels
        self.resolution = resolution
        self.img_channels = img_channels
        self.first_layer_idx = first_layer_idx
        self.architecture = architecture
        self.use_fp16 = use_fp16
        self.half_type = half_type
        self.channels_last = use_fp16 and fp16_channels_last
        self.num_layers = 0
        self.register_buffer('resample_filter', upfirdn2d.setup_filter(resample_filter))

        def layer(inputs: int, outputs: int, kernel_size: int, **kwargs: Any) -> Conv2dLayer:
            trainable = self.first_layer_idx + self.num_layers >= freeze_layers
            self.num_layers += 1
            return Conv2dLayer(inputs, outputs, kernel_size, trainable=trainable, channels_last=self.channels_last, **kwargs)

        common = dict(activation=activation, conv_clamp=conv_clamp)
        halve = dict(down=2, resample_filter=resample_filter)
        if in_channels == 0 or architecture == 'skip':
            self.fromrgb = layer(img_channels, tmp_channels, 1, **common)
        self.conv0 = layer(tmp_channels, tmp_channels, 3, **common)
        self.conv1 = layer(tmp_channels, out_channels, 3, **common, **halve)
        if architecture == 'resnet':
            self.skip = layer(tmp_channels, out_channels, 1, bias=False, **halve)

    def forward(self, x: torch.Tensor | None, img: torch.Tensor | None,
                force_fp32: bool = False) -> tuple[torch.Tensor, torch.Tensor | None]:
        half = self.use_fp16 and not force_fp32
        source = img if x is None else x
        cast = dict(dtype=HALF_TYPES[self.half_type] if half else torch.float32,
                    memory_format=_memory_format(source.device, self.channels_last and half))
        if x is not None:
            x = x.to(**cast)
        if self.in_channels == 0 or self.architecture == 'skip':
            misc.assert_shape(img, [None, self.img_channels, self.resolution, self.resolution])
            y = self.fromrgb(img.to(**cast))
            x = y if x is None else x + y
            img = upfirdn2d.downsample2d(img, self.resample_filter) if self.architecture == 'skip' else None
        if self.architecture != 'resnet':
            return self.conv1(self.conv0(x)), img
        gain = float(np.sqrt(0.5))
        shortcut = self.skip(x, gain=gain)
        return shortcut + self.conv1(self.conv0(x), gain=gain), img


@persistence.persistent_class
class MinibatchStdLayer(nn.Module):
    """Appends the standard deviation of features within groups of images as extra channels (Karras et al. 2018, section 3)."""

    def __init__(self, group_size: int | None, num_channels: int = 1):
        super().__init__()
        self.group_size = group_size
        self.num_channels = num_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        count, channels, height, width = x.shape
        group = count if self.group_size is None else min(self.group_size, count)
        # Image i belongs to group i mod (count / group), so the members of a group vary along the first axis.
        y = x.reshape(group, count // group, self.num_channels, channels // self.num_channels, height, width)
        deviation = y - y.mean(dim=0)
        spread = RoundedSqrt.apply(deviation.square().mean(dim=0) + 1e-8)  # [groups, F, channels / F, H, W]
        level = spread.mean(dim=(2, 3, 4))  # [groups, F]
        extra = level.repeat(group, 1)[:, :, None, None].expand(-1, -1, height, width)
        return torch.cat([x, extra], dim=1)


@persistence.persistent_class
class DiscriminatorEpilogue(nn.Module):
    """4x4 features -> logits [N, 1]; with cmap_dim, the inner product with the mapped label."""

    def __init__(self, in_channels: int, cmap_dim: int, resolution: int, img_channels: int, architecture: str = 'resnet',
                 mbstd_group_size: int | None = 4, mbstd_num_channels: int = 1, activation: str = 'lrelu',
                 conv_clamp: float | None = None):
        super().__init__()
        self.architecture = architecture
        self.resolution = resolution
        self.in_channels = in_channels
        self.img_channels = img_channels
        self.cmap_dim = cmap_dim
        if architecture == 'skip':
            self.fromrgb = Conv2dLayer(img_channels, in_channels, kernel_size=1, activation=activation)
        if mbstd_num_channels > 0:
            self.mbstd = MinibatchStdLayer(mbstd_group_size, mbstd_num_channels)
        else:
            self.mbstd = None
        self.conv = Conv2dLayer(in_channels + mbstd_num_channels, in_channels, kernel_size=3, activation=activation,
                                conv_clamp=conv_clamp)
        self.fc = FullyConnectedLayer(in_channels * resolution ** 2, in_channels, activation=activation)
        self.out = FullyConnectedLayer(in_channels, 1 if cmap_dim == 0 else cmap_dim)

    def forward(self, x: torch.Tensor, img: torch.Tensor | None, cmap: torch.Tensor | None,
                force_fp32: bool = False) -> torch.Tensor:
        """force_fp32: part of the interface of all blocks; the epilogue always uses float32."""
        misc.assert_shape(x, [None, self.in_channels, self.resolution, self.resolution])
        x = x.to(dtype=torch.float32, memory_format=torch.contiguous_format)
        if self.architecture == 'skip':
            x = x + self.fromrgb(img.to(torch.float32))
        if self.mbstd is not None:
            x = self.mbstd(x)
        x = self.out(self.fc(self.conv(x).flatten(1)))
        if self.cmap_dim > 0:
            x = (x * cmap).sum(dim=1, keepdim=True) / np.sqrt(self.cmap_dim)
        return x


@persistence.persistent_class
class Discriminator(nn.Module):
    """Image [N, img_channels, res, res] and label c [N, c_dim] -> logits [N, 1]; positive means real."""

    def __init__(self, c_dim: int, img_resolution: int, img_channels: int, architecture: str = 'resnet',
                 channel_base: int = 32768, channel_max: int = 512, num_fp16_res: int = 0, conv_clamp: float | None = None,
                 cmap_dim: int | None = None, block_kwargs: dict[str, Any] = {}, mapping_kwargs: dict[str, Any] = {},  # noqa: B006
                 epilogue_kwargs: dict[str, Any] = {}):  # noqa: B006
        super().__init__()
        self.c_dim = c_dim
        self.img_resolution = img_resolution
        self.img_resolution_log2 = _log2_resolution(img_resolution, smallest=8)
        self.img_channels = img_channels
        self.block_resolutions = [1 << i for i in range(self.img_resolution_log2, 2, -1)]
        widths = {res: _num_channels(res, channel_base, channel_max) for res in [*self.block_resolutions, 4]}
        if c_dim == 0:
            cmap_dim = 0
        elif cmap_dim is None:
            cmap_dim = widths[4]
        common = dict(img_channels=img_channels, architecture=architecture, conv_clamp=conv_clamp)
        layers_so_far = 0
        for res in self.block_resolutions:
            inputs = 0 if res == img_resolution else widths[res]
            block = DiscriminatorBlock(inputs, widths[res], widths[res // 2], resolution=res, first_layer_idx=layers_so_far,
                                       use_fp16=_uses_half(res, img_resolution, num_fp16_res), **common, **block_kwargs)
            layers_so_far += block.num_layers
            setattr(self, f'b{res}', block)
        if c_dim > 0:
            self.mapping = MappingNetwork(0, c_dim, cmap_dim, num_ws=None, w_avg_beta=None, **mapping_kwargs)
        self.b4 = DiscriminatorEpilogue(widths[4], cmap_dim=cmap_dim, resolution=4, **common, **epilogue_kwargs)

    def forward(self, img: torch.Tensor, c: torch.Tensor | None, **block_kwargs: Any) -> torch.Tensor:
        x = None
        for res in self.block_resolutions:
            x, img = getattr(self, f'b{res}')(x, img, **block_kwargs)
        cmap = self.mapping(None, c) if self.c_dim > 0 else None
        return self.b4(x, img, cmap)
