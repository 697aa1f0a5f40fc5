"""A generator as an ONNX graph, written node by node from the formulas of StyleGAN2.

torch.onnx.export() has no form for it with a free batch: its convolutions take no number of groups that depends on the batch,
as filters have it here. The graph of this network is short. Demodulation is done on the activations (StyleGAN2, Eq. 3):

    y = conv(x * s, W) / sqrt(sum over i of s_i^2 sum over taps of W_oi^2 + 1e-8)

so that a layer has one kernel for the whole batch, and the batch is free.
"""
from typing import Any

import numpy as np
import torch

from hyper_plugin.networks import HyperGenerator
from torch_utils.ops.upfirdn2d import padding_for_filter

from .onnx_graph import EPSILON, Graph, activate, as_planes, clip, dense, normalise
from .onnx_label import Code, write_code, write_first_layer, write_kernel


def write_generator(graph: Graph, G: Any, z: str, psi: str, label: str) -> str:
    """z [N, z_dim], truncation psi [], label [K] ('' without classes) -> image [N, channels, height, width], with the constant
    noise."""
    w = _mapping(graph, G.mapping, z, psi, label)
    code = write_code(graph, G.mapping.class_code, label) if isinstance(G, HyperGenerator) else None
    return _synthesis(graph, G.synthesis, w, code)


def _mapping(graph: Graph, mapping: Any, z: str, psi: str, label: str) -> str:
    """-> w [N, w_dim], the same for every layer."""
    w = normalise(graph, z)
    for i in range(mapping.num_layers):
        if i == 0 and mapping.c_dim:
            w = write_first_layer(graph, mapping, w, label)
        else:
            w = dense(graph, getattr(mapping, f'fc{i}'), w)
    average = graph.constant(mapping.w_avg[:mapping.w_dim])  # a HyperMapping pads it for its code
    return graph.node('Add', graph.node('Mul', graph.node('Sub', w, average), psi), average)


def _synthesis(graph: Graph, synthesis: Any, w: str, code: Code | None) -> str:
    x, image = '', ''
    for res in synthesis.block_resolutions:
        block = getattr(synthesis, f'b{res}')
        x = _block(graph, block, x, w, code)
        if image:
            image = _upsample(graph, image, block.img_channels, block.resample_filter)
        if block.num_torgb:
            rgb = _to_image(graph, block.torgb, x, w)
            image = graph.node('Add', image, rgb) if image else rgb
    return image


def _block(graph: Graph, block: Any, x: str, w: str, code: Code | None) -> str:
    if block.in_channels == 0:
        return _layer(graph, block.conv1, graph.constant(block.const[None]), w, code)
    first = _layer(graph, block.conv0, x, w, code)
    if block.architecture != 'resnet':
        return _layer(graph, block.conv1, first, w, code)
    gain = np.sqrt(0.5)
    skip = block.skip
    shortcut = graph.node('Conv', x, graph.constant(skip.weight * (skip.weight_gain * gain)))
    shortcut = _upsample(graph, shortcut, len(skip.weight), skip.resample_filter)
    return graph.node('Add', shortcut, _layer(graph, block.conv1, first, w, code, gain))


def _layer(graph: Graph, layer: Any, x: str, w: str, code: Code | None, gain: float = 1) -> str:
    """A synthesis layer: modulated convolution, noise, bias, activation."""
    kernel = write_kernel(graph, layer, code)
    styles = dense(graph, layer.affine, w)  # [N, I]
    x = graph.node('Mul', x, as_planes(graph, styles))
    if layer.up == 1:
        x = graph.node('Conv', x, kernel.weight, pads=[layer.padding] * 4)
    else:
        x = _convolve_up(graph, layer, x, kernel.weight)
    energy = graph.node('MatMul', graph.node('Mul', styles, styles), kernel.power)
    norm = graph.node('Sqrt', graph.with_constant('Add', energy, EPSILON))
    x = graph.node('Div', x, as_planes(graph, norm))
    if layer.use_noise:
        x = graph.with_constant('Add', x, layer.noise_const * layer.noise_strength)
    return activate(graph, graph.node('Add', x, kernel.bias), layer.activation, layer.act_gain * gain,
                    None if layer.conv_clamp is None else layer.conv_clamp * gain)


def _convolve_up(graph: Graph, layer: Any, x: str, weight: str) -> str:
    """Zeros between the samples and convolution in one step, then the filter. weight: [I, O, k, k]."""
    up = layer.up
    x = graph.node('ConvTranspose', x, weight, strides=[up, up])
    taps = _two_dimensional(layer.resample_filter) * up ** 2
    left, right, top, bottom = padding_for_filter(taps, layer.padding, up=up)
    kh, kw = layer.weight.shape[2:]
    # The transposed convolution has added kernel - 1 samples before and kernel - up after.
    pads = [top - (kh - 1), left - (kw - 1), bottom - (kh - up), right - (kw - up)]
    kernel = taps.flip([0, 1]).expand(len(layer.weight), 1, -1, -1)  # flipped: operators correlate
    return graph.node('Conv', x, graph.constant(kernel), pads=_not_negative(pads), group=len(layer.weight))


def _upsample(graph: Graph, x: str, num_channels: int, resample_filter: torch.Tensor) -> str:
    """Enlarge twice: zeros between the samples, then the filter, which is one transposed convolution."""
    taps = _two_dimensional(resample_filter) * 4
    left, right, top, bottom = padding_for_filter(taps, 0, up=2)
    kh, kw = taps.shape
    crop = [kh - 1 - top, kw - 1 - left, kh - 2 - bottom, kw - 2 - right]
    return graph.node('ConvTranspose', x, graph.constant(taps.expand(num_channels, 1, -1, -1)), strides=[2, 2],
                      pads=_not_negative(crop), group=num_channels)


def _to_image(graph: Graph, layer: Any, x: str, w: str) -> str:
    """An image layer: 1x1 modulated convolution without demodulation."""
    styles = graph.with_constant('Mul', dense(graph, layer.affine, w), layer.weight_gain)
    x = graph.node('Mul', x, as_planes(graph, styles))
    x = graph.node('Conv', x, graph.constant(layer.weight), graph.constant(layer.bias), pads=[layer.weight.shape[2] // 2] * 4)
    return clip(graph, x, layer.conv_clamp)


def _two_dimensional(taps: torch.Tensor) -> torch.Tensor:
    return torch.outer(taps, taps) if taps.ndim == 1 else taps


def _not_negative(pads: list[int]) -> list[int]:
    if min(pads) < 0:
        raise ValueError('ONNX export supports no resampling filters of a single tap; export to another format')
    return pads
