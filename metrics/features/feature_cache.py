"""Features of real images on disk, under a key made of everything that changes them.

A file is written beside its name and then renamed, so processes may compute the same one at once. Nothing in it is run; a
damaged one is computed again.
"""
import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dnnlib
from dnnlib.archives import warn_made_anew
from dnnlib.files import whole_file, write_whole
from training.data.file_listing import list_folder

from .feature_stats import FeatureStats
from .open_data import all_arguments

FORMAT = 2  # goes up with what FeatureStats writes, or with which images reach a detector, and how
PIECE_BYTES = 1 << 20


def features_path(
    dataset_kwargs: dict[str, Any], detector_identity: str, detector_kwargs: dict[str, Any], stats_kwargs: dict[str, Any]
) -> Path | None:
    """Where the features of this data set lie, or will; None for data that are not files.

    detector_kwargs and stats_kwargs (captures, number of images) are part of the key, the data's path is not. An argument of
    the data set that is left out counts as its default.
    """
    path = dataset_kwargs.get('path')
    if path is None or not os.path.exists(path):
        return None
    settings = {key: value for key, value in all_arguments(dataset_kwargs).items() if key != 'path'}
    everything = [FORMAT, data_digest(path), settings, detector_identity, detector_kwargs, stats_kwargs]
    key = hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()
    name = re.sub(r'[^\w.-]+', '_', Path(os.path.abspath(path)).stem)[:60]
    return Path(dnnlib.make_cache_dir_path('features', f'{name}-{key[:32]}.npz'))


def load_features(path: Path | None) -> FeatureStats | None:
    """None if they are not there, or cannot be used, which is said."""
    if path is None or not path.is_file():
        return None
    try:
        return FeatureStats.load(path)
    except (ValueError, OSError) as error:
        warn_made_anew('statistics of features', path, error)
        return None


def save_features(stats: FeatureStats, path: Path | None) -> None:
    """Keep the statistics; does nothing without a path."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part:
            stats.save(part)


def data_digest(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, or of the names and bytes of all files in a folder.

    Kept on disk by path, sizes and times of change: data that did not change are not read again.
    """
    root = Path(os.path.abspath(path))
    files = list(_files(root))
    seen = [str(root), *((name, file.stat().st_size, file.stat().st_mtime_ns) for name, file in files)]
    memo = Path(dnnlib.make_cache_dir_path('data-digests', hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:32] + '.txt'))
    if memo.is_file() and re.fullmatch(r'[0-9a-f]{64}', known := memo.read_text(encoding='ascii', errors='replace')):
        return known
    digest = hashlib.sha256()
    for name, file in files:
        digest.update(f'{name}\n{file.stat().st_size}\n'.encode(errors='surrogateescape'))
        with open(file, 'rb') as stream:
            while piece := stream.read(PIECE_BYTES):
                digest.update(piece)
    with contextlib.suppress(OSError):  # it only saves time
        memo.parent.mkdir(parents=True, exist_ok=True)
        write_whole(memo, digest.hexdigest())
    return digest.hexdigest()


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    """(relative name, path) of the file itself, or of all files of a folder that a data set may read, sorted by name."""
    if not root.is_dir():
        yield '', root
        return
    yield from sorted((entry.stored, root / entry.stored) for entry in list_folder(str(root)) if not entry.reason)
