"""The program's own files: zip archives written by torch.save() and numpy.savez().

Every record is stored uncompressed with its CRC-32, which torch does not check, and numpy only in part.
"""
import os
import struct
import sys
import zipfile
from pathlib import Path


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
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OverflowError, RuntimeError, struct.error) as error:
        raise ValueError(f'it is damaged ({error or type(error).__name__})') from error
    if broken is not None:
        raise ValueError(f'it is damaged (the checksum of {broken!r:.100} differs)')


def warn_made_anew(what: str, path: Path, error: Exception) -> None:
    """Print one line about a kept file that cannot be used."""
    print(f'Warning: {what} in {path} cannot be used and is computed again: '
          f'{" ".join(str(error).split()):.300}', file=sys.stderr,
          flush=True)
