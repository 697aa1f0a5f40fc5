"""Stock conv2d_gradfix and grid_sample_gradfix look for versions of PyTorch that they know, and else fall back or break.

The convolutions then warn, or ask for operators that are gone; the sampling is not differentiable twice, which the R1
penalty on augmented images needs. This project's files of the same names do the same work on every current version.
"""
import contextlib
import importlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from patches.checkout import Checkout

MENDS = 'conv2d_gradfix and grid_sample_gradfix do not know this PyTorch: R1 with augmentation stops with a RuntimeError'
DELETE = 'when checkouts know PyTorch 2'

FILES = ('conv2d_gradfix', 'grid_sample_gradfix')
OPS = Path(__file__).resolve().parents[2] / 'torch_utils' / 'ops'


def applies(checkout: Checkout) -> bool:
    """Whether the checkout has these files."""
    return all(checkout.has(f'torch_utils/ops/{name}.py') for name in FILES)


@contextlib.contextmanager
def patched() -> Iterator[None]:
    """The functions in the checkout's modules are this project's."""
    @contextlib.contextmanager
    def no_weight_gradients(disable: bool = True) -> Iterator[None]:
        yield   # torch.autograd.grad() leaves out what it is not asked for

    convolution, sampling = (load_own(name) for name in FILES)
    functions = dict(conv2d_gradfix=dict(conv2d=convolution.conv2d, conv_transpose2d=convolution.conv_transpose2d,
                                         no_weight_gradients=no_weight_gradients),
                     grid_sample_gradfix=dict(grid_sample=sampling.grid_sample))
    with contextlib.ExitStack() as stack:
        for file, own in functions.items():
            module = importlib.import_module(f'torch_utils.ops.{file}')
            for name, function in own.items():
                stack.enter_context(mock.patch.object(module, name, function))
        yield


def load_own(name: str) -> Any:
    """This project's module, under a name that is not the checkout's."""
    spec = importlib.util.spec_from_file_location(f'patches_own_{name}', OPS / f'{name}.py')
    assert spec is not None and spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
