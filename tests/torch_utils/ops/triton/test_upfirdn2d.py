"""upfirdn2d in Triton, on CUDA or in its interpreter, against plain PyTorch: values, and derivatives of every order."""

import pytest
import torch

from torch_utils.ops.upfirdn2d import setup_filter, upfirdn2d

pytest.importorskip('triton')
DEVICE = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
FORMATS = {'nchw': torch.contiguous_format, 'channels_last': torch.channels_last}
TAPS = {'4x4': (4, 4), '3x5': (3, 5), '1x1': (1, 1), '6': (6,)}


def images(shape=(2, 3, 6, 5), dtype=torch.float64, memory_format='nchw'):
    x = torch.randn(shape, dtype=torch.float64).to(DEVICE, dtype)
    return x.contiguous(memory_format=FORMATS[memory_format])


def filter_of(shape):
    return torch.randn(shape, dtype=torch.float64).to(DEVICE, torch.float32)


def assert_equal_to_plain(x, f, **options):
    """The result, the gradient by x of its product with a dy, and that gradient's by dy."""
    results = []
    for impl in ('triton', 'ref'):
        torch.manual_seed(1)
        x = x.detach().requires_grad_()
        y = upfirdn2d(x, f, impl=impl, **options)
        dy = torch.randn(y.shape, dtype=torch.float64).to(DEVICE, y.dtype).requires_grad_()
        dx, = torch.autograd.grad(y, x, dy, create_graph=True)
        results.append((y, dx, *torch.autograd.grad(dx.square().sum(), dy)))
    for got, want in zip(*results, strict=True):
        assert (got.dtype, got.shape) == (want.dtype, want.shape)
        # Taps are float32 here and float64 there, the same numbers; so is gain, up to its rounding.
        torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-5)
    return results[0]


@pytest.mark.parametrize('memory_format', FORMATS)
@pytest.mark.parametrize('taps', TAPS)
@pytest.mark.parametrize(('up', 'down'), [(1, 1), (2, 1), ((3, 1), (2, 4))])
def test_values_and_derivatives(taps, up, down, memory_format):
    x = images(memory_format=memory_format)
    assert_equal_to_plain(x, filter_of(TAPS[taps]), up=up, down=down, padding=(3, 4, 5, 2), gain=1.5)


@pytest.mark.parametrize('padding', [0, (-1, 3, 2, -2), (9, 0, 0, 11)])
@pytest.mark.parametrize('up', [1, 3])
def test_padding(padding, up):
    assert_equal_to_plain(images((1, 2, 8, 9)), filter_of((3, 2)), up=up, padding=padding)


@pytest.mark.parametrize('memory_format', FORMATS)
@pytest.mark.parametrize(('size', 'flip_filter'), [((1, 2), False), ((1, 2), True), ((21, 4), False)])
def test_filtering_in_strips(size, flip_filter, memory_format):
    """The 4-line filter at a factor of 1 has a kernel of its own, which makes several lines at a time. Its
    derivative is the same with the other flip."""
    x = images((2, 3, *size), memory_format=memory_format)
    assert_equal_to_plain(x, filter_of((4, 3)), padding=(1, 2, 2, 1), flip_filter=flip_filter, gain=0.7)


def test_overflow_stays_where_it_is():
    x = torch.ones(1, 1, 12, 3, device=DEVICE)
    x[0, 0, 2] = float('inf')
    y = upfirdn2d(x, torch.ones(4, 1, device=DEVICE), impl='triton')
    assert y[0, 0, :, 0].tolist() == [float('inf')] * 3 + [4.0] * 6


@pytest.mark.parametrize('taps', ['3x5', '6'])
def test_correlation(taps):
    assert_equal_to_plain(images(), filter_of(TAPS[taps]), up=(1, 2), padding=4, flip_filter=True)


@pytest.mark.parametrize('change', [lambda x: x[:, :, ::2, 1:], lambda x: x.permute(0, 1, 3, 2),
                                    lambda x: x[:, :1, :1].expand(-1, 4, 3, -1), lambda x: x[:, :1]],
                         ids=['sliced', 'permuted', 'expanded', 'one_channel'])
def test_layouts(change):
    assert_equal_to_plain(change(images(memory_format='channels_last')), filter_of((2, 3)), padding=2)


@pytest.mark.parametrize(('shape', 'memory_format'), [
    ((1, 1, 1, 1100), 'nchw'), ((1, 1, 1100, 1), 'nchw'), ((1, 1100, 1, 1), 'channels_last'), ((1, 2, 600, 1), 'channels_last')])
def test_more_than_one_block(shape, memory_format):
    x, f = images(shape, memory_format=memory_format), filter_of((1, 2))
    got, want = (upfirdn2d(x, f, padding=(1, 0, 0, 0), impl=impl) for impl in ('triton', 'ref'))
    torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-6)


def test_no_images():
    assert upfirdn2d(images()[:0], filter_of((4, 4)), up=2, padding=2, impl='triton').shape == (0, 3, 13, 11)


@pytest.mark.parametrize('memory_format', FORMATS)
def test_result_and_gradient_keep_the_memory_format(memory_format):
    x = images(memory_format=memory_format).requires_grad_()
    y = upfirdn2d(x, filter_of((4, 4)), up=2, padding=2, impl='triton')
    assert y.is_contiguous(memory_format=FORMATS[memory_format])
    assert torch.autograd.grad(y.square().sum(), x)[0].stride() == x.stride()


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
def test_types(dtype):
    """Sums are in float32 and rounded once, except that the interpreter cuts to bfloat16."""
    x = images(dtype=dtype)
    f = setup_filter([1, 3, 3, 1], device=DEVICE)
    got = upfirdn2d(x, f, up=2, padding=2, gain=4, impl='triton')
    assert got.dtype == dtype
    want = upfirdn2d(x.double(), f, up=2, padding=2, gain=4, impl='ref')
    units = 1.01 if dtype == torch.bfloat16 and DEVICE.type == 'cpu' else 0.51
    torch.testing.assert_close(got.double(), want, rtol=units * torch.finfo(dtype).eps + 1e-6, atol=1e-6)
