"""Several training processes as one: the same weights at the start, gradients averaged before every step.

Each process holds whole networks and a share of every batch; there is no wrapper around the modules.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import torch

from torch_utils import training_stats

PATIENCE_SEC = 10  # for an interrupted process to end


@contextlib.contextmanager
def process_group(rank: int, num_gpus: int, init_file: str, device: torch.device) -> Iterator[None]:
    """Join the group through a shared file (NCCL for CUDA, else gloo); leave it at the end."""
    backend = 'nccl' if device.type == 'cuda' else 'gloo'
    init_method = 'file:///' + os.path.abspath(init_file).replace(os.sep, '/').lstrip('/')
    torch.distributed.init_process_group(backend, init_method=init_method, rank=rank, world_size=num_gpus)
    training_stats.init_multiprocessing(rank=rank, sync_device=device)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def start_processes(function: Callable[..., None], args: tuple[Any, ...], num_gpus: int) -> None:
    """Call function(rank, *args) in num_gpus new processes and wait.

    The first failure ends all of them: RuntimeError with its last line. So does an interruption of the wait.
    """
    processes = torch.multiprocessing.spawn(function, args=args, nprocs=num_gpus, join=False)
    try:
        while not processes.join():
            pass
    except torch.multiprocessing.ProcessRaisedException as error:
        raise RuntimeError(f'process {error.error_index}: {str(error).strip().splitlines()[-1]}') from error
    finally:
        _end(processes.processes)


def _end(processes: list[Any]) -> None:
    """Interrupt those that still run, as Ctrl-C does, so that they close their files; by force if that does not help."""
    for process in processes:
        if process.is_alive():
            os.kill(process.pid, signal.SIGINT)
    for process in processes:
        process.join(PATIENCE_SEC)
        process.terminate()


def rank_device(device: str, rank: int) -> torch.device:
    """The device of a process: CUDA devices are counted, the others are shared."""
    return torch.device('cuda', rank) if device == 'cuda' else torch.device(device)


def check_devices(device: str, num_gpus: int) -> None:
    """ValueError if there are fewer CUDA devices than processes."""
    if device == 'cuda' and num_gpus > torch.cuda.device_count():
        raise ValueError(f'--gpus={num_gpus} asks for more CUDA devices than the {torch.cuda.device_count()} found: lower --gpus')


def copy_from_first_process(modules: list[torch.nn.Module]) -> None:
    """Give every process the parameters and buffers of rank 0."""
    for module in modules:
        for tensor in [*module.parameters(), *module.buffers()]:
            torch.distributed.broadcast(tensor.detach(), src=0)


def average_over_processes(tensor: torch.Tensor, num_gpus: int) -> None:
    """In place: the mean of all processes' tensors."""
    torch.distributed.all_reduce(tensor)
    tensor /= num_gpus
