"""The random generators that training draws from, as plain values and tensors that weights-only loading takes."""

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch


def random_state(device: torch.device) -> dict[str, Any]:
    """The state of Python's, numpy's and torch's global generators, and of the device's."""
    _name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    state: dict[str, Any] = dict(
        python=dict(numbers=list(random.getstate()[1]), gauss=random.getstate()[2]),
        numpy=dict(keys=torch.from_numpy(np.asarray(keys, dtype=np.int64)), position=position, has_gauss=has_gauss, gauss=gauss),
        torch=torch.get_rng_state(),
    )
    if device.type == 'cuda':
        state['cuda'] = torch.cuda.get_rng_state(device)
    if device.type == 'mps':
        state['mps'] = torch.mps.get_rng_state()
    return state


def set_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Continue from random_state(). A device of another kind keeps its own state."""
    _restore(state, random, np.random, torch.set_rng_state)
    if device.type == 'cuda' and 'cuda' in state:
        torch.cuda.set_rng_state(state['cuda'], device)
    if device.type == 'mps' and 'mps' in state:
        torch.mps.set_rng_state(state['mps'])


def _restore(state: dict[str, Any], python: Any, numpy: Any, set_torch: Callable[[torch.Tensor], Any]) -> None:
    """Give these generators the state."""
    python.setstate((3, tuple(state['python']['numbers']), state['python']['gauss']))
    kept = state['numpy']
    keys = kept['keys'].numpy().astype(np.uint32)
    numpy.set_state(('MT19937', keys, kept['position'], kept['has_gauss'], kept['gauss']))
    set_torch(state['torch'])


def check_random_state(state: dict[str, Any]) -> None:
    """ValueError unless set_random_state() takes it. The global generators are left alone."""
    try:
        numpy = state['numpy']
        if not 0 <= numpy['position'] <= 624 or numpy['keys'].shape != (624,) or not math.isfinite(numpy['gauss']):
            raise ValueError('out of range')
        _restore(state, random.Random(), np.random.RandomState(), torch.Generator().set_state)
        devices = [state[name] for name in ('cuda', 'mps') if name in state]
        if not all(isinstance(device, torch.Tensor) and device.dtype == torch.uint8 for device in devices):
            raise ValueError('out of range')
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f'random: not the state of the random generators ({type(error).__name__})') from error


def seed_random(seeds: Sequence[int]) -> None:
    """Seed the global generators from several numbers, differently for every combination."""
    words = [int(word) for word in np.random.SeedSequence(list(seeds)).generate_state(2)]
    torch.manual_seed(words[0])
    np.random.seed(words[1])
    random.seed(words[0])
