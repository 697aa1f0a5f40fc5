"""Kernels of classes that a layer keeps while it does not learn: kept, right after every change of weights, and bounded."""

import copy
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from hyper_plugin import kernel_cache
from hyper_plugin.networks import BatchCodes, HyperModulation
from tests.support.hyper_sources import NUM_CLASSES, make_hyper, make_source, randomise_
from torch_utils.ops import conv2d_runs
from training.loop.optimizer_phases import begin_phase, finish_phase, make_phases


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
    z = torch.randn(4, G.z_dim, generator=torch.Generator().manual_seed(0)).requires_grad_()   # so that nothing is kept
    torch.testing.assert_close(G(z, one_hot([2, 0, 1, 1]), noise_mode='const'), together, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('learns', ['z', 'code', 'last affine'])
def test_gradients_are_the_same_after_sampling(G, learns):
    """Kept kernels are constants to convolutions, so a pass that asks for any gradient must not meet them."""
    z = torch.randn(4, G.z_dim, requires_grad=learns == 'z')
    layers = {'code': G.mapping.class_code.table, 'last affine': G.synthesis.b8.conv1.affine.bias}
    wanted = z if learns == 'z' else layers[learns].requires_grad_()
    gradients = []
    for _ in range(2):
        image = G(z, one_hot([2, 0, 1, 1]), noise_mode='const')
        gradients.append(torch.autograd.grad(image.square().sum(), wanted)[0])
        draw(G, [0, 1, 2])
    assert torch.equal(*gradients) and gradients[0].abs().max() > 0


def train_hypernetwork(G, layer):
    """A step of the training's own optimiser, without a pass of the layer."""
    phase, = make_phases('G', layer.hyper.requires_grad_(), dict(class_name='torch.optim.Adam', lr=0.1), None)
    begin_phase(phase)
    for param in phase.params:
        param.grad = torch.ones_like(param)
    finish_phase(phase)
    G.requires_grad_(False)


@pytest.mark.parametrize('change', ['kernel', 'hypernetwork', 'code', 'loaded', 'replaced', 'other memory', 'trained'])
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
        elif change == 'other memory':
            layer.weight.data = layer.weight * 1.5 + 0.1
        elif change == 'trained':
            train_hypernetwork(G, layer)
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
    monkeypatch.setattr(kernel_cache, 'CACHE_BYTES', 2 * layer.weight.numel() * layer.weight.element_size())
    draw(G, [0, 1, 2])
    assert len(layer.kernel_cache.made) == 3    # few ones are kept whatever their size
    monkeypatch.setattr(kernel_cache, 'CACHE_CODES', 1)
    pictures = {classes: draw(G, list(classes)) for classes in [(0, 1, 2), (2, 1), (0, 0), (1, 2)]}
    assert len(layer.kernel_cache.made) == 2
    fresh = copy.deepcopy(G)
    assert all(torch.equal(draw(fresh, list(classes)), picture) for classes, picture in pictures.items())


@pytest.mark.parametrize('dtype', [torch.float16])
def test_half_precision_keeps_its_own(G, made, dtype):
    layer, x = G.synthesis.b8.conv1, torch.randn(3, 8, 8, 8)
    code = BatchCodes(torch.randn(2, layer.hyper.gamma.full.weight.shape[1])[[0, 1, 0], None])
    with torch.no_grad():
        w = torch.randn(3, layer.affine.weight.shape[1])
        x = x[:, :1].expand(-1, layer.weight.shape[1], -1, -1)
        full, first = (layer(x.to(kind), w, code=code, noise_mode='none') for kind in (torch.float32, dtype))
        assert len(made) == 4   # two codes of two types
        assert torch.equal(layer(x.to(dtype), w, code=code, noise_mode='none'), first) and len(made) == 4
    assert {kernels.dtype for kernels, *_others in layer.kernel_cache.made.values()} == {torch.float32, dtype}
    torch.testing.assert_close(first.float(), full, rtol=0, atol=0.06 * full.abs().max().item())


def test_weights_that_cannot_tell_whether_they_changed(G, made):
    layer = G.synthesis.b8.conv1
    with torch.inference_mode():
        layer.hyper.beta.full.weight = torch.nn.Parameter(layer.hyper.beta.full.weight * 3, requires_grad=False)
    first = draw(G, [0, 1])
    made.clear()
    torch.testing.assert_close(draw(G, [0, 1]), first)
    assert made == [2]  # this layer's, of both classes


def test_threads_share_what_is_kept(G, monkeypatch):
    """Pictures are right, and nothing fails, where others add and drop kernels meanwhile."""
    monkeypatch.setattr(kernel_cache, 'CACHE_BYTES', 1)
    monkeypatch.setattr(kernel_cache, 'CACHE_CODES', 1)
    monkeypatch.setattr(conv2d_runs, 'FORMS_BYTES', 20_000)
    batches = [[0, 1], [2], [1, 2, 2], [2, 0]] * 10
    want = [draw(copy.deepcopy(G), classes) for classes in batches[:4]] * 10
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda classes: draw(G, classes), batches))
    finally:
        sys.setswitchinterval(interval)
    assert all(torch.equal(*pair) for pair in zip(found, want, strict=True))
