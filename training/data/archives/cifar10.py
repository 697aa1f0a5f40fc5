"""CIFAR-10 as published (Krizhevsky 2009): a tar archive, packed by gzip, of pickles that Python 2 wrote.

    data_batch_1 ... 5, test_batch    {'data': uint8 [N, 3072], red, then green, then blue, row by row; 'labels': [N], ...}
    batches.meta                      {'label_names': [10], ...}

The pickles are read without running them.
"""

import gzip
import io
import tarfile
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import numpy as np

from dnnlib.errors import listed
from torch_utils.pickles import safe_pickle

from ..folder_labels import ALL_PARTS
from ..name_encoding import clean_name
from .packed import open_gzip

FOLDER, META = 'cifar-10-batches-py', 'batches.meta'
TRAIN, TEST = tuple(f'data_batch_{number}' for number in range(1, 6)), ('test_batch',)
PARTS = {'train': TRAIN, 'test': TEST, ALL_PARTS: TRAIN + TEST}
MAX_BYTES, MAX_FILE_BYTES, MAX_FILES = 2**28, 2**26, 100  # as published: 186 million, 31 million, 9
SHAPE = (3, 32, 32)
ADVICE = 'download cifar-10-python.tar.gz again; unpack other archives, and give the folder'


def read_cifar10(path: str, part: str | None = None) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """-> uint8 [N, 32, 32, 3], class indices [N], class names. part: 'train' (if None), 'test' or 'all'.

    ValueError or OSError for another archive, or a damaged one.
    """
    if part not in (None, *PARTS):
        raise ValueError(f'--split={part}: CIFAR-10 has the parts {listed(list(PARTS))}; choose one of them')
    wanted = PARTS[part or 'train']
    found = dict(_members(path, {META, *wanted}))
    missing = [name for name in (META, *wanted) if name not in found]
    if missing:
        raise ValueError(f'{path} has no {FOLDER}/{missing[0]}; {ADVICE}')
    names = _class_names(path, found[META])
    batches = [_batch(f'{path}: {name}', found[name], len(names)) for name in wanted]
    pixels = np.concatenate([pixels for pixels, _labels in batches])
    return pixels.transpose(0, 2, 3, 1), np.concatenate([labels for _pixels, labels in batches]), names


def _members(path: str, wanted: set[str]) -> Iterator[tuple[str, Any]]:
    """The names and values of the wanted pickles, in the archive's order."""
    with open_gzip(path) as stream, tarfile.open(fileobj=cast(BinaryIO, _Limited(stream, path)), mode='r|') as archive:
        for count, member in enumerate(archive):
            name = member.name.removeprefix(f'{FOLDER}/')
            if count == MAX_FILES:
                raise ValueError(f'{path} holds more than {MAX_FILES} files and is not CIFAR-10; {ADVICE}')
            if name == member.name or name not in wanted:
                continue
            if not member.isreg() or member.size > MAX_FILE_BYTES:
                raise ValueError(f'{path}: {name} is no file of up to {MAX_FILE_BYTES:,} bytes; {ADVICE}')
            file = archive.extractfile(member)
            assert file is not None, 'regular files can be read'
            yield name, _unpickle(f'{path}: {name}', file.read())


class _Limited:
    """A stream that ends with a ValueError after MAX_BYTES: a small archive can hold terabytes."""

    def __init__(self, stream: gzip.GzipFile, path: str):
        self.stream, self.path, self.rest = stream, path, MAX_BYTES

    def read(self, count: int) -> bytes:
        data = self.stream.read(min(count, self.rest + 1))
        self.rest -= len(data)
        if self.rest < 0:
            raise ValueError(f'{self.path} unpacks to more than {MAX_BYTES:,} bytes and is not CIFAR-10; {ADVICE}')
        return data


def _unpickle(where: str, content: bytes) -> Any:
    from torch_utils.pickles.safe_values import HANDLERS  # with torch, which takes seconds and serves no other source
    try:
        return safe_pickle.load(io.BytesIO(content), HANDLERS.get, python2=True)
    except ValueError as error:
        raise ValueError(f'{where} is not a pickle of CIFAR-10 ({error}); {ADVICE}') from error


def _class_names(path: str, meta: Any) -> list[str]:
    names = meta.get('label_names') if isinstance(meta, dict) else None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f'{path}: {META} has no list of label_names; {ADVICE}')
    names = [clean_name(name) for name in names]
    if len(set(names)) < len(names):
        raise ValueError(f'{path}: {META} has a name twice in label_names; {ADVICE}')
    return names


def _batch(where: str, batch: Any, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """-> uint8 [N, 3, 32, 32], int64 [N]."""
    data, labels = (batch.get(key) if isinstance(batch, dict) else None for key in ('data', 'labels'))
    size = int(np.prod(SHAPE))
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != size or not len(data):
        found = f'{data.dtype} {list(data.shape)}' if isinstance(data, np.ndarray) else 'none'
        raise ValueError(f'{where} has the data {found}, expected uint8 [N, {size}]; {ADVICE}')
    if not isinstance(labels, list) or len(labels) != len(data):
        found = str(len(labels)) if isinstance(labels, list) else 'no list of'
        raise ValueError(f'{where} has {found} labels, expected {len(data)}; {ADVICE}')
    if not all(type(label) is int and 0 <= label < num_classes for label in labels):
        raise ValueError(f'{where} has a label that is not a number from 0 to {num_classes - 1}; {ADVICE}')
    return data.reshape(-1, *SHAPE), np.array(labels, dtype=np.int64)
