"""python -m legacy inspect: what a file holds, hostile ones too, without running or building anything."""
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import legacy
from commands.inspect_snapshot import main
from tests.conftest import REPO
from tests.support.hyper_sources import make_hyper, make_source
from tests.support.pickle_opcodes import Evil
from tests.support.snapshots import described, make_networks, pickled
from torch_utils.pickles import weights_file
from training import networks
from training.snapshot.inspection import inspect_snapshot, report


def write(path, content):
    path.write_bytes(content)
    return str(path)


@pytest.fixture
def network_pkl(tmp_path):
    fields = dict(augment_pipe=None, training_set_kwargs=dict(path='x.zip', max_size=np.int64(7)), class_names=['a', 'b'])
    data = dict(make_networks(), **fields)
    return write(tmp_path / 'network.pkl', pickled(data))


def test_networks_and_values(network_pkl, monkeypatch):
    monkeypatch.setattr(networks.Generator, '__init__', None)       # nothing is built
    facts = inspect_snapshot(network_pkl)
    G, D = make_networks_sizes()
    assert facts['safe'] and facts['problem'] is None and facts['refused'] == [] and facts['kind'] == 'pickle'
    assert facts['fields']['G']['class'] == 'Generator' and facts['fields']['G']['parameters'] == G
    assert facts['fields']['D']['parameters'] == D and facts['fields']['D']['types'] == ['float32']
    assert facts['fields']['G']['arguments']['mapping_kwargs'] == dict(num_layers=2)
    assert facts['fields']['training_set_kwargs']['value'] == dict(path='x.zip', max_size=7)
    source, = facts['sources']
    assert source['same_as'] == 'training.networks' and 'Generator' in source['classes']
    json.dumps(facts)


def make_networks_sizes():
    """Counts by hand: G z4 w4 at 16x16 with 8, 8, 4 channels, D the same, one image channel."""
    mapping = 2 * (4 * 4 + 4)
    layer = lambda i, o: 4 * i + i + 9 * i * o + o + 1    # noqa: E731  affine, kernel, bias, noise strength
    rgb = lambda i: 4 * i + i + i + 1    # noqa: E731
    G = mapping + 8 * 16 + layer(8, 8) + rgb(8) + layer(8, 8) + layer(8, 8) + rgb(8) + layer(8, 4) + layer(4, 4) + rgb(4)
    D = (4 + 4) + (9 * 16 + 4) + (9 * 32 + 8) + 32 + (9 * 64 + 8) + (9 * 64 + 8) + 64 + (9 * 9 * 8 + 8) + (128 * 8 + 8) + (8 + 1)
    return G, D


def test_weights_that_are_not_finite(tmp_path):
    broken = make_networks()
    broken['G_ema'].mapping.w_avg.fill_(torch.nan)
    broken['G_ema'].mapping.fc0.bias.data[0] = torch.inf
    facts = inspect_snapshot(write(tmp_path / 'network.pkl', pickled(broken)))
    fields = facts['fields']
    assert sorted(fields['G_ema']['nonfinite']) == ['mapping.fc0.bias', 'mapping.w_avg'] and fields['G']['nonfinite'] == []
    assert report(facts).count('NaN or infinity in mapping.') == 1


def test_hyper_snapshot_on_one_screen(tmp_path):
    source = make_source()
    legacy.save_network_pkl(tmp_path / 'hyper.pkl', dict(G_ema=make_hyper(source), class_names=['cat', 'dog', 'owl']))
    text = report(inspect_snapshot(str(tmp_path / 'hyper.pkl')))
    for expected in ('HyperGenerator: ', 'c_dim=3', '["cat", "dog", "owl"]', 'hyper_plugin.networks'):
        assert expected in text
    assert 'yes: opening it here runs no code from it' in text.splitlines()[1] and len(text.splitlines()) < 24


@pytest.mark.parametrize('where', ['field', 'attribute', 'alone'])
def test_hostile_files(tmp_path, canary, where):
    evil = Evil(canary)
    G = make_networks()['G']
    data = dict(field=dict(G_ema=G, x=evil), attribute=dict(G_ema=described(G, dict(x=[evil]))), alone=evil)[where]
    facts = inspect_snapshot(write(tmp_path / 'evil.pkl', pickle.dumps(data, 4)))
    assert not facts['safe'] and facts['refused'] in (['posix.system'], ['nt.system'])
    assert 'NO: it refers to posix.system' in report(facts) or 'nt.system' in report(facts)
    if where != 'alone':
        assert facts['fields']['G_ema']['class'] == 'Generator'     # the rest is told all the same


def test_unknown_class_and_other_text(tmp_path):
    G = make_networks()['G']
    strange = described(G, class_name='Strange', module_src='x = 1')
    facts = inspect_snapshot(write(tmp_path / 'odd.pkl', pickled(dict(G_ema=strange))))
    assert facts['safe'] and facts['fields']['G_ema']['known'] is False
    assert "with --trust-pickle only: G_ema is of class 'Strange'" in report(facts)
    assert {source['same_as'] for source in facts['sources']} == {None, 'training.networks'}


@pytest.mark.parametrize('content, match', [
    (b'\x80\x04', 'exhausted'), (pickle.dumps([1]), 'holds a list'), (b'(dp0\n.', 'opcode'),
    (b'\x80\x03cdnnlib.tflib.network\nNetwork\n.', 'TensorFlow')])
def test_damaged_files(tmp_path, content, match):
    facts = inspect_snapshot(write(tmp_path / 'damaged.pkl', content))
    assert not facts['safe'] and match in facts['problem'] and match in report(facts) and facts['kind'] == 'pickle'


@pytest.mark.parametrize('content, kind', [
    (b'', 'empty'), (b'\x89PNG\r\n', 'a PNG image'), (b'PK\x03\x04rest', 'a zip archive'), (b'# cat.pkl', 'not a pickle'),
    (b'\x08\x07\x12\x0f', 'an ONNX file'), (b'\n<html>', 'a web page')])
def test_files_of_other_kinds(tmp_path, content, kind):
    facts = inspect_snapshot(write(tmp_path / 'x.pkl', content))
    assert not facts['safe'] and kind in facts['kind'] and kind in facts['problem']
    assert f'x.pkl: {facts["kind"]}, ' in report(facts)


def test_long_and_strange_values(tmp_path):
    values = dict(text='x' * 5000, items=list(range(5000)), tensor=torch.zeros(2, 3), array=np.zeros(4), raw=b'12',
                  nested=dict(a=(1, 2)), colour='\x1b[2J', nan=float('nan'), long_double=np.longdouble(3),
                  complex=np.complex64(1), animal='\u732b')
    facts = inspect_snapshot(write(tmp_path / 'values.pkl', pickled(dict(G_ema=make_networks()['G'], **values))))
    shown = {name: field['value'] for name, field in facts['fields'].items() if 'value' in field}
    assert shown['text'].endswith('(5000 characters)') and shown['items'][-1] == '... (4900 more)'
    assert shown['nested'] == dict(a=[1, 2])
    assert shown['tensor'] == '<float32 array [2, 3]>' and shown['array'] == '<float64 array [4]>' and shown['raw'] == '<a bytes>'
    assert '\x1b' not in report(facts) and '"\u732b"' in report(facts)
    assert shown['nan'] == 'nan' and shown['complex'] == '<a complex>'
    json.dumps(facts, allow_nan=False)


def test_weights_files_too(tmp_path):
    networks = dict(make_networks(), class_names=['a', 'b'])
    weights_file.write_fields(tmp_path / 'network.safetensors', networks)
    facts = inspect_snapshot(str(tmp_path / 'network.safetensors'))
    assert facts['kind'] == 'safetensors' and facts['safe']
    assert facts['fields'] == inspect_snapshot(write(tmp_path / 'network.pkl', pickled(networks)))['fields']


def test_command(network_pkl, tmp_path):
    result = CliRunner().invoke(main, ['inspect', '--json', network_pkl])
    assert result.exit_code == 0 and json.loads(result.output) == inspect_snapshot(network_pkl)
    assert CliRunner().invoke(main, ['inspect', write(tmp_path / 'x.pkl', b'x')]).exit_code == 1
    missing = CliRunner().invoke(main, ['inspect', str(tmp_path / 'none.pkl')])
    assert missing.exit_code == 2 and missing.output.count('\n') == 1 and 'none.pkl' in missing.output


def test_python_m_legacy(network_pkl):
    result = subprocess.run([sys.executable, '-m', 'legacy', 'inspect', network_pkl], cwd=REPO, capture_output=True, text=True)
    assert result.returncode == 0 and 'Generator: ' in result.stdout, result.stderr
