"""Inception score (Salimans et al. 2016, arXiv:1606.03498): sure of each image, undecided over all of them.

    IS = exp(1/N sum_n KL(p(y | x_n) || p(y))),   p(y) = 1/N sum_n p(y | x_n)

Shapes: N images, K classes of the detector.
"""
import itertools

import numpy as np

from metrics.features.detectors import INCEPTION_URL

from . import metric_utils
from .metric_options import MetricOptions


def compute_is(opts: MetricOptions, num_gen: int, num_splits: int) -> tuple[float, float]:
    """Mean and standard deviation of the scores of num_splits parts. NaN in all processes but the first."""
    made = metric_utils.compute_feature_stats_for_generator(
        opts, detector_url=INCEPTION_URL, detector_kwargs=dict(no_output_bias=True), capture_all=True, max_items=num_gen)
    if opts.rank != 0:
        return float('nan'), float('nan')
    scores = split_scores(made.get_all(), num_splits)
    return float(scores.mean()), float(scores.std())


def split_scores(probabilities: np.ndarray, num_splits: int) -> np.ndarray:
    """The score of each of num_splits consecutive parts, float64 [num_splits]. probabilities: [N, K], N >= num_splits."""
    num = len(probabilities)
    if num < num_splits:
        raise ValueError(f'the inception score of {num_splits} parts needs as many images or more, found {num}')
    ends = np.arange(num_splits + 1) * num // num_splits
    return np.array([score(probabilities[lo:hi]) for lo, hi in itertools.pairwise(ends)])


def score(probabilities: np.ndarray) -> float:
    """IS of one part. probabilities: [n, K], rows that sum to 1; 0 log 0 is 0."""
    p = probabilities.astype(np.float64)
    marginal = np.broadcast_to(p.mean(axis=0), p.shape)
    terms = np.zeros_like(p)
    some = p > 0
    terms[some] = p[some] * np.log(p[some] / marginal[some])
    return float(np.exp(terms.sum(axis=1).mean()))
