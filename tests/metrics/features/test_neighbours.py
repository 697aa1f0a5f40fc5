"""Neighbours against scikit-learn and plain loops; blocks, ties, near-duplicates and a large mean."""
import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from metrics.features.neighbours import count_within, kth_neighbour_distances, nearest
from tests.conftest import REPO


def points(n, d=5, seed=0, dtype=torch.float32):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize('dtype', [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize(('n', 'm', 'k', 'block'), [(1, 1, 1, 4), (7, 30, 3, 4), (40, 9, 9, 5), (20, 20, 1, 100)])
def test_nearest_matches_scikit_learn(n, m, k, block, dtype):
    sklearn = pytest.importorskip('sklearn.neighbors')
    x, y = points(n, dtype=dtype), points(m, seed=1, dtype=dtype)
    finder = sklearn.NearestNeighbors(n_neighbors=k, algorithm='kd_tree').fit(y.double().numpy())
    want, where = finder.kneighbors(x.double().numpy())
    distances, indices = nearest(x, y, k, block)
    assert distances.dtype == torch.float64 and indices.dtype == torch.int64
    np.testing.assert_allclose(distances.numpy(), want, rtol=1e-7)  # a cancelled difference of float64 numbers
    np.testing.assert_array_equal(indices.numpy(), where)


def test_a_point_is_not_its_own_neighbour():
    x = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    assert kth_neighbour_distances(x, 1, block=2).tolist() == [1, 1, 2, 4]
    assert kth_neighbour_distances(x, 3, block=3).tolist() == [7, 6, 4, 7]


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


@pytest.mark.parametrize('block', [7, 16, 1000])
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


MEASURE = """
import resource, torch
from metrics.features.neighbours import count_within, nearest
torch.set_num_threads(1)
{make}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
{use}
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def peak_mib(make, use):
    """What the second line of program takes at most above the first."""
    program = MEASURE.format(make=make, use=use)
    measured = subprocess.run([sys.executable, '-c', program], cwd=REPO, capture_output=True, text=True, check=True)
    return int(measured.stdout) / 1024


@pytest.mark.skipif(sys.platform != 'linux', reason='the unit of ru_maxrss is known for Linux')
def test_memory_does_not_grow_with_the_square_of_the_number():
    """The whole matrix of 14,000 x 14,000 would take 1.5 GiB; a few blocks of 128 MiB are held at a time."""
    assert peak_mib('x = torch.randn(14000, 3)', 'count_within(x, x, nearest(x, x, 3)[0][:, 2])') < 700


@pytest.mark.skipif(sys.platform != 'linux', reason='the unit of ru_maxrss is known for Linux')
def test_long_features_in_half_precision_are_not_copied_to_float64_as_a_whole():
    """Which would take 640 MiB; looking for numbers that are not finite takes a copy or two of 160 MiB."""
    assert peak_mib('x = torch.ones(4096, 20480, dtype=torch.float16)', 'nearest(x[:1], x, block=64)') < 480
