"""Sums and means over the processes of a training, with gradients. A process alone gets its own value back.

Each process's loss may depend on every process's value x_r. So the gradient of a sum s = sum_r x_r is itself a sum: over
the processes' losses L_q,

    d (sum_q L_q) / d x_r = sum_q d L_q / d s

With gradients averaged over W processes afterwards, every process's parameters get those of (1 / W) sum_q L_q, the loss
of one process with the whole batch.
"""
from typing import Any

import torch


class _SumOverProcesses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return _all_reduced(x)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        return _all_reduced(grad)


def _all_reduced(x: torch.Tensor) -> torch.Tensor:
    total = x.detach().clone(memory_format=torch.contiguous_format)
    torch.distributed.all_reduce(total)
    return total


def num_processes() -> int:
    """How many processes train together."""
    many = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if many else 1


def sum_over_processes(x: torch.Tensor) -> torch.Tensor:
    """The sum of all processes' x, of any shape. All must call it, and run backward through it, in the same order."""
    return x if num_processes() == 1 else _SumOverProcesses.apply(x)


def mean_over_processes(x: torch.Tensor) -> torch.Tensor:
    """The mean of all processes' x, of any shape; see sum_over_processes."""
    return x if num_processes() == 1 else sum_over_processes(x) / num_processes()
