"""Frechet distance between Gaussians fitted to features (FID, Heusel et al. 2017, arXiv:1706.08500).

    d^2 = |m_1 - m_2|^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2))

The trace of the square root is the sum of the singular values of S_1^(1/2) S_2^(1/2): symmetric roots, no complex numbers, and
as exact for covariances of low rank.
"""
from typing import Any

import numpy as np

from metrics.features.detectors import INCEPTION_URL

from . import metric_utils
from .metric_options import MetricOptions

NEEDED = 2048  # images, of each kind; Inception has as many features


def compute_fid(opts: MetricOptions, max_real: int | None, num_gen: int) -> float:
    """FID of num_gen generated images to the real ones, at most max_real of these. NaN in all processes but the first."""
    wanted: dict[str, Any] = dict(detector_url=INCEPTION_URL, detector_kwargs=dict(return_features=True), capture_mean_cov=True)
    real = metric_utils.compute_feature_stats_for_dataset(opts, **wanted, max_items=max_real)
    made = metric_utils.compute_feature_stats_for_generator(opts, **wanted, max_items=num_gen)
    if opts.rank != 0:
        return float('nan')
    warn_if_few(opts, min(real.num_items, made.num_items), real.num_features or 0)
    return frechet_distance(*made.get_mean_cov(), *real.get_mean_cov())


def frechet_distance(mean_a: np.ndarray, cov_a: np.ndarray, mean_b: np.ndarray, cov_b: np.ndarray) -> float:
    """Squared Frechet distance of two Gaussians. mean: [D], cov: [D, D] symmetric, float64."""
    overlap = np.linalg.svd(symmetric_root(cov_a) @ symmetric_root(cov_b), compute_uv=False).sum()
    return float(np.square(mean_a - mean_b).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * overlap)


def symmetric_root(cov: np.ndarray) -> np.ndarray:
    """The square root of a positive semidefinite matrix [D, D]. Eigenvalues that are rounding count as 0: their roots are not."""
    values, vectors = np.linalg.eigh(cov)
    rounding = values.max() * len(values) * np.finfo(values.dtype).eps
    return (vectors * np.sqrt(np.where(values > rounding, values, 0))) @ vectors.T


def warn_if_few(opts: MetricOptions, num_items: int, num_features: int) -> None:
    """Say in words that the distance is too large: estimated from few images, a covariance lacks rank, and spread."""
    if num_items < NEEDED or num_items <= num_features:
        enough = max(NEEDED, num_features + 1)
        opts.warn(f'FID of {num_items:,} images is biased upwards, since their covariance of {num_features:,} features is poorly '
                  f'known (use {enough:,} or more): trust KID instead, which has no bias, and compare FIDs of equal counts only')
