"""Winograd's convolution against scipy in float64, its derivatives against PyTorch's, and what it promises about batches."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from torch_utils import custom_ops
from torch_utils.ops import conv2d_gradfix
from torch_utils.ops.cpu import winograd as cpu_winograd

pytestmark = pytest.mark.skipif(custom_ops.cpu_kernels() is None, reason='needs a C++ compiler')
TOLERANCE = 1e-4    # of the spread of the result: float32 and transforms with factors up to 8


def operands(count=2, inputs=32, outputs=48, height=16, width=16, channels_last=True):
    layout = torch.channels_last if channels_last else torch.contiguous_format
    x, weight = torch.randn(count, inputs, height, width), torch.randn(outputs, inputs, 3, 3)
    return x.to(memory_format=layout), weight.to(memory_format=layout)


def close(got, want):
    assert (got - want).abs().max() < TOLERANCE * want.std(), ((got - want).abs().max() / want.std()).item()


@pytest.mark.parametrize('channels_last', [True, False])
@pytest.mark.parametrize('size', [(1, 32, 32, 16, 16), (3, 48, 80, 17, 30), (1, 144, 128, 16, 64)])
@pytest.mark.parametrize('threads', [1, 3])
def test_values_and_derivatives_of_any_size(size, channels_last, threads):
    used = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        x, weight = (t.requires_grad_() for t in operands(*size, channels_last))
        wide_x, wide_weight = (t.detach().double().requires_grad_() for t in (x, weight))
        y, want = cpu_winograd.convolve(x, weight), torch.conv2d(wide_x, wide_weight, padding=1)
        close(y, want)
        slope = torch.randn_like(y)
        found = torch.autograd.grad(y, [x, weight], slope)
        wanted = torch.autograd.grad(want, [wide_x, wide_weight], slope.double())
        close(found[0], wanted[0])
        close(found[1], wanted[1])
    finally:
        torch.set_num_threads(used)


def test_second_derivatives():
    """Of a penalty on the gradient of images, with respect to images and weights: what R1 and path length ask for."""
    found = []
    x, weight = operands(2, 32, 32)
    for dtype, convolve in ((torch.float32, cpu_winograd.convolve), (torch.float64, lambda x, w: torch.conv2d(x, w, padding=1))):
        own_x, own_weight = (t.detach().to(dtype).requires_grad_() for t in (x, weight))
        y = convolve(convolve(own_x, own_weight).sin(), own_weight)
        first, = torch.autograd.grad(y.square().sum(), own_x, create_graph=True)
        found.append(torch.autograd.grad(first.square().sum(), [own_x, own_weight]))
    for got, want in zip(*found, strict=True):
        assert (got - want).abs().max() < 1e-3 * want.std()


def test_an_image_does_not_depend_on_its_batch():
    x, weight = operands(5, 32, 32, 20, 20)
    together = cpu_winograd.convolve(x, weight)
    assert all(torch.equal(together[i:i + 1], cpu_winograd.convolve(x[i:i + 1], weight)) for i in range(5))
    x[2] = float('nan')
    assert torch.equal(cpu_winograd.convolve(x, weight)[[0, 1, 3, 4]], together[[0, 1, 3, 4]])


def test_gradients_of_weights_are_left_out_where_they_are_not_wanted():
    x, weight = (t.requires_grad_() for t in operands())
    with conv2d_gradfix.no_weight_gradients():
        image, own = torch.autograd.grad(cpu_winograd.convolve(x, weight).sum(), [x, weight], allow_unused=True)
    assert image is not None and own is None
    assert torch.autograd.grad(cpu_winograd.convolve(x, weight).sum(), weight)[0] is not None


def test_what_one_thread_leaves_out_another_gets():
    x, weight = (t.requires_grad_() for t in operands())
    y = cpu_winograd.convolve(x, weight)
    with conv2d_gradfix.no_weight_gradients(), ThreadPoolExecutor(1) as pool:
        gradient, = pool.submit(torch.autograd.grad, y.sum(), weight).result()
    assert gradient.abs().max() > 0


def runs_here(x, weight, **settings):
    y = conv2d_gradfix.conv2d(x.requires_grad_(), weight, **settings)
    return type(y.grad_fn).__name__ == '_WinogradBackward'


def test_which_convolutions_take_it():
    x, weight = operands()
    assert runs_here(x, weight, padding=1) and runs_here(x, weight, padding=(1, 1))
    for others in (dict(), dict(padding=1, stride=2), dict(padding=2, dilation=2), dict(padding=1, bias=torch.zeros(48))):
        assert not runs_here(x, weight, **others)
    assert not runs_here(x, weight[:, :16], padding=1, groups=2)
    assert not runs_here(x.double().detach(), weight.double(), padding=1)
    assert not cpu_winograd.fits(x, weight.double()) and not cpu_winograd.fits(x.double(), weight)
    assert not runs_here(*operands(height=8, width=8), padding=1) and not runs_here(*operands(inputs=40, outputs=41), padding=1)
    assert not runs_here(x[:0].detach(), weight, padding=1)


def test_sums_do_not_depend_on_the_number_of_threads():
    x, weight = (t.requires_grad_() for t in operands(3, 48, 32, 40, 24))
    used, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            found.append(torch.autograd.grad(cpu_winograd.convolve(x, weight).square().sum(), [x, weight]))
    finally:
        torch.set_num_threads(used)
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


def test_long_sums_keep_their_digits():
    x, weight = operands(16, 32, 32, 64, 64)
    slope = torch.randn(16, 32, 64, 64)
    y = cpu_winograd.convolve(x, weight.requires_grad_())
    wide = weight.detach().double().requires_grad_()
    want, = torch.autograd.grad(torch.conv2d(x.double(), wide, padding=1), wide, slope.double())
    close(torch.autograd.grad(y, weight, slope)[0], want)
