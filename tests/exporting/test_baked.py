"""Snapshots for one class: plain conditional networks against themselves with the label, and what else a snapshot holds."""

import pytest
import torch

import legacy
from exporting.baked import bake_network, bake_snapshot, baked_in
from tests.support.hyper_sources import labels, make_hyper, make_hyper_D, make_source, make_source_D, randomise_
from training.augment import AugmentPipe
from training.networks import Discriminator, Generator, MappingNetwork

SOFT = [0.2, 0.5, 0.3]
CHANNELS = dict(channel_base=64, channel_max=6)


@pytest.mark.parametrize('options', [dict(noise_mode='const'), dict(noise_mode='none', truncation_psi=0.3)])
@pytest.mark.parametrize('mapping', [dict(num_layers=2), dict(num_layers=1, embed_features=3, lr_multiplier=0.5)])
def test_plain_conditional_generator(mapping, options):
    G = Generator(6, 3, 5, 16, 3, mapping_kwargs=mapping, synthesis_kwargs=CHANNELS)
    randomise_(G).eval()
    z = torch.randn([3, 6])
    for label in (*labels(0, 1, 2), torch.tensor(SOFT)):
        baked = bake_network(G, label)
        assert baked.c_dim == 0 and not any(name.startswith('mapping.embed') for name in baked.state_dict())
        with torch.no_grad():
            torch.testing.assert_close(baked(z, None, **options), G(z, label.expand(3, -1), **options), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('arguments', [dict(), dict(cmap_dim=7), dict(architecture='skip', mapping_kwargs=dict(num_layers=2))])
def test_plain_conditional_discriminator(arguments):
    D = randomise_(Discriminator(3, 16, 3, **CHANNELS, **arguments)).eval()
    images = torch.randn([4, 3, 16, 16])
    for label in (*labels(0, 2), torch.tensor(SOFT)):
        baked = bake_network(D, label)
        assert baked.c_dim == 0
        with torch.no_grad():
            torch.testing.assert_close(baked(images, None), D(images, label.expand(4, -1)), rtol=1e-4, atol=1e-5)


def test_other_networks_are_refused():
    with pytest.raises(ValueError, match='cannot bake a class into a MappingNetwork'):
        bake_network(MappingNetwork(4, 3, 4, num_ws=None), labels(0)[0])


def snapshot_of_hyper(**fields):
    G = make_hyper(make_source())
    return dict(G=make_hyper(make_source()), D=make_hyper_D(make_source_D()), G_ema=G, augment_pipe=None,
                training_set_kwargs=dict(path='animals.zip'), class_names=['cat', 'dog', 'owl'], **fields)


def test_the_snapshot_has_all_networks_and_the_name_and_no_data(tmp_path):
    snapshot = snapshot_of_hyper(augment_p=0.5) | dict(augment_pipe=AugmentPipe(xflip=1))
    baked = bake_snapshot(snapshot, labels(1)[0].numpy(), 'class', 'dog')
    legacy.save_network_pkl(tmp_path / 'dog.pkl', baked)
    read = legacy.load_network_pkl(tmp_path / 'dog.pkl')
    assert read['augment_pipe'].xflip == 1 and 'augment_p' not in read
    assert baked_in(read) == {'class': 'dog'} and read['class_names'] == [] and read['training_set_kwargs'] is None
    assert {name: type(read[name]) for name in ('G', 'D', 'G_ema')} == dict(G=Generator, D=Discriminator, G_ema=Generator)
    for name in ('G', 'D', 'G_ema'):
        for tensor_name, tensor in baked[name].state_dict().items():
            assert torch.equal(read[name].state_dict()[tensor_name], tensor)
    assert not torch.equal(read['G'].synthesis.b4.conv1.weight, read['G_ema'].synthesis.b4.conv1.weight)


def test_absent_networks():
    snapshot = dict(snapshot_of_hyper(), G=None, D=None)
    baked = bake_snapshot(snapshot, labels(0)[0].numpy(), 'class', 'cat')
    assert baked['D'] is None and baked['G'] is baked['G_ema']


@pytest.mark.parametrize('text, want', [('cat', {'mix': 'cat'}), (None, {}), (['cat'], {})])
def test_what_is_baked_into_any_snapshot(text, want):
    assert baked_in(dict(baked_mix=text)) == want
    assert baked_in({}) == {}
