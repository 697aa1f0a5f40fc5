"""What the processes of a training or measurement tell each other. A process alone gets its own value back.

Sums and means have gradients. Each process's loss may depend on every process's value x_r. So the gradient of a sum
s = sum_r x_r is itself a sum: over the processes' losses L_q,

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


def any_process(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set in any process. All must ask at the same time; waits for the device."""
    if num_processes() == 1:
        return flag
    any_flag = torch.tensor(int(flag), device=device)
    torch.distributed.all_reduce(any_flag, torch.distributed.ReduceOp.MAX)
    return bool(any_flag)


def gather_rows(x: torch.Tensor) -> torch.Tensor:
    """Rows [n, ...] of every process -> [n * processes, ...] in all of them: the first row of each, then the second ..."""
    if num_processes() == 1:
        return x
    shares = [torch.empty_like(x) for _ in range(num_processes())]
    torch.distributed.all_gather(shares, x.contiguous())
    return torch.stack(shares, dim=1).flatten(0, 1)


def gather_values(value: Any) -> list[Any]:
    """Every process's value, any that pickles, in the order of their ranks."""
    values = [value] * num_processes()
    if len(values) > 1:
        torch.distributed.all_gather_object(values, value)
    return values


def first_value(value: Any) -> Any:
    """The first process's value, in all of them. Tensors in it are on the CPU, and stay there."""
    if num_processes() == 1:
        return value
    group = torch.distributed.new_group(backend='gloo')  # NCCL would take the value through a device's memory
    box = [value]
    torch.distributed.broadcast_object_list(box, src=0, group=group)
    torch.distributed.destroy_process_group(group)
    return box[0]
