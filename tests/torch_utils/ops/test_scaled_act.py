"""The fused scale, offset, noise and activation against numpy in float64, and its C++ form against its plain one."""

import numpy as np
import pytest
import torch

from torch_utils import custom_ops
from torch_utils.ops.bias_act import bias_act
from torch_utils.ops.scaled_act import scaled_act

native = pytest.mark.skipif(custom_ops.cpu_kernels() is None, reason='needs a C++ compiler')


def tensors(shape, dtype=torch.float32):
    images, channels, height, width = shape
    x = torch.randn(shape, dtype=dtype).to(memory_format=torch.channels_last)
    return dict(x=x, scale=torch.rand(images, channels, dtype=dtype) + 0.5, offset=torch.randn(images, channels, dtype=dtype),
                noise=torch.randn(images, 1, height, width, dtype=dtype))


def in_numpy(x, scale=None, offset=None, noise=None, slope=1.0, gain=1.0, clamp=None):
    x, scale, offset, noise = (None if t is None else t.detach().double().numpy() for t in (x, scale, offset, noise))
    y = x if scale is None else x * scale[:, :, None, None]
    y = y if offset is None else y + offset.reshape(-1, y.shape[1], 1, 1)
    y = y if noise is None else y + noise
    y = np.where(y > 0, y, y * slope) * gain
    return y if clamp is None else y.clip(-clamp, clamp)


FORMS = [
    lambda t: t,
    lambda t: dict(x=t['x']),
    lambda t: dict(x=t['x'], scale=t['scale']),
    lambda t: dict(x=t['x'], offset=t['offset'][0]),
    lambda t: dict(x=t['x'], scale=t['scale'], offset=t['offset'][0], noise=t['noise'][0, 0]),
    lambda t: dict(x=t['x'], noise=t['noise']),
]


@pytest.mark.parametrize('impl', ['ref', pytest.param('native', marks=native)])
@pytest.mark.parametrize('shape', [(1, 1, 1, 1), (3, 5, 4, 2), (4, 33, 13, 11)])
@pytest.mark.parametrize('settings', [dict(), dict(act='lrelu', gain=1.7), dict(act='lrelu', gain=0.5, clamp=0.6)])
def test_values(shape, settings, impl):
    for form in FORMS:
        arguments = form(tensors(shape))
        slope = dict(slope=0.2 if settings.get('act') == 'lrelu' else 1.0)
        want = in_numpy(**arguments, **{name: value for name, value in settings.items() if name != 'act'}, **slope)
        got = scaled_act(**arguments, **settings, impl=impl)
        assert impl == 'ref' or got.is_contiguous(memory_format=torch.channels_last)
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-5, atol=1e-5)


@native
@pytest.mark.parametrize('threads', [1, 3])
@pytest.mark.parametrize('settings', [dict(), dict(act='lrelu', gain=1.7), dict(act='lrelu', gain=0.5, clamp=0.6)])
def test_first_and_second_derivatives_are_those_of_the_plain_form(settings, threads):
    used = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for form in FORMS:
            arguments = form(tensors((4, 7, 19, 9)))
            results = {}
            for impl in ('ref', 'native'):
                inputs = {name: value.clone().requires_grad_() for name, value in arguments.items()}
                y = scaled_act(**inputs, **settings, impl=impl)
                weights = torch.linspace(-1, 1, y.numel()).reshape(y.shape)
                once = torch.autograd.grad((y * weights).sum(), list(inputs.values()))
                y = scaled_act(**inputs, **settings, impl=impl)
                first = torch.autograd.grad((y * y * weights).sum(), list(inputs.values()), create_graph=True)
                second = torch.autograd.grad(sum(g.square().sum() for g in first), list(inputs.values()))
                results[impl] = [*once, *first, *second]
            for want, got in zip(results['ref'], results['native'], strict=True):
                torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4 * want.abs().max().item())
    finally:
        torch.set_num_threads(used)


@native
def test_not_a_number_is_seen_and_infinity_clamped():
    x = torch.tensor([float('nan'), float('inf'), -float('inf'), 1.0]).reshape(1, 1, 2, 2).to(memory_format=torch.channels_last)
    for impl in ('ref', 'native'):
        got = scaled_act(x, act='lrelu', gain=1.0, clamp=3, impl=impl).flatten()
        assert got.isnan().tolist() == [True, False, False, False] and got[1:].tolist() == [3, -3, 1]


@native
def test_sums_do_not_depend_on_the_number_of_threads():
    given = {name: value.requires_grad_() for name, value in tensors((3, 16, 40, 30)).items()}
    used, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            found.append(torch.autograd.grad(scaled_act(**given, act='lrelu', impl='native').sum(), list(given.values())))
    finally:
        torch.set_num_threads(used)
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


@native
@pytest.mark.parametrize('clamp', [None, 0.5])
@pytest.mark.parametrize('act', ['linear', 'lrelu'])
def test_bias_act_takes_it_for_channels_last_images(act, clamp):
    x, b = torch.randn(2, 6, 5, 5).to(memory_format=torch.channels_last), torch.randn(6)
    want = bias_act(x, b, act=act, clamp=clamp, impl='ref')
    torch.testing.assert_close(bias_act(x, b, act=act, clamp=clamp, impl='native'), want, rtol=1e-6, atol=1e-6)
    assert type(bias_act(x.requires_grad_(), b, act=act, impl='native').grad_fn).__name__ == 'ScaledActBackward'


def test_tensors_that_the_kernel_does_not_take_have_the_plain_form():
    x = torch.randn(2, 4, 3, 3)     # not channels-last
    want = in_numpy(x, slope=0.2)
    np.testing.assert_allclose(scaled_act(x, act='lrelu').numpy(), want, rtol=1e-6)
    half = scaled_act(x.half().to(memory_format=torch.channels_last), torch.ones(2, 4), torch.zeros(4), act='lrelu')
    assert half.dtype == torch.float16
    np.testing.assert_allclose(half.float().numpy(), want, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize('impl', ['ref', pytest.param('native', marks=native)])
@pytest.mark.parametrize('gain', [0, -1.5])
def test_gains_that_turn_the_sign(gain, impl):
    """Or lose it: then the result does not tell the slope any more."""
    given = tensors((2, 3, 4, 4))
    x = given['x'].requires_grad_()
    y = scaled_act(**given, act='lrelu', gain=gain, impl=impl)
    np.testing.assert_allclose(y.detach().numpy(), in_numpy(**given, slope=0.2, gain=gain), rtol=1e-5, atol=1e-5)
    slopes = torch.where(torch.from_numpy(in_numpy(**given)) > 0, 1.0, 0.2) * gain * given['scale'][:, :, None, None]
    torch.testing.assert_close(torch.autograd.grad(y.sum(), x)[0].double(), slopes.double(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('impl', ['ref', pytest.param('native', marks=native)])
@pytest.mark.parametrize('change, message', [
    (dict(scale=torch.ones(1, 3)), r'scale has shape \[1, 3\]; expected \[2, 3\] for x \[2, 3, 4, 5\]'),
    (dict(offset=torch.ones(2)), r'offset has shape \[2\]; expected \[3\] or \[2, 3\]'),
    (dict(noise=torch.ones(4)), r'noise has shape \[4\]; expected \[4, 5\] or \[2, 1, 4, 5\]'),
    (dict(x=torch.ones(2, 3)), r'x has shape \[2, 3\]; expected \[N, C, H, W\]'),
])
def test_shapes_that_do_not_fit(change, message, impl):
    with pytest.raises(ValueError, match=message):
        scaled_act(**tensors((2, 3, 4, 5)) | change, impl=impl)
