"""Plain values between the processes of a training. A single process exchanges with itself."""

from typing import Any

import torch


def gather_from_processes(value: Any, num_gpus: int) -> list[Any]:
    """Every process's value, in the order of their ranks."""
    if num_gpus == 1:
        return [value]
    values: list[Any] = [None] * num_gpus
    torch.distributed.all_gather_object(values, value)
    return values


def from_first_process(value: Any, num_gpus: int) -> Any:
    """The first process's value, in all of them. Tensors in it are on the CPU, and stay there."""
    if num_gpus == 1:
        return value
    group = torch.distributed.new_group(backend='gloo')  # NCCL would take the value through a device's memory
    box = [value]
    torch.distributed.broadcast_object_list(box, src=0, group=group)
    torch.distributed.destroy_process_group(group)
    return box[0]
