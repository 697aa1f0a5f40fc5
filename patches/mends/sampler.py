"""PyTorch's Sampler took the data set once, did nothing with it, and takes nothing now. Stock samplers still hand it over."""
import contextlib
from typing import Any
from unittest import mock

from torch.utils.data import Sampler

from patches.checkout import Checkout

MENDS = 'torch.utils.data.Sampler no longer takes a data set: training stops with a TypeError'
DELETE = 'when checkouts call Sampler.__init__() without arguments'


def applies(checkout: Checkout) -> bool:
    """Whether this PyTorch's Sampler has no constructor of its own, and the checkout has a sampler."""
    return '__init__' not in vars(Sampler) and checkout.mentions('torch_utils/misc.py', 'Sampler')


def patched() -> contextlib.AbstractContextManager[object]:
    """Samplers take a data set, and forget it."""
    def forget(self: Any, data_source: Any = None) -> None:
        pass

    return mock.patch.object(Sampler, '__init__', forget)
