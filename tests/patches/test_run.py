"""python -m patches run: the checkout's scripts, and train_hyper.py on the checkout's training loop."""
import json
import os
import subprocess

import click
import numpy as np
import pytest
import torch

import legacy
from hyper_plugin.networks import HyperDiscriminator
from patches.host_training import easy, host_arguments
from patches.prepare import prepare
from tests.conftest import REPO, write_dataset
from tests.support.hyper_sources import labels, make_hyper, make_source
from tests.support.miniature_host import LAYOUTS, make_host
from tests.support.warm_python import warm_python
from training.run.run_dir import Run, record_run


@pytest.fixture(scope='module', params=LAYOUTS)
def host(request, tmp_path_factory):
    return make_host(tmp_path_factory.mktemp(request.param), request.param)


def run(folder, *args, timeout=None):
    """python -m patches run ... from a folder that has nothing of this project in it."""
    environment = os.environ | dict(PYTHONPATH=str(REPO), OMP_NUM_THREADS='1')
    return subprocess.run([warm_python(), '-m', 'patches', 'run', *map(str, args)], cwd=folder, env=environment,
                          capture_output=True, text=True, timeout=timeout)


def train(host, folder, data, source, *args):
    return run(folder, host, 'train_hyper.py', f'--data={data}', f'--resume={source}', '--selfinit', '--kimg=0.008', '--batch=4',
               '--threads=3', '--outdir=runs', '--code-dim=4', *args)


def listing(host):
    return {path: path.read_bytes() for path in sorted(host.rglob('*')) if path.is_file() and '__pycache__' not in path.parts}


def stock_train(host, folder, resume, gpus):
    """The checkout's train.py: it spawns workers, which import it anew. Returns the finished process."""
    data = write_dataset(folder / 'data.zip', 'RGB')
    return run(folder, host, 'train.py', data, folder / 'seen', resume, gpus)


def test_mends_reach_spawned_processes(host, tmp_path):
    if torch.cuda.is_available():
        pytest.skip('needs a machine without CUDA')
    gpus = 2 if host.name.startswith(LAYOUTS[0]) else 1
    source = make_source()
    legacy.save_network_pkl(tmp_path / 'source.pkl', dict(G=source, D=None, G_ema=source))
    result = stock_train(host, tmp_path, tmp_path / 'source.pkl', gpus)
    assert result.returncode == 0, result.stderr
    seen = [json.loads((tmp_path / f'seen-{rank}.json').read_text()) for rank in range(gpus)]
    assert seen == gpus * [dict(shape=[2, 3, 16, 16], is_worker=True, beta=0.0, total=gpus, own='patches_own_conv2d_gradfix',
                                w_avg=source.mapping.w_avg.tolist())]


def test_stock_training_cannot_go_on_from_a_hyper_snapshot(host, tmp_path):
    G = make_hyper(make_source())
    legacy.save_network_pkl(tmp_path / 'hyper.pkl', dict(G=G, D=None, G_ema=G))
    result = stock_train(host, tmp_path, tmp_path / 'hyper.pkl', 1)
    assert result.returncode == 1 and 'export.py --class' in result.stderr.splitlines()[-1]


@pytest.mark.parametrize('where', ['script', 'data'])
def test_a_process_that_cannot_begin_ends_its_parent(tmp_path, where):
    """The parent writes more than a pipe holds to a child that reads no further."""
    host = make_host(tmp_path / 'host', LAYOUTS[0])
    (host / 'ends.py').write_text(f"""import multiprocessing

if __name__ != '__main__' and {where == 'script'}:
    raise KeyError('no second time')

def unpickled(content):
    raise KeyError('no second time')

class Data:
    def __reduce__(self):
        return unpickled, (bytes(1 << 20),)

if __name__ == '__main__':
    multiprocessing.get_context('spawn').Process(target=print, args=(Data(), bytes(1 << 20))).start()
""")
    result = run(tmp_path, host, 'ends.py', timeout=120)
    assert result.returncode != 0 and "Error: a process of the script cannot start: KeyError: 'no second time'" in result.stderr


def test_train_hyper(host, tmp_path, rgb_zip, source_pkl):
    before = listing(host)
    result = train(host, tmp_path, rgb_zip, source_pkl, '--metrics=fid50k_full,kid_per_class', '--keep-snapshots=2')
    assert result.returncode == 0, result.stdout + result.stderr
    run_dir, = (tmp_path / 'runs').iterdir()
    for expected in ('no exact resume', 'no metric fid50k_full, kid_per_class', '--keep-snapshots is ignored', str(run_dir)):
        assert expected in result.stdout
    assert 'sampler' in result.stderr and 'not supported' not in result.stderr
    data = legacy.load_network_pkl(run_dir / 'network-snapshot-000000.pkl')
    start = legacy.load_network_pkl(run_dir / 'selfinit.pkl')
    name = 'mapping.class_code.table'
    assert not torch.equal(data['G'].get_parameter(name), start['G'].get_parameter(name))      # it has learnt
    assert torch.equal(data['G'].get_buffer('synthesis.b16.conv1.weight'), start['G'].get_buffer('synthesis.b16.conv1.weight'))
    assert {name: value for name, value in data['D'].init_kwargs.items() if name in ('num_fp16_res', 'conv_clamp')} == dict(
        num_fp16_res=0, conv_clamp=None)
    log = (run_dir / 'log.txt').read_text()
    assert (run_dir / 'fakes.png').is_file() and 'memory 0' in log
    assert 'threads 3' in log    # as --threads says
    assert log.count('Done:') == result.stdout.count('Done:') == 1 and 'Labels:      3 classes' in log
    assert listing(host) == before      # nothing in the checkout is changed


def test_goes_on_from_a_hyper_snapshot(tmp_path, rgb_zip, source_pkl):
    host = make_host(tmp_path / 'host', LAYOUTS[0])
    networks = legacy.load_network_pkl(source_pkl)
    G, D = make_hyper(networks['G']), HyperDiscriminator(**{**networks['D'].init_kwargs, 'c_dim': 3})
    legacy.save_network_pkl(tmp_path / 'hyper.pkl', dict(G=G, D=D, G_ema=G, augment_pipe=None))
    result = run(tmp_path, host, 'train_hyper.py', f'--data={rgb_zip}', '--resume=hyper.pkl', '--kimg=0.004', '--batch=4',
                 '--workers=1', '--outdir=runs')     # a worker is spawned
    assert result.returncode == 0, result.stderr
    run_dir, = (tmp_path / 'runs').iterdir()
    got = legacy.load_network_pkl(run_dir / 'network-snapshot-000000.pkl')['G']
    assert torch.equal(got.get_buffer('synthesis.b16.conv1.weight'), G.get_buffer('synthesis.b16.conv1.weight'))
    moved = got.get_parameter('mapping.class_code.table') - G.get_parameter('mapping.class_code.table')
    assert 0 < moved.abs().max() < 0.01     # one step from there


def test_stock_script_without_a_gpu(host, tmp_path):
    if torch.cuda.is_available():
        pytest.skip('needs a machine without CUDA')
    G = make_hyper(make_source())
    legacy.save_network_pkl(tmp_path / 'hyper.pkl', dict(G=G, D=None, G_ema=G))
    result = run(tmp_path, host, 'generate.py', 'hyper.pkl', 'image.npy')
    assert result.returncode == 0 and result.stdout == 'saved False\n', result.stderr
    z = torch.from_numpy(np.random.RandomState(0).randn(1, G.z_dim))
    want = G(z, labels(0), truncation_psi=0.7, noise_mode='const').detach().numpy()
    np.testing.assert_allclose(np.load(tmp_path / 'image.npy'), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('args, match', [
    (['--no-cond-transfer'], 'run train_hyper.py directly'), (['--gpus=2'], 'trains with one process'),
    (['--resume=latest'], 'no run of train_hyper.py'), (['--resume=none.pkl'], "no file 'none.pkl'"),
    (['--kimg=0'], 'not in the range')])
def test_wrong_options(tmp_path, monkeypatch, rgb_zip, args, match):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(click.ClickException, match=match) as error:
        prepare([f'--data={rgb_zip}', '--resume=x.pkl', '--outdir=runs', *args])
    assert error.value.exit_code == 2 and list(tmp_path.iterdir()) == []


def test_run_directories_are_not_gone_on_with(tmp_path):
    record_run(Run(tmp_path, 'train_hyper.py', {}, {}))
    with pytest.raises(click.ClickException, match='cannot continue a run exactly'):
        prepare(['--data=x.zip', f'--resume={tmp_path}'])


def test_a_script_that_ends_by_itself(tmp_path):
    host = make_host(tmp_path / 'host', LAYOUTS[0])
    (host / 'ends.py').write_text('raise SystemExit(7)\n')
    assert run(tmp_path, host, 'ends.py').returncode == 7


def test_dry_run_and_missing_source(tmp_path, rgb_zip, source_pkl):
    host = make_host(tmp_path / 'host', LAYOUTS[0])
    result = train(host, tmp_path, rgb_zip, source_pkl, '--dry-run')
    assert result.returncode == 0 and json.loads(result.stdout)['batch_size'] == 4 and not (tmp_path / 'runs').exists()
    wrong = train(host, tmp_path, rgb_zip, tmp_path / 'none.pkl')
    assert wrong.returncode == 2 and wrong.stderr.count('\n') == 1 and 'none.pkl' in wrong.stderr


@pytest.mark.parametrize('error', ['ValueError("inside")', 'OSError(28, "inside")'])
def test_a_script_that_fails_is_no_wrong_input(tmp_path, error):
    host = make_host(tmp_path / 'host', LAYOUTS[0])
    (host / 'broken.py').write_text(f'raise {error}\n')
    broken = run(tmp_path, host, 'broken.py')
    assert broken.returncode == 1 and 'Traceback' not in broken.stderr
    last = broken.stderr.splitlines()[-1]
    assert last.startswith(f'Error: {error.partition("(")[0]}: ') and 'inside' in last and '--verbose ... shows where' in last


def test_data_that_the_checkout_sees_otherwise_are_wrong_input(tmp_path, rgb_zip, source_pkl):
    host = make_host(tmp_path / 'host', LAYOUTS[0])
    with open(host / 'training' / 'dataset.py', 'a') as file:
        file.write('\nImageFolderDataset.label_dim = 0\n')
    wrong = train(host, tmp_path, rgb_zip, source_pkl)
    assert wrong.returncode == 2 and 'the checkout finds 0 label dimensions' in wrong.stderr.splitlines()[-1]


def config():
    return dict(G_kwargs=dict(class_name='G', synthesis_kwargs=dict(channel_max=8, conv_clamp=256)),
                D_kwargs=dict(class_name='D'), loss_kwargs=dict(class_name='L', r1_gamma=1), metrics=None, cond_ramp=[0, 1],
                keep_snapshots=None, device='cpu', resume_pkl='x.pkl', total_kimg=3)


def test_arguments_of_the_loop():
    def loop(run_dir, G_kwargs, D_kwargs, loss_kwargs, metrics, total_kimg, resume_pkl, rank=0):
        pass

    kwargs, notes = host_arguments(config(), loop, 'stylegan2-ada-pytorch', [])
    assert kwargs['G_kwargs']['synthesis_kwargs'] == dict(num_fp16_res=0, conv_clamp=256, channel_max=8)
    assert kwargs['D_kwargs'] == dict(class_name='D', num_fp16_res=0, conv_clamp=None)
    assert kwargs['loss_kwargs']['class_name'] == 'L' and kwargs['metrics'] == [] and 'device' not in kwargs
    assert any('--cond-ramp is ignored' in note for note in notes) and not any('keep' in note for note in notes)
    kwargs, notes = host_arguments(config() | dict(metrics=dict(names=['fid50k', 'own'])), loop, 'stylegan3', ['fid50k'])
    assert kwargs['loss_kwargs'] == dict(class_name='patches.stylegan3_loss.Stylegan3TransferLoss', r1_gamma=1)
    assert kwargs['metrics'] == ['fid50k'] and any('no metric own' in note for note in notes)
    assert type(easy(dict(a=[dict(b=1)]), dict)['a'][0]) is dict
