"""An unconditional generator in an ONNX file, for programs without PyTorch.

    inputs   z [batch, z_dim], standard normal; truncation_psi [], 1 keeps all variety, 0 gives the mean image
    output   image [batch, channels, height, width], about -1 to 1

All float32; the noise is the constant one (noise_mode='const'). Operator set 13, which ONNX Runtime has known since 1.6.
"""
import os
from typing import Any

import numpy as np
import torch

from dnnlib.files import write_whole

from .onnx_graph import IR_VERSION, OPSET, Graph, write_mapping, write_synthesis

SUFFIX = '.onnx'
TOLERANCE = 1e-3  # of an image value, between ONNX Runtime and PyTorch


def write_onnx(path: str | os.PathLike[str], G: Any, metadata: dict[str, str]) -> float | None:
    """Write a training.networks.Generator with c_dim 0, and `metadata`, texts to keep in the file.

    Returns the largest difference of an image value between ONNX Runtime and PyTorch; None where ONNX Runtime is not
    installed. The file appears when it is complete and right. ValueError for generators that have no such form, and without
    the onnx library; RuntimeError if the difference is too large; OSError.
    """
    content = model_of(G, metadata).SerializeToString()
    difference = largest_difference(content, G)
    if difference is not None and not difference <= TOLERANCE:
        raise RuntimeError(f'images of ONNX Runtime differ from PyTorch by {difference:g} (expected at most {TOLERANCE:g}); '
                           'nothing was written')
    write_whole(path, content)
    return difference


def model_of(G: Any, metadata: dict[str, str]) -> Any:
    """The checked onnx.ModelProto of a generator; arguments and errors as in write_onnx."""
    onnx = _library()
    if not hasattr(G.mapping, 'w_avg'):
        raise ValueError('the network has no mean w, which truncation needs; export to another format')
    graph = Graph(onnx)
    image = write_synthesis(graph, G.synthesis, write_mapping(graph, G.mapping, 'z', 'truncation_psi'))
    graph.node('Identity', image, output='image')
    size = [G.img_channels, G.img_resolution, G.img_resolution]
    shapes = dict(z=['batch', G.z_dim], truncation_psi=[], image=['batch', *size])
    z, psi_input, output = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
                            for name, shape in shapes.items())
    model = onnx.helper.make_model(
        onnx.helper.make_graph(graph.nodes, 'generator', [z, psi_input], [output], initializer=graph.constants),
        opset_imports=[onnx.helper.make_opsetid('', OPSET)], ir_version=IR_VERSION, producer_name='hyper-stylegan2')
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    return model


def largest_difference(model: bytes, G: Any) -> float | None:
    """The largest difference between images of ONNX Runtime and of G, for two batches and truncations.

    Relative to the largest value of the images where that is above 1. None where ONNX Runtime is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        return None
    session = onnxruntime.InferenceSession(model, providers=['CPUExecutionProvider'])
    differences = []
    for count, psi in ((1, 1.0), (2, 0.5)):
        z = torch.randn([count, G.z_dim], generator=torch.Generator().manual_seed(count))
        with torch.inference_mode():
            want = G(z, None, truncation_psi=psi, noise_mode='const', force_fp32=True).numpy()
        got, = session.run(['image'], dict(z=z.numpy(), truncation_psi=np.array(psi, np.float32)))
        differences.append(float(np.abs(got - want).max() / max(np.abs(want).max(), 1)))
    return max(differences)


def _library() -> Any:
    try:
        import onnx
    except ImportError as err:
        raise ValueError(f'{SUFFIX} files need the onnx library: pip install onnx') from err
    return onnx
