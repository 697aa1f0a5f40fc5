"""Whole networks on the Triton forms, as on CUDA, against plain PyTorch: images, logits, and the gradients of regularisation."""

import importlib

import pytest
import torch

from training.networks import Discriminator, Generator

pytest.importorskip('triton')
DEVICE = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
IMAGE = dict(c_dim=2, img_resolution=8, img_channels=3)
SIZES = dict(channel_base=32, channel_max=4)


@pytest.fixture
def use(monkeypatch):
    """use(form): all operators take it."""
    def use(form):
        for name in ('bias_act', 'scaled_act', 'upfirdn2d', 'adafm'):
            monkeypatch.setattr(importlib.import_module(f'torch_utils.ops.{name}'), 'choose', lambda impl, x: form)
    return use


def networks():
    torch.manual_seed(0)
    G = Generator(z_dim=4, w_dim=4, mapping_kwargs=dict(num_layers=1), synthesis_kwargs=dict(conv_clamp=256, **SIZES), **IMAGE)
    for name, strength in G.named_parameters():
        if name.endswith('noise_strength'):
            strength.data.fill_(0.1)
    return G.to(DEVICE), Discriminator(conv_clamp=256, **SIZES, **IMAGE).to(DEVICE)


def everything():
    """Images and logits; gradients of path length by G's weights, and of R1 by D's."""
    G, D = networks()
    z, c = torch.randn(2, 4).to(DEVICE), torch.eye(2, device=DEVICE)
    ws = G.mapping(z, c)
    images = G.synthesis(ws, noise_mode='const')
    slopes, = torch.autograd.grad((images * torch.randn(images.shape).to(DEVICE)).sum(), ws, create_graph=True)
    of_G = torch.autograd.grad(slopes.square().sum(), list(G.parameters()), allow_unused=True, materialize_grads=True)
    real = images.detach().requires_grad_()
    logits = D(real, c)
    by_image, = torch.autograd.grad(logits.sum(), real, create_graph=True)
    penalty = by_image.square().sum() + logits.sum()
    of_D = torch.autograd.grad(penalty, list(D.parameters()), allow_unused=True, materialize_grads=True)
    return [images, logits, *of_G, *of_D]


def test_images_logits_and_second_derivatives(use):
    results = []
    for form in ('triton', 'ref'):
        use(form)
        results.append(everything())
    assert not torch.equal(results[0][2], results[1][2])    # rounding tells that another path ran
    for got, want in zip(*results, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-4 * max(1.0, want.abs().max().item()))
