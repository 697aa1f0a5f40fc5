"""One training at a time in a run directory: two would write over each other's states."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def lock_run(run_dir: Path) -> Iterator[None]:
    """Hold the directory for the block; ValueError if another process holds it. It is let go however the process ends.

    Where the file system knows no locks, nothing is held.
    """
    if fcntl is None:
        yield
        return
    handle = os.open(run_dir, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f'{run_dir} is being trained in by another process: wait for its end, or stop it first') from error
        except OSError:  # some network file systems
            pass
        yield
    finally:
        os.close(handle)
