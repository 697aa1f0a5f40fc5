"""Layers of training.networks and the mapping network: against numpy and scipy formulas, and their derivatives."""
import numpy as np
import pytest
import scipy.signal
import torch

from training import networks
from training.networks import Conv2dLayer, FullyConnectedLayer, MappingNetwork, MinibatchStdLayer, SynthesisLayer, ToRGBLayer


def normalized(x):
    return x / np.sqrt(np.mean(x ** 2, axis=1, keepdims=True) + 1e-8)


def lrelu(x):
    return np.where(x < 0, 0.2 * x, x) * np.sqrt(2)


def numpy_of(tensor):
    return tensor.detach().double().numpy()


def test_normalize_2nd_moment():
    x = torch.randn(3, 5, 2)
    got = networks.normalize_2nd_moment(x, dim=2)
    x = x.numpy()
    np.testing.assert_allclose(got.numpy(), x / np.sqrt(np.mean(x ** 2, axis=2, keepdims=True) + 1e-8), rtol=1e-5)


def test_rounded_sqrt_is_the_nearest_number():
    x = torch.rand(10000) * 10
    assert np.array_equal(networks.RoundedSqrt.apply(x).numpy(), np.sqrt(x.numpy()))  # numpy uses the processor's instruction


def test_rounded_sqrt_derivatives():
    x = torch.rand(5, dtype=torch.float64).add(0.1).requires_grad_()
    assert torch.autograd.gradcheck(networks.RoundedSqrt.apply, x)
    assert torch.autograd.gradgradcheck(networks.RoundedSqrt.apply, x)


def test_fully_connected():
    layer = FullyConnectedLayer(400, 300, activation='lrelu', lr_multiplier=0.01, bias_init=50)
    assert layer.weight.std().item() == pytest.approx(100, rel=0.02)  # 120,000 draws
    assert (layer.bias == 50).all()
    x = torch.randn(2, 400)
    want = lrelu(numpy_of(x) @ numpy_of(layer.weight).T * 0.01 / 20 + 50 * 0.01)
    np.testing.assert_allclose(numpy_of(layer(x)), want, rtol=1e-4, atol=1e-5)


def test_convolution_gain_and_clamp():
    layer = Conv2dLayer(3, 2, kernel_size=3, activation='lrelu', conv_clamp=0.5)
    layer.bias.data.normal_()
    x = torch.randn(1, 3, 5, 6)
    got = numpy_of(layer(x, gain=3))[0]
    for plane, kernel, bias in zip(got, numpy_of(layer.weight), numpy_of(layer.bias), strict=True):
        total = sum(scipy.signal.correlate2d(a, b, 'same') for a, b in zip(numpy_of(x)[0], kernel, strict=True))
        want = np.clip(lrelu(total / np.sqrt(27) + bias) * 3, -1.5, 1.5)
        np.testing.assert_allclose(plane, want, rtol=1e-4, atol=1e-5)
    assert np.abs(got).max() == 1.5


@pytest.mark.parametrize('up', [1, 2])
def test_synthesis_layer(up):
    """Affine styles, modulated convolution (tested on its own; mirrored kernel when upsampling), noise, bias, lrelu, clamp."""
    layer = SynthesisLayer(3, 2, w_dim=5, resolution=8, up=up, conv_clamp=2)
    assert (layer.affine.bias == 1).all() and layer.noise_strength == 0
    layer.bias.data.normal_()
    layer.noise_strength.data.fill_(0.7)
    x, w = torch.randn(2, 3, 8 // up, 8 // up), torch.randn(2, 5)
    styles = torch.from_numpy(numpy_of(w) @ numpy_of(layer.affine.weight).T / np.sqrt(5) + 1)
    kernel = layer.weight.detach().double()
    y = networks.modulated_conv2d(x.double(), kernel if up == 1 else kernel.flip([2, 3]), styles, up=up, padding=1,
                                  resample_filter=layer.resample_filter)
    y = y.numpy() + 0.7 * layer.noise_const.numpy() + numpy_of(layer.bias)[:, None, None]
    want = np.clip(lrelu(y) * 1.5, -3, 3)
    np.testing.assert_allclose(numpy_of(layer(x, w, noise_mode='const', gain=1.5)), want, rtol=1e-4, atol=1e-5)


def test_image_layer():
    layer = ToRGBLayer(16, 3, w_dim=5, conv_clamp=0.4)
    layer.bias.data.normal_(std=0.1)
    x, w = torch.randn(2, 16, 4, 4), torch.randn(2, 5)
    styles = (numpy_of(w) @ numpy_of(layer.affine.weight).T / np.sqrt(5) + 1) / 4
    y = np.einsum('oi,ni,nihw->nohw', numpy_of(layer.weight)[:, :, 0, 0], styles, numpy_of(x))
    want = np.clip(y + numpy_of(layer.bias)[:, None, None], -0.4, 0.4)
    np.testing.assert_allclose(numpy_of(layer(x, w)), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('group_size, num_channels, count', [(2, 3, 6), (None, 2, 3), (4, 1, 2), (4, 1, 1)])
def test_minibatch_std(group_size, num_channels, count):
    x = torch.randn(count, 6, 4, 3)
    got = MinibatchStdLayer(group_size, num_channels)(x)
    assert got.shape == (count, 6 + num_channels, 4, 3)
    assert torch.equal(got[:, :6], x)
    group = min(group_size or count, count)
    for i in range(count):
        members = numpy_of(x)[i % (count // group)::count // group]
        assert len(members) == group
        for channel, part in enumerate(np.split(np.sqrt(members.var(axis=0) + 1e-8), num_channels)):
            np.testing.assert_allclose(got[i, 6 + channel].numpy(), part.mean(), rtol=1e-5)


# Mapping.

@pytest.mark.parametrize('z_dim, c_dim', [(5, 0), (5, 3), (0, 3)])
def test_mapping_against_numpy(z_dim, c_dim):
    mapping = MappingNetwork(z_dim, c_dim, w_dim=6, num_ws=4, num_layers=3, embed_features=7, layer_features=9).eval()
    for p in mapping.parameters():
        p.data.normal_(std=100 if p.ndim == 2 else 10)
    z, c = torch.randn(2, z_dim, dtype=torch.float64), torch.randn(2, c_dim)
    parts = [normalized(z.numpy())] if z_dim else []
    if c_dim:
        parts.append(normalized(numpy_of(c) @ numpy_of(mapping.embed.weight).T / np.sqrt(c_dim) + numpy_of(mapping.embed.bias)))
    w = np.concatenate(parts, axis=1)
    for layer in (mapping.fc0, mapping.fc1, mapping.fc2):
        w = lrelu((w @ numpy_of(layer.weight).T / np.sqrt(w.shape[1]) + numpy_of(layer.bias)) * 0.01)
    got = numpy_of(mapping(z, c))
    assert got.shape == (2, 4, 6)
    np.testing.assert_allclose(got, np.repeat(w[:, None], 4, axis=1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('cutoff', [None, 2])
def test_truncation_moves_the_first_copies_towards_the_average(cutoff):
    mapping = MappingNetwork(5, 0, w_dim=6, num_ws=4, num_layers=2).eval()
    mapping.w_avg.normal_()
    z = torch.randn(3, 5)
    ws = mapping(z, None)
    want = ws.clone()
    want[:, :cutoff] = mapping.w_avg + 0.3 * (ws[:, :cutoff] - mapping.w_avg)
    torch.testing.assert_close(mapping(z, None, truncation_psi=0.3, truncation_cutoff=cutoff), want)
    torch.testing.assert_close(mapping(z, None, truncation_psi=0)[:, 0], mapping.w_avg.expand(3, -1))


def test_average_of_w_follows_training_only():
    mapping = MappingNetwork(5, 0, w_dim=6, num_ws=4, num_layers=2)
    mapping.w_avg.normal_()
    before, z = mapping.w_avg.clone(), torch.randn(3, 5)
    mapping(z, None, skip_w_avg_update=True)
    ws = mapping.eval()(z, None)
    assert torch.equal(mapping.w_avg, before)
    mapping.train()(z, None)
    torch.testing.assert_close(mapping.w_avg, 0.995 * before + 0.005 * ws[:, 0].mean(dim=0))
