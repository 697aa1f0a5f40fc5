"""The patches in spawned processes: those of a DataLoader, and of --gpus=2.

Such a process is a fresh interpreter that imports the parent's script before it does its work. Here it runs this file in place
of the script: the mends first, then the script. Forked processes have the mends from their parent.
"""
import atexit
import contextlib
import importlib
import os
import runpy
import signal
import sys
import traceback
from collections.abc import Iterator
from multiprocessing import spawn
from pathlib import Path
from types import TracebackType
from typing import Any
from unittest import mock

from patches.checkout import Checkout, identify
from patches.known import applied, needed

# Environment variables that a spawned process inherits: the folder of the checkout, and the script, '' for none.
CHECKOUT, SCRIPT = 'PATCHES_CHECKOUT', 'PATCHES_SCRIPT'
MAIN = '__mp_main__'    # what multiprocessing calls the parent's script in a spawned process


@contextlib.contextmanager
def reaching_children(checkout: Checkout, script: Path | None) -> Iterator[None]:
    """Processes that are spawned inside have the mends too, and so have theirs."""
    usual = spawn.get_preparation_data      # what every way to spawn sends first, on every platform

    def through_this_file(name: str) -> dict[str, Any]:
        data = usual(name)
        data.pop('init_main_from_name', None)
        return data | dict(init_main_from_path=__file__)

    os.environ.update({CHECKOUT: str(checkout.path), SCRIPT: str(script or '')})
    try:
        with mock.patch.object(spawn, 'get_preparation_data', through_this_file):
            yield
    finally:
        for name in (CHECKOUT, SCRIPT):
            del os.environ[name]


def begin_child() -> dict[str, Any]:
    """Apply the mends until this process ends, and import the script; returns its names."""
    sys.excepthook = end_parent
    checkout, script = identify(os.environ[CHECKOUT]), os.environ[SCRIPT]
    mends = contextlib.ExitStack()
    atexit.register(mends.close)
    mends.enter_context(reaching_children(checkout, Path(script) if script else None))
    mends.enter_context(applied(needed(checkout)))
    return runpy.run_path(script, run_name=MAIN) if script else {}


def end_parent(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    """Only a process that cannot start gets here. Its parent may wait for ever to be read, so it ends too."""
    traceback.print_exception(kind, error, where)
    print(f'Error: a process of the script cannot start: {kind.__name__}: {error}', file=sys.stderr, flush=True)
    os.kill(os.getppid(), signal.SIGTERM)


if __name__ == MAIN:    # by its name too, so that one module holds what is replaced
    globals().update(importlib.import_module('patches.spawned').begin_child())
