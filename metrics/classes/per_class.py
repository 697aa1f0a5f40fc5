"""FID, KID, precision and recall, density and coverage of every class apart: the mean over classes is the headline, each class
has its line.

Real and generated images of one class are compared with each other; a generator that makes good images of the wrong class
does badly here, though not in the metrics over all images. With --test-data there are also the values of the held-out real
images in place of the generated ones, under names with _reference: what a generator without fault would get.

The covariance of an FID is estimated from the images of one class alone. Few of them leave it without full rank, and the
distance too large, the more so the fewer they are (Binkowski et al. 2018, arXiv:1801.01401: FID is biased, KID is not).
"""

import numpy as np

from metrics.density_coverage import NEAREST_K, as_reference, equal_numbers_density_coverage
from metrics.features.neighbours import placed
from metrics.frechet_inception_distance import NEEDED, frechet_distance
from metrics.kernel_inception_distance import kernel_distance
from metrics.metric_options import MetricOptions
from metrics.precision_recall import NEAREST_K as BALL_K
from metrics.precision_recall import precision_recall
from metrics.registry import register_metric

from .class_features import (
    ClassFeatures,
    Measure,
    checked_class_names,
    each_class,
    generated_features,
    held_out_features,
    real_features,
)

NUM_GEN = 50000  # over all classes
NUM_SUBSETS, MAX_SUBSET_SIZE = 100, 1000  # of KID, as over all images


@register_metric(num_gen=NUM_GEN, needs=('detector', 'classes'))
def fid_per_class(opts: MetricOptions) -> dict[str, float]:
    """Frechet distance within each class, and their mean."""
    real, fake = _both(opts)
    few = few_images_warning(real, fake)
    if few:
        opts.warn(few)
    return _values(opts, real, fake, lambda x, y: dict(fid_per_class=frechet_distance(*mean_cov(x), *mean_cov(y))))


@register_metric(num_gen=NUM_GEN, needs=('detector', 'classes'), least_images=2)
def kid_per_class(opts: MetricOptions) -> dict[str, float]:
    """Kernel distance within each class, and their mean. It may fall a little below 0, being unbiased."""
    return _values(opts, *_both(opts), lambda x, y: dict(kid_per_class=kernel_distance(
        y, x, NUM_SUBSETS, MAX_SUBSET_SIZE, np.random.default_rng(opts.seed))))


@register_metric(num_gen=NUM_GEN, higher_is_better=True, needs=('detector', 'classes'), least_images=NEAREST_K + 1)
def dc_per_class(opts: MetricOptions) -> dict[str, float]:
    """Density and coverage (k = 5) within each class, and their means."""
    return _values(opts, *_both(opts), lambda x, y: _prefixed(
        'dc_per_class', equal_numbers_density_coverage(x, y, NEAREST_K, opts.seed, opts.device)))


@register_metric(num_gen=NUM_GEN, higher_is_better=True, needs=('detector', 'classes'), least_images=BALL_K + 1)
def pr_per_class(opts: MetricOptions) -> dict[str, float]:
    """Precision and recall (k = 3) within each class, and their means."""
    return _values(opts, *_both(opts), lambda x, y: _prefixed(
        'pr_per_class', precision_recall(placed(x, opts.device), placed(y, opts.device))))


def mean_cov(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean [D] and covariance [D, D] of features [N, D], divided by N; float64."""
    x = x.astype(np.float64)
    return x.mean(axis=0), np.atleast_2d(np.cov(x, rowvar=False, bias=True))


def few_images_warning(real: ClassFeatures, fake: ClassFeatures) -> str | None:
    """What to say where an FID rests on too few images, in words; None where all classes have enough."""
    counts = np.minimum(real.counts(), fake.counts())
    num_few = int((counts < NEEDED).sum())
    if not num_few:
        return None
    least = int(counts.argmin())
    kind = 'real' if real.counts()[least] <= fake.counts()[least] else 'generated'
    flaw = 'not of full rank' if counts[least] <= real.features.shape[1] else 'imprecise'
    fewest = f'{counts[least]:,} {kind} ones of class {real.class_names[least]}'
    return (f'fid_per_class: {num_few} of {len(counts)} classes have fewer than {NEEDED:,} images (the fewest: {fewest}), '
            f'too few for their covariances, which are {flaw}: the FID is biased upwards. Trust kid_per_class instead; compare '
            'FIDs of equal numbers of images only')


def _prefixed(name: str, values: dict[str, float]) -> dict[str, float]:
    return {f'{name}_{key}': value for key, value in values.items()}


def _both(opts: MetricOptions) -> tuple[ClassFeatures, ClassFeatures]:
    """Features of all real images, whatever subset the training took, and of the generated ones."""
    opts.ignore_training_subset()
    names = checked_class_names(opts)
    return real_features(opts, names), generated_features(opts, names)


def _values(opts: MetricOptions, real: ClassFeatures, fake: ClassFeatures, measure: Measure) -> dict[str, float]:
    """measure() of each class with the generated images, then with the held-out ones, if there are any."""
    held_out = None if opts.test_dataset_kwargs is None else held_out_features(opts, real.class_names)
    if opts.rank != 0:
        return {}  # the first process has the values for all
    values = each_class(measure, real, fake)
    if held_out is not None:
        values.update(each_class(lambda x, y: as_reference(measure(x, y)), real, held_out))
    return values
