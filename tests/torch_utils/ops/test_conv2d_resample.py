"""Convolution with resampling against its definition, step by step in float64 with scipy."""

import numpy as np
import pytest
import scipy.signal
import torch

from torch_utils.ops import upfirdn2d
from torch_utils.ops.conv2d_resample import conv2d_resample


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def convolve(x, w, groups, flip_weight):
    """Without padding: x [N, I, H, W], w [O, I/groups, kh, kw]; flip_weight True correlates."""
    apply = scipy.signal.correlate2d if flip_weight else scipy.signal.convolve2d
    per_group, inputs = w.shape[0] // groups, w.shape[1]
    return np.stack([np.stack([sum(apply(image[(o // per_group) * inputs + i], w[o, i], mode='valid') for i in range(inputs))
                               for o in range(len(w))]) for image in x])


def reference(x, w, f, up, down, padding, groups, flip_weight, flip_filter):
    """Pad once, upsample, convolve, downsample."""
    apply = scipy.signal.correlate2d if flip_filter else scipy.signal.convolve2d
    left, right, top, bottom = padding
    kh, kw = f.shape
    for factor, before, after in ((up, lambda k: (k + up - 1) // 2, lambda k: (k - up) // 2),
                                  (down, lambda k: (k - down + 1) // 2, lambda k: (k - down) // 2)):
        if factor > 1:
            left, right, top, bottom = left + before(kw), right + after(kw), top + before(kh), bottom + after(kh)
    spread = np.zeros([*x.shape[:2], x.shape[2] * up, x.shape[3] * up])
    spread[:, :, ::up, ::up] = x
    spread = np.pad(spread, [(0, 0), (0, 0), (max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0))])
    height, width = spread.shape[2:]
    y = spread[:, :, max(-top, 0):height - max(-bottom, 0), max(-left, 0):width - max(-right, 0)]

    def low_pass(images):
        return np.stack([np.stack([apply(channel, f, mode='valid') for channel in image]) for image in images])

    if up > 1:
        y = up ** 2 * low_pass(y)
    y = convolve(y, w, groups, flip_weight)
    return low_pass(y)[:, :, ::down, ::down] if down > 1 else y


@pytest.mark.parametrize('kernel', [(3, 3), (1, 1), (1, 3)])
@pytest.mark.parametrize(('up', 'down'), [(1, 1), (2, 1), (1, 2), (2, 2)])
@pytest.mark.parametrize(('groups', 'flip', 'padding'), [
    (1, False, (1, 1, 1, 1)), (2, True, (2, 1, 0, 3)), (1, True, (-1, 1, 0, 2)),
])
def test_matches_definition(kernel, up, down, groups, flip, padding):
    x, w, f = random(2, 4, 9, 10), random(6, 4 // groups, *kernel, seed=1), random(4, 3, seed=2)
    got = conv2d_resample(torch.tensor(x), torch.tensor(w), torch.tensor(f), up=up, down=down, padding=padding, groups=groups,
                          flip_weight=flip, flip_filter=not flip)
    want = reference(x, w, f, up, down, padding, groups, flip, not flip)
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize(('up', 'down'), [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize('kernel', [1, 3])
def test_two_derivatives(up, down, kernel):
    x, w = torch.tensor(random(1, 2, 5, 6), requires_grad=True), torch.tensor(random(2, 2, kernel, kernel), requires_grad=True)
    f = torch.tensor(random(4, 4, seed=2))

    def call(x, w):
        return conv2d_resample(x, w, f, up=up, down=down, padding=kernel // 2, flip_weight=up == 1)

    assert torch.autograd.gradcheck(call, (x, w))
    assert torch.autograd.gradgradcheck(call, (x, w))


def test_without_filter_and_layouts():
    x, w = torch.tensor(random(2, 4, 8, 8)), torch.tensor(random(6, 4, 3, 3, seed=1))
    plain = conv2d_resample(x, w, up=2, padding=1)
    assert plain.shape == (2, 6, 16, 16)
    torch.testing.assert_close(conv2d_resample(x.contiguous(memory_format=torch.channels_last), w, up=2, padding=1), plain)
    torch.testing.assert_close(conv2d_resample(x, w, upfirdn2d.setup_filter([1]), up=2, padding=1), plain)


@pytest.mark.parametrize(('kwargs', 'message'), [
    (dict(groups=2), 'groups=2'), (dict(w=torch.zeros(6, 4, 3)), 'expected x'), (dict(up=0), 'up must be'),
    (dict(down=-2), 'down must be'), (dict(padding=[1, 2, 3]), 'padding must be'),
])
def test_wrong_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        conv2d_resample(**(dict(x=torch.zeros(1, 4, 8, 8), w=torch.zeros(6, 4, 3, 3)) | kwargs))
