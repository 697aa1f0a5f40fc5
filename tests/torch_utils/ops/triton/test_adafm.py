"""adafm in Triton, on CUDA or in its interpreter, against plain PyTorch."""

import pytest
import torch

from hyper_plugin.networks import adafm

pytest.importorskip('triton')
DEVICE = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
SHAPES = {'3x3': (3, 5, 3, 3), '1x1': (4, 2, 1, 1), '2x3': (2, 3, 2, 3), 'blocks': (9, 20, 3, 3)}


def inputs(shape, num_classes=2, dtype=torch.float64):
    weight = torch.randn(shape, dtype=torch.float64)
    dg, db = torch.randn(2, num_classes, *shape[:2], dtype=torch.float64)
    return [t.to(DEVICE, dtype) for t in (weight, dg, db)]


def with_gradients(impl, weight, dg, db):
    dg, db = dg.clone().requires_grad_(), db.clone().requires_grad_()
    kernels, power = adafm(weight, dg, db, impl=impl)
    torch.manual_seed(1)
    cotangents = [torch.randn(t.shape, dtype=torch.float64).to(t) for t in (kernels, power)]
    return [kernels, power, *torch.autograd.grad([kernels, power], [dg, db], cotangents)]


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('dtype', [torch.float32])
@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients(shape, dtype, memory_format):
    weight, dg, db = inputs(SHAPES[shape], dtype=dtype)
    weight = weight.contiguous(memory_format=memory_format)
    if SHAPES[shape][2:] == (1, 1):     # sigma = 0, where the plain form's square root has no derivative; weight has none anyway
        weight = weight.detach()
    got, want = with_gradients('triton', weight, dg, db), with_gradients('ref', weight, dg, db)
    tolerance = 1e-10 if dtype == torch.float64 else 1e-5
    for a, b in zip(got, want, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        torch.testing.assert_close(a, b, rtol=tolerance, atol=10 * tolerance)     # sums cancel
    assert got[0][0].stride() == weight.stride()


def test_no_modulation_is_the_source_bit_for_bit():
    weight, dg, db = inputs((3, 4, 3, 3), dtype=torch.float32)
    kernels, _ = adafm(weight, 0 * dg, 0 * db, impl='triton')
    assert torch.equal(kernels, weight.expand_as(kernels))


def test_no_class():
    weight, dg, db = inputs((3, 4, 3, 3), num_classes=0)
    kernels, power = adafm(weight, dg, db, impl='triton')
    assert kernels.shape == (0, 3, 4, 3, 3) and power.shape == (0, 3, 4)


def test_layouts_of_modulation_and_gradient():
    """Modulation as a network's layer gives it, a slice of a wider matrix; a gradient in another order of memory."""
    weight, dg, db = inputs((3, 5, 3, 3))
    wide = torch.cat([dg.flatten(1), db.flatten(1)], dim=1)
    dg, db = (half.unflatten(1, (3, 5)).requires_grad_() for half in wide.chunk(2, dim=1))
    assert not dg.is_contiguous()
    results = []
    for impl in ('triton', 'ref'):
        kernels, power = adafm(weight, dg, db, impl=impl)
        swapped = torch.arange(kernels.numel(), dtype=torch.float64, device=DEVICE).reshape(2, 3, 3, 3, 5).permute(0, 1, 4, 2, 3)
        results.append(torch.autograd.grad([kernels, power], [dg, db], [swapped, torch.ones_like(power).mT.contiguous().mT]))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-8)


def test_second_derivative():
    weight, dg, db = inputs((2, 3, 3, 3))
    results = []
    for impl in ('triton', 'ref'):
        dg, db = dg.detach().requires_grad_(), db.detach().requires_grad_()
        kernels, power = adafm(weight, dg, db, impl=impl)
        first = torch.autograd.grad(kernels.pow(3).sum() + power.square().sum(), [dg, db], create_graph=True)
        results.append(torch.autograd.grad(sum(g.square().sum() for g in first), [dg, db]))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
