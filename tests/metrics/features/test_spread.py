"""metrics/features/spread.py against scipy, and what it is to see and to overlook."""
import math

import numpy as np
import pytest
import scipy.spatial
import torch

from metrics.features import spread as module
from metrics.features.spread import reduce_images, spread


def random_images(num, channels=3, side=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, [num, channels, side, side]).astype(np.uint8)


@pytest.mark.parametrize('block', [5, 1024])
def test_matches_scipy(block, monkeypatch):
    monkeypatch.setattr(module, 'BLOCK', block)
    images = random_images(12)
    points = images.reshape(12, 3, 8, 4, 8, 4).mean(axis=(3, 5)).reshape(12, -1)
    assert spread(torch.from_numpy(images)) == pytest.approx(scipy.spatial.distance.pdist(points).mean(), rel=1e-6)  # float32


def test_images_are_reduced_by_averaging():
    images = torch.randn(2, 3, 128, 128)
    want = images.numpy().reshape(2, 3, 8, 16, 8, 16).mean(axis=(3, 5))
    np.testing.assert_allclose(reduce_images(images), want, atol=1e-6)
    assert torch.equal(reduce_images(images[:, :, :4, :4]), images[:, :, :4, :4])  # never enlarged
    assert spread(reduce_images(images)) == spread(images)


def test_noise_does_not_pass_for_variety():
    """Noise as strong as the differences between the images makes each pixel deviate 1.4 times as much."""
    levels = torch.from_numpy(random_images(200, side=8)).float().repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    noise = torch.randn(levels.shape, generator=torch.Generator().manual_seed(0)) * levels.std()
    assert (levels + noise).std() / levels.std() > 1.4
    assert spread(levels + noise) / spread(levels) == pytest.approx((1 + 1 / 16) ** 0.5, rel=0.01)  # means of 16 pixels


@pytest.mark.parametrize('num', [2, 500])
def test_the_number_of_images_does_not_matter(num):
    """Normal images of D pixels lie 2 gamma((D + 1) / 2) / gamma(D / 2) apart in the mean."""
    sets = torch.randn(1000 // num, num, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    want = 2 * math.exp(math.lgamma(32.5) - math.lgamma(32))
    assert np.mean([spread(images) for images in sets]) == pytest.approx(want, rel=0.01)  # with n in place of n - 1: half for 2
