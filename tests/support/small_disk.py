"""A disk that is soon full: a real one in memory (Linux, as root), or a stand-in for an open file."""

import contextlib
import errno
import os
import shutil
import subprocess

import pytest


@contextlib.contextmanager
def small_disk(folder, kib):
    """Mount a disk of so many KiB at `folder`, which is made; skips the test where that is not allowed."""
    folder.mkdir()
    try:
        subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={kib}k', 'none', str(folder)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f'cannot mount a small disk here: {error}')
    try:
        yield folder
    finally:
        subprocess.run(['umount', '-l', str(folder)], check=True)


def fill_disk(folder):
    """Take all space that is left; returns the file to delete."""
    path = folder / 'filler'
    with open(path, 'wb', buffering=0) as file:
        for size in (4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
    return path


def nearly_full(folder, rooms):
    """For every room, in KiB, fill the disk but for so much; gives the room, with the disk so full, and empties it at the end."""
    path = folder / 'filler'
    for room in rooms:
        path.write_bytes(bytes(max(shutil.disk_usage(folder).free - room * 1024, 0)))
        yield room
        path.unlink()


class FullFile:
    """In place of a file opened for bytes: takes `room` bytes, then fails as a full disk does."""

    def __init__(self, room=0, code=errno.ENOSPC):
        self.room, self.code, self.content, self.closed = room, code, b'', False

    def write(self, content):
        taken = bytes(content[:self.room - len(self.content)]) if self.room > len(self.content) else b''
        if not taken:
            raise OSError(self.code, os.strerror(self.code))
        self.content += taken
        return len(taken)

    def close(self):
        self.closed = True
