"""Weights of a snapshot into networks for the same labels, other ones, or none."""

import math
import pickle

import pytest
import torch

import legacy
from dnnlib.util import EasyDict
from tests.support.hyper_sources import labels, make_hyper, make_source, randomise_
from torch_utils.misc import named_params_and_buffers
from training.loop.preparation import networks_to_train
from training.networks import Discriminator, Generator
from training.snapshot.resume import copy_weights, keep_logit, resume_networks

CHANNELS = dict(channel_base=128, channel_max=16)
FRESH_G = {'mapping.embed.weight', 'mapping.embed.bias', 'mapping.fc0.weight'}


def build(c_dim, D_kwargs=(), **changes):
    """G, D and G_ema of the sizes of make_snapshot's, for labels of c_dim numbers."""
    facts = EasyDict(label_dim=c_dim, resolution=16, num_channels=3)
    G_kwargs = dict(class_name='training.networks.Generator', z_dim=8, w_dim=8, mapping_kwargs=dict(num_layers=2),
                    synthesis_kwargs=CHANNELS)
    D_kwargs = dict(class_name='training.networks.Discriminator', **CHANNELS, **dict(D_kwargs))
    return networks_to_train(facts, EasyDict(G_kwargs=G_kwargs | changes, D_kwargs=D_kwargs), torch.device('cpu'))


def tensors(module):
    return {name: tensor.detach().clone() for name, tensor in named_params_and_buffers(module)}


@pytest.fixture
def trained_pkl(tmp_path):
    """trained_pkl(c_dim) -> a snapshot in which no tensor has its first value, and the average is not the generator."""
    def make(c_dim):
        networks = build(c_dim)
        for seed, network in enumerate(networks.values()):
            randomise_(network, seed)
        networks['G_ema'].requires_grad_(False).synthesis.b4.const.add_(1)
        path = tmp_path / f'trained-{c_dim}.pkl'
        legacy.save_network_pkl(path, dict(**networks, augment_pipe=None, training_set_kwargs={}, class_names=[]))
        return path
    return make


def load(path):
    with open(path, 'rb') as file:
        return legacy.load_network_pkl(file)


@pytest.mark.parametrize('there, here, misfits_G, new_G, misfits_D, new_D, unused_D', [
    (3, 3, [], [], [], [], False),
    (0, 3, ['mapping.fc0.weight 8x8 8x16'], ['mapping.embed.bias', 'mapping.embed.weight'],
     ['b4.out.bias 1 16', 'b4.out.weight 1x16 16x16'], ['mapping.embed.bias', 'mapping.embed.weight', 'mapping.fc0.bias'], False),
    (3, 5, ['mapping.embed.weight 8x3 8x5'], [], ['mapping.embed.weight 16x3 16x5'], [], False),
    (3, 0, ['mapping.fc0.weight 8x16 8x8'], [], ['b4.out.bias 16 1', 'b4.out.weight 16x16 1x16'], [], True),
])
def test_what_fits_is_copied_and_the_rest_is_told(trained_pkl, there, here, misfits_G, new_G, misfits_D, new_D, unused_D):
    path, networks = trained_pkl(there), build(here)
    before = {name: tensors(network) for name, network in networks.items()}
    reports, source = resume_networks(str(path), networks), load(path)
    for name, network in networks.items():
        report, theirs, ours = reports[name], tensors(source[name]), tensors(network)
        want = misfits_D if name == 'D' else misfits_G
        told = [f'{key} {"x".join(map(str, a))} {"x".join(map(str, b))}' for key, (a, b) in report.misfits.items()]
        assert told == want
        assert list(report.new[:3]) == (new_D if name == 'D' else new_G)
        fresh = {*report.new, *report.misfits}
        copied = {*report.copied, *report.frozen}
        assert copied == set(ours) - fresh
        assert all(torch.equal(ours[key], theirs[key]) for key in copied)
        if not report.note:
            assert all(torch.equal(ours[key], before[name][key]) for key in fresh)
    assert any(key.startswith('mapping.') for key in reports['D'].unused) == unused_D
    assert bool(reports['D'].note) == (there == 0 and here > 0)
    assert all(torch.equal(tensors(networks['G_ema'])[key], tensors(networks['G'])[key])
               for key in {*reports['G'].new, *reports['G'].misfits})
    assert torch.equal(networks['G_ema'].synthesis.b4.const, source['G_ema'].synthesis.b4.const)


def test_the_average_takes_fresh_values_from_the_generator(trained_pkl):
    networks = build(3)
    randomise_(networks['G_ema'].requires_grad_(False))
    networks['G_ema'].mapping.fc0.weight.normal_()
    networks['G_ema'].mapping.embed.weight.normal_()
    resume_networks(str(trained_pkl(0)), networks)
    for key in FRESH_G:
        assert torch.equal(tensors(networks['G'])[key], tensors(networks['G_ema'])[key])


def test_the_report_names_every_misfit_with_its_shapes(trained_pkl):
    text = str(resume_networks(str(trained_pkl(0)), build(3))['D'])
    assert '2 of another shape start from random weights: b4.out.bias [1] -> [16], b4.out.weight [1, 16] -> [16, 16]' in text
    assert 'not used' in text and '18 new' in text
    assert text.endswith('every class starts with the logit of the source')
    assert '\n' not in text
    assert 'another shape' not in str(resume_networks(str(trained_pkl(3)), build(3))['D'])


@pytest.mark.parametrize('num_classes', [1, 7])
@pytest.mark.parametrize('D_kwargs', [
    dict(),
    dict(cmap_dim=1),                                       # the last layer fits by chance
    dict(mapping_kwargs=dict(num_layers=1)),                # the layer that reads the labels is the last
    dict(mapping_kwargs=dict(activation='sigmoid')),        # no multiple of its input
    dict(architecture='skip'),
    dict(block_kwargs=dict(freeze_layers=3)),
])
def test_every_class_starts_with_the_logit_of_the_source(num_classes, D_kwargs):
    common = {key: value for key, value in D_kwargs.items() if key == 'architecture'}
    source = randomise_(Discriminator(0, 16, 3, **CHANNELS, **common))
    D = Discriminator(num_classes, 16, 3, **CHANNELS, **D_kwargs)
    copy_weights(source, D)
    keep_logit(source, D)
    images = torch.randn(8, 3, 16, 16)
    want = source(images, None)
    assert want.std() > 0.1
    for index in range(num_classes):
        got = D(images, labels(*[index] * 8, c_dim=num_classes))
        torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('layer', ['mapping.fc7.', 'b4.out.', ''])
def test_classes_come_apart_at_the_first_step(trained_pkl, layer):
    networks = build(3)
    resume_networks(str(trained_pkl(0)), networks)
    D = networks['D'].train()
    images, c = torch.randn(12, 3, 16, 16), labels(*range(3)).repeat(4, 1)
    optimiser = torch.optim.Adam([parameter for name, parameter in D.named_parameters() if name.startswith(layer)], lr=0.002)
    sign = torch.tensor([1.0, -1.0, 1.0]).repeat(4)[:, None]  # the second class looks fake

    def gradients():
        D.zero_grad()
        torch.nn.functional.softplus(-sign * D(images, c)).mean().backward()
        return {name: parameter.grad for name, parameter in D.named_parameters()}

    assert all(torch.isfinite(gradient).all() for gradient in gradients().values())
    rows = D.b4.out.weight.grad
    assert torch.linalg.matrix_rank(rows) > 1  # the rows learn different things
    optimiser.step()
    same = images[:1].expand(3, -1, -1, -1)
    with torch.no_grad():
        assert D(same, labels(0, 1, 2)).std() > 1e-6
    if layer == '':  # from the second step on all layers learn
        assert all(gradient.abs().max() > 0 for gradient in gradients().values())


def test_a_new_number_of_classes_keeps_the_last_layer(trained_pkl):
    path, networks = trained_pkl(3), build(5)
    resume_networks(str(path), networks)
    assert torch.equal(networks['D'].b4.out.weight, load(path)['D'].b4.out.weight)


@pytest.mark.parametrize('here', [0, 3, 5])
def test_frozen_layers_are_filled(trained_pkl, here):
    path, networks = trained_pkl(3), build(here, dict(block_kwargs=dict(freeze_layers=4)))
    resume_networks(str(path), networks)
    learning, source = dict(networks['D'].named_parameters()), tensors(load(path)['D'])
    for name in ('b16.fromrgb.weight', 'b16.conv0.bias', 'b16.conv1.weight', 'b16.skip.weight'):
        assert name not in learning
        assert torch.equal(tensors(networks['D'])[name], source[name])
    assert 'b8.conv0.weight' in learning


def check_refused(path, networks, *texts):
    before = {name: tensors(network) for name, network in networks.items()}
    with pytest.raises(ValueError) as error:
        resume_networks(str(path), networks)
    assert '\n' not in str(error.value)
    for text in (str(path), *texts):
        assert text in str(error.value)
    assert all(torch.equal(tensors(networks[name])[key], before[name][key]) for name in networks for key in before[name])


@pytest.mark.parametrize('there, here, changes, texts', [
    (0, 0, dict(z_dim=4), ['mapping.fc0.weight [8, 8] -> [8, 4]']),
    (0, 3, dict(z_dim=4), ['mapping.fc0.weight [8, 8] -> [8, 12]']),       # a difference of labels does not excuse it
    (0, 3, dict(synthesis_kwargs=dict(channel_base=128, channel_max=8)), ['synthesis.b4.const [16, 4, 4] -> [8, 4, 4]']),
    (3, 3, dict(mapping_kwargs=dict(num_layers=2, embed_features=4)), ['mapping.embed.weight [8, 3] -> [4, 3]']),
    (3, 5, dict(mapping_kwargs=dict(num_layers=2, embed_features=4)), ['mapping.embed.bias [8] -> [4]']),
    (0, 3, dict(img_resolution=32), ['16x16', '32x32']),
])
def test_other_misfits_are_refused_and_nothing_is_copied(trained_pkl, there, here, changes, texts):
    if 'img_resolution' in changes:
        G = Generator(8, here, 8, 32, 3, mapping_kwargs=dict(num_layers=2), synthesis_kwargs=CHANNELS)
        networks = dict(G=G, D=Discriminator(here, 32, 3, **CHANNELS), G_ema=G)
    else:
        networks = build(here, **changes)
    check_refused(trained_pkl(there), networks, *texts)


def test_classes_of_a_hyper_modulated_source_must_be_the_same(tmp_path):
    source = make_source()
    path = tmp_path / 'hyper.pkl'
    legacy.save_network_pkl(path, dict(G_ema=make_hyper(source, c_dim=3)))
    G = make_hyper(source, c_dim=4)
    check_refused(path, dict(G=G, G_ema=G), 'mapping.class_code.table [3, 4] -> [4, 4]')


def test_a_source_without_a_discriminator(trained_pkl, tmp_path):
    path = tmp_path / 'ema.pkl'
    path.write_bytes(pickle.dumps({**load(trained_pkl(0)), 'D': None}))
    networks = build(3)
    before = tensors(networks['D'])
    assert set(resume_networks(str(path), networks)) == {'G', 'G_ema'}
    assert all(torch.equal(before[key], tensor) for key, tensor in tensors(networks['D']).items())


def test_the_last_layer_starts_as_the_source_s_and_zeros(trained_pkl):
    path, networks = trained_pkl(0), build(4)
    resume_networks(str(path), networks)
    mapped, source = networks['D'].mapping(None, labels(0, 1, 2, 3, c_dim=4)), load(path)['D'].b4.out
    torch.testing.assert_close(mapped[:, 0], torch.full([4], math.sqrt(16)), atol=0, rtol=1e-6)
    assert (mapped[:, 1:].std(dim=0) > 1e-3).all()
    torch.testing.assert_close(networks['D'].b4.out.weight[:1], source.weight, atol=0, rtol=1e-6)
    assert not networks['D'].b4.out.weight[1:].any() and not networks['D'].b4.out.bias[1:].any()


def test_soft_labels_start_with_the_logit_of_the_source_too(trained_pkl):
    path, networks = trained_pkl(0), build(5)
    resume_networks(str(path), networks)
    images = torch.randn(4, 3, 16, 16)
    torch.testing.assert_close(networks['D'](images, torch.rand(4, 5)), load(path)['D'](images, None), atol=1e-5, rtol=1e-5)
