"""Safetensors files: nothing lost on the way there and back, and nothing built from hostile descriptions."""

import copy
import io
import json
import struct
import sys

import pytest
import safetensors.torch
import torch

import legacy
from dnnlib import EasyDict
from tests.support.hyper_sources import make_hyper, make_hyper_D, make_source, make_source_D
from tests.support.snapshots import make_networks, tensors
from torch_utils import misc
from torch_utils.pickles import weights_file
from training.augment import AugmentPipe


def load(content):
    return legacy.load_network_pkl(io.BytesIO(content))


def refused(content, match):
    with pytest.raises(ValueError, match=match) as error:
        load(content)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def assert_same_snapshot(got, want):
    for key, value in want.items():
        if isinstance(value, torch.nn.Module):
            assert type(got[key]) is type(value)
            assert got[key].init_kwargs == value.init_kwargs
            ours, theirs = dict(misc.named_params_and_buffers(got[key])), dict(misc.named_params_and_buffers(value))
            assert list(ours) == list(theirs)
            for name, tensor in theirs.items():
                assert ours[name].dtype == tensor.dtype and torch.equal(ours[name], tensor), name
        else:
            assert got[key] == value
    assert set(got) == set(want)


def write(path, **fields):
    weights_file.write_fields(path, fields)
    return path.read_bytes()


def plain_snapshot(**fields):
    networks = make_networks()
    return dict(networks, augment_pipe=AugmentPipe(xflip=1), training_set_kwargs=EasyDict(path='a.zip', max_size=None, share=0.1),
                class_names=[], **fields)


def hyper_snapshot():
    G = make_hyper(make_source(num_fp16_res=1, fp16_channels_last=True), rank=2)
    return dict(G=G, D=make_hyper_D(make_source_D(), d_cond='projection'), G_ema=copy.deepcopy(G), augment_pipe=None,
                training_set_kwargs=None, class_names=['cat', 'dog', '\u732b "quoted"'])


@pytest.mark.parametrize('make', [plain_snapshot, hyper_snapshot])
def test_there_and_back_bit_for_bit(make, tmp_path):
    snapshot = make()
    content = write(tmp_path / 'x.safetensors', **snapshot)
    assert_same_snapshot(legacy.load_network_pkl(tmp_path / 'x.safetensors'), snapshot)
    legacy.save_network_pkl(tmp_path / 'x.pkl', load(content))
    assert_same_snapshot(legacy.load_network_pkl(tmp_path / 'x.pkl'), snapshot)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['x.pkl', 'x.safetensors']
    assert write(tmp_path / 'again.safetensors', **load(content)) == content


def test_special_numbers_survive(tmp_path):
    G = make_networks()['G_ema']
    with torch.no_grad():
        G.mapping.w_avg.copy_(torch.tensor([torch.finfo(torch.float32).max, torch.finfo(torch.float32).tiny, -0.0, 1e-45]))
    read = load(write(tmp_path / 'x.safetensors', G_ema=G))['G_ema'].mapping.w_avg
    assert torch.equal(read.view(torch.int32), G.mapping.w_avg.view(torch.int32))


def test_one_network_under_two_names(tmp_path):
    G = make_networks()['G']
    read = load(write(tmp_path / 'x.safetensors', G=G, G_ema=G))
    assert tensors(read['G']).keys() == tensors(read['G_ema']).keys()
    assert read['G'].mapping.w_avg.data_ptr() != read['G_ema'].mapping.w_avg.data_ptr()


def test_other_programs_read_the_tensors(tmp_path):
    G = make_networks()['G_ema']
    read = safetensors.torch.load(write(tmp_path / 'x.safetensors', G_ema=G))
    assert {f'G_ema.{name}' for name in tensors(G)} == set(read)
    assert all(torch.equal(read[f'G_ema.{name}'], tensor) for name, tensor in tensors(G).items())


@pytest.mark.parametrize('value, match', [
    ({1, 2}, r'extra is \{1, 2\} of type set'), ({'a': [1, object]}, r'extra.a\[1\]'), ({1: 'one'}, 'extra is'),
    ({'a': float('nan')}, 'extra.a is nan'), (torch.zeros(3), 'of type Tensor'),
])
def test_what_json_cannot_hold_is_said_and_nothing_written(value, match, tmp_path):
    with pytest.raises(ValueError, match=match):
        write(tmp_path / 'x.safetensors', G_ema=make_networks()['G_ema'], extra=value)
    assert not list(tmp_path.iterdir())


def test_modules_without_arguments_are_refused(tmp_path):
    with pytest.raises(ValueError, match='G_ema is a Linear'):
        write(tmp_path / 'x.safetensors', G_ema=torch.nn.Linear(2, 2))


def test_force_fp16(tmp_path):
    write(tmp_path / 'x.safetensors', G_ema=make_networks()['G_ema'])
    read = legacy.load_network_pkl(tmp_path / 'x.safetensors', force_fp16=True, trust=True)['G_ema']
    assert read.synthesis.b16.use_fp16


def test_pickles_are_told_apart(source_pkl):
    assert not weights_file.is_weights_file(source_pkl.read_bytes())
    for content in (b'', b'\x80', bytes(8), b'\xff' * 8 + b'{', b'PK\x03\x04' + bytes(20)):
        assert not weights_file.is_weights_file(content)


@pytest.mark.parametrize('keep', [9, 100, 3000, -1])
def test_truncated_files(keep, tmp_path):
    content = write(tmp_path / 'x.safetensors', G_ema=make_networks()['G_ema'])
    refused(content[:keep], 'not a readable safetensors file')


def test_missing_library(monkeypatch, tmp_path):
    content = write(tmp_path / 'x.safetensors', G_ema=make_networks()['G_ema'])
    monkeypatch.setitem(sys.modules, 'safetensors', None)
    monkeypatch.setitem(sys.modules, 'safetensors.torch', None)
    refused(content, 'pip install safetensors')
    with pytest.raises(ValueError, match='pip install safetensors'):
        write(tmp_path / 'y.safetensors', class_names=[])


# --- hostile descriptions ---

@pytest.fixture(scope='module')
def good(tmp_path_factory):
    """(tensors, description) of a good file."""
    G = make_networks()['G_ema']
    content = write(tmp_path_factory.mktemp('good') / 'x.safetensors', G_ema=G)
    header = json.loads(content[8:8 + int.from_bytes(content[:8], 'little')])
    return safetensors.torch.load(content), json.loads(header['__metadata__'][weights_file.KEY])


def assemble(weights, described):
    text = described if isinstance(described, str) else json.dumps(described)
    return safetensors.torch.save(weights, metadata={weights_file.KEY: text})


def test_the_good_one_is_good(good):
    assert load(assemble(*good))['G_ema'].z_dim == 4


@pytest.mark.parametrize('name', ['os.system', 'system', 'builtins.exec', 'torch.nn.Linear', 'training.networks.Generator',
                                  'HyperTransferLoss', 'ImageFolderDataset', '', 'Generator.__init__'])
def test_only_known_classes_are_built(name, good, canary):
    weights, described = good
    network = copy.deepcopy(described['fields']['G_ema']['network'])
    network.update(args=[f'touch {canary}'], kwargs={})
    network['parts'][''] = name
    refused(assemble(weights, dict(described, fields=dict(G_ema=dict(network=network)))), 'G_ema is of the unknown class')


@pytest.mark.parametrize('change, match', [
    (dict(args=['x'] * 20), 'cannot be built'),
    (dict(args={}), 'lacks args, kwargs, parts or buffers'),
    (dict(kwargs=[]), 'lacks args, kwargs, parts or buffers'),
    (dict(parts={}), 'lacks args, kwargs, parts or buffers'),
    (dict(parts=dict.fromkeys(['', *map(str, range(10_000))], 'Generator')), 'lacks args, kwargs, parts or buffers'),
    (dict(parts={'': ['Generator']}), 'lacks args, kwargs, parts or buffers'),
    (dict(buffers={}), 'lacks args, kwargs, parts or buffers'),
    (dict(buffers=[['x']]), 'lacks args, kwargs, parts or buffers'),
    (dict(parts={'': 'Generator'}), "belongs to 'mapping"),
    (dict(parts={'': 'Generator', 'a.b': 'Linear'}), "belongs to 'a'"),
    (dict(kwargs=dict(z_dim=2 ** 40)), 'holds? a number above'),
    (dict(kwargs=dict(no_such_argument=1)), 'cannot be built'),
    (dict(kwargs=dict(class_name='os.system', func_name='os.system')), 'cannot be built'),
])
def test_descriptions_that_are_wrong(change, match, good):
    weights, described = good
    network = {**described['fields']['G_ema']['network'], **change}
    refused(assemble(weights, dict(described, fields=dict(G_ema=dict(network=network)))), match)


@pytest.mark.parametrize('sizes', [dict(img_resolution=1024, synthesis_kwargs={}), dict(w_dim=2 ** 20), dict(z_dim=2 ** 20)])
def test_a_small_file_cannot_ask_for_a_large_network(sizes, good):
    weights, described = good
    network = copy.deepcopy(described['fields']['G_ema']['network'])
    network['kwargs'].update(sizes)
    refused(assemble(weights, dict(described, fields=dict(G_ema=dict(network=network)))), 'much larger network')


@pytest.mark.parametrize('described, match', [
    ('', 'not JSON'), ('[' * 100_000, 'not JSON'), ('1' * 100_000, 'not JSON|version'), ('[]', 'version None'),
    ('{}', 'version None'),
    ('{"version": 2, "fields": {}}', 'version 2'), ('{"version": 1, "fields": []}', 'version 1'),
    ('{"version": 1, "fields": {}}', 'G_ema'), ('{"version": 1, "fields": {"G_ema": {}}}', "field 'G_ema' is neither"),
    ('{"version": 1, "fields": {"G_ema": null}}', "field 'G_ema' is neither"),
    ('{"version": 1, "fields": {"G_ema": {"value": [1]}}}', 'G_ema is of type list'),
    ('{"version": 1, "fields": {"G_ema": {"network": 3}}}', 'lacks args'),
    ('{"version": 1, "fields": {"G\\u001b[31m": {}}}', 'is neither'),
])
def test_metadata_that_is_wrong(described, match, good):
    assert '\x1b' not in refused(assemble(good[0], described), match)


def test_tensors_that_do_not_fit(good):
    weights, described = good
    lacking = {name: tensor for name, tensor in weights.items() if not name.endswith('w_avg')}
    refused(assemble(lacking, described), 'missing in the file: mapping.w_avg')
    for name, tensor, match in (('w_avg', torch.zeros(5), r'of another shape: mapping.w_avg \[5\]'),
                                ('more', torch.zeros(5), 'only in the file: mapping.more'),
                                ('w_avg', torch.zeros(4, dtype=torch.complex64), 'real numbers')):
        refused(assemble({**weights, f'G_ema.mapping.{name}': tensor}, described), match)


def test_files_of_other_tools(good):
    refused(safetensors.torch.save(good[0]), 'a safetensors file of another tool')
    refused(safetensors.torch.save(good[0], metadata={'format': 'pt'}), 'a safetensors file of another tool')
    header = b'{"__metadata__": null}'
    refused(struct.pack('<Q', len(header)) + header, 'a safetensors file of another tool|not a readable safetensors file')


@pytest.mark.parametrize('depth', [40, 60, 900, 100_000])
def test_deep_descriptions(depth, good):
    weights, described = good
    text = json.dumps(described)[:-2] + ', "x": {"value": ' + '[' * depth + ']' * depth + '}}}'
    content = safetensors.torch.save(weights, metadata={weights_file.KEY: text})
    if depth < 50:
        assert list(weights_file.read_fields(content)) == ['G_ema', 'x']
    else:
        refused(content, 'not JSON that can be read')


def test_long_headers(good):
    weights, described = good
    refused(assemble(weights, dict(described, x=[''] * 2 ** 20)), 'its header has .* bytes, expected at most')
