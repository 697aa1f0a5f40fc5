"""Class code, hypernetworks, AdaFM kernels and the hyper-modulated layer, against numpy and scipy."""

import numpy as np
import pytest
import scipy.signal
import torch

from hyper_plugin.networks import BatchCodes, ClassCode, HyperModulation, Hypernetwork, HyperSynthesisLayer
from tests.support.hyper_sources import labels, randomise_

O, I, K_SIZE, CODE = 5, 4, 3, 6


def lrelu(x, gain=2 ** 0.5):
    return np.where(x > 0, x, 0.2 * x) * gain


def numbers(tensor):
    return tensor.detach().double().numpy()


def linear(layer, x, lr_multiplier=1.0):
    """The equalised linear layer in float64: weight * lr / sqrt(fan in), bias * lr."""
    weight = numbers(layer.weight)
    return x @ weight.T * lr_multiplier / np.sqrt(weight.shape[1]) + numbers(layer.bias) * lr_multiplier


# --- class code ---

def test_class_code_is_a_table_and_four_layers():
    code = randomise_(ClassCode(c_dim=3, code_dim=CODE))
    assert numbers(code.table).shape == (3, CODE)
    c = torch.tensor([[0, 1, 0], [0.3, 0, 0.7]])
    v = numbers(c) @ numbers(code.table)
    for name in ('fc0', 'fc1', 'fc2', 'fc3'):
        v = lrelu(linear(getattr(code, name), v, 0.01))
    np.testing.assert_allclose(numbers(code(c)), v, rtol=1e-5, atol=1e-6)


def test_labels_of_another_length_are_refused():
    with pytest.raises(AssertionError, match=r'\[2, 4\], expected \[None, 3\]'):
        ClassCode(c_dim=3, code_dim=CODE)(labels(0, 1, c_dim=4))


def test_images_that_agree_in_all_codes_make_a_run():
    pool = torch.randn(4, CODE)
    v = pool[torch.tensor([[2, 0, 2], [1, 1, 1], [0, 2, 3], [1, 1, 1], [2, 0, 2], [2, 0, 0]])].requires_grad_(True)
    batch = BatchCodes(v)
    assert sorted(batch.counts) == [1, 1, 2, 2]
    for place in range(3):
        assert torch.equal(batch.restore(batch.layer(place)[batch.index]), v[:, place])
        assert [key == batch.keys(0)[0] for key in batch.keys(place)] == [
            torch.equal(code, batch.layer(0)[0]) for code in batch.layer(place)]
    assert torch.equal(batch.sort(v), batch.codes[batch.index])
    batch.codes.sum().backward()
    assert v.grad.sum() == 4 * 3 * CODE and not v.grad[3:5].any()  # each run's come from its first image


# --- hypernetwork ---

@pytest.mark.parametrize('rank', [0, 2])
def test_hypernetwork_is_linear_or_a_product(rank):
    net = randomise_(Hypernetwork(CODE, O, I, rank))
    v = torch.randn(3, CODE)
    got = numbers(net(v))
    assert got.shape == (3, O, I)
    for n in range(3):
        if rank == 0:
            want = linear(net.full, numbers(v[n])).reshape(O, I)
        else:
            A = linear(net.left, numbers(v[n])).reshape(O, rank)
            B = linear(net.right, numbers(v[n])).reshape(I, rank)
            want = A @ B.T / np.sqrt(rank)
            assert np.linalg.matrix_rank(got[n], tol=1e-4) == min(rank, I)
        np.testing.assert_allclose(got[n], want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('rank', [0, 2])
def test_scale_is_linear_and_zero_still_learns(rank):
    modulation = randomise_(HyperModulation(CODE, O, I, rank))
    v, weight = torch.randn(2, CODE), torch.randn(O, I, K_SIZE, K_SIZE)
    kernels, _power, offsets = (t.detach() for t in modulation(v, weight))
    modulation.scale_(0.5)
    half, _power, half_offsets = (t.detach() for t in modulation(v, weight))
    torch.testing.assert_close(half - weight, (kernels - weight) / 2, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(half_offsets, offsets / 2)
    modulation.scale_(0)
    zero, _power, zero_offsets = modulation(v, weight)
    assert torch.equal(zero, weight.expand(2, -1, -1, -1, -1)) and not zero_offsets.any()
    ((zero * torch.randn_like(zero)).sum() + zero_offsets.sum()).backward()
    for net in (modulation.gamma, modulation.beta):
        assert any(parameter.grad is not None and parameter.grad.any() for parameter in net.parameters())
    assert modulation.bias.weight.grad.any()


# --- AdaFM ---

@pytest.mark.parametrize('rank', [0, 2])
@pytest.mark.parametrize('side', [3, 5])
def test_kernels_equal_a_loop_over_output_channels(rank, side):
    modulation = randomise_(HyperModulation(CODE, O, I, rank))
    v, weight = torch.randn(3, CODE), torch.randn(O, I, side, side)
    kernels, power, offsets = modulation(v, weight)
    dg, db_w = numbers(modulation.gamma(v)), numbers(modulation.beta(v))
    W = numbers(weight)
    for u in range(3):
        for o in range(O):
            for i in range(I):
                taps = W[o, i]
                mu, sigma = taps.mean(), taps.std()
                want = mu + (1 + dg[u, o, i]) * (taps - mu) + sigma * db_w[u, o, i]
                np.testing.assert_allclose(numbers(kernels[u, o, i]), want, rtol=1e-4, atol=1e-5)
                gamma, beta = sigma * (1 + dg[u, o, i]), mu + sigma * db_w[u, o, i]  # the paper's AdaFM
                np.testing.assert_allclose(numbers(kernels[u, o, i]), gamma * (taps - mu) / sigma + beta, rtol=1e-4, atol=1e-5)
                np.testing.assert_allclose(power[u, o, i].item(), np.square(want).sum(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(numbers(offsets), linear(modulation.bias, numbers(v)), rtol=1e-5, atol=1e-6)


def test_kernels_without_spread_stay_finite():
    modulation = HyperModulation(CODE, O, I)
    weight = torch.randn(O, I, 1, 1).expand(-1, -1, 3, 3)  # sigma 0: the paper's form divides by it
    v = torch.randn(2, CODE, requires_grad=True)
    kernels, power, _offsets = modulation(v, weight)
    torch.testing.assert_close(kernels, weight.expand_as(kernels), rtol=1e-4, atol=1e-5)
    (kernels.square().sum() + power.sum()).backward()
    assert v.grad.isfinite().all()


# --- the layer ---

def make_layer(up=1, **kwargs):
    layer = HyperSynthesisLayer(I, O, w_dim=7, resolution=8, up=up, ws_index=1, code_dim=CODE, **kwargs)
    return randomise_(layer)


def inputs(count, up=1, num_codes=3):
    """x, w and codes of a sorted batch; copies other than the layer's own carry another class."""
    x, w = torch.randn(count, I, 8 // up, 8 // up), torch.randn(count, 7)
    return x, w, BatchCodes(torch.randn(num_codes, CODE)[torch.randint(num_codes, [count, 3])])


def convolve(x, kernel, up):
    """x [I, H, W], kernel [O, I, 3, 3] in float64 by scipy; up=2 upsamples with the filter [1, 3, 3, 1] first."""
    if up == 1:
        planes, method = np.pad(x, [(0, 0), (1, 1), (1, 1)]), scipy.signal.correlate2d
    else:
        wide = np.zeros([x.shape[0], 2 * x.shape[1], 2 * x.shape[2]])
        wide[:, ::2, ::2] = x
        fir = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64 * up ** 2
        wide = np.pad(wide, [(0, 0), (3, 2), (3, 2)])
        planes, method = [scipy.signal.convolve2d(plane, fir, mode='valid') for plane in wide], scipy.signal.convolve2d
    return np.stack([sum(method(plane, taps, mode='valid') for plane, taps in zip(planes, row, strict=True)) for row in kernel])


@pytest.mark.parametrize('rank', [0, 2])
@pytest.mark.parametrize('up, gain', [(1, 0.5), (2, 1)])
def test_layer_equals_the_formulas_image_by_image(rank, up, gain):
    layer = make_layer(up, rank=rank, conv_clamp=1.5)
    x, w, code = inputs(4, up)
    got = numbers(layer(x, w, code=code, noise_mode='const', gain=gain))
    W = numbers(layer.weight)
    mu, sigma = W.mean(axis=(2, 3), keepdims=True), W.std(axis=(2, 3), keepdims=True)
    clamped = 0
    for n in range(4):
        v = code.layer(1)[code.index[n]][None]
        dg, db_w = (numbers(net(v))[0, :, :, None, None] for net in (layer.hyper.gamma, layer.hyper.beta))
        kernel = mu + (1 + dg) * (W - mu) + sigma * db_w
        kernel = kernel * linear(layer.affine, numbers(w[n]))[None, :, None, None]
        kernel /= np.sqrt(np.square(kernel).sum(axis=(1, 2, 3), keepdims=True) + 1e-8)
        bias = numbers(layer.bias) + linear(layer.hyper.bias, numbers(v))[0]
        y = convolve(numbers(x[n]), kernel, up) + bias[:, None, None] + numbers(layer.noise_const) * layer.noise_strength.item()
        y = lrelu(y, np.sqrt(2) * gain)
        clamped += (np.abs(y) > 1.5 * gain).sum()
        np.testing.assert_allclose(got[n], y.clip(-1.5 * gain, 1.5 * gain), rtol=1e-4, atol=1e-4)
    assert 0 < clamped < got.size


def test_noise_modes():
    layer = make_layer()
    x, w, code = inputs(2)
    draw = {mode: layer(x, w, code=code, noise_mode=mode) for mode in ('none', 'const', 'random')}
    assert not torch.equal(draw['none'], draw['const']) and not torch.equal(draw['const'], draw['random'])
    assert torch.equal(draw['const'], layer(x, w, code=code, noise_mode='const'))
    with pytest.raises(ValueError, match="noise_mode is 'loud'"):
        layer(x, w, code=code, noise_mode='loud')
    x, w, code = x[:1].repeat(2, 1, 1, 1), w[:1].repeat(2, 1), BatchCodes(torch.randn(1, 1, CODE).repeat(2, 1, 1))
    first, second = layer(x, w, code=code, noise_mode='random')
    assert not torch.equal(first, second)  # fresh for each image


@pytest.mark.parametrize('up', [1, 2])
def test_layer_gradients_of_equal_codes_apart(up):
    """Two images and both copies have one code: gradcheck moves each number of it alone."""
    layer = HyperSynthesisLayer(2, 2, w_dim=2, resolution=4, up=up, ws_index=1, code_dim=2).double()
    layer.requires_grad_(False)

    def call(x, w, v):
        code = BatchCodes(v, apart=True)
        return code.restore(layer(code.sort(x), code.sort(w), code, 'const'))

    x, w = torch.randn(3, 2, 4 // up, 4 // up).double(), torch.randn(3, 2).double().requires_grad_()
    v = torch.randn(2, 1, 2).double().repeat(1, 2, 1)[[0, 1, 0]].requires_grad_()
    assert torch.autograd.gradcheck(call, (x, w, v))


@pytest.mark.parametrize('up', [1, 2])
@pytest.mark.parametrize('rank', [0, 1])
def test_layer_gradients(up, rank):
    layer = HyperSynthesisLayer(2, 2, w_dim=2, resolution=4, up=up, ws_index=0, code_dim=2, rank=rank).double()
    parameters = dict(layer.hyper.named_parameters(prefix='hyper'))

    def call(x, w, codes, *values):
        named = dict(zip(parameters, values, strict=True))
        code = BatchCodes(codes[torch.tensor([[0], [1], [0]])])
        return torch.func.functional_call(layer, named, (x, w, code, 'const'))

    shapes = ((3, 2, 4 // up, 4 // up), (3, 2), (2, 2))
    arguments = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(call, (*arguments, *parameters.values()))


@pytest.mark.parametrize('dtype, tolerance', [(torch.float16, 0.01), (torch.bfloat16, 0.06)])  # 11 and 8 bits, sums of 36
@pytest.mark.parametrize('up', [2])
def test_half_precision_is_near_and_does_not_overflow(dtype, tolerance, up):
    layer = make_layer(up)
    x, w, code = inputs(4, up)
    for bias in (1, 30000):  # with styles of 30000 the products leave the range of float16
        layer.affine.bias.fill_(bias)
        want = layer(x, w, code=code, noise_mode='const').detach()
        got = layer(x.to(dtype), w, code=code, noise_mode='const').detach()
        assert got.dtype == dtype
        torch.testing.assert_close(got.float(), want, rtol=0, atol=tolerance * float(want.abs().max()))
