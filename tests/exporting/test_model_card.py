"""Model cards: what they say, and that nothing in a file or a run directory breaks them."""

import hashlib
import os
import re

import pytest
import torch

import legacy
from exporting.model_card import card_path, write_card
from tests.support.run_directories import OPTIONS, metric_line, write_run
from tests.support.snapshots import make_networks
from training.networks import Generator

RECORD = dict(command='train_hyper.py', options=dict(data='/home/someone/data/animals.zip', resume='models/ffhq.pkl', kimg=2000.0,
                                                     gamma=None, desc='a|b'),
              data=dict(num_images=600, class_names=['cat', 'dog']))
METRICS = {'kid_per_class': [
    metric_line('kid_per_class', 100, kid_per_class=9.0), metric_line('kid_per_class', 200, kid_per_class=0.5),
    metric_line('kid_per_class', 200, kid_per_class=0.123456789, kid_per_class__cat=0.25, kid_per_class__dog=0.75)]}


def snapshot(**fields):
    return dict(make_networks(), class_names=[], **fields)


def card(tmp_path, held, network, name='cat.pkl'):
    exported = tmp_path / name
    exported.write_bytes(b'what was exported')
    path = write_card(exported, held, str(network))
    assert path == card_path(exported) == tmp_path / f'{name}.md'
    return path.read_text(encoding='utf-8')


def rows(text):
    """The cells of all tables."""
    lines = [line.strip('| ').split(' | ') for line in text.splitlines() if line.startswith('| ')]
    return {line[0]: line[-1] for line in lines if len(line) == 2}


def run_snapshot(tmp_path, **options):
    run = write_run(tmp_path / 'secret' / '00000-run', **{**dict(record=RECORD, metrics=METRICS), **options})
    return run / 'network-snapshot-000200.pkl'


def test_facts_of_the_file(tmp_path):
    held = snapshot(baked_class='cat')
    text = card(tmp_path, held, 'https://example.com/net.pkl')
    told = rows(text)
    assert told['Images'] == '16x16, gray' and told['Network'] == 'Generator, one class, cat'
    assert told['Weights'] == f'{sum(tensor.numel() for tensor in held["G_ema"].state_dict().values()):,}'
    assert told['SHA-256'] == hashlib.sha256(b'what was exported').hexdigest()
    assert told['Made from'] == 'https://example.com/net.pkl'
    for fields, what in ((dict(baked_mix='cat:1,dog:1'), 'a mix of classes, cat:1,dog:1'), ({}, 'no classes'),
                         (dict(baked_label='0,1'), 'one label, 0,1')):
        assert rows(card(tmp_path, snapshot(**fields), 'net.pkl'))['Network'] == f'Generator, {what}'
    assert '## Licence' in text and '## Training' not in text and '## Metrics' not in text


def test_run_directory(tmp_path):
    text = card(tmp_path, snapshot(baked_class='cat'), run_snapshot(tmp_path))
    told = rows(text)
    assert told['data'] == 'animals.zip' and told['resume'] == 'ffhq.pkl' and told['kimg'] == '2000.0'
    assert told['Command'] == 'train\\_hyper.py' and told['Thousand images'] == '200' and told['desc'] == 'a\\|b'
    assert told['Data set'] == 'a.zip' and told['Classes'] == 'cat, dog' and 'gamma' not in told
    assert 'someone' not in text and 'secret' not in text
    assert 'Training started from ffhq.pkl.' in text


def test_addresses_without_what_may_be_secret(tmp_path):
    url = 'https://me:pass@example.com:81/a/net.pkl?token=secret#part'
    record = dict(RECORD, options=dict(resume=url))
    text = card(tmp_path, snapshot(), run_snapshot(tmp_path, record=record)) + card(tmp_path, snapshot(), url)
    assert text.count('https://example.com:81/a/net.pkl') == 3 and 'secret' not in text and 'pass@' not in text


def test_metrics_of_this_snapshot_and_class(tmp_path):
    network = run_snapshot(tmp_path)
    told = rows(card(tmp_path, snapshot(baked_class='cat'), network))
    assert told['kid\\_per\\_class'] == '0.123457' and told['kid\\_per\\_class/cat'] == '0.25'
    assert 'kid\\_per\\_class/dog' not in told
    assert 'kid\\_per\\_class/dog' in rows(card(tmp_path, snapshot(), network, 'all.pkl'))
    assert '## Metrics' not in card(tmp_path, snapshot(), network.with_name('network-snapshot-000300.pkl'), 'other.pkl')


@pytest.mark.parametrize('link', [os.link, os.symlink])
def test_the_best_snapshot_is_known_by_its_own_name(link, tmp_path):
    network = run_snapshot(tmp_path)
    for path in (network.with_name('network-snapshot-000100.pkl'), network, network.with_name('network-snapshot-000300.pkl')):
        path.write_bytes(b'the same in all')
    best = network.with_name('network-best.pkl')
    link(network, best)
    told = rows(card(tmp_path, snapshot(), best))
    assert told['Thousand images'] == '200' and told['kid\\_per\\_class'] == '0.123457'
    assert told['Made from'] == 'network-best.pkl'


def test_a_best_snapshot_that_is_pruned_has_no_facts_of_its_own(tmp_path):
    network = run_snapshot(tmp_path)
    best = network.with_name('network-best.pkl')
    for path in (network, best):
        path.write_bytes(b'the same in both')
    text = card(tmp_path, snapshot(), best)
    assert '## Data' in text and '## Metrics' not in text and 'Thousand images' not in rows(text)


@pytest.mark.parametrize('fields, shown', [(dict(baked_class='cat'), {'cat'}), (dict(baked_class='a/cat'), {'a/cat'}),
                                           (dict(baked_mix='cat:1,a/cat:1'), set())])
def test_metrics_of_classes_whose_names_end_alike(fields, shown, tmp_path):
    values = {f'kid_per_class__{name}': 0.5 for name in ('cat', 'a/cat', 'None')}
    metrics = dict(kid_per_class=[metric_line('kid_per_class', 200, kid_per_class=0.1, **values)])
    told = rows(card(tmp_path, snapshot(**fields), run_snapshot(tmp_path, metrics=metrics)))
    assert {name.partition('/')[2] for name in told if name.startswith('kid')} == {'', *shown}


def test_options_of_the_loop_where_the_command_is_not_recorded(tmp_path):
    network = run_snapshot(tmp_path, record=None, options=dict(OPTIONS, resume_pkl='/x/source.pkl'))
    text = card(tmp_path, snapshot(), network)
    assert rows(text)['loss\\_kwargs.r1\\_gamma'] == '1.0' and 'Training started from source.pkl.' in text


@pytest.mark.parametrize('source, hinted', [
    ('ffhq256', True), ('https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/x.pkl', True), ('models/letters32.pkl', False),
])
def test_hint_at_the_licence_of_the_source(source, hinted, tmp_path):
    text = card(tmp_path, snapshot(), run_snapshot(tmp_path, record=dict(RECORD, options=dict(resume=source))))
    assert ('non-commercial' in text) == hinted


def code_of(text):
    """The indented lines."""
    return '\n'.join(line[4:] for line in text.splitlines() if line.startswith('    '))


@pytest.mark.parametrize('c_dim', [0, 3])
def test_the_code_runs(c_dim, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    G = Generator(4, c_dim, 4, 16, 3, synthesis_kwargs=dict(channel_base=64, channel_max=8))
    legacy.save_network_pkl(tmp_path / "it's.pkl", dict(G_ema=G))
    values = {}
    exec(code_of(write_card(tmp_path / "it's.pkl", dict(G_ema=G), 'net.pkl').read_text()), values)
    assert values['image'].shape == (1, 3, 16, 16) and torch.isfinite(values['image']).all()


def test_the_onnx_code_runs(tmp_path, monkeypatch):
    from exporting.onnx_file import write_onnx
    monkeypatch.chdir(tmp_path)
    held = snapshot()
    write_onnx(tmp_path / 'cat.onnx', held['G_ema'].eval().requires_grad_(False), {})
    values = {}
    exec(code_of(write_card(tmp_path / 'cat.onnx', held, 'net.pkl').read_text()), values)
    assert values['image'].shape == (1, 1, 16, 16)


def test_odd_values_do_not_break_the_card(tmp_path):
    record = dict(command=3, options=['x'], data=dict(class_names=[1, 2], num_images={}))
    held = dict(snapshot(baked_class=['x']), class_names=[1, 'two'])
    text = card(tmp_path, held, run_snapshot(tmp_path, record=record, options=dict(training_set_kwargs=dict(path=None))))
    assert rows(text)['Network'] == 'Generator, no classes' and 'Classes' not in rows(text)


def test_names_cannot_write_markdown(tmp_path):
    name = '<img src=x>|`[a](b)`\n# head\x1b[0m'
    text = card(tmp_path, snapshot(baked_class=name), run_snapshot(tmp_path, record=dict(RECORD, options={name: name})))
    assert '\n# head' not in text and '\x1b' not in text
    unescaped = re.sub(r'\\.', '', '\n'.join(line for line in text.splitlines() if not line.startswith('    ')))  # code apart
    assert not any(part in unescaped for part in '<`[')
