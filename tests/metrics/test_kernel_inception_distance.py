"""metrics/kernel_inception_distance.py against a plain double loop and torch-fidelity."""
import numpy as np
import pytest
import torch

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


@pytest.mark.parametrize('num', [2, 3, 30])
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


def test_subsets_agree_with_torch_fidelity_within_their_error():
    x, y = features(4, 400), features(5, 300, shift=0.2)
    options = dict(kid_subsets=200, kid_subset_size=100, kid_kernel='poly', kid_kernel_poly_degree=3, kid_kernel_poly_gamma=None,
                   kid_kernel_poly_coef0=1, rng_seed=1, verbose=False)
    doubles = (torch.from_numpy(x).double(), torch.from_numpy(y).double())
    want = torch_fidelity('metric_kid').kid_features_to_metric(*doubles, **options)
    got = kernel_distance(x, y, num_subsets=200, max_subset_size=100, rng=np.random.default_rng(2))
    error = want['kernel_inception_distance_std'] * (2 / 200) ** 0.5    # of the difference of two means of 200 subsets
    assert abs(got - want['kernel_inception_distance_mean']) < 5 * error


def test_no_bias():
    """The mean over many pairs of sets of one distribution is 0, though single values are not."""
    values = [subset_distance(features(100 + i, 20), features(500 + i, 20)) for i in range(200)]
    error = np.std(values) / len(values) ** 0.5
    assert min(values) < 0 < max(values) and abs(np.mean(values)) < 4 * error


def test_whole_sets_need_no_subsets():
    x, y = features(6, 50), features(7, 50)
    for num_subsets, size, seed in [(100, 1000, 0), (1, 50, 9)]:
        assert kernel_distance(x, y, num_subsets, size, np.random.default_rng(seed)) == subset_distance(x, y)


def test_subsets_are_drawn_without_replacement():
    """All of the smaller set are taken: only the other one's subsets differ."""
    x, y = features(8, 3), features(9, 4)
    got = kernel_distance(x, y, 2000, 1000, np.random.default_rng(0))
    all_subsets = [subset_distance(x, np.delete(y, i, axis=0)) for i in range(4)]
    assert min(all_subsets) < got < max(all_subsets)
    np.testing.assert_allclose(got, np.mean(all_subsets), atol=4 * np.std(all_subsets) / 2000**0.5)


def test_repeatable_by_rng():
    x, y = features(0, 80), features(1, 90)
    a, b, c = (kernel_distance(x, y, 3, 20, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert a == b != c


def test_a_large_mean_keeps_its_digits():
    """In float32 the kernel's cubes would be off by more than the distance."""
    x, y = features(0, 40, shift=30), features(1, 40, shift=30.5)
    np.testing.assert_allclose(subset_distance(x, y), plain_loop(x, y), rtol=1e-6)
    assert cubic_kernel(x, y).dtype == np.float64


@pytest.mark.parametrize('num_made, num_real', [(1, 5), (5, 1), (0, 5)])
def test_too_few_images(num_made, num_real):
    with pytest.raises(ValueError, match='at least 2 images'):
        kernel_distance(features(0, num_made), features(1, num_real), 10, 1000, np.random.default_rng(0))
