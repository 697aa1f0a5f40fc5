"""Networks of stylegan3, of old versions of PyTorch, halves and parts, also as a source."""
import copy
import pickle

import pytest
import torch

from commands.source_sizes import network_kwargs
from dnnlib import EasyDict
from tests.support.snapshots import SIZES, assert_same, described, load, make_networks, pickled, refused
from training.snapshot.resume import load_source

FLAT = dict(z_dim=4, c_dim=0, w_dim=4, img_resolution=16, img_channels=1, mapping_kwargs=EasyDict(num_layers=2), **SIZES)
HALF = dict(num_fp16_res=2, conv_clamp=256)


def stylegan3_networks():
    """G and D as that codebase writes them: half precision and clamp are the constructors' choice and not in the arguments."""
    networks = make_networks(synthesis_kwargs=dict(SIZES, **HALF))
    G, mapping = networks['G'], networks['G'].mapping
    mapping.w_avg_beta = 0.998
    flat = dict(FLAT, fused_modconv_default='inference_only')
    D = make_networks()['D']
    from training.networks import Discriminator
    D = Discriminator(c_dim=0, img_resolution=16, img_channels=1, **SIZES, **HALF)
    bare = {name: value for name, value in D.init_kwargs.items() if name not in HALF}
    return G, D, dict(G=described(G, dict(_init_kwargs=flat)), D=described(D, dict(_init_kwargs=bare)),
                      G_ema=described(G, dict(_init_kwargs=flat)))


def write(path, networks, **fields):
    path.write_bytes(pickled(networks, **fields))
    return str(path)


def test_stylegan3_snapshot_is_a_source(tmp_path):
    G, D, networks = stylegan3_networks()
    source = load_source(write(tmp_path / 'sg3.pkl', networks, augment_pipe=None, training_set_kwargs=EasyDict(path='x.zip')))
    assert_same(source['G_ema'], G)
    assert_same(source['D'], D)
    kwargs = network_kwargs(source['G_ema'])    # what train_hyper.py builds with
    assert kwargs['synthesis_kwargs'] == dict(SIZES, **HALF) and kwargs['mapping_kwargs'] == dict(num_layers=2, w_avg_beta=0.998)
    assert {name: network_kwargs(source['D'])[name] for name in HALF} == HALF
    blocks = source['G_ema'].synthesis
    assert [getattr(blocks, f'b{res}').use_fp16 for res in (4, 8, 16)] == [False, True, True]
    assert blocks.b16.conv1.conv_clamp == 256
    z = torch.randn(2, 4)
    assert torch.equal(source['G_ema'](z, None, noise_mode='const', force_fp32=True),
                       G.eval()(z, None, noise_mode='const', force_fp32=True))


def test_arguments_that_say_it_themselves_win():
    G = make_networks(synthesis_kwargs=dict(SIZES, **HALF))['G']
    got = load(pickled(dict(G_ema=described(G, dict(_init_kwargs=dict(FLAT, num_fp16_res=0, conv_clamp=None))))))['G_ema']
    assert got.init_kwargs['synthesis_kwargs'] == dict(SIZES, num_fp16_res=0, conv_clamp=None)


def test_our_own_arguments_come_back_as_they_are():
    for kwargs in (SIZES, dict(SIZES, **HALF)):
        G = make_networks(synthesis_kwargs=kwargs)['G']
        assert load(pickled(dict(G_ema=G)))['G_ema'].init_kwargs == G.init_kwargs


def test_force_fp16_of_stylegan3():
    _G, _D, networks = stylegan3_networks()
    data = load(pickled(networks), force_fp16=True)
    assert data['G'].init_kwargs['synthesis_kwargs'] == dict(SIZES, num_fp16_res=4, conv_clamp=256)
    assert data['D'].init_kwargs['num_fp16_res'] == 4


@pytest.mark.parametrize('names', [['G_ema'], ['G', 'G_ema'], ['G', 'D', 'G_ema']])
def test_parts_of_a_snapshot_as_a_source(tmp_path, names):
    networks = make_networks()
    source = load_source(write(tmp_path / 'some.pkl', {name: networks[name] for name in names}))
    assert_same(source['G'], networks['G'])
    assert ('D' in source) == ('D' in names)


def test_half_weights_as_a_source(tmp_path):
    networks = {name: copy.deepcopy(network).half() for name, network in make_networks().items()}
    source = load_source(write(tmp_path / 'half.pkl', networks))
    assert all(parameter.dtype == torch.float32 for parameter in source['G'].parameters())
    assert torch.equal(source['D'].b4.out.weight, networks['D'].b4.out.weight.float())


def old_state(module):
    """The description of a module as PyTorch 1.7 stored it: newer versions' attributes are missing, in every part."""
    newer = {'_backward_pre_hooks', '_forward_hooks_with_kwargs', '_forward_hooks_always_called', '_is_full_backward_hook',
             '_forward_pre_hooks_with_kwargs', '_state_dict_pre_hooks', '_load_state_dict_post_hooks',
             '_non_persistent_buffers_set'}
    missing = newer & vars(module).keys()
    assert len(missing) > 3
    parts = {name: part and old_state(part) for name, part in module._modules.items()}
    old = described(module, dict(_modules=parts))
    for name in missing:
        del old.meta['state'][name]
    return old


@pytest.mark.parametrize('trust', [False, True])
def test_module_state_of_an_old_version(trust):
    networks = make_networks()
    data = load(pickled({name: old_state(network) for name, network in networks.items()}), trust=trust)
    z = torch.randn(2, 4)
    assert torch.equal(data['G_ema'](z, None, noise_mode='const'), networks['G_ema'].eval()(z, None, noise_mode='const'))
    data['G_ema'].state_dict(), data['D'].register_forward_hook(lambda *args: None), copy.deepcopy(data['G'])
    assert_same(pickle.loads(pickle.dumps(data['G'])), networks['G'])


def test_alias_free_generators_are_named():
    G = make_networks()['G']
    start = described(G.synthesis.b4, class_name='SynthesisInput')
    parts = dict(G._modules, synthesis=described(G.synthesis, dict(_modules=dict(input=start))))
    kwargs = dict(FLAT, magnitude_ema_beta=0.999, use_radial_filters=True)
    refused(pickled(dict(G_ema=described(G, dict(_modules=parts, _init_kwargs=kwargs)))), r'alias-free .*\(StyleGAN3-T or -R\)')


@pytest.mark.parametrize('state', [dict(use_fp16='yes'), dict(use_fp16=[1]), dict(conv_clamp='x'), dict(resolution=[])])
def test_strange_attributes_do_no_harm(state):
    G = make_networks()['G']
    block = described(G.synthesis.b16, state)
    synthesis = described(G.synthesis, dict(_modules=dict(G.synthesis._modules, b16=block)))
    assert_same(load(pickled(dict(G_ema=described(G, dict(_modules=dict(G._modules, synthesis=synthesis))))))['G_ema'], G)
