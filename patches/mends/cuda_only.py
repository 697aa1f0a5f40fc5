"""Stock commands name 'cuda' outright. Without a GPU this takes the CPU where they do.

PyTorch asks a TorchFunctionMode before every operation; this one replaces CUDA devices in the arguments by the CPU.
"""
import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode

from patches.checkout import Checkout

MENDS = "commands use 'cuda' without asking whether there is one: they stop with a RuntimeError on a CPU"
DELETE = 'when the commands of checkouts have an option for the device'

CPU = torch.device('cpu')


def applies(checkout: Checkout) -> bool:
    """Whether there is no GPU that PyTorch can use."""
    return not torch.cuda.is_available()


@contextlib.contextmanager
def patched() -> Iterator[None]:
    """CUDA devices become the CPU; their measurements return nothing, or the wall clock."""
    with contextlib.ExitStack() as stack:
        stands_in = dict(Event=Stopwatch, **{name: _returns(value) for name, value in dict(
            current_stream=None, synchronize=None, set_device=None, empty_cache=None, reset_peak_memory_stats=None,
            max_memory_allocated=0, max_memory_reserved=0, memory_allocated=0).items()})
        for name, value in stands_in.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, value))
        init_process_group = _with_gloo(torch.distributed.init_process_group)
        stack.enter_context(mock.patch.object(torch.distributed, 'init_process_group', init_process_group))
        stack.enter_context(OnCpu())
        yield


def _with_gloo(usual: Callable[..., Any]) -> Callable[..., Any]:
    """Processes talk by gloo: nccl, which they name, needs GPUs."""
    @functools.wraps(usual)
    def init_process_group(backend: Any = None, *args: Any, **kwargs: Any) -> Any:
        return usual('gloo' if backend == 'nccl' else backend, *args, **kwargs)
    return init_process_group


def _returns(value: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: value


class OnCpu(TorchFunctionMode):
    """Puts the CPU in the place of CUDA devices."""

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.pin_memory:     # serves copies to a GPU
            return args[0]
        if func is torch.Tensor.cuda:
            return args[0].to(CPU)
        if func is torch.device:
            return _on_cpu(func(*args, **(kwargs or {})))
        return func(*map(_on_cpu, args), **{name: _on_cpu(value) for name, value in (kwargs or {}).items()})


def _on_cpu(argument: Any) -> Any:
    if isinstance(argument, torch.device):
        return CPU if argument.type == 'cuda' else argument
    is_name = isinstance(argument, str) and (argument == 'cuda' or argument.startswith('cuda:'))
    return CPU if is_name else argument


class Stopwatch:
    """torch.cuda.Event with the wall clock."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.record()

    def record(self, stream: Any = None) -> None:
        """Take the time."""
        self.seconds = time.monotonic()

    def synchronize(self) -> None:
        """Nothing is under way."""

    def elapsed_time(self, end: 'Stopwatch') -> float:
        """Milliseconds until the other event."""
        return (end.seconds - self.seconds) * 1000
