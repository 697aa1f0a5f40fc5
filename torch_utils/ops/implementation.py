"""Choice of an operator's implementation, the argument `impl` that some operators take."""

import importlib.util

import torch

from torch_utils import custom_ops

from .triton import support as triton_support

NAMES = ('ref', 'auto', 'cuda', 'native', 'triton')


def choose(impl: str, x: torch.Tensor) -> str:
    """Which form an operator takes for x: 'ref', 'native' or 'triton'.

    impl: 'ref' is plain PyTorch, the specification. 'auto', and 'cuda' as the interface has called it, ask for the fast form
    of the device: C++ on a CPU, Triton on CUDA, plain PyTorch where those do not serve. 'native' and 'triton' insist.
    ValueError for an unknown name, or if x cannot have the form that is insisted on.
    """
    if impl not in NAMES:
        raise ValueError(f"impl must be one of {', '.join(NAMES)}: got {impl!r}; leave it out to get the fast form")
    if impl == 'ref' or (impl in ('auto', 'cuda') and _is_recorded(x)):
        return 'ref'
    if x.device.type == 'cpu' and impl != 'triton':
        if x.dtype == torch.float32 and custom_ops.cpu_kernels() is not None:
            return 'native'
        if impl == 'native':
            raise ValueError(f'impl={impl!r} needs float32 and a C++ compiler: got {x.dtype}')
        return 'ref'
    if impl in ('auto', 'cuda'):
        return 'triton' if x.is_cuda and x.dtype in triton_support.DTYPES and triton_support.works(x.device) else 'ref'
    if impl == 'native' or not (x.is_cuda or triton_support.interpreted()) or importlib.util.find_spec('triton') is None:
        needs = 'a tensor on the CPU' if impl == 'native' else 'the package triton and a tensor on CUDA'
        raise ValueError(f'impl={impl!r} needs {needs}: got one on {x.device.type}; leave it out to get the fast form')
    return 'triton'


def _is_recorded(x: torch.Tensor) -> bool:
    """Whether PyTorch only writes down what happens to x: a kernel would go by unseen, its result a constant of the program."""
    return torch.jit.is_tracing() or torch.compiler.is_compiling() or type(x) not in (torch.Tensor, torch.nn.Parameter)
