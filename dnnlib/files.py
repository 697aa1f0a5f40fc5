"""Atomic writes (a file is complete or absent), and append-only files that survive a full disk."""
import contextlib
import errno
import os
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

FULL_DISK_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT})
_PART_NAME = re.compile(r'\..+\.(\d+)(-[0-9a-f]+)?\.part(\.[^.]*)?')
_CLOCK_SLACK_SEC = 1    # between the clock of files and that of processes


def is_disk_full(error: BaseException) -> bool:
    """True if a full disk or quota caused the error, directly or not."""
    return _full_disk_error(error) is not None


@contextlib.contextmanager
def naming_full_disk(path: str | os.PathLike[str]) -> Iterator[None]:
    """Add the path to the error of a full disk in the block, which comes from a write to an open file.

    Libraries such as torch.save() turn it into errors of their own: the block still raises the OSError.
    """
    try:
        yield
    except Exception as error:
        full = _full_disk_error(error)
        if full is None:
            raise
        if full is not error:
            raise OSError(full.errno, full.strerror, os.fspath(path)) from error
        full.filename = os.fspath(path) if full.filename is None else full.filename
        raise


def _full_disk_error(error: BaseException | None) -> OSError | None:
    """The first full-disk error in the chain of the error and its causes."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, OSError) and error.errno in FULL_DISK_ERRNOS:
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def check_regular(path: str | os.PathLike[str]) -> None:
    """OSError for a pipe or a device, which may never end. Missing files and directories pass: opening them is an error."""
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        raise OSError(f'{os.fspath(path)} is not a regular file; give the file itself')


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary name beside `path` to write to. After the block that file becomes `path`; on an error it is deleted.

    The name has the same ending, for writers that choose the format by it. The content is on the disk before the name
    is, so that a power cut leaves the old file or the new one. Raises OSError.
    """
    path = Path(path)
    # The number tells remove_parts() whose it is; in containers that share the directory it may be the same.
    part = path.with_name(f'.{path.stem}.{os.getpid()}-{secrets.token_hex(4)}.part{path.suffix}')
    try:
        with naming_full_disk(path):
            yield part
            _to_disk(part)
        os.replace(part, path)
        if os.name != 'nt':     # there a directory cannot be opened
            with contextlib.suppress(OSError):      # some network file systems refuse it
                _to_disk(path.parent)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Write text, as UTF-8, or bytes; the file is whole or absent. OSError."""
    with whole_file(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def remove_parts(directory: str | os.PathLike[str]) -> list[Path]:
    """Delete what `whole_file` left in `directory` when its process was killed; returns the paths.

    Files of running processes stay. A process that started after the file was written only has the same number. For a
    directory into which processes of this machine write.
    """
    stale = [path for path in Path(directory).iterdir()
             if (match := _PART_NAME.fullmatch(path.name)) and not _may_be_written(path, int(match[1]))]
    for path in stale:
        path.unlink(missing_ok=True)
    return stale


class PatientFile:
    """A file to append to. On a full disk, what cannot be written waits in memory for the next write, flush or close.

    `mode` is 'w' (overwrite) or 'a' (append). `on_full` gets one line when the disk becomes full, and one at the end if something
    was lost. Errors other than a full disk are raised.
    """

    def __init__(self, path: str | os.PathLike[str], mode: str = 'a', on_full: Callable[[str], None] | None = None) -> None:
        self.path = Path(path)
        self._file = open(path, f'{mode}b', buffering=0)    # noqa: SIM115, closed by close()
        self._on_full = on_full or (lambda text: None)
        self._waiting = bytearray()
        self._is_full = False

    @property
    def num_waiting(self) -> int:
        """Bytes that wait for space."""
        return len(self._waiting)

    def write(self, content: str | bytes) -> int:
        """Add text, as UTF-8, or bytes; returns the length of `content`."""
        self._waiting += content.encode('utf-8', 'backslashreplace') if isinstance(content, str) else content
        self.flush()
        return len(content)

    def flush(self) -> None:
        """Write what waits, as far as there is space."""
        if self._file.closed:
            return
        try:
            while self._waiting:
                del self._waiting[:self._file.write(self._waiting)]
            self._is_full = False
        except OSError as error:
            if not is_disk_full(error):
                raise
            was_full, self._is_full = self._is_full, True   # first, since on_full may write here
            if not was_full:
                self._on_full(f'The disk of {self.path.parent} is full: the run continues and keeps {self.path.name} in memory '
                              'until there is space')

    def close(self) -> None:
        """Write what waits, and close. Idempotent."""
        if not self._file.closed:
            self.flush()
            self._file.close()
            if self._waiting:
                self._on_full(f'The disk of {self.path.parent} is full: the last {len(self._waiting)} bytes of {self.path.name} '
                              'are lost')


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDWR if os.name == 'nt' else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _may_be_written(path: Path, pid: int) -> bool:
    try:
        started = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
    try:
        return path.stat().st_mtime >= started - _CLOCK_SLACK_SEC
    except FileNotFoundError:       # finished in this moment
        return True
