"""A function in two processes that exchange tensors, as processes.join() lets training do."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.support.warm_python import warm_spawning


def run_in_two(function: Callable[..., None], folder: str | Path, *args: Any) -> None:
    """Call function(rank, *args) in two processes of one thread and one gloo group each, which meet in a file in the folder."""
    with warm_spawning():
        torch.multiprocessing.spawn(_run, (function, str(folder), args), nprocs=2)


def _run(rank: int, function: Callable[..., None], folder: str, args: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    importlib.import_module('torch.distributed.nn')  # before there is a group that it would keep, see processes.join()
    torch.distributed.init_process_group('gloo', init_method=f'file://{folder}/group', rank=rank, world_size=2)
    function(rank, *args)
    torch.distributed.destroy_process_group()
    assert not gloo_threads()  # at the interpreter's end they may abort the process


def gloo_threads() -> list[str]:
    """Names of this process's threads that a gloo group has, on Linux; it has left every group that none is named for."""
    tasks = Path('/proc/self/task')
    names = [task.joinpath('comm').read_text().strip() for task in tasks.iterdir()] if tasks.exists() else []
    return [name for name in names if 'gloo' in name]
