"""Checks, before anything is computed, that a metric has the images and the detector that it needs."""

from collections.abc import Mapping
from typing import Any

from metrics.features.detectors import check_detector
from metrics.features.labelled_images import open_labelled
from metrics.features.open_data import OpenData

from .registry import Metric


def check_metric(
    metric: Metric, dataset_kwargs: Mapping[str, Any], test_dataset_kwargs: Mapping[str, Any] | None = None, *,
    detector: str = 'inception', num_gen: int | None = None, max_real: int | None = None, data: OpenData | None = None,
) -> None:
    """ValueError if the metric cannot use these data, counts (None: the standard ones) or this detector. Reads no image."""
    check_images(metric, dataset_kwargs, test_dataset_kwargs, num_gen, max_real, data)
    if 'detector' in metric.needs:
        try:
            check_detector(detector, metric.wanted)
        except ValueError as error:
            raise ValueError(f'{metric.name}: {error}') from error


def check_images(
    metric: Metric, dataset_kwargs: Mapping[str, Any], test_dataset_kwargs: Mapping[str, Any] | None = None,
    num_gen: int | None = None, max_real: int | None = None, data: OpenData | None = None,
) -> None:
    """ValueError if there are, or would be, fewer images than the metric needs."""
    num_classes, data = 0, data or OpenData()
    if 'classes' in metric.needs:
        num_classes = _check_classes(metric, open_labelled(_whole(dataset_kwargs), data),
                                     metric.num_set_apart if test_dataset_kwargs is None else 0)
        if test_dataset_kwargs is not None:
            _check_classes(metric, open_labelled(_whole(test_dataset_kwargs), data))
    elif metric.uses_reals:
        dataset = data(_whole(dataset_kwargs))
        if len(dataset) < metric.least_images:
            raise ValueError(f'{metric.name} needs {metric.least_images} real images or more, {dataset.name} has {len(dataset)}')
    least = metric.least_images * max(num_classes, 1)
    limits = dict(generated=num_gen or metric.num_gen, real=(max_real or metric.max_real) if metric.uses_reals else None)
    for kind, count in limits.items():
        if count is not None and count < least:
            share = f' ({metric.least_images} of each of {num_classes} classes)' if num_classes else ''
            raise ValueError(f'{metric.name} needs {least} {kind} images or more{share}, found {count}')


def _check_classes(metric: Metric, dataset: Any, num_set_apart: int = 0) -> int:
    """The number of classes; ValueError unless the data has enough images of each for the metric."""
    counts, least = dataset.class_counts(), metric.least_images + num_set_apart
    if counts.min() < least:
        raise ValueError(f'{metric.name} needs {least} real images of every class or more, {dataset.name} has '
                         f'{counts.min()} of class {dataset.class_names[counts.argmin()]}')
    return len(counts)


def _whole(dataset_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return {**dataset_kwargs, 'max_size': None, 'xflip': False}
