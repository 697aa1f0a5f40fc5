"""AdaFM kernels against numpy, gradcheck, and their C++ form against the plain one."""

import numpy as np
import pytest
import torch

from hyper_plugin.networks import adafm
from torch_utils import custom_ops

native = pytest.mark.skipif(custom_ops.cpu_kernels() is None, reason='needs a C++ compiler')
IMPLS = ['ref', pytest.param('native', marks=native)]


def inputs(codes=3, outputs=5, channels=7, k=3, dtype=torch.float32):
    return (torch.randn(outputs, channels, k, k, dtype=dtype), torch.randn(codes, outputs, channels, dtype=dtype),
            torch.randn(codes, outputs, channels, dtype=dtype))


@pytest.mark.parametrize('impl', IMPLS)
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('sizes', [(1, 1, 1, 1), (3, 5, 7, 3), (2, 16, 40, 5)])
def test_kernels_and_power_are_the_formula(sizes, layout, impl):
    weight, dg, db = inputs(*sizes)
    kernels, power = adafm(weight.to(memory_format=layout), dg, db, impl=impl)
    W = weight.double().numpy()
    mu, sigma = W.mean(axis=(2, 3), keepdims=True), W.std(axis=(2, 3), keepdims=True)
    want = mu + (1 + dg.double().numpy()[..., None, None]) * (W - mu) + sigma * db.double().numpy()[..., None, None]
    np.testing.assert_allclose(kernels.numpy(), want, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(power.numpy(), np.square(want).sum(axis=(3, 4)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('impl', IMPLS)
def test_zero_is_the_frozen_kernel_bit_for_bit(impl):
    weight, dg, _db = inputs(codes=2, outputs=9, channels=33)
    zero = torch.zeros_like(dg)
    assert torch.equal(adafm(weight, zero, zero, impl=impl)[0], weight.expand(2, -1, -1, -1, -1))


@native
@pytest.mark.parametrize('sizes', [(1, 1, 1, 1), (3, 5, 7, 3), (4, 24, 17, 3)])
def test_first_and_second_derivatives_are_those_of_the_plain_form(sizes):
    weight, *given = inputs(*sizes)
    results = {}
    for impl in ('ref', 'native'):
        modulations = [t.clone().requires_grad_() for t in given]

        def loss(impl=impl, modulations=modulations):
            kernels, power = adafm(weight, *modulations, impl=impl)
            taps = torch.arange(kernels[0, 0, 0].numel()).reshape(kernels.shape[3:])
            return (kernels.square() * taps).sum() + power.square().sum()

        once = torch.autograd.grad(loss(), modulations)
        first = torch.autograd.grad(loss(), modulations, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), modulations)
        results[impl] = [*once, *first, *second]
    for want, got in zip(results['ref'], results['native'], strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5 * want.abs().max().item())


def test_a_weight_that_learns_gets_its_gradient():
    weight, dg, db = inputs()
    weight.requires_grad_()
    gradient, = torch.autograd.grad(adafm(weight, dg, db)[0].sum(), weight)
    assert gradient.abs().max() > 0


@pytest.mark.parametrize('impl', ['ref', pytest.param('native', marks=native)])
@pytest.mark.parametrize('wanted', [1, 2])
def test_second_derivatives_where_one_modulation_learns(wanted, impl):
    given = list(inputs(2, 3, 4))
    given[wanted].requires_grad_()
    kernels, power = adafm(*given, impl=impl)
    first, = torch.autograd.grad(kernels.pow(3).sum() + power.square().sum(), given[wanted], create_graph=True)
    second, = torch.autograd.grad(first.sum(), given[wanted])
    assert second.abs().max() > 0


@pytest.mark.parametrize('wide', [0, 1, 2])
def test_types_that_differ_have_the_plain_form(wide):
    given = [t.double() if place == wide else t for place, t in enumerate(inputs(2, 3, 4))]
    for got, want in zip(adafm(*given), adafm(*(t.double() for t in given)), strict=True):
        torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=1e-5)
