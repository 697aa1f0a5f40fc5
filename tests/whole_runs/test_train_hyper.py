"""The train_hyper.py command from source to snapshot: what is frozen, what goes on, and the snapshot in a new process."""

import json
import pickle
import subprocess

import numpy as np
import pytest
import torch

import legacy
import train_hyper
from tests.conftest import CLASS_NAMES, REPO
from tests.support.commands import invoke, invoke_run
from tests.support.warm_python import warm_python
from torch_utils import misc
from training.networks import Generator

TINY = ['--device=cpu', '--batch=4', '--kimg=0.1', '--tick=0.05', '--code-dim=4', '--gamma=0.1']


def run(outdir, *args):
    return invoke_run(train_hyper.main, outdir, *TINY, *args)


def load(path):
    return legacy.load_network_pkl(path)


def tensors(module):
    return dict(misc.named_params_and_buffers(module))


@pytest.fixture(scope='session')
def hyper_run(tmp_path_factory, rgb_zip, source_pkl):
    """A run of 100 images from the exact self-initialisation, with every loss."""
    return run(tmp_path_factory.mktemp('hyper'), '--data', rgb_zip, '--resume', source_pkl, '--selfinit', '--contrastive=barlow')


@pytest.fixture(scope='session')
def hyper_pkl(hyper_run):
    return hyper_run[0] / 'network-snapshot-000000.pkl'


def names_that_changed(before, after):
    """Names of tensors that both have, which are not the same bit for bit."""
    before, after = tensors(before), tensors(after)
    return {name for name in before.keys() & after.keys() if not torch.equal(before[name], after[name])}


def is_new(name):
    return 'hyper' in name.split('.') or 'class_code' in name.split('.')


# --- a whole run ---

def test_a_run_leaves_everything(hyper_run):
    run_dir, result = hyper_run
    assert run_dir.name.startswith('00000-rgb-cond-') and run_dir.name.endswith('-exact')
    left = {path.name for path in run_dir.iterdir()}
    assert {'training_options.json', 'log.txt', 'stats.jsonl', 'reals.png', 'fakes_init.png', 'fakes000000.png', 'selfinit.pkl',
            'selfinit.json', 'transfer.json', 'network-snapshot-000000.pkl'} <= left
    assert not any('.part' in name for name in left)
    options = json.loads((run_dir / 'training_options.json').read_text())
    assert options['G_kwargs']['class_name'] == 'hyper_plugin.networks.HyperGenerator'
    assert options['D_kwargs']['class_name'] == 'hyper_plugin.networks.HyperDiscriminator'
    assert options['loss_kwargs']['class_name'] == 'hyper_plugin.loss.HyperTransferLoss'
    selfinit = json.loads((run_dir / 'selfinit.json').read_text())
    assert selfinit['method'] == 'exact' and selfinit['relative_error'] < 1e-4
    assert 'relative feature error' in (run_dir / 'log.txt').read_text()
    report = json.loads((run_dir / 'transfer.json').read_text())
    assert report['options']['selfinit'] == 'exact' and report['options']['resume'].endswith('.pkl')
    assert 'synthesis.b4.conv1.weight' in report['G']['frozen'] and 'heads' in report['D']['new']
    statistics = json.loads((run_dir / 'stats.jsonl').read_text().splitlines()[-1])
    for name in ('Loss/G/loss', 'Loss/D/loss', 'Loss/D/reg', 'Loss/r1_penalty', 'Loss/spread', 'Loss/contrastive/real',
                 'Loss/contrastive/fake'):
        assert np.isfinite(statistics[name]['mean'])
    assert 'frozen' in result.output


def test_frozen_is_frozen(hyper_pkl, source_pkl):
    source, trained = load(source_pkl), load(hyper_pkl)
    for name in ('G', 'G_ema'):
        assert tensors(source['G']).keys() <= tensors(trained[name]).keys()
        assert names_that_changed(source[name], trained[name]) == set()
        assert all(is_new(name) for name in tensors(trained[name]).keys() - tensors(source['G']).keys())
    changed = names_that_changed(source['D'], trained['D'])
    assert changed == {name for name, _parameter in source['D'].named_parameters() if 'fromrgb' not in name}
    assert trained['D'].heads.any()


def test_selfinit_snapshot_is_the_source_for_every_class(hyper_pkl, source_pkl):
    source, start = load(source_pkl)['G_ema'], load(hyper_pkl.with_name('selfinit.pkl'))
    z = torch.randn(6, source.z_dim)
    want = source(z, None, noise_mode='const')
    for G in (start['G'], start['G_ema']):
        got = G(z, torch.eye(3)[[0, 1, 2, 2, 1, 0]], noise_mode='const')
        torch.testing.assert_close(got, want, rtol=0, atol=1e-4)
    assert start['class_names'] == CLASS_NAMES


def test_finetune_and_freezed(tmp_path, rgb_zip, source_pkl):
    run_dir, _result = run(tmp_path, '--data', rgb_zip, '--resume', source_pkl, '--selfinit', '--finetune', '--freezed=3',
                           '--d-cond=projection', '--hyper-rank=2', '--contrastive=none')
    source, trained = load(source_pkl), load(run_dir / 'network-snapshot-000000.pkl')
    for name in ('G', 'G_ema'):
        changed = names_that_changed(source[name], trained[name])
        kernels = {name for name, tensor in source['G'].named_parameters() if tensor.ndim == 4 and '.conv' in name}
        assert len(kernels) == 5 and not kernels & changed
        for part in ('mapping.fc0.weight', 'mapping.w_avg', 'synthesis.b4.const', 'synthesis.b8.torgb.weight',
                     'synthesis.b8.conv0.affine.weight', 'synthesis.b8.conv0.noise_strength'):
            assert part in changed
    changed = names_that_changed(source['D'], trained['D'])
    assert not any(name.startswith(('b16.fromrgb', 'b16.conv')) for name in changed) and 'b16.skip.weight' in changed


def test_without_selfinit_the_hypernetwork_starts_random(tmp_path, gray_zip, gray_source_pkl):
    run_dir, _result = run(tmp_path, '--data', gray_zip, '--resume', gray_source_pkl, '--kimg=0.004', '--hyper-scale=0.5')
    start, source = load(run_dir / 'transfer.pkl')['G_ema'], load(gray_source_pkl)['G_ema']
    z = torch.randn(1, source.z_dim)
    images = start(z.repeat(3, 1), torch.eye(3), noise_mode='const')
    assert all((image - source(z, None, noise_mode='const')[0]).abs().max() > 1e-2 for image in images)
    assert not (run_dir / 'selfinit.pkl').exists() and names_that_changed(source, start) == set()


def test_distill(tmp_path, gray_zip, gray_source_pkl):
    run_dir, _result = run(tmp_path, '--data', gray_zip, '--resume', gray_source_pkl, '--selfinit=distill', '--selfinit-kimg=1.5',
                           '--hyper-scale=1', '--kimg=0.004')
    curve = json.loads((run_dir / 'selfinit.json').read_text())
    errors = [error for _images, error in curve['curve']]
    assert curve['method'] == 'distill' and len(errors) == 3 and curve['relative_error'] == min(errors) < 0.7 * errors[0]
    assert 'relative error' in (run_dir / 'log.txt').read_text()
    assert names_that_changed(load(gray_source_pkl)['G_ema'], load(run_dir / 'network-snapshot-000000.pkl')['G_ema']) == set()


def test_a_hyper_snapshot_goes_on(tmp_path, rgb_zip, hyper_pkl, source_pkl):
    run_dir, result = run(tmp_path, '--data', rgb_zip, '--resume', hyper_pkl, '--kimg=0.004')
    before, after = load(hyper_pkl), load(run_dir / 'network-snapshot-000000.pkl')
    assert names_that_changed(load(source_pkl)['G'], after['G']) == set()
    assert all(is_new(name) for name in names_that_changed(before['G'], after['G']))
    for name, tensor in tensors(before['G']).items():  # one step away from where it ended
        torch.testing.assert_close(tensors(after['G'])[name], tensor, rtol=0, atol=0.02)
    assert '0 new, 0 not used' in result.output
    assert not (run_dir / 'selfinit.pkl').exists() and not (run_dir / 'transfer.pkl').exists()


def test_a_source_without_discriminator(tmp_path, rgb_zip, source_pkl):
    G = load(source_pkl)['G_ema']
    rebuilt = Generator(8, 0, 8, 16, 3, G.init_kwargs.mapping_kwargs, G.init_kwargs.synthesis_kwargs)
    misc.copy_params_and_buffers(G, rebuilt, require_all=True)  # the same, made with arguments by place
    only_G = tmp_path / 'only_G.pkl'
    legacy.save_network_pkl(only_G, dict(G_ema=rebuilt))
    run_dir, result = run(tmp_path / 'runs', '--data', rgb_zip, '--resume', only_G, '--selfinit', '--kimg=0.004')
    assert 'D   not in the source, starts from random weights' in result.output
    after = load(run_dir / 'network-snapshot-000000.pkl')
    assert names_that_changed(G, after['G']) == set()
    assert after['D'].heads.shape[0] == 3


# --- self-initialisation alone ---

@pytest.mark.parametrize('classes, names', [
    ('a,b,c', ['a', 'b', 'c']), ('2', ['0', '1']), ('cat, small dog', ['cat', 'small dog']),
])
def test_selfinit_needs_no_data(tmp_path, source_pkl, classes, names):
    run_dir, _result = run(tmp_path, '--resume', source_pkl, '--selfinit', '--no-cond-transfer', f'--classes={classes}')
    assert {path.name for path in run_dir.iterdir()} == {
        '.lock', 'run.json', 'transfer.json', 'selfinit.pkl', 'selfinit.json', 'training_options.json', 'log.txt'}
    start = load(run_dir / 'selfinit.pkl')
    assert start['class_names'] == names and start['G_ema'].c_dim == len(names)


def test_dry_run_prints_json_and_leaves_nothing(tmp_path, rgb_zip, source_pkl):
    for args in (['--data', rgb_zip], ['--no-cond-transfer', '--classes=5']):
        args += ['--resume', source_pkl, '--outdir', tmp_path / 'runs', *TINY, '--hyper-rank=3', '-n']
        result = invoke(train_hyper.main, *args)
        assert result.exit_code == 0, result.output
        config = json.loads(result.stdout)
        assert (config['batch_size'], config['G_kwargs']['rank'], config['G_kwargs']['z_dim']) == (4, 3, 8)
    assert list(tmp_path.iterdir()) == []


# --- the snapshot ---

DRAW = """
import sys
sys.path.insert(0, {repo!r})
import torch
torch.set_num_threads(1)
if {trust}:
    sys.modules['hyper_plugin'] = None  # the snapshot's own program text has to do
import legacy
G = legacy.load_network_pkl({path!r}, trust={trust})['G_ema']
z = torch.randn([6, G.z_dim], generator=torch.Generator().manual_seed(3))
torch.save(G(z, torch.eye(3)[[0, 1, 2, 2, 1, 0]], noise_mode='const'), {out!r})
"""


@pytest.mark.parametrize('trust', [False, True])
def test_a_new_process_draws_the_same_pictures(trust, tmp_path, hyper_pkl):
    out = tmp_path / 'images.pt'
    script = DRAW.format(repo=str(REPO), trust=trust, path=str(hyper_pkl), out=str(out))
    subprocess.run([warm_python(), '-c', script], check=True, cwd=tmp_path)
    G = pickle.loads(hyper_pkl.read_bytes())['G_ema']
    z = torch.randn([6, G.z_dim], generator=torch.Generator().manual_seed(3))
    want = G(z, torch.eye(3)[[0, 1, 2, 2, 1, 0]], noise_mode='const')
    drawn = torch.load(out, weights_only=True)
    # Without the plugin the program text keeps no kernels from batch to batch, and their sums round otherwise.
    torch.testing.assert_close(drawn, want, rtol=0, atol=1e-5 if trust else 0)
    assert (want[2] - want[3]).abs().max() > 1e-3  # not a flat model
