"""Collected features of images: all of them, their mean and covariance, their classes.

    mean = 1/N sum x,   cov = 1/N sum (x - mean) (x - mean)^T

Sums are float64 and of x minus the mean of the first batch: a mean that is large beside the spread costs no digits.
Shapes: N images, D features.
"""
import math
import os
import zipfile
from typing import Any

import numpy as np
import torch

from dnnlib.archives import check_archive
from torch_utils.collectives import gather_rows

PIECE = 4096  # images at a time, in float64
FLAGS = ('capture_all', 'capture_mean_cov', 'capture_labels')


class FeatureStats:
    """capture_all: keep the features. capture_mean_cov: keep what mean and covariance need. capture_labels: keep a class
    index for each. max_items: what comes after that many is cut off; None takes everything.
    """

    def __init__(self, capture_all: bool = False, capture_mean_cov: bool = False, max_items: int | None = None,
                 capture_labels: bool = False):
        self.capture_all, self.capture_mean_cov, self.capture_labels = capture_all, capture_mean_cov, capture_labels
        self.max_items = max_items
        self.num_items = 0
        self.num_features: int | None = None
        self._features: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []
        self._shift = self._sum = self._outer = np.zeros(0)

    def is_full(self) -> bool:
        """Whether max_items have come."""
        return self.max_items is not None and self.num_items >= self.max_items

    def append(self, x: np.ndarray, labels: np.ndarray | None = None) -> None:
        """Features [n, D] of further images, and with capture_labels their classes, int [n]. ValueError if not finite."""
        x = np.asarray(x, dtype=np.float32)
        if x.ndim != 2 or (self.num_features is not None and x.shape[1] != self.num_features):
            raise ValueError(f'expected features [n, {self.num_features or "D"}], the detector gave {list(x.shape)}')
        if self.capture_labels and (labels is None or len(labels) != len(x)):
            raise ValueError(f'expected a class for each of {len(x)} images, found {"none" if labels is None else len(labels)}')
        room = len(x) if self.max_items is None else self.max_items - self.num_items
        x = x[:room]
        if not np.isfinite(x).all():
            bad = int((~np.isfinite(x)).any(axis=1).sum())
            raise ValueError(f'the features of {bad} of {len(x)} images are NaN or infinite: look at the images and the detector')
        self.num_features = x.shape[1]
        self.num_items += len(x)
        if self.capture_all:
            self._features.append(x)
        if self.capture_labels and labels is not None:
            self._labels.append(np.asarray(labels, dtype=np.int64)[:room])
        if self.capture_mean_cov and len(x):
            self._accumulate(x.astype(np.float64))

    def _accumulate(self, x: np.ndarray) -> None:
        if not self._shift.size:
            self._shift = x.mean(axis=0)
            self._sum, self._outer = np.zeros(x.shape[1]), np.zeros([x.shape[1], x.shape[1]])
        x = x - self._shift
        self._sum += x.sum(axis=0)
        self._outer += x.T @ x

    def append_torch(self, x: torch.Tensor, num_gpus: int = 1, rank: int = 0, labels: torch.Tensor | None = None) -> None:
        """As append(), of each process's rows; every process collects the rows of all, taken in turns."""
        if not 0 <= rank < num_gpus:
            raise ValueError(f'rank is {rank}, expected 0 to {num_gpus - 1}')
        every = gather_rows(x.to(torch.float32)).cpu().numpy()
        self.append(every, None if labels is None else gather_rows(labels.to(x.device)).cpu().numpy())

    def get_all(self) -> np.ndarray:
        """float32 [N, D]."""
        assert self.capture_all, 'FeatureStats was made without capture_all'
        if len(self._features) != 1:  # joined once, and not held twice
            self._features = [np.concatenate(self._features or [np.zeros([0, self.num_features or 0], np.float32)])]
        return self._features[0]

    def get_all_torch(self) -> torch.Tensor:
        """float32 [N, D] on the CPU."""
        return torch.from_numpy(self.get_all())

    def get_labels(self) -> np.ndarray:
        """int64 [N]: class indices."""
        assert self.capture_labels, 'FeatureStats was made without capture_labels'
        return np.concatenate(self._labels) if self._labels else np.zeros(0, np.int64)

    def get_mean_cov(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean [D] and covariance [D, D], divided by N; float64. From the sums, or else from all features."""
        if self.capture_all and not self.capture_mean_cov:
            sums, every = FeatureStats(capture_mean_cov=True), self.get_all()
            for start in range(0, len(every), PIECE):  # of fixed size: whatever batches they came in, the result is the same
                sums.append(every[start:start + PIECE])
            return sums.get_mean_cov()
        assert self.capture_mean_cov, 'FeatureStats was made without capture_mean_cov'
        if not self.num_items:
            raise ValueError('mean and covariance need at least 1 image, found none')
        offset = self._sum / self.num_items
        return self._shift + offset, self._outer / self.num_items - np.outer(offset, offset)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an npz archive, under exactly this name."""
        content: dict[str, Any] = {name: getattr(self, name) for name in FLAGS}
        content.update(num_items=self.num_items, num_features=self.num_features or 0, max_items=self.max_items or 0)
        if self.capture_all:
            content['features'] = self.get_all()
        if self.capture_labels:
            content['labels'] = self.get_labels()
        if self.capture_mean_cov:
            content.update(shift=self._shift, sum=self._sum, outer=self._outer)
        with open(path, 'wb') as file:
            np.savez(file, **content)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> 'FeatureStats':
        """What save() wrote; nothing in the file is run. ValueError if it is damaged, OSError if it cannot be read."""
        try:
            check_archive(path)
            _check_headers(path)
            with open(path, 'rb') as file, np.load(file, allow_pickle=False) as content:
                return _from_arrays(dict(content))
        except (zipfile.BadZipFile, KeyError, EOFError, TypeError, ValueError) as error:
            raise ValueError(f'{path} holds no whole feature statistics ({error}): delete it') from error


def _check_headers(path: str | os.PathLike[str]) -> None:
    """ValueError for an array that is not as large as its header says: numpy makes room for it before it reads."""
    with zipfile.ZipFile(path) as archive:
        for record in archive.infolist():
            with archive.open(record) as stream:
                version = np.lib.format.read_magic(stream)
                shape, _fortran, dtype = np.lib.format.read_array_header_1_0(stream) if version == (1, 0) else ((), False, None)
                if dtype is None or math.prod(shape) * dtype.itemsize != record.file_size - stream.tell():
                    raise ValueError(f'{record.filename!r:.100} has another size than it says')


def _from_arrays(arrays: dict[str, np.ndarray]) -> FeatureStats:
    """ValueError unless types and shapes are right, and all numbers finite; KeyError."""
    stats = FeatureStats(**{name: bool(arrays[name]) for name in FLAGS}, max_items=int(arrays['max_items']) or None)
    num_items, num_features = int(arrays['num_items']), int(arrays['num_features'])
    size = num_features if num_items else 0     # sums begin with the first image
    expected: dict[str, tuple[type, tuple[int, ...]]] = {}
    expected |= dict(features=(np.float32, (num_items, num_features))) if stats.capture_all else {}
    expected |= dict(labels=(np.int64, (num_items,))) if stats.capture_labels else {}
    if stats.capture_mean_cov:
        outer = (size, size) if size else (0,)
        expected |= dict(shift=(np.float64, (size,)), sum=(np.float64, (size,)), outer=(np.float64, outer))
    for name, (dtype, shape) in expected.items():
        array = arrays[name]
        if array.dtype != dtype or array.shape != shape or not np.isfinite(array).all():
            raise ValueError(f'{name} is no finite array of type {np.dtype(dtype)}, {list(shape)}')
    stats.num_items, stats.num_features = num_items, num_features or None
    if stats.capture_all:
        stats._features = [arrays['features']]
    if stats.capture_labels:
        stats._labels = [arrays['labels']]
    if stats.capture_mean_cov:
        stats._shift, stats._sum, stats._outer = arrays['shift'], arrays['sum'], arrays['outer']
    return stats
