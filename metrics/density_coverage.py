"""Density and coverage (Naeem et al. 2020, arXiv:2002.09797, Eqs. 3 and 4).

Around each real point X_i lies a ball B_i that reaches to its k-th nearest real neighbour.

    density  = 1/(k M) sum_j sum_i [Y_j in B_i]      fidelity: real balls around a generated point, over k; may pass 1
    coverage = 1/N sum_i [some Y_j in B_i]           diversity: share of real points with a generated one near, 0..1

Were there many more real points than generated ones, even a perfect generator could not cover them; the metrics take
N <= M. With k = 5 and N = M, it then covers 1 - 2^-5 = 97 % of them.

Shapes: N real features X, M generated features Y, D their length.
"""

from typing import Any

import numpy as np
import torch

from metrics.features.detectors import INCEPTION_URL
from metrics.features.neighbours import TIE, check_points, count_within, kth_neighbour_distances, nearest, placed

from . import metric_utils
from .metric_options import MetricOptions
from .registry import register_metric

WANTED: dict[str, Any] = dict(detector_url=INCEPTION_URL, detector_kwargs=dict(return_features=True), capture_all=True)
NEAREST_K = 5
NUM_GEN = 5000


@register_metric(num_gen=NUM_GEN, higher_is_better=True, least_images=NEAREST_K + 1)
def dc5k5_full(opts: MetricOptions) -> dict[str, float]:
    """Density and coverage of 5,000 generated images and at most as many real ones, drawn from all.

    With --test-data also, under names with _reference, those of the held-out images in place of the generated ones.
    """
    opts.ignore_training_subset()
    real = metric_utils.compute_feature_stats_for_dataset(opts, **WANTED, max_items=opts.max_real)
    made = metric_utils.compute_feature_stats_for_generator(opts, **WANTED, max_items=opts.num_gen)
    held_out = None if opts.test_dataset_kwargs is None else metric_utils.held_out_feature_stats(opts, **WANTED)
    opts.facts['num_real_drawn'] = min(real.num_items, made.num_items)
    if opts.rank != 0:
        return {}  # the first process has the values for all
    values = equal_numbers_density_coverage(real.get_all(), made.get_all(), NEAREST_K, opts.seed, opts.device)
    if held_out is not None:
        values.update(as_reference(
            equal_numbers_density_coverage(real.get_all(), held_out.get_all(), NEAREST_K, opts.seed, opts.device)))
    return {f'dc5k5_full_{name}': value for name, value in values.items()}


def as_reference(values: dict[str, float]) -> dict[str, float]:
    """The names of values of real images."""
    return {f'{name}_reference': value for name, value in values.items()}


def equal_numbers_density_coverage(
    real: np.ndarray, made: np.ndarray, k: int, seed: int, device: torch.device | None
) -> dict[str, float]:
    """density_coverage() after more real points than generated ones are reduced to as many, drawn by seed."""
    if len(real) > len(made):
        real = real[np.sort(np.random.default_rng(seed).permutation(len(real))[:len(made)])]
    return density_coverage(placed(real, device), placed(made, device), k)


def density_coverage(real: torch.Tensor, made: torch.Tensor, k: int = NEAREST_K) -> dict[str, float]:
    """real: [N, D], made: [M, D]. Returns {'density': ..., 'coverage': ...}. ValueError for fewer than k + 1 real points."""
    check_points(real, made)
    radii = kth_neighbour_distances(real, k)
    density = count_within(made, real, radii).double().mean() / k
    reach = nearest(real, made)[0][:, 0]  # of every real point, to its nearest generated one
    return dict(density=float(density), coverage=float((reach < radii * (1 - TIE)).double().mean()))
