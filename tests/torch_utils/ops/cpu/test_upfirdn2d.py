"""The C++ kernel for resampling against the definition: values, derivatives, memory formats."""

import itertools
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch.autograd import forward_ad

from tests.support.resampling import random, reference
from torch_utils import custom_ops
from torch_utils.ops import upfirdn2d as ops

CHANNELS_LAST = torch.channels_last
SIZES = {'many channels': (2, 20, 7, 9), 'few channels': (2, 3, 9, 8), 'one channel': (3, 1, 6, 11), 'one pixel': (2, 9, 1, 1),
         'tiles': (1, 96, 5, 37), 'threads': (3, 24, 19, 17)}
PADDINGS = [(2, 1, 2, 1), (6, 7, 8, 5), (9, -2, -1, 9), (-1, 8, 9, -2)]


@pytest.fixture(autouse=True)
def kernels():
    if custom_ops.cpu_kernels() is None:
        pytest.skip('the kernels need a C++ compiler')


def assert_near(got, want):
    np.testing.assert_allclose(got.detach().numpy(), want, rtol=0, atol=3e-6 * max(1, abs(want).max()))


def native(x, f, **options):
    return ops.upfirdn2d(x, torch.tensor(f, dtype=torch.float32), impl='native', **options)


@pytest.mark.parametrize('size', SIZES.values(), ids=SIZES)
@pytest.mark.parametrize('channels_last', [False, True])
@pytest.mark.parametrize(('up', 'down'), [(1, 1), (2, 1), (1, 2), (3, 2)])
def test_matches_definition(size, channels_last, up, down):
    """Factors that differ along x and y, odd sizes, 1 to 12 taps, borders and crops, both flips."""
    ups, downs = (up, up % 3 + 1), (down, down % 2 + 1)
    for number, (taps, (left, right, top, bottom)) in enumerate(itertools.product([(1, 4), (4, 4), (5, 2), (12, 7)], PADDINGS)):
        f, x = np.outer(random(taps[0], seed=number), random(taps[1], seed=number + 1)), random(*size, seed=number)
        case = dict(up=ups, down=downs, padding=(left, right + taps[1], top, bottom + taps[0]), gain=1.5 - number % 2)
        want = reference(x, f, flip=number % 3 > 0, **case)
        assert want.size > 0
        images = torch.tensor(x, dtype=torch.float32)
        images = images.contiguous(memory_format=CHANNELS_LAST) if channels_last else images
        assert_near(native(images, f, flip_filter=number % 3 > 0, **case), want)


@pytest.mark.parametrize('channels', [1, 40])
@pytest.mark.parametrize(('up', 'down'), [(1, 1), (1, 2), (3, 2)])
def test_separable_filter(channels, up, down):
    x, f = random(2, channels, 12, 15), random(12, seed=1)
    case = dict(up=(up, up), down=(down, down), padding=(7, 6, 5, 4), gain=2.5)
    assert_near(native(torch.tensor(x, dtype=torch.float32), f, **case), reference(x, np.outer(f, f), **case))


def memory_layouts():
    def cropped(x):
        return torch.nn.functional.pad(x, (1, 2, 3, 1))[:, :, 3:-1, 1:-2]
    return {
        'dense': lambda x: x,
        'channels-last': lambda x: x.contiguous(memory_format=CHANNELS_LAST),
        'part': cropped,
        'channels-last, part': lambda x: cropped(x.contiguous(memory_format=CHANNELS_LAST)),
        'some channels, channels-last': lambda x: torch.cat([x, x], 1).contiguous(memory_format=CHANNELS_LAST)[:, :x.shape[1]],
        'some channels': lambda x: torch.stack([x, x], 2)[:, :, 0],
        'every other image': lambda x: torch.stack([x, x], 1)[:, 0],
        'width before height': lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
        'channels, images': lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    }


@pytest.mark.parametrize('layout', memory_layouts().values(), ids=memory_layouts())
@pytest.mark.parametrize('channels', [3, 17])
def test_layouts(layout, channels):
    x, f = random(2, channels, 8, 9), np.outer([1, 3, 3, 1], [1, 2, 1])
    case = dict(up=(2, 1), down=(1, 2), padding=(2, 1, 3, 0))
    assert_near(native(layout(torch.tensor(x, dtype=torch.float32)), f, **case), reference(x, f, **case))


@pytest.mark.parametrize('dims', [(0,), (1,), (3,), (0, 1, 2, 3)])
@pytest.mark.parametrize('channels_last', [False, True])
def test_expanded_images(dims, channels_last):
    """Tensors whose samples share memory, as the gradients of sums do."""
    shape = [1 if dim in dims else size for dim, size in enumerate([2, 5, 6, 7])]
    x = torch.tensor(random(*shape), dtype=torch.float32)
    x = (x.contiguous(memory_format=CHANNELS_LAST) if channels_last else x).expand(2, 5, 6, 7)
    f = np.outer([1, 3, 3, 1], [1, 2, 1])
    assert_near(native(x, f, padding=2), reference(x.double().numpy(), f, padding=2))


@pytest.mark.parametrize('shape', [(2, 20, 6, 5), (1, 2, 6, 5), (2, 9, 1, 1)])
def test_memory_format_is_kept(shape):
    x = torch.zeros(shape, requires_grad=True)
    last = torch.empty(shape, memory_format=CHANNELS_LAST).zero_().requires_grad_()
    f = ops.setup_filter([1, 3, 3, 1])
    for options in (dict(padding=2), dict(up=2, padding=2), dict(down=2, padding=2)):
        assert ops.upfirdn2d(x, f, **options).is_contiguous()
        y = ops.upfirdn2d(last, f, **options)
        assert y.is_contiguous(memory_format=CHANNELS_LAST)
        gradient, = torch.autograd.grad(y, last, torch.ones_like(y))
        assert gradient.is_contiguous(memory_format=CHANNELS_LAST)


@pytest.mark.parametrize('channels_last', [False, True])
@pytest.mark.parametrize('channels', [2, 9])
@pytest.mark.parametrize('case', [
    dict(padding=2), dict(up=2, padding=(2, 1, 2, 1), gain=4), dict(down=2, padding=1, flip_filter=True),
    dict(up=(3, 1), down=(2, 3), padding=(-1, 5, 6, -2)), dict(up=2, down=3, padding=4),
])
def test_derivatives(channels_last, channels, case):
    """Resampling is linear, so its gradient is its matrix, transposed, and the gradient of that the matrix again."""
    size, f = (1, channels, 6, 7), np.outer(random(4), random(3, seed=1))
    definition = {('flip' if key == 'flip_filter' else key): value for key, value in case.items()}
    for key in ('up', 'down'):
        definition[key] = (case.get(key, 1),) * 2 if isinstance(case.get(key, 1), int) else case[key]
    units = np.eye(math.prod(size[2:])).reshape(-1, 1, *size[2:])
    matrix = reference(units, f, **definition)[:, 0]                        # [input samples, height, width]
    x = torch.tensor(random(*size), dtype=torch.float32)
    x = (x.contiguous(memory_format=CHANNELS_LAST) if channels_last else x).requires_grad_()
    y = native(x, f, **case)
    direction = torch.tensor(random(*y.shape, seed=2), dtype=torch.float32, requires_grad=True)
    gradient, = torch.autograd.grad(y, x, direction, create_graph=True)
    assert_near(gradient, np.einsum('ihw,nchw->nci', matrix, direction.detach().double()).reshape(size))
    second, = torch.autograd.grad(gradient, direction, x.detach(), create_graph=True)
    assert_near(second, y.detach().double().numpy())
    assert not (y.detach() == 0).all()


@pytest.mark.parametrize('channels', [1, 16])
def test_infinite_samples_stay_where_they_are(channels):
    """A sample that no tap meets doesn't count, not even times zero."""
    x = torch.zeros(1, channels, 8, 8)
    x[:, :, 4, 4] = float('inf')
    y = native(x, np.outer([1, 3, 3, 1], [1, 3, 3, 1]), up=2, padding=(2, 1, 2, 1))
    assert y.isinf().sum() == channels * 4 * 4 and not y.isnan().any()


@pytest.mark.parametrize('shape', [(8, 128, 80, 79), (1, 3, 1500, 1499)])
def test_images_beyond_the_caches(shape):
    """Written in another way; equal to the same filter on parts of the images."""
    x = torch.empty(shape, memory_format=CHANNELS_LAST).normal_(generator=torch.Generator().manual_seed(0))
    f = np.outer([1, 3, 3, 1], [1, 2, 1])
    y = native(x, f, up=2, padding=(1, 1, 2, 2))
    assert x.numel() + y.numel() > 12 * 2 ** 20
    assert torch.equal(y[-1:, :, 100:150], native(x[-1:, :, 40:80], f, up=2, padding=(1, 1, 2, 2))[:, :, 20:70])
    assert torch.equal(y[:, :, :20], native(x[:, :, :15], f, up=2, padding=(1, 1, 2, 2))[:, :, :20])


def test_many_threads_give_the_same():
    x, f = torch.tensor(random(3, 40, 33, 31), dtype=torch.float32), np.outer([1, 3, 3, 1], [1, 3, 3, 1])
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        want = native(x, f, padding=2)
        torch.set_num_threads(4)
        assert torch.equal(native(x, f, padding=2), want)
        with ThreadPoolExecutor(3) as pool:
            assert all(torch.equal(y, want) for y in pool.map(lambda _: native(x, f, padding=2), range(9)))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize('f', [
    [[0, 0], [0, 0]], [[1, -1], [-1, 1]], [[0, 0, 0], [0, 0, 2], [0, 0, 0]], [[1e-20, 2e-20]], [[-3e20], [1e20]],
    np.outer([1e-6, 1], [1, -1e-6]),
])
def test_unusual_separable_filters(f):
    x, f = random(2, 3, 6, 7), np.float32(f)
    want = reference(x, np.float64(f), padding=2)
    scale = abs(f).max() or 1
    got = native(torch.tensor(x, dtype=torch.float32), f, padding=2)
    assert_near(got / scale, want / scale)


def test_filter_that_is_no_product():
    """Refused where C++ is insisted on, else left to PyTorch."""
    x, f = random(1, 3, 8, 9), np.outer([1, 3, 3, 1], [1, 3, 3, 1]) + 1e-4 * np.eye(4)
    with pytest.raises(ValueError, match="impl='native' needs a separable filter"):
        native(torch.tensor(x, dtype=torch.float32), f)
    assert_near(ops.upfirdn2d(torch.tensor(x, dtype=torch.float32), torch.tensor(f)), reference(x, f))


def test_changed_filter_counts():
    f = torch.ones(1, 1)
    x = torch.ones(1, 1, 2, 2)
    assert native(x, f.numpy()).sum() == 4
    f[0, 0] = 2
    assert ops.upfirdn2d(x, f, impl='native').sum() == 8
    assert ops.upfirdn2d(x, f, impl='native', gain=3).sum() == 24


def test_no_images():
    assert native(torch.zeros(0, 3, 8, 8), [[1, 1]]).shape == (0, 3, 8, 7)


def test_other_types_are_refused():
    with pytest.raises(ValueError, match="impl='native' needs float32"):
        ops.upfirdn2d(torch.zeros(1, 1, 8, 8, dtype=torch.float64), None, impl='native')


@pytest.mark.filterwarnings('ignore::DeprecationWarning', 'ignore::torch.jit.TracerWarning')
def test_recorded_programs_compute():
    """A recorder sees PyTorch's operators only: the kernel's result would be a constant to it."""
    class Smooth(torch.nn.Module):
        def forward(self, x):
            return ops.filter2d(x, ops.setup_filter([1, 3, 3, 1]))

    x = torch.tensor(random(1, 3, 8, 9), dtype=torch.float32)
    example = torch.zeros_like(x)
    for program in (torch.jit.trace(Smooth(), example), torch.export.export(Smooth(), (example,)).module()):
        torch.testing.assert_close(program(x), Smooth()(x))


@pytest.mark.filterwarnings('ignore:.torch.jit.script. is deprecated:DeprecationWarning')   # PyTorch's own use
def test_forward_mode_is_refused_rather_than_lost():
    with forward_ad.dual_level(), pytest.raises(NotImplementedError):
        native(forward_ad.make_dual(torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)), [[1]])
