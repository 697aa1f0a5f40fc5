"""Kernel distance between sets of features (KID, Binkowski et al. 2018, arXiv:1801.01401): the squared maximum mean
discrepancy with a cubic kernel, without bias.

    k(x, y) = (<x, y> / D + 1)^3
    MMD^2 = 1 / (m (m - 1)) sum_{i != j} [k(x_i, x_j) + k(y_i, y_j)] - 2 / m^2 sum_{i, j} k(x_i, y_j)

Averaged over random subsets of m of each set. Shapes: N and M images, D features.
"""
from collections.abc import Sequence
from typing import Any

import numpy as np

from metrics.features.detectors import INCEPTION_URL

from . import metric_utils
from .metric_options import MetricOptions

BLOCK = 1024  # rows of the kernel at a time


def compute_kid(opts: MetricOptions, max_real: int | None, num_gen: int, num_subsets: int, max_subset_size: int) -> float:
    """KID of num_gen generated images to the real ones, at most max_real of these. NaN in all processes but the first."""
    wanted: dict[str, Any] = dict(detector_url=INCEPTION_URL, detector_kwargs=dict(return_features=True), capture_all=True)
    real = metric_utils.compute_feature_stats_for_dataset(opts, **wanted, max_items=max_real)
    made = metric_utils.compute_feature_stats_for_generator(opts, **wanted, max_items=num_gen)
    if opts.rank != 0:
        return float('nan')
    return kernel_distance(made.get_all(), real.get_all(), num_subsets, max_subset_size, np.random.default_rng(opts.seed))


def kernel_distance(
    made: np.ndarray, real: np.ndarray, num_subsets: int, max_subset_size: int, rng: np.random.Generator
) -> float:
    """Mean over subsets, drawn from rng without replacement. made: [N, D], real: [M, D]. Needs 2 images of each."""
    size = min(len(made), len(real), max_subset_size)
    if size < 2:
        raise ValueError(f'the kernel distance needs at least 2 images of each kind, found {len(made)} generated and '
                         f'{len(real)} real')
    if size == len(made) == len(real):
        return subset_distance(made, real)  # all subsets are the whole sets
    picks = [(rng.choice(len(made), size, replace=False), rng.choice(len(real), size, replace=False)) for _ in range(num_subsets)]
    if len(made)**2 + len(real)**2 + len(made) * len(real) < 3 * num_subsets * size**2:
        firsts, seconds = zip(*picks, strict=True)
        return _mean_of_overlapping(made, real, _members(firsts, len(made)), _members(seconds, len(real)))
    return float(np.mean([subset_distance(made[first], real[second]) for first, second in picks]))


def subset_distance(x: np.ndarray, y: np.ndarray) -> float:
    """MMD^2 of two sets of m features, [m, D] each, m >= 2. Can be negative."""
    m = len(x)
    within = _off_diagonal_sum(cubic_kernel(x, x)) + _off_diagonal_sum(cubic_kernel(y, y))
    return float(within / (m * (m - 1)) - 2 * cubic_kernel(x, y).mean())


def cubic_kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """[N, D], [M, D] -> float64 [N, M]."""
    return (x.astype(np.float64) @ y.astype(np.float64).T / x.shape[1] + 1) ** 3


def _mean_of_overlapping(x: np.ndarray, y: np.ndarray, in_x: np.ndarray, in_y: np.ndarray) -> float:
    """Mean MMD^2 of subsets that overlap so much that each pair is computed once, for all. in_x, in_y: from _members()."""
    m = in_x[:, 0].sum()
    within = sum(_pair_sums(points, points, members, members) - _self_kernel(points) @ members
                 for points, members in ((x, in_x), (y, in_y)))
    return float(np.mean(within / (m * (m - 1)) - 2 / m**2 * _pair_sums(x, y, in_x, in_y)))


def _members(picks: Sequence[np.ndarray], count: int) -> np.ndarray:
    """float64 [count, subsets]: 1 where a point is in a subset, else 0."""
    members = np.zeros([count, len(picks)])
    for number, pick in enumerate(picks):
        members[pick, number] = 1
    return members


def _pair_sums(x: np.ndarray, y: np.ndarray, in_x: np.ndarray, in_y: np.ndarray) -> np.ndarray:
    """[subsets]: sum of k(x_i, y_j) over the pairs that are in each, in blocks of rows."""
    blocks = (slice(start, start + BLOCK) for start in range(0, len(x), BLOCK))
    return np.sum([(in_x[rows] * (cubic_kernel(x[rows], y) @ in_y)).sum(axis=0) for rows in blocks], axis=0)


def _self_kernel(x: np.ndarray) -> np.ndarray:
    """[N]: k(x_i, x_i)."""
    return (np.square(x, dtype=np.float64).mean(axis=1) + 1) ** 3


def _off_diagonal_sum(square: np.ndarray) -> float:
    return float(square.sum() - np.trace(square))
