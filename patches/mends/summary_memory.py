"""Stock training prints a table of layers from a pass through networks that train, with inputs from uninitialised memory.

What lies there moves the running mean w_avg, which is NaN from then on where NaN lay there, as on a CPU it often does.
"""
import contextlib
import functools
import importlib
from typing import Any
from unittest import mock

import torch

from patches.checkout import Checkout

MENDS = 'silent: the table of layers reads uninitialised memory and can leave NaN in w_avg: pictures with truncation are black'
DELETE = 'when checkouts fill the inputs of print_module_summary()'

NAME = 'print_module_summary'
LOOP = 'training/training_loop.py'


def applies(checkout: Checkout) -> bool:
    """Whether the loop prints the table from such inputs, and a mapping network moves its mean by default."""
    return checkout.mentions(LOOP, NAME) and checkout.mentions(LOOP, 'torch.empty') \
        and checkout.mentions('training/networks.py', 'skip_w_avg_update')


def patched() -> contextlib.AbstractContextManager[object]:
    """The pass has zeros as its inputs, and leaves buffers as they were."""
    misc = importlib.import_module('torch_utils.misc')
    usual = getattr(misc, NAME)

    @functools.wraps(usual)
    def print_module_summary(module: torch.nn.Module, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        before = {name: buffer.clone() for name, buffer in module.named_buffers()}
        zeros = [torch.zeros_like(value) if isinstance(value, torch.Tensor) else value for value in inputs]
        outputs = usual(module, zeros, *args, **kwargs)
        with torch.no_grad():
            for name, buffer in module.named_buffers():
                buffer.copy_(before[name])
        return outputs

    return mock.patch.object(misc, NAME, print_module_summary)
