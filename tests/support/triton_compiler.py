"""Compiles the Triton kernels for GPUs, on a machine that may have none: each with the arguments of a real call.

    python -m tests.support.triton_compiler 80 90

The operators run on small tensors of the CPU; in place of each launch the kernel is compiled for the compute capabilities
that are named (ten times the version: 8.0 is 80). One line per call of a kernel: its name and the sizes of the binaries.
"""

import os
import sys
from collections.abc import Callable

os.environ.pop('TRITON_INTERPRET', None)    # or the decorators would make interpreted kernels

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from torch_utils.ops.triton import adafm as triton_adafm
from torch_utils.ops.triton import bias_act as triton_bias_act
from torch_utils.ops.triton import scaled_act as triton_scaled_act
from torch_utils.ops.triton import support as triton_support
from torch_utils.ops.triton import upfirdn2d as triton_upfirdn2d

POINTERS = {torch.float16: '*fp16', torch.bfloat16: '*bf16', torch.float32: '*fp32', torch.float64: '*fp64',
            torch.int64: '*i64'}


class CompiledOnly:
    """Stands in for a kernel: a launch compiles it."""

    def __init__(self, kernel, capabilities):
        self.kernel, self.capabilities = kernel, capabilities

    def __getitem__(self, grid) -> Callable:
        return self.compile

    def compile(self, *values, **constants):
        names = self.kernel.arg_names
        given = dict(zip(names, values, strict=False)) | constants
        # As a launch has it: None and 1 are compiled in, multiples of 16 are known to be such.
        fixed = {name: value for name, value in given.items() if name in constants or value is None or is_int(value, 1)}
        sixteens = {(index,): [['tt.divisibility', 16]] for index, name in enumerate(names)
                    if isinstance(given[name], torch.Tensor) or (name not in fixed and is_int(given[name], 0, modulus=16))}
        signature = {name: 'constexpr' if name in fixed else argument_type(given[name]) for name in names}
        source = ASTSource(self.kernel, signature, {(names.index(name),): value for name, value in fixed.items()},
                           sixteens)
        sizes = [len(triton.compile(source, target=GPUTarget('cuda', capability, 32)).asm['cubin'])
                 for capability in self.capabilities]
        print(self.kernel.__name__, *sizes)


def is_int(value, wanted, modulus=1 << 40) -> bool:
    return type(value) is int and value % modulus == wanted


def argument_type(value) -> str:
    if isinstance(value, torch.Tensor):
        return POINTERS[value.dtype]
    return 'fp32' if isinstance(value, float) else 'i32'


def main(capabilities: list[int]) -> None:
    triton_support.BLOCK_ELEMENTS = 128    # one for each thread: the same code, written once and not 8 times
    for module in (triton_adafm, triton_bias_act, triton_scaled_act, triton_upfirdn2d):
        for name in [name for name in vars(module) if name.endswith('_kernel')]:
            setattr(module, name, CompiledOnly(getattr(module, name), capabilities))
        for _results in module.probe(torch.device('cpu')):
            pass
    x, b = torch.ones(1, 8, 4, 4, requires_grad=True), torch.ones(8, requires_grad=True)
    for act in ('tanh', 'selu', 'softplus', 'swish'):
        y = triton_bias_act.bias_act(x.bfloat16(), b, 1, act, 0.0, 1.0, 0.5)
        torch.autograd.grad(y.sum(), [x, b], create_graph=True)[0].square().sum().backward()
    triton_bias_act.bias_act(x[:, :1], b[:1], 1, 'relu', 0.0, 1.0, None)
    triton_upfirdn2d.upfirdn2d(x, torch.ones(5), (3, 1), (1, 2), (4, 4, 4, 4), True, 1.0).sum().backward()
    for up, down in ((1, 1), (2, 1), (1, 2)):       # padding of 1
        triton_upfirdn2d.upfirdn2d(x.half(), torch.ones(4, 4), (up, up), (down, down), (1, 1, 1, 1), False, 1.0)
        triton_upfirdn2d.upfirdn2d(x, torch.ones(3, 3), (up, up), (down, down), (1, 1, 1, 1), False, 1.0).sum().backward()
    triton_upfirdn2d.upfirdn2d(x[:, :, :1, :1], torch.ones(1, 1), (1, 1), (1, 1), (0, 0, 0, 0), False, 1.0).sum().backward()
    triton_scaled_act.scaled_act(x, None, b, None, 'linear', 0.0, 1.0, None)
    one = torch.ones(1, 1, 1)
    triton_adafm.backward(x[:1, :1, :1, :1], one, one, *triton_adafm.forward(x[:1, :1, :1, :1], one, one))


if __name__ == '__main__':
    main([int(word) for word in sys.argv[1:]])
