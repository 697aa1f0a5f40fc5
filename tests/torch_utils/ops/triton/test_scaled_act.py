"""scaled_act in Triton, on CUDA or in its interpreter, against plain PyTorch: values and two derivatives."""

import pytest
import torch

from torch_utils.ops.scaled_act import scaled_act

pytest.importorskip('triton')
DEVICE = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
FORMATS = {'nchw': torch.contiguous_format, 'channels_last': torch.channels_last}
N, C, H, W = 3, 4, 2, 5
SHAPES = dict(x=(N, C, H, W), scale=(N, C), offset=(C,), own_offset=(N, C), noise=(N, 1, H, W), shared_noise=(H, W))


def tensor(name, dtype=torch.float64, memory_format='nchw'):
    t = torch.randn(SHAPES[name], dtype=torch.float64).to(DEVICE, dtype)
    return t.contiguous(memory_format=FORMATS[memory_format]) if name == 'x' else t


def assert_equal_to_plain(x, named, tolerance=1e-6, **options):
    """y; gradients by all tensors; and by all tensors of what those amount to."""
    results = []
    for impl in ('triton', 'ref'):
        torch.manual_seed(1)
        tensors = [x.detach().requires_grad_(), *(t.detach().requires_grad_() for t in named.values())]
        y = scaled_act(tensors[0], **dict(zip(named, tensors[1:], strict=True)), impl=impl, **options)
        dy = torch.randn(y.shape, dtype=torch.float64).to(y).requires_grad_()
        first = torch.autograd.grad(y, tensors, dy, create_graph=True)
        squares = sum(g.square().sum() for g in first)
        second = torch.autograd.grad(squares, [dy, *tensors], allow_unused=True, materialize_grads=True)
        results.append([y, *first, *second])
    for got, want in zip(*results, strict=True):
        assert (got.dtype, got.shape) == (want.dtype, want.shape)
        torch.testing.assert_close(got, want, rtol=tolerance, atol=10 * tolerance)


@pytest.mark.parametrize('memory_format', FORMATS)
@pytest.mark.parametrize('names', ['scale', 'scale own_offset shared_noise', 'scale offset noise'])
@pytest.mark.parametrize('options', [dict(), dict(act='lrelu', gain=1.5, clamp=1.2)], ids=['linear', 'lrelu'])
def test_values_and_two_derivatives(names, options, memory_format):
    named = {name.removeprefix('own_').removeprefix('shared_'): tensor(name) for name in names.split()}
    assert_equal_to_plain(tensor('x', memory_format=memory_format), named, **options)


@pytest.mark.parametrize('change', [
    lambda x: x[:, :, ::2], lambda x: x.permute(0, 1, 3, 2), lambda x: x[:, :, :1, :1], lambda x: x[:, :1].expand(-1, 4, -1, -1)],
    ids=['sliced', 'permuted', 'single_pixel', 'expanded'])
def test_layouts(change):
    assert_equal_to_plain(change(tensor('x')), dict(scale=tensor('scale')), act='lrelu')


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_images_with_float32_scales(dtype):
    """Rounded once: the interpreter cuts to bfloat16."""
    x, scale, offset, noise = tensor('x', dtype), *(tensor(name, torch.float32) for name in ('scale', 'offset', 'noise'))
    y = scaled_act(x, scale, offset, noise, act='lrelu', clamp=2.0, impl='triton')
    want = scaled_act(x.double(), scale.double(), offset.double(), noise.double(), act='lrelu', clamp=2.0, impl='ref')
    assert y.dtype == dtype
    torch.testing.assert_close(y.double(), want, rtol=1.01 * torch.finfo(dtype).eps, atol=1e-6)


def test_gradients_have_the_types_of_their_tensors():
    tensors = [tensor('x', torch.float16), *(tensor(name, torch.float32) for name in ('scale', 'offset', 'noise'))]
    y = scaled_act(*(t.requires_grad_() for t in tensors), act='lrelu', impl='triton')
    assert [g.dtype for g in torch.autograd.grad(y.float().sum(), tensors)] == [torch.float16] + 3 * [torch.float32]


def test_no_images():
    assert scaled_act(tensor('x')[:0], tensor('scale')[:0], impl='triton').shape == (0, C, H, W)
