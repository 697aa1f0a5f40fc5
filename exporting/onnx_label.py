"""What a label does in a generator, as nodes of an ONNX graph.

Hyper-modulated (Laria et al. 2022, see hyper_plugin.networks): the label's code v gives each layer's kernel and bias,

    W_c = W (1 + dg) + (sigma db_w - mu dg),   b_c = b + db

which is mu + (1 + dg) (W - mu) + sigma db_w with one constant of the kernel's size instead of two. Classes with parts of their
own add these, scaled by their shares a. A plain conditional generator has the label's code as further inputs of its first
mapping layer, which is an addition to that layer's bias.

There is one label for the whole batch, so a code has one row. Shapes: K size of the label, d of v, P classes with own parts.
"""
from dataclasses import dataclass
from typing import Any

import torch

from .onnx_graph import Graph, activate_dense, as_planes, dense, matrix_product, normalise


@dataclass
class Code:
    """v: name of [1, d]. shares: name of [1, P], '' where no class has parts of its own."""

    v: str
    shares: str = ''


@dataclass
class Kernel:
    """Names of what a synthesis layer convolves with. weight: [O, I, k, k], of upsampling layers [I, O, k, k]; power, its sums of
    squares over the taps: [I, O]; bias: [1, O, 1, 1]."""

    weight: str
    power: str
    bias: str


def write_code(graph: Graph, class_code: Any, label: str) -> Code:
    """label [K] -> the code of hyper_plugin.networks.ClassCode."""
    row = graph.with_constant('Unsqueeze', label, [0])  # [1, K]
    v = matrix_product(graph, row, class_code.table.T)
    for i in range(class_code.num_layers):
        v = dense(graph, getattr(class_code, f'fc{i}'), v)
    if not class_code.own_classes:
        return Code(v)
    shares = graph.node('Gather', row, graph.constant(class_code.own_classes), axis=1)
    offsets = torch.stack(_own_parts(class_code, len(class_code.own_classes)), dim=1)  # [d, P]
    return Code(matrix_product(graph, shares, offsets, v), shares)


def write_first_layer(graph: Graph, mapping: Any, z: str, label: str) -> str:
    """The first layer of a plain conditional mapping network. z: [N, z_dim], normalised; label: [K]."""
    layer = mapping.fc0
    code = normalise(graph, dense(graph, mapping.embed, graph.with_constant('Unsqueeze', label, [0])))
    weight = layer.weight * layer.weight_gain
    bias = matrix_product(graph, code, weight[:, mapping.z_dim:], graph.constant(layer.bias * layer.bias_gain))
    return activate_dense(graph, layer, matrix_product(graph, z, weight[:, :mapping.z_dim], bias))


def write_kernel(graph: Graph, layer: Any, code: Code | None) -> Kernel:
    """Of a synthesis layer. code: None for plain ones, whose kernels are constants."""
    if code is None:
        weight = layer.weight if layer.up == 1 else layer.weight.transpose(0, 1)
        power = layer.weight.double().square().sum(dim=(2, 3)).T.float()
        return Kernel(graph.constant(weight), graph.constant(power), graph.constant(layer.bias[None, :, None, None]))
    dg, db_w, db = _modulations(graph, layer.hyper, code)
    sigma, mu = torch.std_mean(layer.weight, dim=(2, 3), correction=0)
    shift = graph.node('Sub', graph.with_constant('Mul', db_w, sigma), graph.with_constant('Mul', dg, mu))
    scaled = graph.with_constant('Mul', as_planes(graph, graph.with_constant('Add', dg, 1.0)), layer.weight)
    weight = graph.node('Add', scaled, as_planes(graph, shift))
    power = graph.node('Transpose', graph.node('ReduceSumSquare', weight, axes=[2, 3], keepdims=0), perm=[1, 0])
    if layer.up > 1:
        weight = graph.node('Transpose', weight, perm=[1, 0, 2, 3])
    return Kernel(weight, power, as_planes(graph, graph.with_constant('Add', db, layer.bias)))


def _modulations(graph: Graph, hyper: Any, code: Code) -> tuple[str, str, str]:
    """dg, db_w [O, I] and db [1, O] of a HyperModulation."""
    dg, db_w = (_matrix(graph, part, code.v) for part in (hyper.gamma, hyper.beta))
    db = dense(graph, hyper.bias, code.v)
    if not code.shares:
        return dg, db_w, db
    own = _own_parts(hyper, hyper.num_own)
    column = graph.node('Transpose', code.shares, perm=[1, 0])  # [P, 1]
    dg, db_w = (_add_own(graph, shared, column, [getattr(part, f'{name}_left') for part in own],
                         [getattr(part, f'{name}_right') for part in own]) for shared, name in ((dg, 'gamma'), (db_w, 'beta')))
    return dg, db_w, matrix_product(graph, code.shares, torch.stack([part.bias for part in own], dim=1), db)


def _matrix(graph: Graph, hyper: Any, v: str) -> str:
    """[O, I] of a Hypernetwork."""
    if hyper.rank == 0:
        return graph.with_constant('Reshape', dense(graph, hyper.full, v), list(hyper.shape))
    left, right = (graph.with_constant('Reshape', dense(graph, layer, v), [size, hyper.rank])
                   for layer, size in zip((hyper.left, hyper.right), hyper.shape, strict=True))
    return graph.node('Gemm', left, right, transB=1, alpha=float(hyper.rank ** -0.5))


def _add_own(graph: Graph, shared: str, shares: str, lefts: list[Any], rights: list[Any]) -> str:
    """shared [O, I] + sum over classes of their share, [P, 1], times A B^T / sqrt(R); A: [O, R] of lefts, B: [I, R] of rights."""
    rows, rank = lefts[0].shape
    scaled = graph.with_constant('Mul', shares, torch.stack(lefts, dim=1))  # [O, P, R]
    flat = graph.with_constant('Reshape', scaled, [rows, len(lefts) * rank])
    return matrix_product(graph, flat, torch.cat(rights, dim=1), shared, alpha=rank ** -0.5)


def _own_parts(module: Any, count: int) -> list[Any]:
    return [getattr(module, f'own{number}') for number in range(count)]
