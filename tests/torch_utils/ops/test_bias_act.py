"""bias_act against numpy formulas in float64, and its derivatives against finite differences."""

import math

import numpy as np
import pytest
import torch

from torch_utils import custom_ops
from torch_utils.ops.bias_act import bias_act

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772       # Klambauer et al. 2017, eq. 14

FORMULAS = {
    'linear': lambda x: x,
    'relu': lambda x: np.maximum(x, 0),
    'lrelu': lambda x: np.where(x > 0, x, 0.2 * x),
    'tanh': np.tanh,
    'sigmoid': lambda x: 1 / (1 + np.exp(-x)),
    'elu': lambda x: np.where(x > 0, x, np.expm1(x)),
    'selu': lambda x: SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(x)),
    'softplus': lambda x: np.log1p(np.exp(x)),
    'swish': lambda x: x / (1 + np.exp(-x)),
}
GAINS = {'relu': math.sqrt(2), 'lrelu': math.sqrt(2), 'swish': math.sqrt(2)}


def inputs(shape=(2, 5, 3, 4), dim=1, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape), rng.normal(size=shape[dim])


@pytest.mark.parametrize('act', FORMULAS)
@pytest.mark.parametrize('gain', [None, -1.3])
def test_matches_formula(act, gain):
    x, b = inputs()
    want = FORMULAS[act](x + b[:, None, None]) * (GAINS.get(act, 1.0) if gain is None else gain)
    got = bias_act(torch.tensor(x), torch.tensor(b), act=act, gain=gain)
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-12, atol=1e-12)
    limited = bias_act(torch.tensor(x), torch.tensor(b), act=act, gain=gain, clamp=0.5)
    np.testing.assert_allclose(limited.numpy(), want.clip(-0.5, 0.5), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(('shape', 'dim'), [((7,), 0), ((4, 6), 1), ((2, 3, 5), -2), ((2, 3, 2, 2, 3), 1)])
def test_bias_belongs_to_its_dimension(shape, dim):
    x, b = inputs(shape, dim)
    want = x + np.moveaxis(np.broadcast_to(b, np.moveaxis(x, dim, -1).shape), -1, dim)
    np.testing.assert_allclose(bias_act(torch.tensor(x), torch.tensor(b), dim=dim).numpy(), want, rtol=1e-14)


@pytest.mark.parametrize('act', FORMULAS)
@pytest.mark.parametrize('clamp', [None, 0.6])
def test_two_derivatives(act, clamp):
    x, b = (torch.tensor(a, requires_grad=True) for a in inputs((2, 3, 2, 2)))

    def call(x, b):
        return bias_act(x, b, act=act, clamp=clamp)

    assert torch.autograd.gradcheck(call, (x, b))
    assert torch.autograd.gradgradcheck(call, (x, b))


@pytest.mark.parametrize('act', FORMULAS)
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float64])
def test_type_is_kept_and_input_untouched(act, dtype):
    x = torch.tensor(inputs()[0]).to(dtype)
    before = x.clone()
    y = bias_act(x, act=act, gain=1, clamp=100)
    assert y.dtype == dtype
    assert torch.equal(x, before)       # some activations overwrite a temporary tensor, never the argument


@pytest.mark.parametrize(('kwargs', 'message'), [
    (dict(act='gelu'), 'unknown activation'),
    (dict(impl='fast'), 'impl must be one of'),
    (dict(clamp=-1), 'clamp must be at least 0'),
    (dict(b=torch.zeros(4)), 'bias must have the size of dimension 1 of x, 5'),
])
def test_wrong_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        bias_act(torch.zeros(2, 5), **kwargs)


@pytest.mark.skipif(custom_ops.cpu_kernels() is None, reason="PyTorch's compiler needs a C++ compiler")
@pytest.mark.filterwarnings('ignore')    # of the compiler itself
def test_compiled_after_a_matrix_product(monkeypatch):
    # What the compiler tries out first, for speed alone, takes it longer than the layer.
    monkeypatch.setattr('torch._inductor.cpu_vec_isa.valid_vec_isa_list', list)
    monkeypatch.setattr('torch._inductor.config.cpp_cache_precompile_headers', False)
    x, w, b = torch.randn(4, 8), torch.randn(6, 8), torch.randn(6)

    def layer(x, w, b):
        return bias_act(torch.nn.functional.linear(x, w), b, act='lrelu')

    torch.testing.assert_close(torch.compile(layer)(x, w, b), layer(x, w, b), rtol=1e-5, atol=1e-5)
