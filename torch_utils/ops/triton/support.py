"""Shared by the Triton forms of the operators: whether Triton works on a device, memory layouts, block sizes.

Triton compiles a kernel when it is first called, with what its package brings along and a C compiler for the call from
Python. Importing this module does not import Triton. With TRITON_INTERPRET=1 set before Triton's import, kernels run on the
CPU, one block at a time through numpy: for tests.
"""

import contextlib
import functools
import importlib
import os
import sys

import torch

OPERATORS = ('bias_act', 'upfirdn2d', 'adafm', 'scaled_act')
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
BLOCK_ELEMENTS = 1024   # of a tile: 8 elements for each of the 128 threads of a block


def interpreted() -> bool:
    """Whether kernels run in Triton's interpreter, on the CPU."""
    return os.environ.get('TRITON_INTERPRET') == '1'


@functools.cache
def works(device: torch.device) -> bool:
    """Whether the kernels of all operators compile on a CUDA device, run and are right; if not, one line on stderr says why.

    Tries each on a few numbers, once per process: later processes find the compiled kernels in Triton's cache.
    """
    try:
        check(device)
    except Exception as error:    # compilers, drivers and Triton itself fail in ways of their own
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        print(f'Triton kernels do not run on {device} ({first_line}): using slower PyTorch operators', file=sys.stderr)
        return False
    return True


def check(device: torch.device) -> None:
    """Run each kernel once. RuntimeError if it gives other numbers than PyTorch; other errors if it does not run."""
    for name in OPERATORS:
        for got, want in importlib.import_module(f'{__package__}.{name}').probe(device):
            if not torch.allclose(got.float(), want.float(), rtol=0.01, atol=0.01):
                raise RuntimeError(f'{name} gives other numbers than PyTorch')


def on_device(x: torch.Tensor) -> contextlib.AbstractContextManager:
    """Triton launches on the current CUDA device: makes it that of x."""
    return torch.cuda.device(x.device) if x.is_cuda else contextlib.nullcontext()


def dense(x: torch.Tensor) -> torch.Tensor:
    """x itself if its elements fill one piece of memory, in whatever order of dimensions; else a copy that does."""
    return like(x, torch.empty_like(x, device='meta').stride())


def plain_layout(x: torch.Tensor) -> torch.Tensor:
    """Images as they are if NCHW or channels-last without holes, else a copy: channels-last if channels are innermost."""
    innermost = x.stride(1) == 1 and x.shape[1] > 1
    return x.contiguous(memory_format=torch.channels_last if innermost else torch.contiguous_format)


def like(x: torch.Tensor, strides: tuple[int, ...]) -> torch.Tensor:
    """x itself if it has these strides, else a copy that has them."""
    return x if x.stride() == strides else torch.empty_strided(x.shape, strides, dtype=x.dtype, device=x.device).copy_(x)


def tile(rows: int, cols: int) -> tuple[int, int, int]:
    """-> BLOCK_ROWS, BLOCK_COLS (powers of two) for a [rows, cols] matrix, and the number of such tiles that cover it."""
    block_cols = min(next_power_of_2(cols), BLOCK_ELEMENTS)
    block_rows = BLOCK_ELEMENTS // block_cols
    return block_rows, block_cols, -(-rows // block_rows) * -(-cols // block_cols)


def next_power_of_2(n: int) -> int:
    """The smallest power of two that is at least n >= 1."""
    return 1 << (n - 1).bit_length()
