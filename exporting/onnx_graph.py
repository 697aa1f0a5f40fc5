"""A generator as an ONNX graph (https://onnx.ai/onnx/operators), written node by node from the formulas of StyleGAN2.

torch.onnx.export() has no form for it with a free batch: its convolutions take no number of groups that depends on the batch,
as filters have it here. The graph of this network is short. Demodulation is done on the activations (StyleGAN2, Eq. 3):

    y = conv(x * s, W) / sqrt(sum over i of s_i^2 sum over taps of W_oi^2 + 1e-8)

so that all kernels are constants and the batch is free. Everything is float32.
"""
from typing import Any

import numpy as np
import torch

from torch_utils.ops import bias_act
from torch_utils.ops.upfirdn2d import padding_for_filter

OPSET = 13  # the first with axes of Unsqueeze as an input; every later one has these operators too
IR_VERSION = 7  # that came with it
EPSILON = 1e-8
_NODES = {'relu': 'Relu', 'tanh': 'Tanh', 'sigmoid': 'Sigmoid', 'elu': 'Elu', 'selu': 'Selu', 'softplus': 'Softplus'}


class Graph:
    """Nodes and constants of a graph in the making. Values are known by name."""

    def __init__(self, onnx: Any) -> None:
        self._onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Any) -> str:
        """A float32 or int64 array, from a tensor, array or numbers."""
        array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        array = array.astype(np.float32 if array.dtype.kind == 'f' else np.int64)
        name = f'constant{len(self.constants)}'
        self.constants.append(self._onnx.numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name))
        return name

    def node(self, kind: str, *inputs: str, output: str = '', **attributes: Any) -> str:
        """An operator with one result, whose name is returned."""
        output = output or f'value{len(self.nodes)}'
        self.nodes.append(self._onnx.helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def with_constant(self, kind: str, x: str, value: Any) -> str:
        """kind(x, value)."""
        return self.node(kind, x, self.constant(value))


def write_mapping(graph: Graph, mapping: Any, z: str, psi: str) -> str:
    """z [N, z_dim], truncation psi [] -> w [N, w_dim], the same for every layer."""
    mean_square = graph.node('ReduceMean', graph.node('Mul', z, z), axes=[1], keepdims=1)
    w = graph.node('Div', z, graph.node('Sqrt', graph.with_constant('Add', mean_square, EPSILON)))
    for i in range(mapping.num_layers):
        w = _dense(graph, getattr(mapping, f'fc{i}'), w)
    average = graph.constant(mapping.w_avg)
    return graph.node('Add', graph.node('Mul', graph.node('Sub', w, average), psi), average)


def write_synthesis(graph: Graph, synthesis: Any, w: str) -> str:
    """w [N, w_dim] -> image [N, channels, height, width], with the constant noise."""
    x, image = '', ''
    for res in synthesis.block_resolutions:
        block = getattr(synthesis, f'b{res}')
        x = _block(graph, block, x, w)
        if image:
            image = _upsample(graph, image, block.img_channels, block.resample_filter)
        if block.num_torgb:
            rgb = _to_image(graph, block.torgb, x, w)
            image = graph.node('Add', image, rgb) if image else rgb
    return image


def _block(graph: Graph, block: Any, x: str, w: str) -> str:
    if block.in_channels == 0:
        return _layer(graph, block.conv1, graph.constant(block.const[None]), w)
    if block.architecture != 'resnet':
        return _layer(graph, block.conv1, _layer(graph, block.conv0, x, w), w)
    gain = np.sqrt(0.5)
    skip = block.skip
    shortcut = graph.node('Conv', x, graph.constant(skip.weight * (skip.weight_gain * gain)))
    shortcut = _upsample(graph, shortcut, len(skip.weight), skip.resample_filter)
    return graph.node('Add', shortcut, _layer(graph, block.conv1, _layer(graph, block.conv0, x, w), w, gain))


def _layer(graph: Graph, layer: Any, x: str, w: str, gain: float = 1) -> str:
    """A synthesis layer: modulated convolution, noise, bias, activation."""
    styles = _dense(graph, layer.affine, w)  # [N, I]
    x = graph.node('Mul', x, _as_planes(graph, styles))
    if layer.up == 1:
        x = graph.node('Conv', x, graph.constant(layer.weight), pads=[layer.padding] * 4)
    else:
        x = _convolve_up(graph, layer, x)
    power = layer.weight.double().square().sum(dim=(2, 3)).T.float()  # [I, O]
    energy = graph.with_constant('MatMul', graph.node('Mul', styles, styles), power)
    norm = graph.node('Sqrt', graph.with_constant('Add', energy, EPSILON))
    x = graph.node('Div', x, _as_planes(graph, norm))
    if layer.use_noise:
        x = graph.with_constant('Add', x, layer.noise_const * layer.noise_strength)
    return _activate(graph, graph.with_constant('Add', x, layer.bias[:, None, None]), layer.activation, layer.act_gain * gain,
                     None if layer.conv_clamp is None else layer.conv_clamp * gain)


def _convolve_up(graph: Graph, layer: Any, x: str) -> str:
    """Zeros between the samples and convolution in one step, then the filter."""
    up = layer.up
    x = graph.node('ConvTranspose', x, graph.constant(layer.weight.transpose(0, 1)), strides=[up, up])
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
    styles = graph.with_constant('Mul', _dense(graph, layer.affine, w), layer.weight_gain)
    x = graph.node('Mul', x, _as_planes(graph, styles))
    x = graph.node('Conv', x, graph.constant(layer.weight), graph.constant(layer.bias), pads=[layer.weight.shape[2] // 2] * 4)
    return _clip(graph, x, layer.conv_clamp)


def _dense(graph: Graph, layer: Any, x: str) -> str:
    """A fully connected layer with its activation."""
    weight = graph.constant(layer.weight * layer.weight_gain)
    bias = [] if layer.bias is None else [graph.constant(layer.bias * layer.bias_gain)]
    y = graph.node('Gemm', x, weight, *bias, transB=1)
    return _activate(graph, y, layer.activation, bias_act.activation_funcs[layer.activation].def_gain, None)


def _activate(graph: Graph, x: str, name: str, gain: float, clamp: float | None) -> str:
    if name == 'lrelu':
        x = graph.node('LeakyRelu', x, alpha=bias_act.activation_funcs[name].def_alpha)
    elif name == 'swish':
        x = graph.node('Mul', x, graph.node('Sigmoid', x))
    elif name != 'linear':
        x = graph.node(_NODES[name], x)
    return _clip(graph, x if gain == 1 else graph.with_constant('Mul', x, float(gain)), clamp)


def _clip(graph: Graph, x: str, clamp: float | None) -> str:
    return x if clamp is None else graph.node('Clip', x, graph.constant(-float(clamp)), graph.constant(float(clamp)))


def _as_planes(graph: Graph, x: str) -> str:
    """[N, C] -> [N, C, 1, 1]."""
    return graph.with_constant('Unsqueeze', x, [2, 3])


def _two_dimensional(taps: torch.Tensor) -> torch.Tensor:
    return torch.outer(taps, taps) if taps.ndim == 1 else taps


def _not_negative(pads: list[int]) -> list[int]:
    if min(pads) < 0:
        raise ValueError('ONNX export supports no resampling filters of a single tap; export to another format')
    return pads
