"""Labelled images in memory, real or generated: what the classifier learns from and is tried on.

Shapes: N images, C channels, K classes. Images are uint8 [0, 255].
"""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from tqdm import tqdm

from training.data.class_labels import list_names

from .open_data import OpenData


def check_labels(labels: torch.Tensor, class_names: list[str], where: str = '') -> None:
    """Raises ValueError unless the int64 labels name two or more classes and leave none empty. where: said in front, 'path: '."""
    num_classes = len(class_names)
    if num_classes < 2:
        raise ValueError(f'{where}judging classes needs at least 2 of them, found {num_classes}')
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise ValueError(f'{where}labels must lie in 0..{num_classes - 1}, found {int(labels.min())}..{int(labels.max())}')
    empty = (torch.bincount(labels, minlength=num_classes) == 0).nonzero().flatten().tolist()
    if empty:
        names = list_names([class_names[index] for index in empty])
        raise ValueError(f'{where}no images of class {names}: every class needs some')


@dataclasses.dataclass(frozen=True)
class LabelledImages:
    """images: uint8 [N, C, H, W]; labels: int64 [N]; class_names: one for each class."""

    images: torch.Tensor
    labels: torch.Tensor
    class_names: list[str]

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, mask: torch.Tensor) -> 'LabelledImages':
        """The images where mask, bool [N], is true."""
        return LabelledImages(self.images[mask], self.labels[mask], self.class_names)


def open_labelled(dataset_kwargs: Mapping[str, Any], data: OpenData | None = None) -> Any:
    """The data set with its labels in use; ValueError unless these name classes. data: has it open already."""
    dataset = (data or OpenData())(dataset_kwargs, use_labels=True)
    if not dataset.has_labels or not dataset.has_onehot_labels:
        where = dataset_kwargs.get('path', dataset.name)
        why = getattr(dataset, 'why_unlabelled', '') or 'its labels are vectors of numbers'
        raise ValueError(f'{where} has no class labels, which judging classes needs: {why}')
    return dataset


def load_labelled(dataset_kwargs: Mapping[str, Any], max_resolution: int | None = None,
                  data: OpenData | None = None) -> LabelledImages:
    """All images of a labelled data set, averaged down to max_resolution if they are larger. data: has it open already."""
    dataset = open_labelled(dataset_kwargs, data)
    try:
        labels = torch.from_numpy(dataset.classes())
        check_labels(labels, dataset.class_names, f'{dataset_kwargs.get("path", dataset.name)}: ')
        indices = tqdm(range(len(dataset)), desc=f'Reading {dataset.name}', unit='img', delay=2, leave=False, disable=None)
        images = [shrink(torch.from_numpy(dataset[index][0])[None], max_resolution) for index in indices]
        return LabelledImages(torch.cat(images), labels, list(dataset.class_names))
    finally:
        dataset.close()


def folder_kwargs(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What load_labelled() takes, for a folder or zip."""
    return dict(class_name='training.dataset.ImageFolderDataset', path=os.fspath(path), use_labels=True)


def shrink(images: torch.Tensor, max_resolution: int | None) -> torch.Tensor:
    """uint8 [N, C, H, W], averaged down to max_resolution and rounded; smaller images, or without a limit, as they are."""
    if max_resolution is None or images.shape[-1] <= max_resolution:
        return images
    return F.adaptive_avg_pool2d(images.float(), max_resolution).round().to(torch.uint8)


def split_held_out(labels: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    """Draws share of the images of every class, at least one. labels: int64 [N]. Returns a mask, bool [N]."""
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        index = (labels == label).nonzero().flatten()
        index = index[torch.randperm(len(index), generator=generator)]
        held_out[index[: max(1, round(share * len(index)))]] = True
    return held_out
