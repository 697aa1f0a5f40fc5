"""Gzip files, and tar archives in them, that were damaged on the way."""

import contextlib
import gzip
import tarfile
import zlib
from collections.abc import Iterator


@contextlib.contextmanager
def open_gzip(path: str) -> Iterator[gzip.GzipFile]:
    """The content. A block that reads it, or a tar archive in it, raises OSError if it is damaged."""
    try:
        with gzip.open(path) as stream:
            yield stream
    except (gzip.BadGzipFile, EOFError, zlib.error, tarfile.TarError) as error:
        raise OSError(f'{path} is incomplete, damaged or another kind of file ({error}); download it again') from error
