"""Modulated convolution of training.networks: against explicit sums in float64, and its derivatives."""
import numpy as np
import pytest
import scipy.signal
import torch

from torch_utils.ops import upfirdn2d
from training.networks import modulated_conv2d

# Sums to a power of two, so that the float32 filter is exact; not symmetric, so that a mirrored one is noticed.
FIR = [1, 2, 4, 1]


def reference(x, weight, styles, up=1, down=1, padding=0, demodulate=True, flip_weight=True):
    """x [N, I, H, W], weight [O, I, k, k], styles [N, I], all float64 numpy. One image and one output channel at a time."""
    fir = np.outer(FIR, FIR) / np.sum(FIR) ** 2
    before = padding + (len(FIR) + up - 1) // 2 * (up > 1) + (len(FIR) - down + 1) // 2 * (down > 1)
    after = padding + (len(FIR) - up) // 2 * (up > 1) + (len(FIR) - down) // 2 * (down > 1)
    convolve = scipy.signal.correlate2d if flip_weight else scipy.signal.convolve2d
    images = []
    for image, style in zip(x, styles, strict=True):
        planes = []
        for kernel in weight:
            kernel = kernel * style[:, None, None]
            if demodulate:
                kernel = kernel / np.sqrt(np.sum(kernel ** 2) + 1e-8)
            total = 0
            for plane, taps in zip(image, kernel, strict=True):
                spread = np.zeros([plane.shape[0] * up, plane.shape[1] * up])
                spread[::up, ::up] = plane
                spread = np.pad(spread, [(before, after)] * 2)
                if up > 1:
                    spread = scipy.signal.convolve2d(spread, fir * up ** 2, 'valid')
                total = total + convolve(spread, taps, 'valid')
            if down > 1:
                total = scipy.signal.convolve2d(total, fir, 'valid')[::down, ::down]
            planes.append(total)
        images.append(planes)
    return np.array(images)


def draw(count, inputs, outputs, size, kernel_size):
    """x, weight and styles in float64."""
    return (torch.randn(count, inputs, *size, dtype=torch.float64),
            torch.randn(outputs, inputs, kernel_size, kernel_size, dtype=torch.float64),
            torch.randn(count, inputs, dtype=torch.float64) + 1)


@pytest.mark.parametrize('fused', [True, False])
@pytest.mark.parametrize('demodulate', [True, False])
@pytest.mark.parametrize('count, size, kernel_size, sampling', [
    (1, (5, 7), 3, {}),
    (3, (6, 4), 3, dict(up=2, flip_weight=False)),
    (2, (8, 6), 3, dict(down=2)),
    (2, (6, 8), 1, dict(down=2)),
])
def test_equals_sums_over_taps(fused, demodulate, count, size, kernel_size, sampling):
    x, weight, styles = draw(count, 3, 2, size, kernel_size)
    options = dict(padding=kernel_size // 2, demodulate=demodulate, **sampling)
    got = modulated_conv2d(x, weight, styles, resample_filter=upfirdn2d.setup_filter(FIR), fused_modconv=fused, **options)
    want = reference(x.numpy(), weight.numpy(), styles.numpy(), **options)
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize('fused', [True, False])
@pytest.mark.parametrize('shape, demodulate', [((5, 7), True), ((2, 1, 5, 7), False)])
def test_noise_is_added_last(fused, shape, demodulate):
    x, weight, styles = draw(2, 3, 4, (5, 7), 3)
    noise = torch.randn(shape, dtype=torch.float64)
    got = modulated_conv2d(x, weight, styles, noise=noise, padding=1, demodulate=demodulate, fused_modconv=fused)
    want = reference(x.numpy(), weight.numpy(), styles.numpy(), padding=1, demodulate=demodulate) + noise.numpy()
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize('dtype, tolerance', [(torch.float16, 4e-3), (torch.bfloat16, 3e-2)])  # a few units in the last place
@pytest.mark.parametrize('fused', [True, False])
def test_half_precision_survives_large_styles(dtype, tolerance, fused):
    x, weight, styles = draw(2, 16, 3, (6, 6), 3)
    styles = styles * 1e5  # beyond float16
    got = modulated_conv2d(x.to(dtype), weight.float(), styles.float(), padding=1, fused_modconv=fused)
    assert got.dtype == dtype
    want = reference(x.to(dtype).double().numpy(), weight.numpy(), styles.numpy(), padding=1)
    assert np.abs(got.double().numpy() - want).max() < tolerance * np.abs(want).max()


@pytest.mark.parametrize('fused', [True, False])
@pytest.mark.parametrize('kernel_size, sampling', [(3, {}), (3, dict(up=2, flip_weight=False)), (1, dict(down=2))])
def test_first_and_second_derivatives(fused, kernel_size, sampling):
    inputs = [t.requires_grad_() for t in draw(2, 2, 2, (4, 4), kernel_size)]

    def call(x, weight, styles):
        return modulated_conv2d(x, weight, styles, padding=kernel_size // 2, resample_filter=upfirdn2d.setup_filter(FIR),
                                fused_modconv=fused, **sampling)

    assert torch.autograd.gradcheck(call, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(call, inputs, fast_mode=True)


@pytest.mark.parametrize('kernel_size', [1, 3])
@pytest.mark.parametrize('count', [1, 3])
def test_weight_gradient_of_channels_last_input(kernel_size, count):
    """PyTorch 2.13's grouped convolution gets those of a 1x1 kernel wrong when all images lie in one channels-last map."""
    x, weight, styles = (t.float() for t in draw(count, 16, 8, (8, 8), kernel_size))
    target = torch.randn(count, 8, 8, 8)
    interleaved = x.reshape(1, -1, 8, 8).contiguous(memory_format=torch.channels_last).reshape(x.shape)
    grads = []
    for fused, layout, image in ((True, torch.channels_last, interleaved), (False, torch.contiguous_format, x)):
        kernel = weight.to(memory_format=layout, copy=True).requires_grad_()
        y = modulated_conv2d(image, kernel, styles, padding=kernel_size // 2, fused_modconv=fused)
        grads += torch.autograd.grad((y * target).sum(), kernel)
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-4)
