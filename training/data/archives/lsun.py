"""An LSUN category as published (Yu et al. 2015, arXiv:1506.03365): an LMDB folder that maps keys to the bytes of WebP files."""

import contextlib
import io
import os
from collections.abc import Iterator
from typing import Any, BinaryIO

from ..picture_formats import HEAD_BYTES

DATA_FILE = 'data.mdb'


class LsunFiles:
    """The pictures of an LMDB folder, by their keys; like `ImageFiles`. Nothing is written, not even a lock.

    ValueError without the library lmdb, OSError if the folder is damaged or empty.
    """

    def __init__(self, path: str):
        self.path = path
        with self._transaction() as transaction:
            self.image_names = [key.decode('latin-1') for key in transaction.cursor().iternext(values=False)]
        if not self.image_names:
            raise OSError(f'{path} holds no pictures; give another LMDB folder')

    def open(self, name: str) -> BinaryIO:
        """A stream of the bytes of one picture; OSError if they cannot be read."""
        with self._transaction() as transaction:
            return io.BytesIO(transaction.get(name.encode('latin-1')))

    def head(self, name: str) -> bytes:
        """The first bytes of a picture."""
        return self.open(name).read(HEAD_BYTES)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Any]:
        """Opens the database anew: a process may have it open once only."""
        try:
            import lmdb  # needed here only
        except ImportError as error:
            raise ValueError(f"{self.path} is an LMDB folder, which needs lmdb: pip install 'hyper-stylegan2[lsun]', or pip "
                             'install lmdb') from error
        try:
            with lmdb.open(self.path, readonly=True, lock=False, create=False, readahead=False) as database:
                self._check_size((database.info()['last_pgno'] + 1) * database.stat()['psize'])
                with database.begin() as transaction:
                    yield transaction
        except lmdb.Error as error:
            raise OSError(f'{self.path} is not a whole LMDB folder ({error}); download it again') from error

    def _check_size(self, expected: int) -> None:
        """The file is mapped into memory: to touch what is not there would end the process."""
        size = os.path.getsize(os.path.join(self.path, DATA_FILE))
        if size < expected:
            raise OSError(f'{self.path}: {DATA_FILE} has {size:,} bytes, expected {expected:,}; download it again')
