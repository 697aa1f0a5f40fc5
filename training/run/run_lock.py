"""One training at a time in a run directory: two would write over each other's states."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import filelock

LOCK = '.lock'  # in a run directory


@contextlib.contextmanager
def lock_run(path: Path, patience_sec: float = 0) -> Iterator[None]:
    """Lock a run directory, or a file of it, for the block. The lock ends with the process, however that ends.

    Forked processes, such as those that load images, do not inherit it. ValueError if another process holds it for longer than
    patience_sec. Without locks in the file system, nothing is held.
    """
    lock = filelock.FileLock(path / LOCK if path.is_dir() else path, timeout=patience_sec)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise ValueError(f'{path} is in use by another training process: wait until it ends, or stop it first') from error
    except OSError:  # some network file systems
        pass
    try:
        yield
    finally:
        lock.release()
