"""metrics/frechet_inception_distance.py against closed forms, scipy and torch-fidelity."""
import numpy as np
import pytest
import scipy.linalg

from metrics.frechet_inception_distance import frechet_distance, symmetric_root, warn_if_few
from tests.support.metric_scenes import options
from tests.support.reference_metrics import torch_fidelity


def stats(seed, num=200, dim=7, scale=1.0, shift=0.0):
    x = np.random.default_rng(seed).normal(size=(num, dim)) @ np.random.default_rng(seed + 99).normal(size=(dim, dim))
    x = scale * x + shift
    return x.mean(axis=0), np.cov(x, rowvar=False, bias=True)


def test_rotated_gaussians_that_commute_have_a_closed_form():
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))[0]
    s, t = np.random.default_rng(2).uniform(0, 2, size=(2, 8))
    s[0] = t[3] = 0     # neither has full rank
    turned = [(rotation * d**2) @ rotation.T for d in (s, t)]
    np.testing.assert_allclose(frechet_distance(np.zeros(8), turned[0], np.zeros(8), turned[1]), ((s - t) ** 2).sum(), rtol=1e-10)


@pytest.mark.parametrize('num', [5, 2000])
@pytest.mark.parametrize('shift', [0, 1e4])
def test_zero_for_a_set_and_itself(num, shift):
    """Also where images are fewer than features: scipy's root of a singular product is off by sqrt(rounding)."""
    mean, cov = stats(3, num, dim=64, scale=5, shift=shift)
    assert abs(frechet_distance(mean, cov, mean, cov)) <= 1e-6


@pytest.mark.parametrize('scale', [1e-3, 1e3])
def test_matches_scipy(scale):
    (m, a), (n, b) = stats(0, scale=scale), stats(1, scale=2 * scale, shift=scale)
    want = np.sum((m - n) ** 2) + np.trace(a + b - 2 * scipy.linalg.sqrtm(a @ b).real)
    np.testing.assert_allclose(frechet_distance(m, a, n, b), want, rtol=1e-7)   # sqrtm's own error


def test_matches_torch_fidelity():
    (m, a), (n, b) = stats(4, num=500, dim=32), stats(5, num=300, dim=32, scale=1.3, shift=0.2)
    want = torch_fidelity('metric_fid').fid_statistics_to_metric(dict(mu=m, sigma=a), dict(mu=n, sigma=b), verbose=False)
    np.testing.assert_allclose(frechet_distance(m, a, n, b), want['frechet_inception_distance'], rtol=1e-6)


def test_root_of_a_slightly_negative_matrix():
    root = symmetric_root(np.diag([4, 1, -1e-12]))
    np.testing.assert_allclose(root, np.diag([2, 1, 0]), atol=1e-12)


@pytest.mark.parametrize('num_items, num_features, warned', [(2047, 64, True), (2048, 64, False), (3000, 4096, True)])
def test_few_images_are_said(num_items, num_features, warned):
    opts = options()
    warn_if_few(opts, num_items, num_features)
    assert ('KID' in ' '.join(opts.facts.get('warnings', []))) == warned
