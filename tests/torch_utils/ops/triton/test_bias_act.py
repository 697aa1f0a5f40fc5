"""bias_act in Triton, on CUDA or in its interpreter, against plain PyTorch: values and two derivatives."""

import pytest
import torch

from torch_utils.ops.bias_act import activation_funcs, bias_act

pytest.importorskip('triton')
DEVICE = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
SHAPE = (2, 3, 3, 5)
# Numbers like gain reach kernels in float32. Half precision rounds once, to 11 or 8 bits.
TOLERANCES = {torch.float64: 2e-7, torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}


def tensors(shape=SHAPE, dtype=torch.float64, channels_last=False):
    x, dy, ddx = (2 * torch.randn(shape, dtype=torch.float64) for _ in range(3))
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    b = torch.randn(shape[1], dtype=torch.float64)
    return [t.to(DEVICE, dtype) for t in (x, b, dy, ddx)]


def derivatives(impl, x, b, dy, ddx, **options):
    """y; dx, db; the gradients of <dx, ddx> + <db, db> by dy, x, b."""
    x, b, dy = (t.detach().requires_grad_() for t in (x, b, dy))
    y = bias_act(x, b, impl=impl, **options)
    dx, db = torch.autograd.grad(y, [x, b], dy, create_graph=True)
    second = torch.autograd.grad((dx * ddx).sum() + db.square().sum(), [dy, x, b], allow_unused=True)
    return [y, dx, db, *(torch.zeros_like(t) if g is None else g for g, t in zip(second, (dy, x, b), strict=True))]


def assert_equal_to_plain(inputs, **options):
    tolerance = TOLERANCES[inputs[0].dtype]
    for got, want in zip(derivatives('triton', *inputs, **options), derivatives('ref', *inputs, **options), strict=True):
        assert got.dtype == want.dtype
        torch.testing.assert_close(got, want, rtol=tolerance, atol=10 * tolerance)     # sums cancel


@pytest.mark.parametrize('act', activation_funcs)
@pytest.mark.parametrize('clamp', [None, 0.6])
def test_values_and_two_derivatives(act, clamp):
    assert_equal_to_plain(tensors(channels_last=clamp is None), act=act, clamp=clamp)


@pytest.mark.parametrize('options', [
    dict(act='lrelu', alpha=-0.3), dict(act='lrelu', alpha=0.0, gain=0.5), dict(act='tanh', gain=-1.3, clamp=0.5),
    dict(act='swish', gain=-0.4, clamp=0.3), dict(act='softplus', gain=0.0), dict(act='linear', gain=2.0)], ids=str)
def test_slopes_and_gains(options):
    assert_equal_to_plain(tensors(), **options)


@pytest.mark.parametrize('act', ['lrelu', 'swish'])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
def test_types(act, dtype):
    """Against float64 from the same, rounded numbers. 0.3 is no number of half precision: what is limited gets no gradient."""
    inputs = tensors(dtype=dtype)
    got = derivatives('triton', *inputs, act=act, clamp=0.3)[:3]
    want = derivatives('ref', *(t.double() for t in inputs), act=act, clamp=0.3)[:3]
    for a, b in zip(got, want, strict=True):
        assert a.dtype == dtype
        torch.testing.assert_close(a.double(), b, rtol=TOLERANCES[dtype], atol=4 * TOLERANCES[dtype])
    assert torch.equal(got[1] == 0, want[1] == 0)


def test_float32_bias_for_half_images():
    x, b, dy, _ = tensors(dtype=torch.float16)
    b = b.float().requires_grad_()
    y = bias_act(x.requires_grad_(), b, act='lrelu', impl='triton')
    dx, db = torch.autograd.grad(y, [x, b], dy)
    assert (y.dtype, dx.dtype, db.dtype) == (torch.float16, torch.float16, torch.float32)
    torch.testing.assert_close(db, dx.float().sum(dim=(0, 2, 3)), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize('act', ['swish'])
@pytest.mark.parametrize('change', [
    lambda x: x[:, :, ::2, 1:],                                 # holes
    lambda x: x.permute(0, 1, 3, 2),                            # another order, without holes
    lambda x: x[:, :, :1].expand(-1, -1, 4, -1),                # one element many times
    lambda x: x[:0], lambda x: x[:1, :, :1, :1]], ids=['sliced', 'permuted', 'expanded', 'empty', 'single'])
def test_layouts(act, change):
    x, b, _, _ = tensors()
    x = change(x)
    assert_equal_to_plain([x, b, torch.randn_like(x), torch.randn_like(x)], act=act)


@pytest.mark.parametrize(('shape', 'dim'), [((7,), 0), ((2, 3, 5), -1), ((1500, 1), 0), ((2, 16, 4, 4), 1)])
def test_bias_belongs_to_its_dimension(shape, dim):
    """Among them more rows and columns than a block has, and as many channels as pixels."""
    x = torch.randn(shape, dtype=torch.float64, device=DEVICE)
    b = torch.randn(shape[dim], dtype=torch.float64, device=DEVICE)
    assert_equal_to_plain([x, b, torch.randn_like(x), torch.randn_like(x)], dim=dim, act='lrelu')


def test_small_results_are_exact_and_large_arguments_finite():
    x = torch.tensor([-100.0, -20.0, -0.3, -1e-4, 0.0, 1e-4, 0.3, 20.0, 100.0], device=DEVICE)
    for act in ('tanh', 'elu', 'selu', 'softplus', 'sigmoid', 'swish'):
        got = bias_act(x, dim=0, act=act, gain=1, impl='triton')
        want = bias_act(x.double(), dim=0, act=act, gain=1, impl='ref')
        torch.testing.assert_close(got.double(), want, rtol=1e-6, atol=1e-37)


def test_nan_stays():
    x = torch.tensor([float('nan'), float('inf'), -float('inf')], device=DEVICE)
    for act in ('linear', 'relu', 'lrelu', 'tanh', 'elu'):
        y = bias_act(x, dim=0, act=act, gain=1, clamp=2.0, impl='triton')
        torch.testing.assert_close(y, bias_act(x, dim=0, act=act, gain=1, clamp=2.0, impl='ref'), equal_nan=True)


def test_third_derivative_is_refused():
    x = torch.tensor([0.5], dtype=torch.float64, device=DEVICE, requires_grad=True)
    y = bias_act(x, dim=0, act='tanh', impl='triton')
    first, = torch.autograd.grad(y.sum(), x, create_graph=True)
    second, = torch.autograd.grad(first.sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="impl='ref'"):
        torch.autograd.grad(second.sum(), x)


def test_bias_that_does_not_fit():
    with pytest.raises(ValueError, match='dimension 1 of x, 3'):
        bias_act(torch.ones(SHAPE, device=DEVICE), torch.ones(4, device=DEVICE), impl='triton')
