"""Kernels of classes that a layer keeps while it does not learn: kept, right after every change of weights, and bounded."""

import copy
import pickle

import pytest
import torch

from hyper_plugin import networks
from hyper_plugin.networks import HyperModulation
from tests.hyper_sources import NUM_CLASSES, make_hyper, make_source, randomise_


@pytest.fixture
def G():
    return randomise_(make_hyper(make_source())).eval().requires_grad_(False)


@pytest.fixture
def made(monkeypatch):
    """Numbers of codes for which kernels were made, one entry a call."""
    calls, usual = [], HyperModulation.forward

    def forward(self, code, weight):
        calls.append(len(code))
        return usual(self, code, weight)

    monkeypatch.setattr(HyperModulation, 'forward', forward)
    return calls


def one_hot(classes):
    return torch.eye(NUM_CLASSES)[classes]


def draw(G, classes, seed=0):
    z = torch.randn(len(classes), G.z_dim, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        return G(z, one_hot(classes), noise_mode='const')


def num_layers(G):
    return sum(isinstance(module, HyperModulation) for module in G.modules())


def test_each_kernel_is_made_once(G, made):
    first = draw(G, [0, 1, 1, 2])
    assert made == [1] * 3 * num_layers(G)
    made.clear()
    assert torch.equal(draw(G, [0, 1, 1, 2]), first) and made == []
    draw(G, [2, 0, 2, 2])
    with torch.inference_mode():
        G(torch.randn(4, G.z_dim), one_hot([1, 1, 0, 1]))
    assert made == []


def test_pictures_are_those_without_a_cache(G):
    together = draw(G, [2, 0, 1, 1])
    assert torch.equal(draw(copy.deepcopy(G), [2, 0, 1, 1]), together)
    with torch.enable_grad():   # here nothing is kept
        z = torch.randn(4, G.z_dim, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(G(z, one_hot([2, 0, 1, 1]), noise_mode='const'), together, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('change', ['kernel', 'hypernetwork', 'code', 'loaded', 'replaced'])
def test_a_change_of_weights_drops_what_was_kept(G, change):
    before = draw(G, [0, 1])
    layer = G.synthesis.b8.conv1
    with torch.no_grad():
        if change == 'kernel':
            layer.weight.mul_(1.5).add_(0.1)
        elif change == 'hypernetwork':
            layer.hyper.gamma.full.weight.mul_(3)
        elif change == 'code':
            G.mapping.class_code.table.add_(5)
        elif change == 'loaded':
            G.load_state_dict({name: tensor * 1.1 for name, tensor in G.state_dict().items()})
        else:
            layer.hyper.beta.full.weight = torch.nn.Parameter(layer.hyper.beta.full.weight * 3)
    after = draw(G, [0, 1])
    assert (after - before).abs().max() > 1e-3
    assert torch.equal(after, draw(pickle.loads(pickle.dumps(G)), [0, 1]))


def test_a_network_that_learns_keeps_nothing(G, made):
    G.train()
    for _ in range(2):
        draw(G, [0, 1])
    assert made == [2] * 2 * num_layers(G)
    assert not any('kernel_cache' in vars(module) for module in G.modules())


def test_nothing_that_is_kept_is_saved(G):
    empty = len(pickle.dumps(G))
    draw(G, [0, 1, 2])
    assert len(pickle.dumps(G)) == empty
    assert not any('kernel_cache' in vars(module) for module in copy.deepcopy(G).modules())


def test_the_memory_is_bounded(G, monkeypatch):
    layer = G.synthesis.b8.conv1
    monkeypatch.setattr(networks, 'CACHE_BYTES', 2 * layer.weight.numel() * layer.weight.element_size())
    pictures = {classes: draw(G, list(classes)) for classes in [(0, 1, 2), (2, 1), (0, 0), (1, 2)]}
    assert len(layer.kernel_cache.made) == 2
    fresh = copy.deepcopy(G)
    assert all(torch.equal(draw(fresh, list(classes)), picture) for classes, picture in pictures.items())
