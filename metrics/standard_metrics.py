"""NVLabs' metrics by name. Each takes 50,000 generated images.

    fid50k_full    Frechet distance to all real images (metrics.frechet_inception_distance)
    kid50k_full    kernel distance, at most 1,000,000 real images (metrics.kernel_inception_distance)
    pr50k3_full    precision and recall with 3 neighbours, at most 200,000 real images (metrics.precision_recall)
    ppl2_wend      perceptual path length in W at the start of each path (metrics.perceptual_path_length)
    is50k          inception score in ten parts (metrics.inception_score)

Their forerunners: fid50k, kid50k, pr50k3 with at most 50,000 real images, mirrored if the training mirrored them; ppl_zfull,
ppl_wfull, ppl_zend, ppl_wend on cropped images.
"""
import functools
import itertools
from collections.abc import Callable
from typing import Any

from . import metric_utils
from .frechet_inception_distance import compute_fid
from .inception_score import compute_is
from .kernel_inception_distance import compute_kid
from .metric_options import MetricOptions
from .perceptual_path_length import LPIPS, compute_ppl
from .precision_recall import compute_pr
from .registry import Metric, add_metric

NUM_GEN = 50_000
PPL_EPSILON = 1e-4
NUM_SPLITS = 10  # of the inception score
NHOOD_SIZE = 3  # of precision and recall

Values = Callable[[MetricOptions], dict[str, float]]  # options -> values by what follows the metric's name


def fid(opts: MetricOptions) -> dict[str, float]:
    """The distance."""
    return {'': compute_fid(opts, opts.max_real, opts.num_gen or NUM_GEN)}


def kid(opts: MetricOptions) -> dict[str, float]:
    """The distance, over 100 subsets of at most 1000 images."""
    return {'': compute_kid(opts, opts.max_real, opts.num_gen or NUM_GEN, num_subsets=100, max_subset_size=1000)}


def pr(opts: MetricOptions) -> dict[str, float]:
    """Precision and recall."""
    precision, recall = compute_pr(opts, opts.max_real, opts.num_gen or NUM_GEN, nhood_size=NHOOD_SIZE)
    return dict(_precision=precision, _recall=recall)


def inception_score(opts: MetricOptions) -> dict[str, float]:
    """Mean and deviation over the parts."""
    mean, std = compute_is(opts, opts.num_gen or NUM_GEN, num_splits=NUM_SPLITS)
    return dict(_mean=mean, _std=std)


def path_length(opts: MetricOptions, space: str, sampling: str, crop: bool) -> dict[str, float]:
    """See compute_ppl; as many pairs at a time as fit."""
    batch = max(metric_utils.generation_batch(opts, opts.G.img_resolution) // 2, 1)
    return {'': compute_ppl(opts, opts.num_gen or NUM_GEN, PPL_EPSILON, space, sampling, crop, batch)}


LEAST_IMAGES: dict[Values, int] = {kid: 2, pr: NHOOD_SIZE + 1, inception_score: NUM_SPLITS}


def _add(name: str, values: Values, keep_mirror: bool = False, max_real: int | None = None, **properties: Any) -> None:
    """properties: further ones of Metric. keep_mirror: with the mirrored copies of real images, if the training had them."""
    def compute(opts: MetricOptions) -> dict[str, float]:
        if opts.dataset_kwargs:
            opts.ignore_training_subset(keep_mirror)
        return {name + suffix: value for suffix, value in values(opts).items()}

    add_metric(Metric(name, compute, NUM_GEN, max_real=max_real, higher_is_better=values in (pr, inception_score),
                      least_images=LEAST_IMAGES.get(values, 1), **properties))


_add('fid50k_full', fid)
_add('kid50k_full', kid, max_real=1_000_000)
_add('pr50k3_full', pr, max_real=200_000)
_add('ppl2_wend', functools.partial(path_length, space='w', sampling='end', crop=False), uses_reals=False, wanted=tuple(LPIPS))
_add('is50k', inception_score, uses_reals=False, wanted=('no_output_bias',))
for _name, _values in dict(fid50k=fid, kid50k=kid, pr50k3=pr).items():
    _add(_name, _values, keep_mirror=True, max_real=50_000)
for _space, _sampling in itertools.product('zw', ('full', 'end')):
    _values = functools.partial(path_length, space=_space, sampling=_sampling, crop=True)
    _add(f'ppl_{_space}{_sampling}', _values, uses_reals=False, wanted=tuple(LPIPS))
