"""HyperTransferLoss: closed forms with linear networks, and which network learns from which phase."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from hyper_plugin.contrastive import barlow_twins
from hyper_plugin.loss import HyperTransferLoss
from tests.support.hyper_sources import labels, make_hyper, make_hyper_D, make_source, make_source_D

CPU = torch.device('cpu')
PHASES_OF = dict(G=('Gmain', 'Gboth'), D=('Dmain', 'Dreg', 'Dboth'))


class LinearG(nn.Module):
    """x = theta * w, w = z; images [N, 1, 2, 2]. Notes how the mapping is called."""

    def __init__(self):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor([0.5, -1.0, 2.0, 0.3]))
        self.synthesis = _Call(lambda ws, code: (self.theta * ws[:, 0]).reshape(-1, 1, 2, 2))
        self.calls = []

    def mapping(self, z, c, code_apart, skip_w_avg_update=False):
        self.calls.append((z, c, skip_w_avg_update))
        return z[:, None].repeat(1, 4, 1), c


class LinearD(nn.Module):
    """h = phi * x, logit = <a, h> + <b, c>."""

    def __init__(self):
        super().__init__()
        self.phi = nn.Parameter(torch.tensor([1.0, 0.5, -0.7, 2.0]))
        self.b = nn.Parameter(torch.tensor([0.4, -0.6, 0.1]))
        self.a = torch.tensor([0.3, 1.2, -0.5, 0.8])

    def features(self, img, c):
        return img.flatten(1) * self.phi

    def logits(self, h, c):
        return (h @ self.a + c @ self.b)[:, None]

    def forward(self, img, c):
        return self.logits(self.features(img, c), c)


class MixingD(LinearD):
    """h = x + phi * (x shifted by one): phi decides how features correlate."""

    def features(self, img, c):
        x = img.flatten(1)
        return x + self.phi * x.roll(1, dims=1)


class _Call(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args, **kwargs):
        return self.function(*args, **kwargs)


def make(G=None, D=None, **kwargs):
    G, D = G or LinearG(), D or LinearD()
    loss = HyperTransferLoss(CPU, G.mapping, G.synthesis, D, **dict(dict(style_mixing_prob=0, contrastive_loss='none'), **kwargs))
    return G, D, loss


def batch():
    generator = torch.Generator().manual_seed(4)
    real, z = torch.randn(5, 1, 2, 2, generator=generator), torch.randn(5, 4, generator=generator)
    return dict(real_img=real, real_c=labels(0, 1, 2, 1, 0), gen_z=z, gen_c=labels(2, 1, 0, 0, 2))


def gradients(loss, network, phase, gain=1.0, seed=0, data=None):
    torch.manual_seed(seed)
    network.zero_grad(set_to_none=True)
    loss.accumulate_gradients(phase, **(data or batch()), sync=True, gain=gain)
    return {name: None if p.grad is None else p.grad.double().numpy().copy() for name, p in network.named_parameters()}


def arrays(*tensors):
    return [tensor.detach().double().numpy() for tensor in tensors]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def logistic_gradients(D, x, c, sign):
    """Of mean softplus(sign * logit) in float64: by phi, b and the images' pixels times N."""
    x, c, phi, a, b = arrays(x.reshape(len(x), -1), c, D.phi, D.a, D.b)
    slope = sign * sigmoid(sign * (x * phi @ a + c @ b))[:, None]  # [N, 1]
    return (slope * x * a).mean(axis=0), (slope * c).mean(axis=0), slope * phi * a


@pytest.mark.parametrize('gain', [4.0])
def test_generator_loss(gain):
    G, D, loss = make()
    data = batch()
    *_, by_pixel = logistic_gradients(D, G.theta * data['gen_z'], data['gen_c'], sign=-1)
    want = gain * (by_pixel * arrays(data['gen_z'])[0]).mean(axis=0)
    for phase in PHASES_OF['G']:
        np.testing.assert_allclose(gradients(loss, G, phase, gain)['theta'], want, rtol=1e-4, atol=1e-6)
    before = gradients(loss, G, 'Gmain')['theta']
    loss.accumulate_gradients('Gmain', **data, sync=True, gain=1.0)
    np.testing.assert_allclose(G.theta.grad.numpy(), 2 * before, rtol=1e-5)  # gradients add up


@pytest.mark.parametrize('gain', [16.0])
def test_discriminator_loss(gain):
    G, D, loss = make()
    data = batch()
    fake = logistic_gradients(D, G.theta * data['gen_z'], data['gen_c'], sign=1)
    real = logistic_gradients(D, data['real_img'], data['real_c'], sign=-1)
    found = gradients(loss, D, 'Dmain', gain)
    np.testing.assert_allclose(found['phi'], gain * (fake[0] + real[0]), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found['b'], gain * (fake[1] + real[1]), rtol=1e-4, atol=1e-6)
    assert G.theta.grad is None


def test_real_images_with_the_labels_of_others_count_as_generated():
    """Image i gets the label of image i - 1; the first one's is equal, so it has no part."""
    G, D, loss = make(mismatch_weight=0.7)
    data = batch()
    x, c, phi, a, b = arrays(data['real_img'].reshape(5, -1), labels(0, 0, 1, 2, 1), D.phi, D.a, D.b)
    slope = sigmoid(x * phi @ a + c @ b)[:, None] * np.array([[0], [1], [1], [1], [1]])
    found, without = gradients(loss, D, 'Dmain'), gradients(make(G, D)[2], D, 'Dmain')
    np.testing.assert_allclose(found['phi'] - without['phi'], 0.7 * (slope * x * a).sum(axis=0) / 5, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found['b'] - without['b'], 0.7 * (slope * c).sum(axis=0) / 5, rtol=1e-4, atol=1e-6)
    same = dict(data, real_c=labels(1, 1, 1, 1, 1))
    plain = make(G, D)[2]
    np.testing.assert_array_equal(gradients(loss, D, 'Dmain', data=same)['b'], gradients(plain, D, 'Dmain', data=same)['b'])


@pytest.mark.parametrize('gain', [16.0])
def test_r1(gain):
    """grad_x D = phi a, so the penalty is gamma / 2 sum (phi a)^2, whatever the images."""
    _G, D, loss = make(r1_gamma=3)
    phi, a = arrays(D.phi, D.a)
    found = gradients(loss, D, 'Dreg', gain)
    np.testing.assert_allclose(found['phi'], gain * 3 * phi * a ** 2, rtol=1e-5)
    np.testing.assert_array_equal(found['b'], 0)  # a zero gradient, not a missing one
    both, main = gradients(loss, D, 'Dboth'), gradients(loss, D, 'Dmain')
    np.testing.assert_allclose(both['phi'], main['phi'] + found['phi'] / gain, rtol=1e-4, atol=1e-6)


def test_r1_reads_through_the_augmentation():
    _G, D, loss = make(r1_gamma=1, augment_pipe=lambda img: 2 * img)
    phi, a = arrays(D.phi, D.a)
    np.testing.assert_allclose(gradients(loss, D, 'Dreg')['phi'], 4 * phi * a ** 2, rtol=1e-5)


def test_gamma_zero_turns_r1_off():
    _G, D, loss = make(r1_gamma=0)
    assert all(gradient is None or not gradient.any() for gradient in gradients(loss, D, 'Dreg').values())


def test_shared_fakes_are_those_of_the_generators_step_part_by_part():
    G, D, loss = make(share_fakes=True)
    parts = [batch(), dict(batch(), gen_z=batch()['gen_z'].flip(0), gen_c=labels(0, 0, 1, 2, 1))]
    wanted = [gradients(make(D=D)[2], D, 'Dmain', data=part) for part in parts]
    for part in parts:
        gradients(loss, G, 'Gmain', data=part)
    with torch.no_grad():
        G.theta.mul_(3)  # the step in between: the images are older than it
    drawn = len(G.calls)
    others = dict(batch(), gen_z=torch.full([5, 4], 9.0), gen_c=labels(2, 2, 2, 2, 2))  # not looked at
    for want in wanted:
        for name, gradient in gradients(loss, D, 'Dmain', data=others).items():
            np.testing.assert_array_equal(gradient, want[name])
    assert len(G.calls) == drawn
    gradients(loss, D, 'Dmain')  # nothing is left: new ones
    assert len(G.calls) == drawn + 1


# --- contrastive ---

def test_contrastive_part_is_added_for_real_and_generated_images(monkeypatch):
    views = itertools.cycle([lambda img: img + img.square(), torch.sin])  # two that differ, in turn
    monkeypatch.setattr('hyper_plugin.contrastive.make_views', lambda device: _Call(lambda img: next(views)(img)))
    G, D, loss = make(D=MixingD(), contrastive_loss='barlow', contrastive_weight=0.3)
    data = batch()
    total = sum(0.3 * barlow_twins(D.features(img + img.square(), None), D.features(img.sin(), None))
                for img in (data['real_img'], (G.theta.detach() * data['gen_z']).reshape(-1, 1, 2, 2)))
    added, = torch.autograd.grad(total, D.phi)
    assert added.abs().max() > 1e-4
    plain = gradients(make(D=D)[2], D, 'Dmain', gain=2.0)
    found = gradients(loss, D, 'Dmain', gain=2.0)
    np.testing.assert_allclose(found['phi'], plain['phi'] + 2 * added.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found['b'], plain['b'])


def small_batch():
    return dict(real_img=torch.randn(4, 3, 16, 16), real_c=labels(0, 1, 2, 0), gen_z=torch.randn(4, 6), gen_c=labels(2, 2, 1, 0))


def test_contrastive_loss_with_random_views_grows_with_its_weight():
    G, D, data = make_hyper(make_source()), make_hyper_D(make_source_D()), small_batch()
    found = {weight: gradients(make(G, D, contrastive_loss='barlow', contrastive_weight=weight)[2], D, 'Dmain', data=data)
             for weight in (0, 0.1, 0.2)}
    none = gradients(make(G, D, contrastive_weight=0.2)[2], D, 'Dmain', data=data)
    for name, gradient in none.items():
        np.testing.assert_array_equal(found[0][name], gradient)
    once, twice = (found[weight]['b4.fc.weight'] - none['b4.fc.weight'] for weight in (0.1, 0.2))
    assert np.abs(once).max() > 1e-3
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-2, atol=1e-4)
    np.testing.assert_allclose(found[0.2]['heads'], none['heads'], rtol=1e-4, atol=1e-6)  # features only: heads don't see it


def test_an_unknown_contrastive_loss_is_refused():
    with pytest.raises(ValueError, match="contrastive_loss is 'simclr'; expected 'barlow' or 'none'"):
        make(contrastive_loss='simclr')


# --- style mixing, phases, statistics ---

@pytest.mark.parametrize('prob, calls', [(0, 1), (1, 2)])
def test_style_mixing_takes_another_z_of_the_same_class(prob, calls):
    G, _D, loss = make(style_mixing_prob=prob)
    data = batch()
    loss.accumulate_gradients('Gmain', **data, sync=True, gain=1)
    assert [skip for _z, _c, skip in G.calls] == [False, True][:calls]
    assert all(torch.equal(c, data['gen_c']) for _z, c, _skip in G.calls)
    if calls == 2:
        assert not torch.equal(G.calls[0][0], G.calls[1][0])
    ws = []
    loss.G_synthesis = _Call(lambda w, code: ws.append(w.detach()) or torch.zeros(5, 1, 2, 2, requires_grad=True))
    loss.accumulate_gradients('Gmain', **data, sync=True, gain=1)
    assert torch.equal(ws[0][:, 0], data['gen_z'])
    assert torch.equal(ws[0][:, -1], data['gen_z']) == (prob == 0)


@pytest.mark.parametrize('init_scale', [0, 1])
@pytest.mark.parametrize('network', ['G', 'D'])
def test_a_phase_teaches_its_own_network_only(network, init_scale):
    G, D = make_hyper(make_source(), init_scale=init_scale).train(), make_hyper_D(make_source_D()).train()
    _G, _D, loss = make(G, D, contrastive_loss='barlow', style_mixing_prob=0.9)
    learner, other = (G, D) if network == 'G' else (D, G)
    other.requires_grad_(False)
    for phase in PHASES_OF[network]:
        found = gradients(loss, learner, phase, data=small_batch())
        assert all(gradient is not None and np.isfinite(gradient).all() for gradient in found.values())
        if init_scale == 1 and phase != 'Dreg':
            assert all(gradient.any() for gradient in found.values())
        assert all(parameter.grad is None for parameter in other.parameters())
    assert any(gradient.any() for gradient in found.values())  # also from the exact self-initialisation
