"""metrics/kernel_inception_distance.py against a plain double loop and torch-fidelity."""
import numpy as np
import pytest
import torch

from metrics import kernel_inception_distance
from metrics.kernel_inception_distance import cubic_kernel, kernel_distance, subset_distance
from tests.support.reference_metrics import torch_fidelity


def features(seed, num, dim=16, shift=0.0):
    return (np.random.default_rng(seed).normal(size=(num, dim)) + shift).astype(np.float32)


def plain_loop(x, y):
    """The unbiased estimator as the paper writes it, one pair at a time."""
    x, y, m = x.astype(np.float64), y.astype(np.float64), len(x)
    k = lambda a, b: (float(np.dot(a, b)) / len(a) + 1) ** 3   # noqa: E731
    within = sum(k(x[i], x[j]) + k(y[i], y[j]) for i in range(m) for j in range(m) if i != j)
    across = sum(k(x[i], y[j]) for i in range(m) for j in range(m))
    return within / (m * (m - 1)) - 2 * across / m**2


@pytest.mark.parametrize('num', [2, 30])
def test_matches_a_plain_loop(num):
    x, y = features(0, num), features(1, num, shift=0.3)
    np.testing.assert_allclose(subset_distance(x, y), plain_loop(x, y), rtol=1e-12)


def test_one_full_subset_is_torch_fidelity_exactly():
    x, y = features(2, 60), features(3, 60, shift=0.5)
    options = dict(kid_subsets=1, kid_subset_size=60, kid_kernel='poly', kid_kernel_poly_degree=3, kid_kernel_poly_gamma=None,
                   kid_kernel_poly_coef0=1, rng_seed=0, verbose=False)
    doubles = (torch.from_numpy(x).double(), torch.from_numpy(y).double())
    want = torch_fidelity('metric_kid').kid_features_to_metric(*doubles, **options)['kernel_inception_distance_mean']
    got = kernel_distance(x, y, num_subsets=1, max_subset_size=60, rng=np.random.default_rng(0))
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_subsets_are_drawn_without_replacement():
    """All of the smaller set are taken: only the other one's subsets differ."""
    x, y = features(8, 3), features(9, 4)
    got = kernel_distance(x, y, 2000, 1000, np.random.default_rng(0))
    all_subsets = [subset_distance(x, np.delete(y, i, axis=0)) for i in range(4)]
    assert min(all_subsets) < got < max(all_subsets)
    np.testing.assert_allclose(got, np.mean(all_subsets), atol=4 * np.std(all_subsets) / 2000**0.5)


@pytest.mark.parametrize('num_made, num_real, size', [(50, 70, 40), (40, 70, 1000), (70, 40, 1000), (300, 250, 10)])
def test_is_the_mean_over_the_subsets_that_are_drawn(monkeypatch, num_made, num_real, size):
    """Where they overlap much, every pair is computed once (the first three), else each subset by itself; in blocks or not."""
    monkeypatch.setattr(kernel_inception_distance, 'BLOCK', 32)
    x, y = features(0, num_made), features(1, num_real, shift=0.3)
    rng, size = np.random.default_rng(5), min(size, num_made, num_real)
    draws = [(rng.choice(num_made, size, replace=False), rng.choice(num_real, size, replace=False)) for _ in range(20)]
    wanted = np.mean([subset_distance(x[first], y[second]) for first, second in draws])
    assert kernel_distance(x, y, 20, size, np.random.default_rng(5)) == pytest.approx(wanted, rel=1e-10)


def test_a_large_mean_keeps_its_digits():
    """In float32 the kernel's cubes would be off by more than the distance."""
    x, y = features(0, 40, shift=30), features(1, 40, shift=30.5)
    np.testing.assert_allclose(subset_distance(x, y), plain_loop(x, y), rtol=1e-6)
    assert cubic_kernel(x, y).dtype == np.float64


@pytest.mark.parametrize('num_made, num_real', [(1, 5), (5, 1)])
def test_too_few_images(num_made, num_real):
    with pytest.raises(ValueError, match='at least 2 images'):
        kernel_distance(features(0, num_made), features(1, num_real), 10, 1000, np.random.default_rng(0))
