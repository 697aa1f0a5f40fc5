"""The straightforward composition that the benchmark compares with: the same values and gradients as the networks."""
import copy

import pytest
import torch

from benchmarks.speed import reference
from benchmarks.speed.networks import Setup, Training, build
from torch_utils.ops import upfirdn2d

TINY = dict(classes=3, channel_base=128, channel_max=12, code=8)
SETUPS = [Setup('plain', 16, **TINY), Setup('hyper', 16, **TINY), Setup('hyper', 16, rank=2, **TINY)]
SETUP_NAMES = [setup.network for setup in SETUPS]


def shaken(setup):
    """G and D whose parameters all matter: biases, noise strengths and class terms are not zero."""
    G, D = build(setup)
    with torch.no_grad():
        for param in (*G.parameters(), *D.parameters()):
            param.add_(0.1 * torch.randn_like(param))
    return G, D


@pytest.mark.parametrize('is_training', [True, False])
@pytest.mark.parametrize('setup', SETUPS, ids=SETUP_NAMES)
def test_equals_the_networks(setup, is_training):
    G, D = (net.train(is_training) for net in shaken(setup))
    z, c = torch.randn(4, 8), torch.eye(3)[[0, 2, 0, 1]]
    images = G(z, c, noise_mode='const')
    logits = D(images, c)
    with reference.composition(G, D):
        torch.testing.assert_close(G(z, c, noise_mode='const'), images, rtol=1e-4, atol=1e-4 * float(images.detach().std()))
        torch.testing.assert_close(D(images, c), logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('phase', ['Gmain', 'Greg', 'Dmain', 'Dreg'])
@pytest.mark.parametrize('setup', SETUPS, ids=SETUP_NAMES)
def test_has_the_same_gradients_in_every_phase(setup, phase, monkeypatch):
    # The direction of the path length is drawn in the order in which the image lies in memory, which differs.
    monkeypatch.setattr(torch, 'randn_like', lambda x: torch.randn(x.shape))
    ours = Training(setup, batch=4)
    nets = shaken(setup)
    for net, values in zip((ours.G, ours.D), nets, strict=True):
        net.load_state_dict(values.state_dict())
    learning = ours.phases[phase].params
    for param in learning:
        param.requires_grad_(True)
    z, c = torch.randn(4, 8), torch.eye(3)[[0, 2, 0, 1]]

    def gradients():
        torch.manual_seed(1)  # style mixing, noise and the path length's direction
        ours.loss.pl_mean.zero_()
        for param in learning:
            param.grad = None
        ours.loss.accumulate_gradients(phase, ours.images, c, z, c, True, 1)
        return [None if param.grad is None else param.grad.clone() for param in learning]

    found = gradients()
    with reference.composition(ours.G, ours.D):
        wanted = gradients()
    norm = max(float(grad.norm()) for grad in wanted if grad is not None)
    assert norm > 0
    for name, a, b in zip(ours.phases[phase].names, found, wanted, strict=True):
        assert (a is None) == (b is None), name
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * norm, msg=lambda text, name=name: f'{name}: {text}')


def test_leaves_the_networks_as_they_were():
    G, _D = shaken(SETUPS[0])
    z, c = torch.randn(2, 8), torch.eye(3)[:2]
    before, resample = copy.deepcopy(G)(z, c, noise_mode='const'), upfirdn2d.upfirdn2d
    forwards = {layer: layer.forward for layer in reference.FORWARDS}
    with pytest.raises(KeyError), reference.composition():
        assert upfirdn2d.upfirdn2d is reference.upfirdn2d
        raise KeyError
    assert upfirdn2d.upfirdn2d is resample and all(layer.forward is found for layer, found in forwards.items())
    torch.testing.assert_close(G(z, c, noise_mode='const'), before, rtol=0, atol=0)


def test_plain_steps_train_as_the_loop_does():
    ours, plain = (Training(SETUPS[0], 4, is_reference=is_reference) for is_reference in (False, True))
    for training in (ours, plain):
        torch.manual_seed(2)
        training.images = torch.randn(4, 3, 16, 16)
        for part in training.shares():
            training.run(part)
    for net in ('G', 'D', 'average'):
        for (name, a), b in zip(getattr(ours, net).named_parameters(), getattr(plain, net).parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=2e-4, msg=lambda text, name=name: f'{name}: {text}')
