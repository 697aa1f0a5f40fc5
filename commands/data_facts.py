"""Facts about a data set that training needs before it starts, and the checks of it."""

import dataclasses
from typing import Any

import numpy as np

from training.config import DatasetConfig
from training.data.class_labels import LARGEST_NUMBER, list_names
from training.data.image_dataset import ImageFolderDataset, check_dataset

LARGE_NUMBER = 10  # of a label vector, from which on there is a note


@dataclasses.dataclass(frozen=True)
class DataFacts:
    """A data set as training sees it: after --cond, --subset and --mirror.

    resolution in pixels; label_dim 0 without labels; num_images counts mirrored copies too.
    """

    name: str
    path: str
    resolution: int
    num_channels: int
    num_images: int
    label_dim: int = 0
    class_names: tuple[str, ...] = ()
    subset: int | None = None
    mirror: bool = False
    seed: int = 0
    warnings: tuple[str, ...] = ()

    @property
    def has_label_vectors(self) -> bool:
        """Whether labels are vectors of numbers, not classes."""
        return self.label_dim > 0 and not self.class_names

    @property
    def dataset(self) -> DatasetConfig:
        """The config that opens the same data again."""
        return DatasetConfig(path=self.path, use_labels=self.label_dim > 0, max_size=self.subset, xflip=self.mirror,
                             resolution=self.resolution, random_seed=self.seed)

    def record(self) -> dict[str, Any]:
        """What must be the same when a run continues, as plain values."""
        return dict(resolution=self.resolution, num_channels=self.num_channels, num_images=self.num_images,
                    label_dim=self.label_dim, class_names=list(self.class_names))


def inspect_data(path: str | None, cond: bool, subset: int | None = None, mirror: bool = False, seed: int = 0) -> DataFacts:
    """Open the data set, check it and its labels, close it.

    ValueError or OSError if it cannot be trained on; .warnings tells what is unusual but allowed.
    """
    if not path:
        raise ValueError('--data is missing: give a folder or zip of images, as dataset_tool.py makes them')
    dataset = ImageFolderDataset(path=path, use_labels=True, max_size=subset, xflip=mirror, random_seed=seed)
    try:
        check_dataset(dataset)
        warnings = _check_labels(dataset, path, mirror) if cond else []
        if not cond and dataset.has_labels:
            warnings.append(f'the labels of the data ({dataset.label_dim} dimensions) are ignored; --cond=1 trains with them')
        warnings += [f'{path}: {note}' for note in dataset.notes()]
        if subset is not None and len(dataset) < subset * (2 if mirror else 1):
            warnings.append(f'--subset={subset} is more than the {len(dataset)} images of {path}: all are used')
        return DataFacts(
            name=dataset.name,
            path=path,
            resolution=dataset.resolution,
            num_channels=dataset.num_channels,
            num_images=len(dataset),
            label_dim=dataset.label_dim if cond else 0,
            class_names=tuple(dataset.class_names) if cond else (),
            subset=subset,
            mirror=mirror,
            seed=seed,
            warnings=tuple(warnings),
        )
    finally:
        dataset.close()


def _check_labels(dataset: ImageFolderDataset, path: str, mirror: bool) -> list[str]:
    """ValueError unless there are at least two classes, each with images, or vectors that differ; returns notes."""
    if not dataset.has_labels:
        raise ValueError(f'{path} has no labels, which a class-conditional model needs: {dataset.why_unlabelled}')
    if not dataset.has_onehot_labels:
        return _check_vectors(dataset.labels(), path, mirror)
    if dataset.label_dim < 2:
        raise ValueError(f'{path} has only one class, a class-conditional model needs two or more: label the images')
    counts = dict(zip(dataset.class_names, dataset.class_counts(), strict=True))
    empty = [name for name, count in counts.items() if count == 0]
    if empty:
        raise ValueError(f'{path} has no images of {len(empty)} of its {dataset.label_dim} classes: {list_names(empty)}; '
                         'add images, number the classes without gaps, or raise --subset')
    single = [name for name, count in counts.items() if count == (2 if mirror else 1)]
    if single:
        return [f'{len(single)} of {dataset.label_dim} classes {"has" if len(single) == 1 else "have"} a single image: '
                f'{list_names(single)}; variety within such a class can be neither learnt nor measured: add images']
    return []


def _check_vectors(labels: np.ndarray, path: str, mirror: bool) -> list[str]:
    """labels: float32 [N, D], finite. ValueError if all labels are equal, or if numbers are huge."""
    largest = np.abs(labels).max(axis=0)
    if largest.max() > LARGEST_NUMBER:
        raise ValueError(f'{path} has label vectors with numbers up to {largest.max():g} (place {largest.argmax()}), expected '
                         'about -1 to 1: scale them in dataset.json')
    constant = [str(place) for place in np.flatnonzero((labels == labels[0]).all(axis=0))]
    if len(constant) == labels.shape[1]:
        raise ValueError(f'{path} has the same label vector for all images: give vectors that differ')
    large = [str(place) for place in np.flatnonzero(largest > LARGE_NUMBER)]
    notes = []
    if constant:
        notes.append(f'the label vectors of all images have the same number in place {list_names(constant)}: its meaning cannot '
                     'be learnt')
    if large:
        notes.append(f'the label vectors have numbers up to {largest.max():g} in place {list_names(large)}: scale them to about '
                     '-1 to 1 so that they are learnt evenly')
    if mirror:
        notes.append('--mirror gives mirrored images the label vectors of the originals: leave it out if a number means left '
                     'or right')
    return notes
