"""Several training processes as one: the same weights at the start, gradients averaged before every step.

Each process holds whole networks and a share of every batch; there is no wrapper around the modules. A launcher such as
torchrun starts the processes, on any number of machines, and each joins the others; or start_processes() does, on this one.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib
import json
import time
from collections.abc import Iterator
from typing import Any

import torch

from torch_utils import training_stats
from torch_utils.collectives import num_processes

from . import watch
from .environment import Member, from_environment
from .stop_signals import StopSignals

# In a collective all wait for the slowest, and process 0 may write a snapshot and compute metrics. The dead are found by others.
COLLECTIVE_TIMEOUT = datetime.timedelta(hours=12)
POLL_SEC = 0.5


@contextlib.contextmanager
def watched_member() -> Iterator[Member | None]:
    """This process's place among those that a launcher started, watched until the block ends; None if it is alone.

    If process 0 ends the block without sharing a plan, the others' plan is None.
    """
    member = from_environment()
    if member is None:
        yield None
        return
    with watch.watching(member):
        yield member
        if member.rank == 0 and not member.store.check(['plan']):
            share_plan(member, None)


def share_plan(member: Member, plan: dict[str, Any] | None) -> dict[str, Any] | None:
    """Process 0's plan, of plain values, in every process. The others pass None and wait as long as it takes. Meanwhile stop
    signals are left to process 0, which may have work to save. KeyboardInterrupt in a process that got a signal if process 0 did
    not.
    """
    if member.rank == 0:
        member.store.set('plan', json.dumps(plan))
        return json.loads(member.store.get('plan'))
    with StopSignals(is_quiet=True) as stop:
        while not member.store.check(['plan']):
            time.sleep(POLL_SEC)
    plan = json.loads(member.store.get('plan'))
    if stop.asked and plan is not None:
        raise KeyboardInterrupt
    return plan


@contextlib.contextmanager
def join(member: Member, device: torch.device) -> Iterator[None]:
    """Within the block the members exchange tensors on their devices: through NCCL on CUDA, else through gloo."""
    if device.type == 'cuda':
        torch.cuda.set_device(device)
    # Its functions take the group that is there at their import as a default, and an optimiser's first step imports it. A group
    # kept that way is torn down with the interpreter, where its threads may abort the process.
    importlib.import_module('torch.distributed.nn')
    store = torch.distributed.PrefixStore('group', member.store)
    torch.distributed.init_process_group('nccl' if device.type == 'cuda' else 'gloo', store=store, rank=member.rank,
                                         world_size=member.world_size, timeout=COLLECTIVE_TIMEOUT)
    training_stats.init_multiprocessing(rank=member.rank, sync_device=device)
    try:
        yield
    except BaseException as error:
        if not watch.is_of_communication(error):  # before leaving the group, which makes the others' exchange fail
            watch.report(watch.connect(member.address, member.port), member.rank, error)
        raise
    finally:
        training_stats.init_multiprocessing(rank=0, sync_device=None)
        torch.distributed.destroy_process_group()


def rank_device(device: str, rank: int) -> torch.device:
    """The device of a process, by its number on the machine: CUDA devices are counted, the others are shared."""
    return torch.device('cuda', rank) if device == 'cuda' else torch.device(device)


def check_devices(device: str, num_gpus: int) -> None:
    """ValueError if this machine has fewer CUDA devices than processes."""
    if device == 'cuda' and num_gpus > torch.cuda.device_count():
        raise ValueError(f'--gpus={num_gpus} exceeds the {torch.cuda.device_count()} CUDA devices found: lower --gpus')


def copy_from_first_process(modules: list[torch.nn.Module]) -> None:
    """Give every process the parameters and buffers of rank 0."""
    if num_processes() == 1:
        return
    for module in modules:
        for tensor in [*module.parameters(), *module.buffers()]:
            torch.distributed.broadcast(tensor.detach(), src=0)


def average_over_processes(tensor: torch.Tensor) -> None:
    """In place: the mean of all processes' tensors."""
    if num_processes() > 1:
        torch.distributed.all_reduce(tensor)
        tensor /= num_processes()


@torch.no_grad()
def average_buffers(module: torch.nn.Module) -> None:
    """Make the running means of w (buffers called w_avg) those of one process that saw the batches of all.

    They move by decay * w_avg + (1 - decay) * mean(w), which is linear in the means: so once after any number of moves is
    enough. In float64, where the mean of equal float32 numbers is that number, so that frozen ones stay.
    """
    if num_processes() == 1:
        return
    for name, buffer in module.named_buffers():
        if name.rpartition('.')[2] == 'w_avg':
            mean = buffer.double()
            average_over_processes(mean)
            buffer.copy_(mean)
