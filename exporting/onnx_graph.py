"""An ONNX graph (https://onnx.ai/onnx/operators) in the making: nodes and constants, and the layers that networks share.

Everything is computed in float32.
"""
from typing import Any

import numpy as np
import torch

from torch_utils.ops import bias_act

OPSET = 13  # the first with axes of Unsqueeze as an input; every later one has these operators too
IR_VERSION = 7  # that came with it
EPSILON = 1e-8
_NODES = {'relu': 'Relu', 'tanh': 'Tanh', 'sigmoid': 'Sigmoid', 'elu': 'Elu', 'selu': 'Selu', 'softplus': 'Softplus'}


class Graph:
    """Nodes and constants of a graph in the making. Values are known by name."""

    def __init__(self, onnx: Any, half: bool = False) -> None:
        """half: matrices, kernels and planes are stored as float16, and converted in the graph."""
        self._onnx = onnx
        self._half = half
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.num_bytes = 0  # of the constants

    def constant(self, value: Any) -> str:
        """A float32 or int64 array, from a tensor, array or numbers."""
        array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        array = array.astype(np.float32 if array.dtype.kind == 'f' else np.int64)
        is_vector = array.size == max(array.shape, default=1)  # biases and means: small, and their errors add up
        if self._half and array.dtype == np.float32 and not is_vector:
            return self.node('Cast', self._store(to_half(array)), to=self._onnx.TensorProto.FLOAT)
        return self._store(array)

    def _store(self, array: np.ndarray) -> str:
        name = f'constant{len(self.constants)}'
        self.constants.append(self._onnx.numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name))
        self.num_bytes += array.nbytes
        return name

    def node(self, kind: str, *inputs: str, output: str = '', **attributes: Any) -> str:
        """An operator with one result, whose name is returned."""
        output = output or f'value{len(self.nodes)}'
        self.nodes.append(self._onnx.helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def with_constant(self, kind: str, x: str, value: Any) -> str:
        """kind(x, value)."""
        return self.node(kind, x, self.constant(value))


def to_half(array: np.ndarray) -> np.ndarray:
    """float32 -> float16; ValueError for numbers that it cannot hold."""
    peak, limit = np.abs(array).max(initial=0), np.finfo(np.float16).max
    if not peak <= limit:
        raise ValueError(f'half precision holds numbers up to {limit:g}, and the network has {peak:g}: leave out --half')
    return array.astype(np.float16)


def dense(graph: Graph, layer: Any, x: str) -> str:
    """A fully connected layer with its activation: x [N, in_features] -> [N, out_features]."""
    bias = '' if layer.bias is None else graph.constant(layer.bias * layer.bias_gain)
    return activate_dense(graph, layer, matrix_product(graph, x, layer.weight * layer.weight_gain, bias))


def activate_dense(graph: Graph, layer: Any, x: str) -> str:
    """The activation of a fully connected layer."""
    return activate(graph, x, layer.activation, bias_act.activation_funcs[layer.activation].def_gain, None)


def matrix_product(graph: Graph, x: str, matrix: Any, added: str = '', alpha: float = 1) -> str:
    """alpha x M^T + added. x: [N, A]; matrix: [B, A], a constant; added: what has or broadcasts to the shape [N, B], or none."""
    return graph.node('Gemm', x, graph.constant(matrix), *([added] if added else []), transB=1, alpha=float(alpha))


def normalise(graph: Graph, x: str) -> str:
    """x [N, C], each row scaled to a mean square of 1."""
    mean_square = graph.node('ReduceMean', graph.node('Mul', x, x), axes=[1], keepdims=1)
    return graph.node('Div', x, graph.node('Sqrt', graph.with_constant('Add', mean_square, EPSILON)))


def activate(graph: Graph, x: str, name: str, gain: float, clamp: float | None) -> str:
    """Activation function, gain and clamp, as bias_act has them."""
    if name == 'lrelu':
        x = graph.node('LeakyRelu', x, alpha=bias_act.activation_funcs[name].def_alpha)
    elif name == 'swish':
        x = graph.node('Mul', x, graph.node('Sigmoid', x))
    elif name != 'linear':
        x = graph.node(_NODES[name], x)
    return clip(graph, x if gain == 1 else graph.with_constant('Mul', x, float(gain)), clamp)


def clip(graph: Graph, x: str, clamp: float | None) -> str:
    """x between -clamp and clamp; None: as it is."""
    return x if clamp is None else graph.node('Clip', x, graph.constant(-float(clamp)), graph.constant(float(clamp)))


def as_planes(graph: Graph, x: str) -> str:
    """[A, B] -> [A, B, 1, 1]."""
    return graph.with_constant('Unsqueeze', x, [2, 3])
