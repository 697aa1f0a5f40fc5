"""The train.py command: what it prints, what it leaves behind, and one line for each wrong input."""

import io
import json
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

import legacy
import train
from tests.conftest import write_dataset
from tests.support.commands import invoke
from tests.support.hyper_sources import make_hyper
from training.training_loop import run_phase

TINY = ['--device=cpu', '--z-dim=8', '--w-dim=8', '--cbase=64', '--cmax=8', '--batch=4', '--kimg=0.01']


def call(*args):
    return invoke(train.main, *args)


def write_zip(path, labels, class_names=None, resolution=16):
    """Grey images with the given dataset.json labels; None: no dataset.json."""
    with zipfile.ZipFile(path, 'w') as archive:
        for index in range(6):
            buffer = io.BytesIO()
            Image.fromarray(np.full([resolution, resolution], 40 * index, dtype=np.uint8)).save(buffer, format='PNG')
            archive.writestr(f'{index}.png', buffer.getvalue())
        if labels is not None:
            content = dict(labels=[[f'{index}.png', label] for index, label in enumerate(labels)])
            archive.writestr('dataset.json', json.dumps(content | ({} if class_names is None else dict(class_names=class_names))))
    return path


def test_help_tells_everything():
    result = call('--help')
    assert result.exit_code == 0
    for name in ('--outdir', '--gpus', '--snap', '--seed', '--dry-run', '--data', '--cond', '--subset', '--mirror', '--cfg',
                 '--gamma', '--kimg', '--batch', '--aug', '--p', '--target', '--augpipe', '--resume', '--freezed', '--fp32',
                 '--half', '--nobench', '--allow-tf32', '--workers', '--device', '--verbose', 'Examples:',
                 'python train.py --data='):
        assert name in result.output
    assert all(option.help for option in train.main.params)


def test_dry_run_prints_json_and_leaves_nothing(tmp_path, rgb_zip):
    result = call('--data', rgb_zip, '--outdir', tmp_path / 'runs', *TINY, '--dry-run')
    assert result.exit_code == 0
    config = json.loads(result.stdout)
    assert (config['batch_size'], config['total_kimg'], config['device']) == (4, 0.01, 'cpu')
    assert config['training_set_kwargs']['use_labels'] is False
    assert 'the labels of the data (3 dimensions) are ignored' in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_run_from_start_to_end(tmp_path, gray_zip):
    result = call('--data', gray_zip, '--outdir', tmp_path / 'runs', *TINY, '--aug=noaug', '--desc=first')
    assert result.exit_code == 0, result.output
    run_dir, = (tmp_path / 'runs').iterdir()
    assert run_dir.name == '00000-gray-auto-batch4-noaug-first'
    assert (run_dir / 'network-snapshot-000000.pkl').stat().st_size > 0
    log = (run_dir / 'log.txt').read_text()
    assert log == result.stdout
    assert 'are ignored' in log


def test_a_hyper_modulated_source_is_refused(tmp_path, rgb_zip, source_pkl):
    G = make_hyper(legacy.load_network_pkl(source_pkl)['G_ema'])
    path = tmp_path / 'hyper.pkl'
    legacy.save_network_pkl(path, dict(G_ema=G))
    check_error(call('--data', rgb_zip, '--outdir', tmp_path / 'runs', '--device=cpu', '--cond=1', '--resume', path),
                'HyperGenerator', 'train_hyper.py')
    assert not (tmp_path / 'runs').exists()


def test_going_on_from_a_snapshot_takes_its_sizes(tmp_path, rgb_zip, source_pkl):
    result = call('--data', rgb_zip, '--outdir', tmp_path / 'runs', '--device=cpu', '--batch=4', '--kimg=0.004',
                  '--resume', source_pkl)
    assert result.exit_code == 0, result.output
    config = json.loads(next(tmp_path.glob('runs/*/training_options.json')).read_text())
    assert config['G_kwargs']['z_dim'] == 8
    assert config['D_kwargs']['channel_max'] == 16
    assert '0 new, 0 not used' in result.output


@pytest.mark.parametrize('classes, cond, note, misfits', [
    (0, 1, 'is unconditional, the data has 3 classes', dict(G=['mapping.fc0.weight'], D=['b4.out.bias', 'b4.out.weight'])),
    (5, 1, 'has 5 classes, the data has 3 classes', dict(G=['mapping.embed.weight'], D=['mapping.embed.weight'])),
    (5, 0, 'has 5 classes, the data is used without labels', dict(G=['mapping.fc0.weight'], D=['b4.out.bias', 'b4.out.weight'])),
])
def test_a_source_of_other_labels(tmp_path, rgb_zip, make_snapshot, classes, cond, note, misfits):
    source = make_snapshot(c_dim=classes, class_names=tuple('abcde'[:classes]))
    result = call('--data', rgb_zip, '--outdir', tmp_path / 'runs', '--device=cpu', '--batch=4', '--kimg=0.008', '--freezed=2',
                  '--aug=noaug', f'--cond={cond}', '--resume', source)
    assert result.exit_code == 0, result.output
    log = next(tmp_path.glob('runs/*/log.txt')).read_text()
    assert any(line.startswith('Note:') and note in line for line in log.splitlines())
    for name, found in misfits.items():
        line, = (line for line in log.splitlines() if line.startswith(f'{name} from '))
        _, _, listed = line.partition('of another shape start from random weights: ')
        assert all(f'{key} [' in listed for key in found)
    assert ('starts with the logit of the source' in log) == (classes == 0)
    path, = tmp_path.glob('runs/*/network-snapshot-*.pkl')
    trained, start = (legacy.load_network_pkl(io.BytesIO(file.read_bytes())) for file in (path, source))
    assert trained['G_ema'].c_dim == trained['D'].c_dim == 3 * cond
    assert trained['class_names'] == ['cat', 'dog', 'owl'][:3 * cond]
    assert torch.equal(trained['D'].b16.fromrgb.weight, start['D'].b16.fromrgb.weight)
    assert not torch.equal(trained['D'].b8.conv0.weight, start['D'].b8.conv0.weight)
    assert torch.allclose(trained['D'].b8.conv0.weight, start['D'].b8.conv0.weight, atol=0.05)  # two steps from the source


def test_classes_fade_in(tmp_path, rgb_zip, source_pkl, monkeypatch):
    seen = []

    def note(phase, loss, real_img, real_c, gen_z, gen_c, *rest):
        seen.append(torch.cat([real_c, gen_c]))
        run_phase(phase, loss, real_img, real_c, gen_z, gen_c, *rest)

    monkeypatch.setattr('training.training_loop.run_phase', note)
    result = call('--data', rgb_zip, '--outdir', tmp_path / 'runs', '--device=cpu', '--batch=4', '--kimg=0.016', '--cond=1',
                  '--aug=noaug', '--cond-ramp=0.004,0.012', '--resume', source_pkl)
    assert result.exit_code == 0, result.output
    # After 0, 4, 8 and 12 images; the first step has the two regularising phases too.
    strengths = [0] * 4 + [0] * 2 + [0.5] * 2 + [1] * 2
    for c, strength in zip(seen, strengths, strict=True):
        torch.testing.assert_close(c.max(dim=1).values, torch.full([8], 1 / 3 + strength * 2 / 3))
        torch.testing.assert_close(c.sum(dim=1), torch.ones(8))


def check_error(result, *texts, code=2):
    assert result.exit_code == code, result.output
    assert 'Traceback' not in result.output
    error, = (line for line in result.stderr.splitlines() if line.startswith('Error: '))
    assert result.stderr.rstrip().endswith(error)
    for text in texts:
        assert text in error


@pytest.mark.parametrize('args, texts', [
    ([], ['--data is missing']),
    (['--data=no/such.zip'], ['no/such.zip']),
    (['--data={rgb}', '--batch=6'], ['6 and 4', '--mbstd-group=2']),
    (['--data={rgb}', '--gamma=-1'], ['--gamma']),
    (['--data={rgb}', '--resume=no-such-source'], ['no-such-source']),
    (['--data={rgb}', '--resume={rgb}'], ['rgb.zip']),
    (['--data={rgb}', '--resume={source}', '--cbase=64'], ['--cbase', '--resume']),
    (['--data={gray}', '--resume={source}'], ['3 channels', 'the data has 1']),
    (['--data={large}', '--resume={source}'], ['16x16 pixels', '32x32', 'dataset_tool.py']),
    (['--data={unlabelled}', '--cond=1'], ['no labels', 'dataset.json']),
    (['--data={one}', '--cond=1'], ['only one class']),
    (['--data={gap}', '--cond=1'], ['no images of 1 of its 3 classes', 'dog']),
])
def test_wrong_input_is_one_line_and_leaves_nothing(tmp_path, rgb_zip, gray_zip, source_pkl, conditional_pkl, args, texts):
    paths = dict(rgb=rgb_zip, gray=gray_zip, source=source_pkl, conditional=conditional_pkl,
                 large=write_dataset(tmp_path / 'large.zip', 'RGB', resolution=32),
                 unlabelled=write_zip(tmp_path / 'unlabelled.zip', None),
                 one=write_zip(tmp_path / 'one.zip', [0] * 6),
                 gap=write_zip(tmp_path / 'gap.zip', [0, 2] * 3, ['cat', 'dog', 'owl']))
    outdir = tmp_path / 'runs'
    check_error(call('--outdir', outdir, '--device=cpu', *(arg.format(**paths) for arg in args)), *texts)
    assert not outdir.exists()


def test_an_unusable_device_is_refused(tmp_path, rgb_zip):
    if torch.cuda.is_available():
        pytest.skip('CUDA is usable here')
    check_error(call('--data', rgb_zip, '--outdir', tmp_path / 'runs', '--device=cuda'), '--device=cuda')


def test_a_failed_run_ends_with_1_and_says_so_in_the_log(tmp_path, gray_zip, monkeypatch):
    def fail(run_dir, config, **options):
        raise FloatingPointError('the loss of phase Dmain is not finite')

    monkeypatch.setattr('commands.launch.training_loop', fail)
    check_error(call('--data', gray_zip, '--outdir', tmp_path / 'runs', *TINY), 'phase Dmain', code=1)
    assert 'Stopped: FloatingPointError: the loss of phase Dmain' in next(tmp_path.glob('runs/*/log.txt')).read_text()
