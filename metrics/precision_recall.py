"""Improved precision and recall (Kynkaanniemi et al. 2019, arXiv:1904.06991).

A set of features stands for the union of balls, one around each point, that reach to its k-th nearest neighbour in the set.
Precision: share of generated images in the balls of the real ones. Recall: share of real images in those of the generated.
"""
from typing import Any

import torch

from metrics.features.detectors import VGG16_URL
from metrics.features.neighbours import BLOCK, count_within, kth_neighbour_distances

from . import metric_utils
from .metric_options import MetricOptions

NEAREST_K = 3


def compute_pr(
    opts: MetricOptions, max_real: int | None, num_gen: int, nhood_size: int, row_batch_size: int = BLOCK,
    col_batch_size: int = BLOCK,
) -> tuple[float, float]:
    """Precision and recall with nhood_size neighbours. NaN in all processes but the first.

    Distances are computed in blocks of at most row_batch_size or col_batch_size points, whichever is smaller.
    """
    wanted: dict[str, Any] = dict(detector_url=VGG16_URL, detector_kwargs=dict(return_features=True), capture_all=True)
    real = metric_utils.compute_feature_stats_for_dataset(opts, **wanted, max_items=max_real)
    made = metric_utils.compute_feature_stats_for_generator(opts, **wanted, max_items=num_gen)
    if opts.rank != 0:
        return float('nan'), float('nan')
    place = opts.device if opts.device.type == 'cuda' else 'cpu'  # MPS has no float64
    x, y = (stats.get_all_torch().to(torch.float16).to(place) for stats in (real, made))  # NVLabs' precision of features
    block = min(row_batch_size, col_batch_size, BLOCK)
    return covered_share(y, x, nhood_size, block), covered_share(x, y, nhood_size, block)


def precision_recall(real: torch.Tensor, made: torch.Tensor, k: int = NEAREST_K) -> dict[str, float]:
    """real: [N, D], made: [M, D], more than k of each. Returns {'precision': ..., 'recall': ...}."""
    return dict(precision=covered_share(made, real, k), recall=covered_share(real, made, k))


def covered_share(probes: torch.Tensor, points: torch.Tensor, k: int, block: int = BLOCK) -> float:
    """Share of the probes [N, D] that lie in, or on the edge of, a ball of the points [M, D], M > k."""
    radii = kth_neighbour_distances(points, k, block)
    return float((count_within(probes, points, radii, block, closed=True) > 0).double().mean())
