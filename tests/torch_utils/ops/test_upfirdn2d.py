"""Resampling against scipy: upfirdn for one axis at a time, the definition for filters in two dimensions."""

import numpy as np
import pytest
import torch

from tests.support.resampling import random, reference
from torch_utils.ops import upfirdn2d as ops

CASES = [
    dict(),
    dict(up=(2, 2), padding=(2, 1, 2, 1), gain=4.0),
    dict(down=(2, 2), padding=1),
    dict(up=(2, 2), down=(3, 3), padding=3),
    dict(up=(3, 2), down=(2, 3), padding=(2, 1, 0, 3), flip=True),
    dict(up=(1, 3), padding=2),
    dict(down=(1, 2), padding=(3, -1)),
    dict(padding=(-2, 3, 2, -1)),
    dict(up=(2, 2), padding=(-3, 1, 2, -3)),
    dict(down=(3, 3), padding=(-1, 2, -2, 1)),
    dict(up=(2, 2), padding=(24, -20, 2, 1)),       # more is cropped than there was
    dict(padding=(-11, 14, 3, 3)),
    dict(down=(2, 2), padding=(14, -12, -10, 15)),
]


@pytest.mark.parametrize('case', CASES)
@pytest.mark.parametrize(('taps', 'channels'), [((4, 4), 3), ((3, 5), 17), ((2, 1), 17), ((1, 1), 3)])    # few and many differ
def test_matches_definition(case, taps, channels):
    x, f = random(2, channels, 8, 9), random(*taps, seed=1)
    options = {('flip_filter' if key == 'flip' else key): value for key, value in case.items()}
    got = ops.upfirdn2d(torch.tensor(x), torch.tensor(f), **options)
    np.testing.assert_allclose(got.numpy(), reference(x, f, **case), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize('case', CASES)
@pytest.mark.parametrize('taps', [(4, 3), (5,)])
def test_two_derivatives(case, taps):
    f = torch.tensor(random(*taps, seed=1))
    options = {('flip_filter' if key == 'flip' else key): value for key, value in case.items()}
    x = torch.tensor(random(1, 2, 7, 7), requires_grad=True)

    def call(x):
        return ops.upfirdn2d(x, f, **options)

    # Of random directions, which is enough for a linear map.
    assert torch.autograd.gradcheck(call, (x,), fast_mode=True)
    assert torch.autograd.gradgradcheck(call, (x,), fast_mode=True)


@pytest.mark.parametrize('taps', [(4, 4), (3, 5), (8,), None])
@pytest.mark.parametrize('channels_last', [False, True])
def test_wrappers_keep_size_and_brightness(taps, channels_last):
    """A constant image stays constant inside, at the size that the name says."""
    f = None if taps is None else ops.setup_filter(torch.tensor(abs(random(*taps)), dtype=torch.float32))
    x = torch.ones(2, 20, 24, 32)
    x = x.contiguous(memory_format=torch.channels_last) if channels_last else x
    for y, size in [(ops.filter2d(x, f), (24, 32)), (ops.downsample2d(x, f, down=(2, 3)), (8, 16)),
                    (ops.upsample2d(x, f, up=2, gain=0.5), (48, 64))]:
        assert y.shape == (2, 20, *size)
    inside = (slice(None), slice(None), slice(5, -5), slice(5, -5))
    torch.testing.assert_close(ops.filter2d(x, f)[inside], x[inside])
    # The samples that replace a pixel differ, but have its mean, whatever the filter.
    blocks = ops.upsample2d(x, f)[inside].unflatten(2, (-1, 2)).unflatten(4, (-1, 2))
    torch.testing.assert_close(blocks.mean([3, 5]), torch.ones(2, 20, 19, 27), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(('taps', 'kwargs', 'want'), [
    (None, {}, [[1]]),
    (3, dict(normalize=False), [[9]]),
    ([1, 3], {}, [[1 / 16, 3 / 16], [3 / 16, 9 / 16]]),
    ([1, 3], dict(flip_filter=True, separable=True), [3 / 4, 1 / 4]),
    ([1, 3], dict(gain=4, separable=True), [1 / 2, 3 / 2]),
    ([[1, 3]], dict(gain=4, normalize=False), [[4, 12]]),
    ([1] * 8, {}, [1 / 8] * 8),
])
def test_setup_filter(taps, kwargs, want):
    f = ops.setup_filter(taps, **kwargs)
    assert f.dtype == torch.float32
    torch.testing.assert_close(f, torch.tensor(want, dtype=torch.float32))


@pytest.mark.parametrize(('kwargs', 'message'), [
    (dict(down=[1, 2, 3]), 'down must be'), (dict(up=1.5), 'up must be'), (dict(padding=0.5), 'padding must be 1, 2 or 4'),
    (dict(padding=-4), 'nothing is left'), (dict(impl='cpu'), 'impl must be one of'),
])
def test_wrong_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        ops.upfirdn2d(torch.zeros(1, 1, 8, 8), torch.ones(2, 2), **kwargs)


def test_wrong_shapes():
    with pytest.raises(ValueError, match='images'):
        ops.upfirdn2d(torch.zeros(8, 8), None)
    with pytest.raises(ValueError, match='1 or 2 dimensions'):
        ops.upfirdn2d(torch.zeros(1, 1, 8, 8), torch.ones(2, 2, 2))
    with pytest.raises(ValueError, match='a filter needs taps'):
        ops.setup_filter([])
    with pytest.raises(ValueError, match='1-D taps'):
        ops.setup_filter([[1, 2]], separable=True)
