"""Stock operations compile CUDA kernels when they are first used. Without nvcc their plain PyTorch forms do the same, slower."""
import contextlib
import functools
import importlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import click
import torch
from torch.utils import cpp_extension

from patches.checkout import Checkout

MENDS = 'the CUDA kernels of torch_utils/ops cannot be compiled without nvcc'
DELETE = 'never: a user without a compiler needs it'

FILES = ('bias_act', 'upfirdn2d', 'filtered_lrelu')     # each has a function of its own name with an argument impl


def applies(checkout: Checkout) -> bool:
    """Whether there is a GPU without a compiler for it. On a CPU the plain forms run anyway."""
    return torch.cuda.is_available() and cpp_extension.CUDA_HOME is None and checkout.has(f'torch_utils/ops/{FILES[0]}.py')


@contextlib.contextmanager
def patched() -> Iterator[None]:
    """The operations take their plain forms, and the first call says so."""
    said: list[str] = []

    def plain(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def without_kernel(*args: Any, impl: str = 'ref', **kwargs: Any) -> Any:
            if not said:
                said.append('said')
                click.echo('No nvcc: cannot compile the CUDA kernels of the checkout, using plain PyTorch operations', err=True)
            return function(*args, impl='ref', **kwargs)
        return without_kernel

    with contextlib.ExitStack() as stack:
        for name in FILES:
            with contextlib.suppress(ModuleNotFoundError):      # one kind of checkout lacks one of them
                module = importlib.import_module(f'torch_utils.ops.{name}')
                stack.enter_context(mock.patch.object(module, name, plain(getattr(module, name))))
        yield
