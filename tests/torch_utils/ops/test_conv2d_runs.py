"""Runs of images with kernels of their own, against one convolution each in float64."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from torch_utils.ops import conv2d_runs as module
from torch_utils.ops.conv2d_runs import conv2d_runs


def one_by_one(x, kernels, counts, up, padding):
    done = []
    for run, kernel in zip(x.split(counts), kernels, strict=True):
        for image in run:
            if up == 1:
                done.append(torch.conv2d(image[None], kernel, padding=padding))
            else:
                done.append(torch.conv_transpose2d(image[None], kernel.transpose(0, 1), stride=up))
    return torch.cat(done)


CASES = [
    ([2, 1, 3], 1, 1, (5, 7, 6, 6)),
    ([1, 0, 2], 1, 1, (4, 6, 5, 9)),        # a kernel that no image has
    ([4], 1, 1, (3, 5, 4, 4)),
    ([2, 2], 2, 0, (6, 5, 5, 4)),
    ([0, 3, 1], 2, 0, (4, 3, 4, 4)),
    ([2, 1, 3], 1, 1, (48, 32, 17, 16)),    # by Winograd's form, in float32
    ([0, 2], 1, 1, (32, 32, 16, 16)),
]


def operands(counts, size):
    outputs, inputs, height, width = size
    x = torch.randn(sum(counts), inputs, height, width).to(memory_format=torch.channels_last)
    kernels = torch.randn(len(counts), outputs, 3, 3, inputs).permute(0, 1, 4, 2, 3)
    return x.requires_grad_(), kernels.requires_grad_()


@pytest.mark.parametrize('counts, up, padding, size', CASES)
def test_values_and_two_derivatives(counts, up, padding, size):
    found = []
    given = operands(counts, size)
    for dtype, convolve in ((torch.float32, conv2d_runs), (torch.float64, one_by_one)):
        x, kernels = (t.detach().to(dtype).requires_grad_() for t in given)
        y = convolve(x, kernels, counts, up, padding)
        slope = torch.linspace(-1, 1, y.numel(), dtype=dtype).reshape(y.shape)
        once = torch.autograd.grad(y, [x, kernels], slope)
        y = convolve(x, kernels, counts, up, padding)
        first = torch.autograd.grad((y.sin() * slope).sum(), [x, kernels], create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), [x, kernels])
        found.append([y, *once, *first, *second])
    for got, want in zip(*found, strict=True):
        assert (got - want).abs().max() < 1e-3 * want.std()


class WantedGradients(TorchDispatchMode):
    """Which gradients, of (x, kernel, bias), convolutions are asked for within the context."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket is torch.ops.aten.convolution_backward:
            self.seen.add(tuple(args[-1]))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize('create_graph', [False, True])
@pytest.mark.parametrize('wanted', [0, 1])
def test_only_wanted_gradients_are_computed(wanted, create_graph):
    given = [t.detach() for t in operands([1, 2], (3, 4, 5, 5))]
    given[wanted].requires_grad_()
    y = conv2d_runs(*given, [1, 2], 1, 1)
    with WantedGradients() as counted:
        gradient, = torch.autograd.grad(y.sum(), given[wanted], create_graph=create_graph)
    assert gradient.abs().max() > 0
    assert counted.seen == {(wanted == 0, wanted == 1, False)}


@pytest.mark.parametrize('counts', [[1, 1], [3], [1, 1, 1, 0]])
def test_counts_that_do_not_fit(counts):
    x, kernels = operands([1, 2], (3, 4, 5, 5))
    with pytest.raises(ValueError, match='2 kernels and 3 images found for runs of'):
        conv2d_runs(x, kernels, counts)


@pytest.fixture
def forms(monkeypatch):
    """What is kept of kernels, from nothing on."""
    forms = type(module._forms)()
    monkeypatch.setattr(module, '_forms', forms)
    return forms


@pytest.mark.parametrize('counts, up, padding, size', CASES)
def test_kernels_that_stay(counts, up, padding, size, forms):
    """The first batch, and the next one, which finds what the first has made."""
    given, kernels = operands(counts, size)
    kept = [kernel.detach().clone() for kernel in kernels]
    for _ in range(2):
        x = torch.randn_like(given)
        with torch.no_grad():
            y = conv2d_runs(x, kept, counts, up, padding)
        want = one_by_one(x.double(), [kernel.double() for kernel in kept], counts, up, padding)
        assert (y - want).abs().max() < 1e-3 * want.std()
    if up > 1:
        assert set(forms.keys()) == set(kept)
    with torch.no_grad():
        y = conv2d_runs(x, kept, counts, 2)  # another convolution with the same kernels
    want = one_by_one(x, kept, counts, 2, 0)
    assert (y - want).abs().max() < 1e-3 * want.std()
    kept.clear()
    assert len(forms) == 0  # they live as long as their kernels


def test_what_is_kept_of_kernels_has_a_limit(forms, monkeypatch):
    monkeypatch.setattr(module, 'FORMS_BYTES', 5 * 4 * 36)
    kept = [torch.randn(2, 2, 3, 3) for _ in range(12)]  # 4 * 36 bytes each
    x = torch.randn(12, 2, 4, 4)
    for _ in range(2):
        y = conv2d_runs(x, kept, [1] * 12, up=2)
        assert 0 < len(forms) <= 5
        torch.testing.assert_close(y, one_by_one(x, kept, [1] * 12, 2, 0))
