"""legacy: snapshots of both dialects come back whole, hostile and broken ones in one line without running anything."""
import os
import pickle
import re
import sys
import types

import numpy as np
import pytest
import torch

import legacy
from dnnlib import EasyDict
from hyper_plugin.networks import HyperDiscriminator, HyperGenerator
from tests.support.pickle_opcodes import Evil
from tests.support.snapshots import SIZES, assert_same, described, load, make_networks, pickled, refused


@pytest.fixture(scope='module')
def snapshot():
    torch.manual_seed(0)
    return pickled(make_networks(), augment_pipe=None, training_set_kwargs=EasyDict(path='x.zip', max_size=np.int64(7)),
                   class_names=['cat', 'dog'])


# Round trips.

def test_save_and_load_bit_for_bit(tmp_path):
    networks = make_networks()
    path = tmp_path / 'network.pkl'
    legacy.save_network_pkl(path, dict(networks, augment_pipe=None, training_set_kwargs=EasyDict(a=1), class_names=['cat']))
    assert os.listdir(tmp_path) == ['network.pkl']
    data = legacy.load_network_pkl(path)
    assert data['class_names'] == ['cat'] and data['training_set_kwargs'] == {'a': 1} and data['augment_pipe'] is None
    z = torch.randn(2, 4)
    for name, network in networks.items():
        assert_same(data[name], network)
        assert type(data[name]) is type(network) and data[name].init_kwargs == network.init_kwargs
        assert not data[name].training and not any(p.requires_grad for p in data[name].parameters())
        assert network.training and all(p.requires_grad for p in network.parameters())      # saving changed nothing
    assert torch.equal(data['G'](z, None, noise_mode='const'), networks['G'].eval()(z, None, noise_mode='const'))


def test_plain_pickle_reads_what_was_saved(tmp_path):
    networks = make_networks()
    legacy.save_network_pkl(tmp_path / 'network.pkl', networks)
    data = pickle.loads((tmp_path / 'network.pkl').read_bytes())
    for name, network in networks.items():
        assert_same(data[name], network)
        assert not data[name].training


def test_hyper_snapshot_gives_the_same_pictures():
    source = make_networks()
    G = HyperGenerator(**{**source['G'].init_kwargs, 'c_dim': 3}, code_dim=4)
    D = HyperDiscriminator(**{**source['D'].init_kwargs, 'c_dim': 3})
    z, c = torch.randn(3, 4), torch.eye(3)
    data = load(pickled(dict(G=G, D=D, G_ema=G), class_names=['a', 'b', 'c']))
    images = G.eval().requires_grad_(False)(z, c, noise_mode='const')
    assert torch.equal(data['G_ema'](z, c, noise_mode='const'), images)
    assert torch.equal(data['D'](images, c), D.eval()(images, c))
    assert dict(data['G'].named_buffers()).keys() == dict(G.named_buffers()).keys()     # what is frozen stays so
    assert_same(data['G'], G)


def test_random_state_is_left_alone(snapshot):
    before = torch.get_rng_state()
    load(snapshot)
    assert torch.equal(torch.get_rng_state(), before)


def test_missing_fields_become_none():
    data = load(pickled(dict(G_ema=make_networks()['G_ema'])))
    assert [name for name, value in data.items() if value is None] == ['G', 'D', 'augment_pipe', 'training_set_kwargs']


def test_half_precision_weights(snapshot):
    networks = {name: network.half() for name, network in make_networks().items()}
    data = load(pickled(networks))
    for name, tensor in networks['G'].named_parameters():
        assert torch.equal(dict(data['G'].named_parameters())[name], tensor.float())


def test_frozen_layers_are_buffers():
    D = make_networks(block_kwargs=dict(freeze_layers=2))['D']
    data = load(pickled(make_networks(), D=D))
    frozen = [name for name, _ in D.named_buffers() if name.endswith('weight')]
    assert len(frozen) == 2 and set(frozen) <= dict(data['D'].named_buffers()).keys()
    assert_same(data['D'], D)


def test_force_fp16():
    data = load(pickled(make_networks()), force_fp16=True)
    for network, blocks in ((data['G_ema'].synthesis, (8, 16)), (data['D'], (8, 16))):
        assert all(getattr(network, f'b{res}').use_fp16 for res in blocks)
    assert data['G'].init_kwargs['synthesis_kwargs'] == dict(SIZES, num_fp16_res=4, conv_clamp=256)
    assert_same(data['G'], load(pickled(dict(G_ema=data['G'])))['G_ema'])


def test_stylegan3_dialect():
    G = make_networks(synthesis_kwargs=dict(SIZES, conv_clamp=256))['G']
    flat = dict(z_dim=4, c_dim=0, w_dim=4, img_resolution=16, img_channels=1, mapping_kwargs=EasyDict(num_layers=2),
                conv_clamp=256, fused_modconv_default='inference_only', **SIZES)
    got = load(pickled(dict(G_ema=described(G, state=dict(_init_kwargs=flat)))))['G_ema']
    assert_same(got, G)
    assert got.init_kwargs['synthesis_kwargs'] == dict(SIZES, conv_clamp=256) and got.synthesis.b16.conv1.conv_clamp == 256


@pytest.mark.parametrize('name', ['ema-only-u32', 'snapshot-c32', 'snapshot-c32-old', 'snapshot-c64', 'snapshot-g16'])
def test_files_of_the_reference(shared, name):
    """Every tensor equals what a reader that executes nothing finds on its own: the floats follow the header in the file."""
    path = shared / 'conformance' / 'pickles' / f'{name}.pkl'
    content = path.read_bytes()
    data = legacy.load_network_pkl(path)
    for network in filter(None, (data['G'], data['D'], data['G_ema'])):
        for tensor_name, tensor in network.named_parameters():
            assert tensor.contiguous().numpy().tobytes() in content, tensor_name


# What could not compute.

@pytest.mark.parametrize('trust', [False, True])
@pytest.mark.parametrize('value', [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_not_finite(value, trust):
    broken = make_networks()
    broken['G_ema'].mapping.w_avg[1] = value
    refused(pickled(broken), 'G_ema holds NaN or infinity in mapping.w_avg:', trust=trust)


@pytest.mark.parametrize('network, kwargs, match', [
    ('G', dict(synthesis_kwargs=dict(SIZES, conv_clamp='x')), "b4.conv1.conv_clamp is 'x', expected a number"),
    ('G', dict(synthesis_kwargs=dict(SIZES, conv_clamp=-1)), 'conv_clamp is -1, expected'),
    ('G', dict(synthesis_kwargs=dict(SIZES, activation='x')), "KeyError: 'x'"),
    ('G', dict(mapping_kwargs=dict(num_layers=2, activation='x')), "mapping.fc0.activation is 'x', expected linear or"),
    ('G', dict(mapping_kwargs=dict(num_layers=2, w_avg_beta='x')), "w_avg_beta is 'x', expected a number"),
    ('D', dict(conv_clamp='x'), "conv_clamp is 'x'"),
    ('D', dict(epilogue_kwargs=dict(mbstd_group_size='x')), "b4.mbstd.group_size is 'x'"),
])
def test_settings_that_no_layer_knows(network, kwargs, match):
    """Their constructors take them; they would fail when a run has its directory."""
    networks = make_networks()
    state = dict(_init_kwargs={**networks[network].init_kwargs, **kwargs})
    refused(pickled({**networks, network: described(networks[network], state=state)}), match)


def test_messages_have_an_end():
    content = pickled(dict(G_ema=described(make_networks()['G'], class_name='x' * 10**6)))
    assert len(refused(content, 'of the unknown class')) < 2200


def test_text_of_no_characters():
    text = Constructed(np._core.multiarray.scalar, np.dtype('U1'), b'\xff\xff\xff\x7f')
    refused(pickled(make_networks(), class_names=[text]), 'no characters')


class Constructed:
    """Pickles as a call."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


# What must not run.

def test_program_text_of_known_classes_is_not_run(canary):
    source = f'open({str(canary)!r}, "w")\nraise RuntimeError'
    G = make_networks()['G']
    assert_same(load(pickled(dict(G_ema=described(G, module_src=source))))['G_ema'], G)


def test_unknown_class_needs_trust(tmp_path, monkeypatch):
    source = ('import torch\nfrom torch_utils import persistence\n@persistence.persistent_class\n'
              'class Strange(torch.nn.Module):\n    def __init__(self, n):\n        super().__init__()\n'
              '        self.weight = torch.nn.Parameter(torch.ones(n))\n'
              '    def forward(self, x):\n        return x * self.weight\n')
    (tmp_path / 'strange_module.py').write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    import strange_module
    content = pickled(dict(G_ema=strange_module.Strange(n=3)))
    refused(content, r"G_ema is of the unknown class 'Strange'.*--trust-pickle")
    G_ema = load(content, trust=True)['G_ema']
    assert not G_ema.training and not G_ema.weight.requires_grad
    assert G_ema(torch.full([3], 2.0)).tolist() == [2, 2, 2]


def test_unknown_part_of_a_known_class():
    G = make_networks()['G']
    parts = {name: described(part, class_name='OwnMapping') if name == 'mapping' else part for name, part in G._modules.items()}
    refused(pickled(dict(G_ema=described(G, state=dict(_modules=parts)))),
            r'mapping \(OwnMapping, here MappingNetwork\).*--trust-pickle')


def test_trusted_snapshot_and_fp16(snapshot):
    refused(pickled(dict(G_ema=torch.nn.Linear(2, 2))), 'half precision', trust=True, force_fp16=True)
    data = load(snapshot, trust=True, force_fp16=True)
    assert data['G'].synthesis.b16.use_fp16 and data['D'].b16.use_fp16 and not data['G'].training
    assert_same(data['G'], load(snapshot)['G'])


@pytest.mark.parametrize('where', ['alone', 'field', 'own field', 'attribute', 'argument', 'parameter'])
def test_command_anywhere_in_a_snapshot(canary, where):
    G, evil = make_networks()['G'], Evil(canary)
    holders = {
        'alone': lambda: evil,
        'field': lambda: dict(G=evil, G_ema=G),
        'own field': lambda: dict(G_ema=G, x=[evil]),
        'attribute': lambda: dict(G_ema=described(G, dict(x=evil))),
        'argument': lambda: dict(G_ema=described(G, dict(_init_kwargs=dict(z_dim=evil)))),
        'parameter': lambda: dict(G_ema=described(G, dict(_parameters=dict(weight=evil)))),
    }
    message = refused(pickle.dumps(holders[where](), 4), r"'(posix|nt)\.system'.*--trust-pickle")
    assert message.startswith('network pickle: ')


def test_tensorflow_era(monkeypatch):
    module = types.ModuleType('dnnlib.tflib.network')
    module.Network = type('Network', (), dict(__module__='dnnlib.tflib.network'))
    for name in ('dnnlib.tflib', 'dnnlib.tflib.network'):
        monkeypatch.setitem(sys.modules, name, module)
    content = pickle.dumps(tuple(module.Network() for _ in range(3)), 3)
    monkeypatch.undo()
    for trust in (False, True):
        refused(content, 'TensorFlow.*convert it', trust=trust)


# What is broken.

@pytest.mark.parametrize('content, match', [
    (b'', 'empty'), (b'PK\x03\x04rest', 'zip archive'), (b'\n<!DOCTYPE html>', 'web page'), (b'\x89PNG\r\n', 'PNG'),
    (b'version https://git-lfs.github.com/spec/v1\n', 'git lfs pull'), (bytes(100), 'not a pickle, or a damaged one'),
    (b'# Card', 'not a pickle'), (b'\x08\x07\x12', 'ONNX'), (b'hello', 'damaged'),
    (pickle.dumps([1]), 'a pickled list'), (pickle.dumps(torch.nn.Linear(2, 2)), 'a pickled Linear'),
    (pickle.dumps({}), 'G_ema is of type NoneType'),
    (pickle.dumps({1: 2}), 'a pickled dict'), (pickle.dumps(dict(G_ema=3, x=1)), r"G_ema is of type int.*\['G_ema', 'x'\]")])
@pytest.mark.parametrize('trust', [False, True])
def test_foreign_files(content, match, trust):
    refused(content, 'loading failed' if trust and match == 'damaged' else match, trust=trust)


def test_error_names_the_file(tmp_path):
    path = tmp_path / 'broken.pkl'
    path.write_bytes(b'\x80\x04')
    with pytest.raises(ValueError, match=r'broken\.pkl: not a readable'):
        legacy.load_network_pkl(path)
    with pytest.raises(OSError):
        legacy.load_network_pkl(tmp_path / 'none.pkl')


def test_truncated(snapshot):
    size = len(snapshot)
    for end in [*range(0, 400, 13), *range(400, size, size // 50), *range(size - 40, size)]:
        refused(snapshot[:end], 'network pickle: ')


def test_flipped_bytes_load_or_are_refused():
    content = pickled(dict(G_ema=make_networks()['G_ema']))
    rng = np.random.default_rng(0)
    num_refused = 0
    for _ in range(60):
        damaged = bytearray(content)
        for position in rng.integers(0, len(content), 3):
            damaged[position] = rng.integers(256)
        try:
            load(bytes(damaged))
        except ValueError as err:
            num_refused += 1
            assert len(str(err).splitlines()) == 1
    assert num_refused > 5


# Names and writing.

def test_resume_names(tmp_path):
    for name in ('ffhq256', 'ffhq512', 'ffhq1024', 'celebahq256', 'lsundog256'):
        kind, size = re.fullmatch(r'([a-z]+)(\d+)', name).groups()
        assert re.fullmatch(rf'https://[^ ]+/{kind}-res{size}-[^ /]+[.]pkl', legacy.resolve_resume(name))
    assert legacy.resolve_resume('https://host/x.pkl') == 'https://host/x.pkl'
    assert legacy.resolve_resume('file:///x.pkl') == 'file:///x.pkl'
    assert legacy.resolve_resume(str(tmp_path)) == str(tmp_path)
    with pytest.raises(ValueError, match=r"'ffhq2048'.*ffhq256, ffhq512, ffhq1024, celebahq256, lsundog256"):
        legacy.resolve_resume('ffhq2048')


def test_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / 'network.pkl'
    path.write_bytes(b'old')
    with pytest.raises(Exception, match='lambda'):
        legacy.save_network_pkl(path, dict(G_ema=make_networks()['G_ema'], broken=lambda: None))
    assert os.listdir(tmp_path) == ['network.pkl'] and path.read_bytes() == b'old'
    with pytest.raises(OSError):
        legacy.save_network_pkl(tmp_path / 'no folder' / 'network.pkl', {})
