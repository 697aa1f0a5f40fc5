"""Tensors of a module by name, cached constants, shape checks, an endless sampler, and helpers for several processes."""
import contextlib
import functools
import re
import warnings
from collections.abc import Callable, Iterator, Sequence, Sized
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch

from .collectives import gather_values, num_processes
from .module_summary import print_module_summary
from .named_tensors import CopyReport, fill_tensors

__all__ = [
    'InfiniteSampler', 'assert_shape', 'check_ddp_consistency', 'constant', 'copy_params_and_buffers', 'ddp_sync',
    'named_params_and_buffers', 'nan_to_num', 'params_and_buffers', 'print_module_summary', 'profiled_function',
    'suppress_tracer_warnings', 'symbolic_assert',
]

_P = ParamSpec('_P')
_R = TypeVar('_R')


# --- tensors of a module ---

def params_and_buffers(module: torch.nn.Module) -> list[torch.Tensor]:
    """All parameters, then all buffers."""
    return [tensor for _, tensor in named_params_and_buffers(module)]


def named_params_and_buffers(module: torch.nn.Module) -> list[tuple[str, torch.Tensor]]:
    """(dotted name, tensor) of all parameters, then of all buffers."""
    return [*module.named_parameters(), *module.named_buffers()]


def copy_params_and_buffers(src_module: torch.nn.Module, dst_module: torch.nn.Module, require_all: bool = False) -> CopyReport:
    """Fill the tensors of `dst_module` with those of the same name in `src_module`; requires_grad stays as it is.

    A parameter may fill a buffer and the other way round. Tensors that only the source has are passed over; those that
    only the destination has keep their values, or raise ValueError with `require_all`. A name that both have with
    different shapes raises ValueError. Nothing is copied when an error is raised.
    """
    src, dst = dict(named_params_and_buffers(src_module)), dict(named_params_and_buffers(dst_module))

    def check(report: CopyReport) -> None:
        source, target = type(src_module).__name__, type(dst_module).__name__
        if require_all and report.new:
            raise ValueError(f'{source} has no value for {len(report.new)} of the {len(dst)} tensors of {target}: '
                             f'{", ".join(report.new)}; build both with the same arguments')
        if report.misfits:
            raise ValueError(f'{len(report.misfits)} tensors of {source} do not fit {target}: {report.describe_misfits()}; build '
                             'both with the same resolution, channels and layer counts')

    return fill_tensors(dst, src, check)


# --- values ---

def constant(value: Any, shape: Sequence[int] | None = None, dtype: torch.dtype | None = None,
             device: torch.device | str | None = None, memory_format: torch.memory_format | None = None) -> torch.Tensor:
    """`value` (number, nested list or array) as a tensor, broadcast to `shape`; made once and kept. Do not write to it.

    Repeated calls need no copy from the host, which would wait for the device. Defaults: shape of the value, torch's
    default float type, CPU, contiguous.
    """
    array = np.asarray(value)
    return _constant(array.tobytes(), array.dtype.str, array.shape, tuple(array.shape if shape is None else shape),
                     dtype or torch.get_default_dtype(), torch.device(device or 'cpu'), memory_format or torch.contiguous_format)


@functools.lru_cache(maxsize=1024)
def _constant(data: bytes, np_dtype: str, np_shape: tuple[int, ...], shape: tuple[int, ...], dtype: torch.dtype,
              device: torch.device, memory_format: torch.memory_format) -> torch.Tensor:
    array = np.ndarray(np_shape, np_dtype, data).copy()
    with torch.inference_mode(False):   # the tensor outlives the caller's context and may be needed for gradients later
        return torch.as_tensor(array, dtype=dtype).expand(shape).to(device).clone(memory_format=memory_format)


def nan_to_num(input: torch.Tensor, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None, *,
               out: torch.Tensor | None = None) -> torch.Tensor:
    """Replace NaN and infinite values; None for an infinity takes the largest finite value of the type."""
    return torch.nan_to_num(input, nan=nan, posinf=posinf, neginf=neginf, out=out)


# --- checks, tracing, profiling ---

symbolic_assert = torch._assert     # holds in traced and compiled programs too


def assert_shape(tensor: torch.Tensor, ref_shape: Sequence[int | None]) -> None:
    """Raise AssertionError unless the tensor has this shape; None stands for any size. Not checked while tracing."""
    if torch.jit.is_tracing():      # sizes are symbols there, and comparing them would fix their values
        return
    fits = tensor.ndim == len(ref_shape) and all(want in (None, have) for have, want in zip(tensor.shape, ref_shape, strict=True))
    if not fits:
        raise AssertionError(f'tensor has shape {list(tensor.shape)}, expected {list(ref_shape)} (None is any size)')


@contextlib.contextmanager
def suppress_tracer_warnings() -> Iterator[None]:
    """Context without the warnings of torch.jit.trace about values that it takes as constant."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', category=torch.jit.TracerWarning)
        yield


def profiled_function(fn: Callable[_P, _R]) -> Callable[_P, _R]:
    """Decorator: calls appear in torch's profiler under the name of the function."""
    @functools.wraps(fn)
    def profiled(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with torch.autograd.profiler.record_function(fn.__name__):
            return fn(*args, **kwargs)
    return profiled


# --- data order ---

class InfiniteSampler(torch.utils.data.Sampler[int]):
    """Indices of a data set without end, shuffled as they go, shared out over `num_replicas` processes.

    The order is shuffled once. Position i of the endless stream takes element i mod size, which replica
    i mod num_replicas gets; afterwards that element changes places with one up to `window_size` (a share of the set)
    before it, so that every pass differs, yet an image does not come again at once. Same seed, same stream; `start` is
    its first position that is dealt out, for a run that continues.
    """

    def __init__(self, dataset: Sized, rank: int = 0, num_replicas: int = 1, shuffle: bool = True, seed: int = 0,
                 window_size: float = 0.5, start: int = 0) -> None:
        if len(dataset) == 0:
            raise ValueError('InfiniteSampler needs a data set with at least one item, got an empty one')
        if not 0 <= rank < num_replicas:
            raise ValueError(f'rank must be at least 0 and less than num_replicas, got {rank} and {num_replicas}')
        if not 0 <= window_size <= 1:
            raise ValueError(f'window_size is a share of the data set from 0 to 1, got {window_size}')
        if start < 0:
            raise ValueError(f'start is a position in the stream, at least 0, got {start}')
        super().__init__()
        self.size = len(dataset)
        self.start = start
        self.rank, self.num_replicas = rank, num_replicas
        self.shuffle, self.seed, self.window_size = shuffle, seed, window_size

    def __iter__(self) -> Iterator[int]:
        rnd = np.random.RandomState(self.seed)
        order = np.arange(self.size)
        window = 0
        if self.shuffle:
            rnd.shuffle(order)
            window = round(self.size * self.window_size)
        position = 0
        while True:
            here = position % self.size
            if position >= self.start and position % self.num_replicas == self.rank:
                yield int(order[here])
            if window >= 2:
                there = (here - rnd.randint(window)) % self.size
                order[here], order[there] = order[there], order[here]
            position += 1


# --- several processes ---

def ddp_sync(module: torch.nn.Module, sync: bool) -> contextlib.AbstractContextManager[None]:
    """Context for a backward pass: gradients of a DistributedDataParallel module are exchanged only if `sync`."""
    if sync or not isinstance(module, torch.nn.parallel.DistributedDataParallel):
        return contextlib.nullcontext()
    return module.no_sync()


def check_ddp_consistency(module: torch.nn.Module, ignore_regex: str | None = None) -> None:
    """Raise RuntimeError, in every process, if a tensor of the module is not equal to that of process 0.

    Names, with the class in front (`Generator.mapping.w_avg`), that match `ignore_regex` as a whole are left out.
    NaN equals NaN. Does nothing without a process group.
    """
    if num_processes() == 1:
        return
    differing = []
    for name, tensor in named_params_and_buffers(module):
        name = f'{type(module).__name__}.{name}'
        if ignore_regex is None or not re.fullmatch(ignore_regex, name):
            reference = tensor.detach().clone(memory_format=torch.contiguous_format)
            torch.distributed.broadcast(reference, src=0)
            if not torch.equal(reference.nan_to_num(), tensor.detach().nan_to_num()):
                differing.append(name)
    found = [f'rank {rank}: {", ".join(names)}' for rank, names in enumerate(gather_values(differing)) if names]
    if found:
        raise RuntimeError(f'processes have drifted apart from rank 0 in {"; ".join(found)}; '
                           'seed them alike and synchronise every gradient')
