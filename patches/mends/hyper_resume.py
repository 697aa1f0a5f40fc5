"""Stock train.py --resume copies tensors by name. Those of a hyper-modulated network are in part of other shapes."""
import contextlib
import functools
import importlib
from typing import Any
from unittest import mock

import torch

from patches.checkout import Checkout

MENDS = 'train.py --resume of a hyper-modulated snapshot stops with an error about shapes: the new error says what to do'
DELETE = 'never: stock networks cannot hold such weights'

NAME = 'copy_params_and_buffers'


def applies(checkout: Checkout) -> bool:
    """Whether the checkout's loop copies a snapshot's tensors."""
    return checkout.mentions('training/training_loop.py', NAME)


def patched() -> contextlib.AbstractContextManager[object]:
    """ValueError where a hyper-modulated network is to fill a network of another class."""
    misc = importlib.import_module('torch_utils.misc')
    usual = getattr(misc, NAME)

    @functools.wraps(usual)
    def copy_params_and_buffers(src_module: torch.nn.Module, dst_module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        source, target = type(src_module).__name__, type(dst_module).__name__
        if source.startswith('Hyper') and target != source:
            raise ValueError(f'the snapshot holds a {source}, expected a {target}: continue with train_hyper.py --resume, or '
                             'export one class as a plain network with export.py --class and train from that')
        return usual(src_module, dst_module, *args, **kwargs)

    return mock.patch.object(misc, NAME, copy_params_and_buffers)
