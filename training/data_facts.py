"""What has to be known of a data set before training starts, and the checks that are done then."""

import dataclasses
from typing import Any

from .dataset import ImageFolderDataset, check_dataset


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

    def dataset_kwargs(self) -> dict[str, Any]:
        """Keyword arguments for construct_class_by_name that open the same data again."""
        return dict(
            class_name='training.dataset.ImageFolderDataset',
            path=self.path,
            use_labels=self.label_dim > 0,
            max_size=self.subset,
            xflip=self.mirror,
            resolution=self.resolution,
            random_seed=self.seed,
        )


def inspect_data(path: str | None, cond: bool, subset: int | None = None, mirror: bool = False, seed: int = 0) -> DataFacts:
    """Open the data set, check it and its labels, close it.

    ValueError or OSError if it cannot be trained on; what is odd but possible stands in .warnings.
    """
    if not path:
        raise ValueError('--data is missing: give a folder or zip of images, as dataset_tool.py makes them')
    dataset = ImageFolderDataset(path=path, use_labels=True, max_size=subset, xflip=mirror, random_seed=seed)
    try:
        check_dataset(dataset)
        labelled = dataset.has_labels
        warnings = _check_labels(dataset, path) if cond else _say_ignored(dataset) if labelled else []
        if subset is not None and len(dataset) < subset * (2 if mirror else 1):
            warnings.append(f'--subset={subset} asks for more than the {len(dataset)} images that {path} has: all are used')
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


def _check_labels(dataset: ImageFolderDataset, path: str) -> list[str]:
    """At least two classes, each with images. Continuous label vectors have no classes to count."""
    if not dataset.has_labels:
        raise ValueError(f'{path} has no labels, which a class-conditional model needs: put a dataset.json with labels into it, '
                         'or a sub-folder for each of two or more classes')
    if not dataset.has_onehot_labels:
        return []
    if dataset.label_dim < 2:
        raise ValueError(f'{path} has one class only: a class-conditional model needs two or more; label the images')
    empty = [name for name, count in zip(dataset.class_names, dataset.class_counts(), strict=True) if count == 0]
    if empty:
        raise ValueError(f'{path} has no images of {len(empty)} of its {dataset.label_dim} classes: {", ".join(empty[:10])}'
                         f'{" ..." if len(empty) > 10 else ""}; add images, number the classes without gaps, or raise --subset')
    return []


def _say_ignored(dataset: ImageFolderDataset) -> list[str]:
    return [f'the labels of the data ({dataset.label_dim} dimensions) are ignored; --cond=1 trains with them']
