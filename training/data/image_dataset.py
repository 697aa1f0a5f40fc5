"""Image data sets for training: uint8 images with float32 labels, from a folder or a zip archive.

Labels come from dataset.json (`training.data.image_labels`), else from class folders (`training.data.folder_labels`). Classes
become one-hot vectors.
"""

import os
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from dnnlib import EasyDict

from .image_convert import MIN_RESOLUTION
from .image_files import BAR_DELAY_SEC, ImageFiles, read_pixels, read_shape
from .image_labels import Labels, read_labels
from .left_out import describe_left_out, no_images


class Dataset(torch.utils.data.Dataset):
    """Images with labels, by index. A subclass gives `_load_raw_image` and `_load_raw_labels`.

    name: of the set. raw_shape: [N, C, H, W] of all images on disk. max_size: keep this many, drawn with random_seed.
    use_labels: False makes every label an empty vector. xflip: append a mirrored copy of every image.
    Items: (uint8 [C, H, W], float32 [label_dim]).
    """

    def __init__(self, name: str, raw_shape: list[int], max_size: int | None = None, use_labels: bool = False,
                 xflip: bool = False, random_seed: int = 0):
        self._name = name
        self._raw_shape = [int(size) for size in raw_shape]
        self._use_labels = use_labels
        self._raw_labels: np.ndarray | None = None
        self._label_shape: list[int] | None = None
        self._raw_idx = _choose(self._raw_shape[0], max_size, random_seed)
        self._xflip = np.zeros(len(self._raw_idx), dtype=np.uint8)
        if xflip:
            self._raw_idx, self._xflip = np.tile(self._raw_idx, 2), np.repeat(np.array([0, 1], np.uint8), len(self._raw_idx))

    def _load_raw_image(self, raw_idx: int) -> np.ndarray:
        """uint8 [C, H, W]."""
        raise NotImplementedError

    def _load_raw_labels(self) -> np.ndarray | None:
        """int64 [N] classes, float32 [N, D] vectors, or None."""
        raise NotImplementedError

    def _get_raw_labels(self) -> np.ndarray:
        """The labels of all images on disk, read at the first call; float32 [N, 0] if there are none or none are used."""
        if self._raw_labels is None:
            found = self._load_raw_labels() if self._use_labels else None
            self._raw_labels = np.zeros([self._raw_shape[0], 0], dtype=np.float32) if found is None else found
        return self._raw_labels

    def close(self) -> None:
        """Close open files; a later access opens them again."""

    def __len__(self) -> int:
        return len(self._raw_idx)

    def __getitem__(self, idx: int) -> tuple[np.ndarray, np.ndarray]:
        image = self._load_raw_image(int(self._raw_idx[idx]))  # [C, H, W]
        if self._xflip[idx]:
            image = image[:, :, ::-1]
        return image.copy(), self.get_label(idx)

    def get_label(self, idx: int) -> np.ndarray:
        """float32 [label_dim]: one-hot, or the label vector."""
        return self.labels([idx])[0]

    def labels(self, indices: Any = slice(None)) -> np.ndarray:
        """float32 [N, label_dim]: the labels of all items, or of those at `indices`, as get_label gives them."""
        labels = self._get_raw_labels()[self._raw_idx[indices]]
        if not self.has_onehot_labels:
            return labels.copy()
        onehot = np.zeros([len(labels), self.label_dim], dtype=np.float32)
        onehot[np.arange(len(labels)), labels] = 1
        return onehot

    def classes(self) -> np.ndarray:
        """int64 [N]: the classes of all items; ValueError if labels are no classes."""
        if not self.has_onehot_labels:
            raise ValueError(f'{self.name} has no classes')
        return self._get_raw_labels()[self._raw_idx]

    def get_details(self, idx: int) -> EasyDict:
        """raw_idx: index on disk; xflip: whether mirrored; raw_label: class or vector."""
        raw_idx = int(self._raw_idx[idx])
        return EasyDict(raw_idx=raw_idx, xflip=bool(self._xflip[idx]), raw_label=self._get_raw_labels()[raw_idx].copy())

    @property
    def name(self) -> str:
        return self._name

    @property
    def image_shape(self) -> list[int]:
        """[C, H, W]."""
        return self._raw_shape[1:]

    @property
    def num_channels(self) -> int:
        return self._raw_shape[1]

    @property
    def resolution(self) -> int:
        """Width and height, which are equal."""
        return self._raw_shape[2]

    @property
    def label_shape(self) -> list[int]:
        """[number of classes], [vector length] or [0]."""
        if self._label_shape is None:  # the largest of many labels is not looked for at every item
            labels = self._get_raw_labels()
            num_classes = [len(self._given_class_names()) or int(labels.max()) + 1] if self.has_onehot_labels else None
            self._label_shape = num_classes or list(labels.shape[1:])
        return list(self._label_shape)

    @property
    def label_dim(self) -> int:
        return self.label_shape[0]

    @property
    def has_labels(self) -> bool:
        return self.label_dim > 0

    @property
    def has_onehot_labels(self) -> bool:
        return self._get_raw_labels().dtype == np.int64

    @property
    def class_names(self) -> list[str]:
        """One name for each class, '0', '1', ... if the data give none; [] without classes."""
        if not self.has_onehot_labels:
            return []
        return self._given_class_names() or [str(index) for index in range(self.label_dim)]

    def class_counts(self) -> np.ndarray:
        """int64 [number of classes]: the images of each class, mirrored copies included; empty without classes."""
        if not self.has_onehot_labels:
            return np.zeros(0, dtype=np.int64)
        return np.bincount(self.classes(), minlength=self.label_dim)

    def _given_class_names(self) -> list[str]:
        """Names that the data give for its classes; [] if they give none."""
        return []


class ImageFolderDataset(Dataset):
    """The images of a folder, or of a zip archive, at any depth.

    path: folder or zip. resolution: expected width and height in pixels. Further arguments as in `Dataset`.
    OSError if the path, the first image or the resolution is wrong; ValueError, at the first use of a label, if labels are.
    `check_dataset` looks at all images and labels at once.
    """

    def __init__(self, path: str | os.PathLike[str], resolution: int | None = None, max_size: int | None = None,
                 use_labels: bool = False, xflip: bool = False, random_seed: int = 0):
        self._files = ImageFiles(path)
        self._image_names = self._files.image_names
        self._found = Labels()
        if not self._image_names:
            raise OSError(no_images(self._files))
        shape = read_shape(self._files, self._image_names[0])
        _check_shape(shape, resolution, where=f'{self._files.path}: {self._image_names[0]}')
        name = os.path.splitext(os.path.basename(os.path.abspath(path)))[0]
        super().__init__(name, [len(self._image_names), *shape], max_size, use_labels, xflip, random_seed)

    def close(self) -> None:
        self._files.close()

    @property
    def why_unlabelled(self) -> str:
        """Why the data has no labels; '' if it has some, or if none are used."""
        self._get_raw_labels()
        return self._found.why_none

    def notes(self) -> list[str]:
        """What is unusual about the data, and what is left out, a line each."""
        self._get_raw_labels()
        left_out = describe_left_out(self._files.left_out)
        return [*self._files.notes, *self._found.notes, *([f'left out of the data: {left_out}'] if left_out else [])]

    def check_images(self) -> None:
        """Read the header of every image in use; OSError if any is unreadable or of another size or mode than the first."""
        wrong: list[str] = []
        chosen = np.unique(self._raw_idx)
        for raw_idx in tqdm(chosen, desc='Checking images', unit='img', delay=BAR_DELAY_SEC, leave=False):
            name = self._image_names[raw_idx]
            try:
                self._check_same_shape(read_shape(self._files, name), name)
            except OSError as error:
                wrong.append(str(error))
        if wrong:
            raise OSError(f'{wrong[0]} ({len(wrong)} of {len(chosen)} images have errors)')

    def _load_raw_image(self, raw_idx: int) -> np.ndarray:
        name = self._image_names[raw_idx]
        image = read_pixels(self._files, name)
        self._check_same_shape(image.shape, name)
        return image

    def _load_raw_labels(self) -> np.ndarray | None:
        self._found = read_labels(self._files, self._image_names)
        return self._found.values

    def _given_class_names(self) -> list[str]:
        return list(self._found.class_names)

    def _check_same_shape(self, shape: tuple[int, ...], name: str) -> None:
        if list(shape) != self.image_shape:
            raise OSError(f'{self._files.path}: {name} is {_describe(shape)}, expected {_describe(self.image_shape)} '
                          'like the first image; make all equal with dataset_tool.py')


def check_dataset(dataset: Any) -> None:
    """Check the labels and every image's header before training; OSError or ValueError in one line. Accepts other data sets
    unchecked."""
    if isinstance(dataset, ImageFolderDataset):
        dataset.check_images()
        dataset._get_raw_labels()


def _choose(num_images: int, max_size: int | None, seed: int) -> np.ndarray:
    """int64 [N]: all indices, or max_size random ones in rising order."""
    indices = np.arange(num_images, dtype=np.int64)
    if max_size is None or num_images <= max_size:
        return indices
    if max_size < 1:
        raise ValueError(f'max_size is {max_size}, expected at least 1 image')
    np.random.RandomState(seed % 2**32).shuffle(indices)
    return np.sort(indices[:max_size])


def _check_shape(shape: tuple[int, int, int], resolution: int | None, where: str) -> None:
    """shape: (C, H, W) of the first image."""
    _channels, height, width = shape
    if height != width or height < MIN_RESOLUTION or height & (height - 1):
        raise OSError(f'{where} is {width}x{height} pixels, expected a square with a power of two as its side; '
                      'crop and resize with dataset_tool.py --transform=center-crop --resolution=SIDE')
    if resolution is not None and height != resolution:
        raise OSError(f'{where} is {width}x{height} pixels, expected {resolution}x{resolution}; '
                      f'resize with dataset_tool.py --resolution={resolution}')


def _describe(shape: Any) -> str:
    channels, height, width = shape
    return f'{width}x{height} {"gray" if channels == 1 else "RGB"}'
