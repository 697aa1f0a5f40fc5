"""Density and coverage against the authors' package, plain loops, and sets whose values are known."""
import math

import numpy as np
import pytest
import torch

from metrics.density_coverage import dc5k5_full, equal_numbers_density_coverage
from metrics.density_coverage import density_coverage as density_coverage_of_tensors
from metrics.features.labelled_images import load_labelled
from tests.support.class_metric_stand_ins import Pixels, options, save_bars


def normal(n, d=6, mean=0.0, seed=0):
    return np.random.default_rng(seed).normal(mean, 1, [n, d]).astype(np.float32)


def density_coverage(real, fake, k=5):
    return density_coverage_of_tensors(torch.from_numpy(real), torch.from_numpy(fake), k)


def by_loops(real, fake, k):
    """Eqs. 3 and 4 word by word."""
    real, fake = real.astype(np.float64).tolist(), fake.astype(np.float64).tolist()
    radii = [sorted(math.dist(x, other) for j, other in enumerate(real) if j != i)[k - 1] for i, x in enumerate(real)]
    inside = [[math.dist(x, y) < r for y in fake] for x, r in zip(real, radii, strict=True)]
    return sum(map(sum, inside)) / (k * len(fake)), sum(map(any, inside)) / len(real)


@pytest.mark.parametrize(('n', 'm', 'k'), [(6, 9, 5), (25, 1, 3)])
def test_matches_plain_loops(n, m, k):
    real, fake = normal(n), normal(m, mean=0.4, seed=1)
    found = density_coverage(real, fake, k)
    np.testing.assert_allclose([found['density'], found['coverage']], by_loops(real, fake, k), rtol=1e-12)


@pytest.mark.parametrize('mean', [0.5])
def test_matches_the_authors_package(mean, capsys):
    prdc = pytest.importorskip('prdc')
    real, fake = normal(300, d=16), normal(200, d=16, mean=mean, seed=1)
    want = prdc.compute_prdc(real, fake, nearest_k=5)
    found = density_coverage(real, fake)
    assert found == pytest.approx({name: want[name] for name in ('density', 'coverage')}, rel=1e-6)


def test_an_outlier_counts_little():
    """One real outlier with a huge ball raises improved precision to 1; density only by 1/k."""
    real = normal(100)
    real[0] = 30
    found = density_coverage(real, normal(100, mean=10, seed=1))
    assert 0 < found['density'] <= 1 / 5


def test_more_real_points_than_generated_ones_are_reduced_to_as_many():
    """Against all 2000 real points 100 from the same distribution would cover some 5 * 100 / 2000."""
    real, fake = normal(2000), normal(100, seed=1)
    found = equal_numbers_density_coverage(real, fake, 5, seed=0, device=None)
    assert found['coverage'] == pytest.approx(1 - 2**-5, abs=0.06)  # deviation sqrt(0.97 * 0.03 / 100) = 0.02
    assert found == equal_numbers_density_coverage(real, fake, 5, seed=0, device=None)
    assert found != equal_numbers_density_coverage(real, fake, 5, seed=1, device=None)
    assert equal_numbers_density_coverage(fake, real, 5, seed=0, device=None) == density_coverage(fake, real)


def test_refuses_too_few_and_nan():
    with pytest.raises(ValueError, match='5 neighbours of every point need 6 points or more, found 5'):
        density_coverage(normal(5), normal(9))
    bad = normal(9)
    bad[4, 2] = np.nan
    with pytest.raises(ValueError, match='1 of 9 feature vectors hold NaN'):
        density_coverage(normal(9), bad)


def test_held_out_images_take_the_place_of_generated_ones(tmp_path):
    real, unseen = save_bars(tmp_path / 'real.zip', 20, seed=1), save_bars(tmp_path / 'unseen.zip', 15, seed=2)
    opts = options(real, test_dataset_kwargs=unseen)
    found, plain = dc5k5_full(opts), dc5k5_full(options(real))
    assert {**found, **plain} == found and len(plain) == 2
    x, y = (Pixels().features(load_labelled(kwargs).images).numpy() for kwargs in (real, unseen))
    want = equal_numbers_density_coverage(x, y, 5, opts.seed, None)
    assert found['dc5k5_full_density_reference'] == pytest.approx(want['density'], rel=1e-6)
    assert found['dc5k5_full_coverage_reference'] == pytest.approx(want['coverage'], rel=1e-6)
    assert (opts.facts['num_real'], opts.facts['num_held_out'], opts.facts['num_real_drawn']) == (60, 45, 60)
