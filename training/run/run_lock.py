"""One training at a time in a run directory: two would write over each other's states."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

POLL_SEC = 0.2
_held: set[int] = set()  # file descriptors


@contextlib.contextmanager
def lock_run(path: Path, patience_sec: float = 0) -> Iterator[None]:
    """Hold a run directory, or a file of it, for the block. It is let go however the process ends.

    ValueError if another process holds it, and for so long. Where the file system knows no locks, nothing is held.
    """
    if fcntl is None:
        yield
        return
    handle = os.open(path, os.O_RDONLY)
    _held.add(handle)
    try:
        end = time.monotonic() + patience_sec
        while not _take(handle):
            if time.monotonic() >= end:
                raise ValueError(f'{path} is being trained in by another process: wait for its end, or stop it first')
            time.sleep(POLL_SEC)
        yield
    finally:
        _held.discard(handle)
        os.close(handle)


def leave_run_to_parent() -> None:
    """In a forked process: let go of what its parent holds, which would outlive it here."""
    while _held:
        os.close(_held.pop())


def _take(handle: int) -> bool:
    """Whether the lock is held now, or there is none to hold."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some network file systems
        pass
    return True
