"""The augmentation pipe against numpy and scipy, transformation by transformation, and its derivatives.

Percentiles fix the random parameters. Normal ones are erfinv(2q - 1) times their deviation.
"""

import math

import numpy as np
import pytest
import scipy.ndimage
import scipy.special
import torch

from training import augment
from training.augment import AugmentPipe, augpipe_specs

EVERYTHING = augpipe_specs['bgcfnc']


def images(*shape, seed=0, dtype=torch.float64):
    return torch.tensor(np.random.default_rng(seed).normal(size=shape), dtype=dtype)


def smooth_images(channels=3, height=32, width=32):
    """Low frequencies only, which resampling leaves alone."""
    y, x = np.mgrid[:height, :width]
    return torch.tensor(np.stack([[np.sin(0.2 * x + 0.1 * y + c) + 0.02 * y for c in range(channels)]]))


def test_wavelets_are_orthonormal_with_vanishing_moments():
    """The defining properties of a symlet: unit norm on even shifts, sum sqrt(2), high-pass blind to polynomials."""
    for taps, moments in ((augment.SYM2, 2), (augment.SYM6, 6)):
        taps = np.array(taps)
        assert len(taps) == 2 * moments
        products = np.correlate(taps, taps, 'full')[len(taps) - 1::2]
        np.testing.assert_allclose(products, np.eye(len(products))[0], atol=1e-9)
        np.testing.assert_allclose(taps.sum(), math.sqrt(2), rtol=1e-10)
        k = np.arange(len(taps))
        for m in range(moments):
            np.testing.assert_allclose(((-1.0) ** k * (k / len(k)) ** m * taps).sum(), 0, atol=1e-9)


def test_filter_bank_splits_the_spectrum_into_octaves():
    bank = augment.filter_bank()
    assert bank.shape == (4, 43)
    np.testing.assert_allclose(bank.sum(0), np.eye(43)[21], atol=1e-12)
    np.testing.assert_allclose(bank, bank[:, ::-1], atol=1e-12)
    frequency = np.linspace(0, np.pi, 512)
    response = np.abs(bank @ np.exp(-1j * np.outer(np.arange(43), frequency)))
    for band, (low, high) in enumerate([(0, 1 / 8), (1 / 8, 1 / 4), (1 / 4, 1 / 2), (1 / 2, 1)]):
        middle = math.pi * (low + high) / 2
        assert response[:, np.abs(frequency - middle).argmin()].argmax() == band


@pytest.mark.parametrize('channels', [1, 3])
def test_nothing_happens_at_p_zero(channels):
    pipe = AugmentPipe(**EVERYTHING)
    pipe.p.fill_(0)
    x = images(4, channels, 16, 16, dtype=torch.float32)
    torch.testing.assert_close(pipe(x), x, rtol=0, atol=1e-6)


def test_warp_by_the_identity_gives_the_image_back():
    """What allows to leave out images that don't move."""
    x = images(2, 3, 20, 28)
    linear, shift = torch.eye(2, dtype=x.dtype).repeat(2, 1, 1), torch.zeros(2, 2, dtype=x.dtype)
    y = augment.warp(x, linear, shift, AugmentPipe().Hz_geom.double())
    torch.testing.assert_close(y, x, rtol=0, atol=1e-6)     # the filter is stored as float32


@pytest.mark.parametrize(('ctor', 'percentile', 'expected'), [
    (dict(xflip=1), 0.6, lambda x: x[..., ::-1]),
    (dict(xflip=1), 0.4, lambda x: x),
    (dict(rotate90=1), 0.8, lambda x: np.rot90(x, 3, (2, 3))),
    (dict(rotate=1), 0.75, lambda x: np.rot90(x, 1, (2, 3))),
    (dict(xflip=1, rotate90=1), 0.8, lambda x: np.rot90(x[..., ::-1], 3, (2, 3))),
    (dict(xint=1), 0.9, lambda x: np.pad(x, [(0, 0), (0, 0), (3, 0), (3, 0)], mode='reflect')[:, :, :32, :32]),   # 0.8 * 4
])
def test_whole_pixel_geometry(ctor, percentile, expected):
    """The filter is not quite symmetric, so that what is mirrored or turned is off by a fifth of a pixel; hence the tolerance."""
    x = smooth_images()
    y = AugmentPipe(**ctor)(x, debug_percentile=percentile)
    np.testing.assert_allclose(y.numpy(), expected(x.numpy()), atol=0.06)


@pytest.mark.parametrize(('ctor', 'percentile', 'forward'), [
    (dict(scale=1), 0.8, lambda n: (np.diag([2 ** (0.2 * n)] * 2), [0, 0])),
    (dict(aniso=1), 0.8, lambda n: (np.diag([2 ** (0.2 * n), 2 ** (-0.2 * n)]), [0, 0])),
    (dict(xfrac=1), 0.55, lambda n: (np.eye(2), [0.125 * n * 40, 0.125 * n * 32])),
    (dict(rotate=1, rotate_max=0.5), 0.6, lambda n: (np.array([[math.cos(t := 0.1 * math.pi), math.sin(t)],
                                                               [-math.sin(t), math.cos(t)]]), [0, 0])),
])
def test_geometry_moves_points_as_stated(ctor, percentile, forward):
    """Against a formula for the image: f at the point that the map takes to the pixel."""
    matrix, shift = forward(scipy.special.erfinv(2 * percentile - 1))
    y, x = np.mgrid[:32, :40] - np.array([31 / 2, 39 / 2])[:, None, None]

    def blob(x, y):
        return np.exp(-((x - 3) ** 2 + 0.5 * (y + 2) ** 2) / 20)

    got = AugmentPipe(**ctor)(torch.tensor(blob(x, y))[None, None], debug_percentile=percentile)[0, 0]
    source = np.einsum('ij,jhw->ihw', np.linalg.inv(matrix), np.stack([x - shift[0], y - shift[1]]))
    inside = (slice(4, -4), slice(4, -4))       # beyond is a mirror image
    np.testing.assert_allclose(got.numpy()[inside], blob(*source)[inside], atol=0.01)


def normal(percentile):
    return scipy.special.erfinv(2 * percentile - 1)


@pytest.mark.parametrize(('ctor', 'percentile', 'expected'), [
    (dict(brightness=1), 0.8, lambda x: x + 0.2 * normal(0.8)),
    (dict(contrast=1), 0.8, lambda x: x * 2 ** (0.5 * normal(0.8))),
    (dict(lumaflip=1), 0.8, lambda x: x - 2 * x.mean(1, keepdims=True)),
    (dict(hue=1, hue_max=4 / 3), 0.75, lambda x: np.roll(x, 1, axis=1)),        # a third of a turn: red becomes green
    (dict(saturation=1), 0.8, lambda x: x.mean(1, keepdims=True) + 2 ** normal(0.8) * (x - x.mean(1, keepdims=True))),
    (dict(brightness=1, contrast=1), 0.7, lambda x: (x + 0.2 * normal(0.7)) * 2 ** (0.5 * normal(0.7))),
])
def test_colors(ctor, percentile, expected):
    x = images(2, 3, 4, 5)
    y = AugmentPipe(**ctor)(x, debug_percentile=percentile)
    np.testing.assert_allclose(y.numpy(), expected(x.numpy()), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(('height', 'width'), [(48, 30), (8, 5)])       # larger and smaller than the filter
def test_band_filter_matches_scipy(height, width):
    pipe = AugmentPipe(imgfilter=1, imgfilter_bands=[1, 0, 1, 0])
    gain = 2 ** normal(0.8)
    gains = np.ones(4)
    for band in (0, 2):
        vector = np.where(np.arange(4) == band, gain, 1.0)
        gains *= vector / np.sqrt((np.array([10, 1, 1, 1]) / 13 * vector ** 2).sum())
    taps = gains @ augment.filter_bank()
    x = images(2, 3, height, width)
    want = scipy.ndimage.convolve1d(scipy.ndimage.convolve1d(x.numpy(), taps, axis=2, mode='mirror'), taps, axis=3, mode='mirror')
    np.testing.assert_allclose(pipe(x, debug_percentile=0.8).numpy(), want, rtol=1e-5, atol=1e-5)


def test_noise_level():
    y = AugmentPipe(noise=1, noise_std=0.3)(torch.zeros(1, 3, 64, 64), debug_percentile=0.5)
    assert abs(y.std().item() / (0.3 * scipy.special.erfinv(0.5)) - 1) < 0.03       # 12288 numbers: 4.7 standard errors


def test_cutout_square():
    y = AugmentPipe(cutout=1, cutout_size=0.4)(torch.ones(1, 2, 20, 10), debug_percentile=0.3)
    for i in range(20):
        for j in range(10):
            inside = abs((i + 0.5) / 20 - 0.3) < 0.2 and abs((j + 0.5) / 10 - 0.3) < 0.2
            assert y[0, :, i, j].tolist() == [1 - inside] * 2


@pytest.mark.parametrize(('name', 'share'), [
    ('xint', 0.3 * (1 - 1 / 16)),               # uniform +-2 pixels rounds to 0 in a quarter of cases, along each axis
    ('brightness', 0.3), ('cutout', 0.3),
    ('rotate', 0.3),                            # two rotations, together as often as asked for
    ('imgfilter', 1 - 0.7 ** 4),                # each of the four bands is drawn on its own
])
def test_share_of_changed_images(name, share):
    pipe = AugmentPipe(**{name: 0.5}, xint_max=0.25)
    pipe.p.fill_(0.6)
    x = images(1, 3, 8, 8, dtype=torch.float32).repeat(1500, 1, 1, 1)
    changed = (pipe(x) - x).abs().amax([1, 2, 3]) > 1e-4
    assert abs(changed.float().mean().item() - share) < 5 * math.sqrt(0.25 / 1500)


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('percentile', [0.8])
def test_two_derivatives(channels, percentile):
    """The pipe is affine in the images, so its square has a second derivative to check."""
    pipe = AugmentPipe(**{name: 1 for name in EVERYTHING if name != 'noise'})
    x = images(1, channels, 5, 6).requires_grad_(True)

    def call(x):
        return pipe(x, debug_percentile=percentile).square()

    assert torch.autograd.gradcheck(call, (x,))
    assert torch.autograd.gradgradcheck(call, (x,))


def test_random_draws_obey_the_seed_and_differ_between_images():
    pipe = AugmentPipe(**EVERYTHING)
    x = images(1, 3, 16, 16, dtype=torch.float32).repeat(2, 1, 1, 1)
    torch.manual_seed(5)
    first = pipe(x)
    torch.manual_seed(5)
    assert torch.equal(pipe(x), first)
    assert not torch.allclose(first[0], first[1])


def test_presets_join_their_parts():
    assert list(augpipe_specs) == ['blit', 'geom', 'color', 'filter', 'noise', 'cutout', 'bg', 'bgc', 'bgcf', 'bgcfn', 'bgcfnc']
    parts = list(augpipe_specs.values())[:6]
    for count, name in enumerate(['bg', 'bgc', 'bgcf', 'bgcfn', 'bgcfnc'], start=2):
        assert list(augpipe_specs[name]) == [key for part in parts[:count] for key in part]


@pytest.mark.parametrize(('ctor', 'x', 'percentile', 'message'), [
    ({}, torch.zeros(3, 8, 8), None, 'expected float images'),
    ({}, torch.zeros(1, 3, 8, 8, dtype=torch.uint8), None, 'expected float images'),
    (dict(hue=1), torch.zeros(1, 4, 8, 8), None, '1 or 3 channels: got 4'),
    ({}, torch.zeros(1, 3, 8, 8), 1.0, 'debug_percentile must lie'),
])
def test_wrong_images(ctor, x, percentile, message):
    with pytest.raises(ValueError, match=message):
        AugmentPipe(**ctor)(x, debug_percentile=percentile)


def test_wrong_settings():
    with pytest.raises(ValueError, match='needs 4 multipliers'):
        AugmentPipe(imgfilter_bands=[1, 1])
    with pytest.raises(TypeError, match='rotat'):
        AugmentPipe(rotat=1)
