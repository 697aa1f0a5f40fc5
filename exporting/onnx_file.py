"""A generator in an ONNX file, for programs without PyTorch.

    inputs   z [batch, z_dim], standard normal; truncation_psi [], 1 keeps all variety, 0 gives the mean image;
             label [K], of class-conditional networks only: one for the whole batch, the classes' shares or a label vector
    output   image [batch, channels, height, width], about -1 to 1

All float32; the noise is the constant one (noise_mode='const'). Operator set 13, which ONNX Runtime has known since 1.6. Weights
may be stored as float16; the graph converts them, and computes in float32 all the same.
"""
import os
from typing import Any

import numpy as np
import torch

from dnnlib.files import write_whole

from .onnx_generator import write_generator
from .onnx_graph import IR_VERSION, OPSET, Graph

SUFFIX = '.onnx'
TOLERANCE = 1e-3  # of an image value, between ONNX Runtime and PyTorch
HALF_TOLERANCE = 0.1  # the same with weights in half precision
LARGEST_FILE = 2 ** 31 - 1  # bytes, of protobuf


def write_onnx(path: str | os.PathLike[str], G: Any, metadata: dict[str, str], half: bool = False) -> float | None:
    """Write a Generator or HyperGenerator, and `metadata`, texts to keep in the file. half: store weights as float16.

    Returns the largest difference of an image value between ONNX Runtime and PyTorch; None where ONNX Runtime is not
    installed. The file appears when it is complete and right. ValueError for generators that have no such form, and without
    the onnx library; RuntimeError if the difference is too large; OSError.
    """
    content = model_of(G, metadata).SerializeToString()
    difference = _check(content, G, TOLERANCE)
    if half:  # by now the graph is right, so what differs from here on is rounding
        content = model_of(G, metadata, half=True).SerializeToString()
        difference = _check(content, G, HALF_TOLERANCE)
    write_whole(path, content)
    return difference


def model_of(G: Any, metadata: dict[str, str], half: bool = False) -> Any:
    """The checked onnx.ModelProto of a generator; arguments and errors as in write_onnx."""
    onnx = _library()
    if not hasattr(G.mapping, 'w_avg'):
        raise ValueError('the network has no mean w, which truncation needs; export to another format')
    graph = Graph(onnx, half)
    image = write_generator(graph, G, 'z', 'truncation_psi', 'label')
    graph.node('Identity', image, output='image')
    if graph.num_bytes > LARGEST_FILE:
        raise ValueError(f'the file would have {graph.num_bytes / 1e9:.1f} GB, and ONNX files have 2.1 GB at most: bake one '
                         'class with --class, or train with --hyper-rank')
    shapes = dict(z=['batch', G.z_dim], truncation_psi=[], **(dict(label=[G.c_dim]) if G.c_dim else {}))
    inputs = [_described(onnx, name, shape) for name, shape in shapes.items()]
    output = _described(onnx, 'image', ['batch', G.img_channels, G.img_resolution, G.img_resolution])
    model = onnx.helper.make_model(
        onnx.helper.make_graph(graph.nodes, 'generator', inputs, [output], initializer=graph.constants),
        opset_imports=[onnx.helper.make_opsetid('', OPSET)], ir_version=IR_VERSION, producer_name='hyper-stylegan2')
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    return model


def largest_difference(model: bytes, G: Any) -> float | None:
    """The largest difference between images of ONNX Runtime and of G, for several batches, truncations and labels.

    Relative to the largest value of the images where that is above 1. None where ONNX Runtime is not installed.
    """
    session = open_session(model)
    if session is None:
        return None
    differences = []
    for count, psi, label in zip((1, 2, 2), (1.0, 0.5, 1.0), _labels(G.c_dim), strict=True):
        z = torch.randn([count, G.z_dim], generator=torch.Generator().manual_seed(count))
        with torch.inference_mode():
            want = G(z, label.expand(count, -1) if G.c_dim else None, truncation_psi=psi, noise_mode='const',
                     force_fp32=True).numpy()
        got = draw(session, z.numpy(), psi, label.numpy())
        differences.append(float(np.abs(got - want).max() / max(np.abs(want).max(), 1)))
    return max(differences)


def open_session(model: bytes) -> Any:
    """An onnxruntime.InferenceSession on the CPU; None where ONNX Runtime is not installed."""
    try:
        import onnxruntime
    except ImportError:
        return None
    return onnxruntime.InferenceSession(model, providers=['CPUExecutionProvider'])


def draw(session: Any, z: np.ndarray, psi: float, label: np.ndarray) -> np.ndarray:
    """z: float32 [N, z_dim]; label: float32 [K], K = 0 without classes -> images [N, channels, height, width]."""
    label_input = dict(label=label) if len(label) else {}
    image, = session.run(['image'], dict(z=z, truncation_psi=np.array(psi, np.float32), **label_input))
    return image


def _labels(num_dims: int) -> list[torch.Tensor]:
    """The first class, the last, and a mix of all."""
    mix = torch.arange(1, num_dims + 1, dtype=torch.float32)
    return [*torch.eye(num_dims)[[0, -1]], mix / mix.sum()] if num_dims else [mix] * 3


def _check(content: bytes, G: Any, tolerance: float) -> float | None:
    difference = largest_difference(content, G)
    if difference is not None and not difference <= tolerance:
        raise RuntimeError(f'images of ONNX Runtime differ from PyTorch by {difference:g} (expected at most {tolerance:g}); '
                           'nothing was written')
    return difference


def _described(onnx: Any, name: str, shape: list[Any]) -> Any:
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)


def _library() -> Any:
    try:
        import onnx
    except ImportError as err:
        raise ValueError(f'{SUFFIX} files need the onnx library: pip install onnx') from err
    return onnx
