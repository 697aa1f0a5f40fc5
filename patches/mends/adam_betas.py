"""Stock options give Adam betas=[0, 0.99]: an int and a float, which current versions of PyTorch refuse."""
import contextlib
import functools
from typing import Any
from unittest import mock

import torch

from patches.checkout import Checkout

MENDS = 'torch.optim.Adam refuses betas of mixed types such as [0, 0.99]: training stops with a ValueError'
DELETE = 'when checkouts give betas=[0.0, 0.99]'


def applies(checkout: Checkout) -> bool:
    """Whether this PyTorch's Adam refuses such betas, and the checkout trains."""
    try:
        torch.optim.Adam([torch.zeros(1)], betas=(0, 0.99))
    except ValueError:
        return checkout.has('training/training_loop.py')
    return False


def patched() -> contextlib.AbstractContextManager[object]:
    """Adam turns numbers into floats."""
    usual: Any = torch.optim.Adam.__init__

    @functools.wraps(usual)
    def with_floats(self: Any, *args: Any, betas: Any = (0.9, 0.999), **kwargs: Any) -> None:
        usual(self, *args, betas=tuple(beta if isinstance(beta, torch.Tensor) else float(beta) for beta in betas), **kwargs)

    return mock.patch.object(torch.optim.Adam, '__init__', with_floats)
