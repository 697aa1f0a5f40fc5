"""metrics/precision_recall.py against scikit-learn, torch-fidelity and prdc."""
import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from metrics import metric_utils
from metrics.features.feature_stats import FeatureStats
from metrics.metric_options import MetricOptions
from metrics.precision_recall import compute_pr, covered_share


def features(seed, num, dim=5, scale=1.0, shift=0.0):
    x = np.random.default_rng(seed).normal(size=(num, dim)) * scale + shift
    return torch.from_numpy(x.astype(np.float32))


def by_neighbours(probes, points, k):
    """With scikit-learn's radii, and a plain loop over the probes."""
    radii = NearestNeighbors(n_neighbors=k + 1).fit(points).kneighbors(points)[0][:, k]
    return np.mean([(np.linalg.norm(points - probe, axis=1) <= radii).any() for probe in probes])


@pytest.mark.parametrize('k', [1, 7])
@pytest.mark.parametrize('block', [7, 4096])
def test_matches_scikit_learn(k, block):
    x, y = features(0, 80), features(1, 60, scale=0.8, shift=0.4)
    assert covered_share(y, x, k, block) == by_neighbours(y.double().numpy(), x.double().numpy(), k)
    assert 0 < covered_share(x, y, k, block) < 1


def test_the_edge_counts_as_inside():
    points = torch.tensor([[0.0], [1.0], [2.0]])    # all radii are 1 with k = 1
    assert covered_share(torch.tensor([[3.0], [-1.0]]), points, 1) == 1
    assert covered_share(torch.tensor([[3.001], [-1.001]]), points, 1) == 0


def test_copies_of_a_point_have_radius_zero():
    points = torch.zeros(5, 2)
    assert covered_share(torch.zeros(2, 2), points, 3) == 1
    assert covered_share(torch.full([2, 2], 0.01), points, 3) == 0


def compute(real, made, monkeypatch):
    for kind, features in dict(dataset=real, generator=made).items():
        stats = FeatureStats(capture_all=True)
        stats.append(np.array(features, dtype=np.float32)[:, None])
        monkeypatch.setattr(metric_utils, f'compute_feature_stats_for_{kind}', lambda *args, found=stats, **kwargs: found)
    return compute_pr(MetricOptions(device='cpu'), None, len(made), nhood_size=1)


def test_which_is_precision_and_which_is_recall(monkeypatch):
    """Some of what is real is generated, faultlessly: precision 1. And half of what is generated is real: recall 1."""
    assert compute([0, 1, 2, 3, 100, 101, 102, 103], [0, 1, 2, 3], monkeypatch) == (1, 0.5)
    assert compute([0, 1], [0, 1, 100, 101, 102, 103, 104, 105], monkeypatch) == (0.25, 1)


def test_features_are_compared_in_half_precision(monkeypatch):
    """Which knows every second whole number from 2048 on; those between become the even one of their neighbours."""
    assert compute([2048] * 3, [2049] * 3, monkeypatch) == (1, 1)
    assert compute([2048] * 3, [2052] * 3, monkeypatch) == (0, 0)


@pytest.mark.parametrize('num', [1, 3])
def test_fewer_points_than_neighbours(num):
    with pytest.raises(ValueError, match='4 points or more'):
        covered_share(features(0, 9), features(1, num), 3)
