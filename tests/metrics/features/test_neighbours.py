"""Neighbours against scikit-learn and plain loops; blocks, ties, near-duplicates and a large mean."""
import math

import numpy as np
import pytest
import torch

from metrics.features.neighbours import count_within, kth_neighbour_distances, nearest


def points(n, d=5, seed=0, dtype=torch.float32):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize('dtype', [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize(('n', 'm', 'k', 'block'), [(1, 1, 1, 4), (40, 9, 9, 5)])
def test_nearest_matches_scikit_learn(n, m, k, block, dtype):
    sklearn = pytest.importorskip('sklearn.neighbors')
    x, y = points(n, dtype=dtype), points(m, seed=1, dtype=dtype)
    finder = sklearn.NearestNeighbors(n_neighbors=k, algorithm='kd_tree').fit(y.double().numpy())
    want, where = finder.kneighbors(x.double().numpy())
    distances, indices = nearest(x, y, k, block)
    assert distances.dtype == torch.float64 and indices.dtype == torch.int64
    np.testing.assert_allclose(distances.numpy(), want, rtol=1e-7)  # a cancelled difference of float64 numbers
    np.testing.assert_array_equal(indices.numpy(), where)


def test_a_copy_is_a_neighbour():
    x = torch.tensor([[0.0], [0.0], [5.0]])
    assert kth_neighbour_distances(x, 1).tolist() == [0, 0, 5]


@pytest.mark.parametrize('block', [3, 1000])
def test_counts_match_a_plain_loop(block):
    probes, centres = points(23, d=2), points(31, d=2, seed=1)
    radii = torch.rand(31, generator=torch.Generator().manual_seed(2))
    want = [sum(math.dist(p, c) < r for c, r in zip(centres.tolist(), radii.tolist(), strict=True)) for p in probes.tolist()]
    assert count_within(probes, centres, radii, block).tolist() == want
    assert 0 < sum(want) < 23 * 31


@pytest.mark.parametrize('block', [7, 1000])
def test_a_tie_lies_outside_an_open_ball_and_inside_a_closed_one(block):
    x = points(50, d=30)
    radii = kth_neighbour_distances(x, 4)
    assert int(count_within(x, x, radii, block).sum()) == 50 * 4  # the point itself and 3 others; the fourth is on the edge
    assert int(count_within(x, x, radii, block, closed=True).sum()) == 50 * 5


@pytest.mark.parametrize('mean', [0, 3000])
def test_small_distances_survive_a_large_mean(mean):
    y = points(40, d=20, dtype=torch.float64) + mean
    x = y[:10] + 1e-4
    distances, indices = nearest(x, y)
    np.testing.assert_allclose(distances[:, 0], 1e-4 * math.sqrt(20), rtol=1e-5)
    assert indices[:, 0].tolist() == list(range(10))


def test_refuses_what_cannot_be_compared():
    x = points(4)
    with pytest.raises(ValueError, match='5 neighbours of every point need 6 points or more, found 4'):
        kth_neighbour_distances(x, 5)
    with pytest.raises(ValueError, match='5 nearest neighbours were asked for among 4'):
        nearest(x, x, 5)
    with pytest.raises(ValueError, match='different lengths cannot be compared: 5 and 3'):
        nearest(x, x[:, :3])
    with pytest.raises(ValueError, match=r'found \[0, 5\]'):
        nearest(x[:0], x)
    with pytest.raises(ValueError, match='one radius for each of 4'):
        count_within(x, x, torch.ones(3))
    x[2, 1] = math.nan
    with pytest.raises(ValueError, match='1 of 4 feature vectors hold NaN'):
        count_within(points(4), x, torch.ones(4))

