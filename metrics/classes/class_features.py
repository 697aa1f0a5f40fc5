"""Features of real and generated images with their classes, for all metrics that look at one class at a time.

One generation pass serves every class and every such metric: each class is asked for equally often, and the features stay
in opts.shared until all metrics are computed.

Shapes: N images, D features, K classes.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from metrics import metric_utils
from metrics.features.detectors import INCEPTION_URL
from metrics.features.feature_stats import FeatureStats
from metrics.features.labelled_images import LabelledImages, check_labels, open_labelled, shrink
from metrics.metric_options import MetricOptions
from torch_utils.collectives import gather_rows
from training.data.class_labels import list_names

Measure = Callable[[np.ndarray, np.ndarray], dict[str, float]]  # features of real and other images of a class -> values

DETECTOR: dict[str, Any] = dict(detector_url=INCEPTION_URL, detector_kwargs=dict(return_features=True))


@dataclasses.dataclass(frozen=True)
class ClassFeatures:
    """features: float32 [N, D]; labels: int64 [N]; class_names: K of them, no class empty."""

    features: np.ndarray
    labels: np.ndarray
    class_names: list[str]

    def of_class(self, index: int) -> np.ndarray:
        """The features of the images of one class."""
        return self.features[self.labels == index]

    def counts(self) -> np.ndarray:
        """Images of each class, int64 [K]."""
        return np.bincount(self.labels, minlength=len(self.class_names))


def checked_class_names(opts: MetricOptions) -> list[str]:
    """The classes of the data, before any image is read.

    ValueError if the data have no classes, the network has another number of them, or the test data have others.
    """
    names = open_labelled(opts.dataset_kwargs, opts.data).class_names
    if not opts.G.c_dim:
        raise ValueError('the network is unconditional: metrics of classes need a class-conditional one')
    if opts.G.c_dim != len(names):
        raise ValueError(f'the network has {opts.G.c_dim} classes, the data have {len(names)}: take the data that it learnt from')
    if opts.test_dataset_kwargs is not None:
        test_names = open_labelled(opts.test_dataset_kwargs, opts.data).class_names
        if test_names != names:
            raise ValueError(f'--test-data has the classes {list_names(test_names)}, the data have {list_names(names)}: '
                             'give held-out images of the same classes')
    return names


def real_features(opts: MetricOptions, class_names: list[str]) -> ClassFeatures:
    """Features of the data set (cached on disk by compute_feature_stats_for_dataset)."""
    part = dataclasses.replace(opts, dataset_kwargs=dict(opts.dataset_kwargs, use_labels=True))
    stats = metric_utils.compute_feature_stats_for_dataset(
        part, **DETECTOR, max_items=opts.max_real, capture_all=True, capture_labels=True)
    limit = f' with --max-real={opts.max_real}' if opts.max_real else ''
    return _checked(stats, class_names, f'{opts.dataset_kwargs.get("path", "the data")}{limit}: ')


def held_out_features(opts: MetricOptions, class_names: list[str]) -> ClassFeatures:
    """Features of all of --test-data, by the detector of the data; what opts.facts says of the data stays."""
    part = dataclasses.replace(opts, test_dataset_kwargs=dict(opts.test_dataset_kwargs or {}, use_labels=True))
    stats = metric_utils.held_out_feature_stats(part, **DETECTOR, capture_all=True, capture_labels=True)
    return _checked(stats, class_names, '--test-data: ')


def generated_features(opts: MetricOptions, class_names: list[str]) -> ClassFeatures:
    """Features of opts.num_gen generated images, as many of each class, from the one pass that the metrics share."""
    num_gen = check_num_gen(opts, class_names)
    stats = metric_utils.compute_feature_stats_for_generator(
        opts, **DETECTOR, max_items=num_gen, capture_all=True, capture_labels=True, balanced_labels=True)
    return _checked(stats, class_names, 'generated images: ')


def generated_images(opts: MetricOptions, class_names: list[str], max_resolution: int) -> LabelledImages:
    """opts.num_gen generated images, as many of each class, averaged down to max_resolution; kept like the features."""
    num_gen = check_num_gen(opts, class_names)
    key = ('generated images', max_resolution, num_gen, opts.seed)
    if key not in opts.shared:
        images, labels = [], []
        progress = opts.progress.sub('Generating', num_gen)
        for made, classes in metric_utils.generate_images(opts, num_gen, balanced_labels=True):
            assert classes is not None, 'the network has classes: checked_class_names()'
            images.append(gather_rows(shrink(made, max_resolution)).cpu())
            labels.append(gather_rows(classes).cpu())
            progress.update(min(sum(map(len, labels)), num_gen))
        opts.shared[key] = LabelledImages(torch.cat(images)[:num_gen], torch.cat(labels)[:num_gen], class_names)
    return opts.shared[key]


def check_num_gen(opts: MetricOptions, class_names: list[str]) -> int:
    """opts.num_gen; ValueError if that is less than an image a class."""
    assert opts.num_gen is not None, 'calc_metric fills in the number of images'
    if opts.num_gen < len(class_names):
        raise ValueError(f'{opts.num_gen} generated images cannot show {len(class_names)} classes: raise --num-gen')
    return opts.num_gen


def _checked(stats: FeatureStats, class_names: list[str], where: str) -> ClassFeatures:
    labels = stats.get_labels()
    check_labels(torch.from_numpy(labels), class_names, where)
    return ClassFeatures(stats.get_all(), labels, class_names)


def each_class(measure: Measure, real: ClassFeatures, fake: ClassFeatures) -> dict[str, float]:
    """measure(real features, generated features) of every class: {name: mean over classes, name/cat: ..., ...} of its values.

    measure's ValueError goes on with the name of the class in front.
    """
    found = []
    for index, class_name in enumerate(real.class_names):
        try:
            found.append(measure(real.of_class(index), fake.of_class(index)))
        except ValueError as error:
            raise ValueError(f'class {class_name}: {error}') from error
    results: dict[str, float] = {}
    for name in found[0]:
        results.update(named_values(name, [values[name] for values in found], real.class_names))
    return results


def named_values(name: str, values: list[float], class_names: list[str]) -> dict[str, float]:
    """The mean under the name itself, then the value of each class under name/class."""
    return {name: float(np.mean(values)), **{f'{name}/{key}': value for key, value in zip(class_names, values, strict=True)}}
