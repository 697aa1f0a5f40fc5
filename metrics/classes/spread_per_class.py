"""How varied is each class? Mean distance between two images of the class, generated over real (metrics/features/spread.py).

1 is as varied as the real images. A generator that collapsed to one image per class has 0, however well recognised.

Shapes: N images, C channels, K classes. Images are uint8 [0, 255].
"""
import torch

from metrics.features.class_judge import MAX_RESOLUTION
from metrics.features.labelled_images import load_labelled
from metrics.features.spread import spread
from metrics.metric_options import MetricOptions
from metrics.registry import register_metric

from .class_features import checked_class_names, generated_images, named_values

NUM_GEN = 10000  # over all classes


@register_metric(num_gen=NUM_GEN, uses_reals=False, higher_is_better=True, needs=('classes',), least_images=2)
def spread_per_class(opts: MetricOptions) -> dict[str, float]:
    """Spread of each class over that of its real images, and the mean.

    spread_per_class_reference: the same of the images of --test-data, if given.
    """
    opts.ignore_training_subset()
    names = checked_class_names(opts)
    real = load_labelled(opts.dataset_kwargs, MAX_RESOLUTION, opts.data)
    found = {'spread_per_class': generated_images(opts, names, MAX_RESOLUTION)}
    if opts.rank != 0:
        return {}  # the first process has the values for all
    if opts.test_dataset_kwargs is not None:
        found['spread_per_class_reference'] = load_labelled(opts.test_dataset_kwargs, MAX_RESOLUTION, opts.data)
    values: dict[str, float] = {}
    for name, images in found.items():
        spreads = relative_spreads(images.images, images.labels, real.images, real.labels, len(names))
        values.update(named_values(name, spreads.tolist(), names))
    opts.facts.update(num_gen=len(found['spread_per_class']), num_real=len(real), class_names=names)
    return values


def class_spreads(images: torch.Tensor, labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    """spread() of the images of each class, of which each needs 2 or more: float64 [K]."""
    counts = torch.bincount(labels, minlength=num_classes)
    if counts.min() < 2:
        raise ValueError(f'class {int(counts.argmin())} has a single image: the spread of a class needs at least 2')
    return torch.tensor([spread(images[labels == k]) for k in range(num_classes)], dtype=torch.float64)


def relative_spreads(
    fakes: torch.Tensor, fake_labels: torch.Tensor, reals: torch.Tensor, real_labels: torch.Tensor, num_classes: int
) -> torch.Tensor:
    """class_spreads() of the generated images over those of the real ones: float64 [K], 1 = as varied as real."""
    if fakes.shape[1:] != reals.shape[1:]:
        raise ValueError(f'generated and real images differ in shape: {list(fakes.shape[1:])} and {list(reals.shape[1:])}')
    real = class_spreads(reals, real_labels, num_classes)
    if not real.all():
        raise ValueError(f'the real images of class {int(real.argmin())} are all the same: no spread to compare with')
    return class_spreads(fakes, fake_labels, num_classes) / real
