"""The convolution wrappers, and PyTorch's promise that they rest on."""

import numpy as np
import pytest
import scipy.signal
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from torch_utils.ops import conv2d_gradfix


class RecordBackward(TorchDispatchMode):
    """Notes which gradients (input, weight, bias) each backward call of a convolution computes."""

    def __init__(self):
        super().__init__()
        self.masks = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.convolution_backward.default:
            self.masks.append(tuple(args[-1]))
        return func(*args, **(kwargs or {}))


def operands(dtype=torch.float64):
    rng = np.random.default_rng(0)
    return [torch.tensor(rng.normal(size=s), dtype=dtype, requires_grad=True) for s in [(2, 4, 6, 7), (6, 4, 3, 3), (6,)]]


def test_conv2d_matches_scipy():
    x, w, b = operands()
    got = conv2d_gradfix.conv2d(x, w, b, stride=2).detach().numpy()
    full = [[sum(scipy.signal.correlate2d(image[i], w[o, i].detach(), mode='valid') for i in range(4)) + b[o].item()
             for o in range(6)] for image in x.detach().numpy()]
    np.testing.assert_allclose(got, np.array(full)[:, :, ::2, ::2], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(('stride', 'rest'), [(1, 0), (2, 0), (2, 1)])
def test_transposed_is_the_transpose(stride, rest):
    """<conv(x), y> = <x, conv_transpose(y)>"""
    x, w, _ = operands()
    y = conv2d_gradfix.conv2d(x, w, stride=stride, padding=1)
    v = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).reshape(y.shape)
    rest = [(n - 3 + 2) % stride for n in x.shape[2:]]
    back = conv2d_gradfix.conv_transpose2d(v, w, stride=stride, padding=1, output_padding=rest)
    torch.testing.assert_close((y * v).sum(), (x * back).sum())


@pytest.mark.parametrize('transposed', [False, True])
def test_two_derivatives(transposed):
    x, w, b = operands()
    if transposed:
        w = w.detach().transpose(0, 1).contiguous().requires_grad_(True)
    call = conv2d_gradfix.conv_transpose2d if transposed else conv2d_gradfix.conv2d
    assert torch.autograd.gradcheck(lambda *a: call(*a, stride=2, padding=1), (x, w, b))
    assert torch.autograd.gradgradcheck(lambda *a: call(*a, stride=2, padding=1), (x, w, b))


@pytest.mark.parametrize('op', [conv2d_gradfix.conv2d, conv2d_gradfix.conv_transpose2d])
def test_gradient_of_inputs_leaves_weights_out(op):
    x, w, _ = operands(torch.float32)
    w = w if op is conv2d_gradfix.conv2d else w.detach().transpose(0, 1).contiguous().requires_grad_(True)
    with RecordBackward() as record, conv2d_gradfix.no_weight_gradients():
        g, = torch.autograd.grad(op(x, w).square().sum(), [x], create_graph=True)
    assert record.masks == [(True, False, False)]
    assert torch.autograd.grad(g.square().sum(), [w])[0].abs().sum() > 0       # the penalty still reaches the weights
