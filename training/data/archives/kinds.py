"""Which published form a source has."""

import gzip
import os
import zlib

from .lsun import DATA_FILE

CIFAR10, MNIST, LSUN = 'CIFAR-10', 'MNIST', 'LSUN'
GZIP_START = b'\x1f\x8b'


def archive_kind(source: str) -> str | None:
    """One of the names above, by the content; None for a folder or zip of pictures, and what is not there.

    Every gzip file is taken for the one or the other of the two that come so: their readers say what is wrong with it.
    """
    if os.path.isdir(source):
        return LSUN if os.path.isfile(os.path.join(source, DATA_FILE)) else None
    if not os.path.isfile(source):
        return None
    with open(source, 'rb') as file:
        if file.read(len(GZIP_START)) != GZIP_START:
            return None
    try:
        with gzip.open(source) as inside:
            start = inside.read(2)
    except (OSError, EOFError, zlib.error):
        start = b''
    return MNIST if start == b'\0\0' else CIFAR10  # where a tar archive has a file name
