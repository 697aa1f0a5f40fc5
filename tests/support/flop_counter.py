"""Arithmetic counted as PyTorch executes it, for the benchmark's closed forms to be compared with."""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class FlopCounter(TorchDispatchMode):
    """Counts what PyTorch executes within the context: flop, of convolutions (but filters: one channel to one) and products.

    PyTorch's own counter takes grouped convolutions' gradients for ungrouped ones, and refuses torch.autograd.grad.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flop = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        operation = func.overloadpacket
        if operation is torch.ops.aten.convolution:
            self.flop += _convolution_flop(args[0], args[1], out, transposed=args[6])
        elif operation is torch.ops.aten.convolution_backward:
            passes = sum(args[-1][:2])  # gradients of the images, of the kernel
            self.flop += passes * _convolution_flop(args[1], args[2], args[0], transposed=args[7])
        elif operation in flop_registry:
            self.flop += flop_registry[operation](*args, **(kwargs or {}), out_val=out)
        return out


def _convolution_flop(x: torch.Tensor, weight: torch.Tensor, y: torch.Tensor, transposed: bool) -> int:
    """Every sample of the smaller side meets all taps of its group."""
    if weight.shape[1] == 1 and weight.shape[0] in (x.shape[1], y.shape[1]):
        return 0
    return 2 * (x if transposed else y).numel() * weight[0].numel()
