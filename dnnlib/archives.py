"""Zip archives: what reading one can raise, and a check of the program's own, written by torch.save() and numpy.savez().

Every record of the latter is stored uncompressed with its CRC-32, which torch does not check, and numpy only in part.
"""
import os
import struct
import sys
import zipfile
import zlib
from pathlib import Path

try:
    from lzma import LZMAError
except ImportError:  # some Pythons are built without it; zipfile then refuses such entries by a RuntimeError
    LZMAError = RuntimeError  # type: ignore

# What zipfile raises, beside OSError, on archives that are damaged, encrypted, or compressed in an unknown way.
ARCHIVE_ERRORS = (zipfile.BadZipFile, EOFError, NotImplementedError, OverflowError, RuntimeError, LZMAError, struct.error,
                  zlib.error)


def check_archive(path: str | os.PathLike[str]) -> None:
    """ValueError, in one line, unless the file is such an archive and every record is whole. OSError.

    What is read from it afterwards takes no more memory than the file: nothing in it is compressed.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
            if any(record.compress_type != zipfile.ZIP_STORED for record in records):
                raise ValueError('it holds compressed records, which this program does not write')
            if sum(record.file_size for record in records) > os.path.getsize(path):
                raise ValueError('its records are larger than the file')
            broken = archive.testzip()
    except ARCHIVE_ERRORS as error:
        raise ValueError(f'it is damaged ({error or type(error).__name__})') from error
    if broken is not None:
        raise ValueError(f'it is damaged (the checksum of {broken!r:.100} differs)')


def warn_made_anew(what: str, path: Path, error: Exception) -> None:
    """Print one line about a kept file that cannot be used."""
    print(f'Warning: {what} in {path} cannot be used and is computed again: '
          f'{" ".join(str(error).split()):.300}', file=sys.stderr,
          flush=True)
