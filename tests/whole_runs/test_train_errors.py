"""What train.py and train_hyper.py say before a training starts: one line and exit code 2, or a note; nothing is left behind."""

import errno
import io
import json
import os
import time
import zipfile
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner
from PIL import Image

import dnnlib
import legacy
import train
import train_hyper
from commands import cli
from commands.cli import check_outdir
from tests.conftest import CLASS_NAMES
from tests.support.hyper_sources import make_hyper, make_hyper_D, make_source_D

TINY = ['--device=cpu', '--batch=4', '--kimg=0.01', '--gamma=1']
COMMANDS = {'train.py': train.main, 'train_hyper.py': train_hyper.main}
URL = 'http://127.0.0.1:9/nets/source.pkl'      # nothing listens there


@pytest.fixture(params=list(COMMANDS))
def command(request):
    return request.param


def call(command, *args):
    return CliRunner().invoke(COMMANDS[command], [*TINY, *map(str, args)])


def conditional(command, source_pkl):
    """The options that make a command use labels, without a word about them."""
    return ['--cond=1'] if command == 'train.py' else ['--resume', source_pkl, '--selfinit']


def check_refused(result, *texts):
    assert result.exit_code == 2, result.output
    error, = (line for line in result.stderr.splitlines() if line.startswith('Error: '))
    assert result.stderr.rstrip().endswith(error) and 'Traceback' not in result.output
    for text in texts:
        assert text in error, error


def notes(result):
    assert result.exit_code == 0, result.output
    return [line.removeprefix('Note: ').strip() for line in result.stderr.splitlines() if line.startswith('Note: ')]


def png(mode='RGB', size=(16, 16), color=0):
    stream = io.BytesIO()
    Image.new(mode, size, color).save(stream, format='PNG')
    return stream.getvalue()


def write_zip(path, labels, names=None, images=None, **options):
    """Images called 0.png, 1.png, ... and a dataset.json; `images` are other contents by name."""
    with zipfile.ZipFile(path, 'w', **options) as archive:
        for name, content in (images or {f'{index}.png': png(color=index) for index in range(len(labels))}).items():
            archive.writestr(name, content)
        rows = [[f'{index}.png', label] for index, label in enumerate(labels)]
        archive.writestr('dataset.json', json.dumps(dict(labels=rows) | (dict(class_names=names) if names else {})))
    return path


# --- classes ---

def test_labels_that_are_ignored_are_noted(rgb_zip, tmp_path):
    said, = notes(call('train.py', '--data', rgb_zip, '--outdir', tmp_path / 'runs', '--batch=4', '-n'))
    assert said == 'the labels of the data (3 dimensions) are ignored; --cond=1 trains with them'


def test_an_empty_class_is_named(command, source_pkl, tmp_path):
    data = write_zip(tmp_path / 'a.zip', [0, 0, 2, 2], CLASS_NAMES)
    result = call(command, '--data', data, '--outdir', tmp_path / 'runs', *conditional(command, source_pkl))
    check_refused(result, 'no images of 1 of its 3 classes: dog;', 'add images')
    assert not (tmp_path / 'runs').exists()


def test_a_subset_that_empties_a_class(command, source_pkl, rgb_zip, tmp_path):
    result = call(command, '--data', rgb_zip, '--subset=2', '--outdir', tmp_path / 'runs', *conditional(command, source_pkl))
    check_refused(result, 'no images of', 'raise --subset')


@pytest.mark.parametrize('mirror', [0, 1])
def test_classes_with_one_image_are_noted(command, mirror, source_pkl, tmp_path):
    data = write_zip(tmp_path / 'a.zip', [0, 1, 1, 2], CLASS_NAMES)
    said = notes(call(command, '--data', data, '-n', f'--mirror={mirror}', *conditional(command, source_pkl)))
    assert [text for text in said if text.startswith('2 of 3 classes have a single image: cat, owl; variety within')]
    data = write_zip(tmp_path / 'b.zip', [0, 1, 1, 0, 2, 2], CLASS_NAMES)
    said = notes(call(command, '--data', data, '-n', f'--mirror={mirror}', *conditional(command, source_pkl)))
    assert not any('single image' in text for text in said)


def test_data_smaller_than_the_batch_is_noted(command, source_pkl, rgb_zip):
    said = notes(call(command, '--data', rgb_zip, '--batch=32', '-n', *conditional(command, source_pkl)))
    assert '18 images are fewer than one batch of 32: batches repeat images' in said


@pytest.mark.parametrize('labels, heads, texts', [
    ([0, 1] * 3, 3, ['has 3 classes (cat, dog, owl)', 'has 2 without names', 'name them', 'unconditional source']),
    ([0, 1, 2, 3], 3, ['has 3 classes (cat, dog, owl)', 'has 4']),
    ([0, 1, 2], 5, ['different label dimensions (G 3, D 5, G_ema 3)']),  # put together by hand
])
def test_a_hyper_snapshot_with_other_classes(labels, heads, texts, source_pkl, tmp_path):
    G, D = make_hyper(legacy.load_network_pkl(source_pkl)['G_ema']), make_hyper_D(make_source_D())
    if heads != 3:
        D = type(D)(heads, *D.init_args[1:], **D.init_kwargs)
    snapshot = tmp_path / 'network-snapshot-000000.pkl'
    legacy.save_network_pkl(snapshot, dict(G=G, D=D, G_ema=G, class_names=CLASS_NAMES))
    data = write_zip(tmp_path / 'a.zip', labels)
    result = call('train_hyper.py', '--data', data, '--resume', snapshot, '--outdir', tmp_path / 'runs')
    check_refused(result, str(snapshot), *texts)
    assert not (tmp_path / 'runs').exists()


@pytest.mark.parametrize('fault, text', [
    ('mean', 'G_ema holds NaN or infinity in mapping.w_avg'), ('clamp', "conv_clamp is 'x', expected a number"),
    ('activation', "activation is 'x', expected linear or"), ('labels', 'different label dimensions (G 0, D 3, G_ema 0)'),
])
def test_a_source_that_cannot_be_trained_from(command, fault, text, source_pkl, rgb_zip, tmp_path):
    source = legacy.load_network_pkl(source_pkl)
    if fault == 'mean':
        source['G_ema'].mapping.w_avg[0] = float('nan')
    elif fault == 'labels':
        source['D'] = type(source['D'])(**{**source['D'].init_kwargs, 'c_dim': 3})
    else:
        kwargs = dict(clamp=dict(synthesis_kwargs={**source['G'].init_kwargs['synthesis_kwargs'], 'conv_clamp': 'x'}),
                      activation=dict(mapping_kwargs={**source['G'].init_kwargs['mapping_kwargs'], 'activation': 'x'}))[fault]
        source['G']._init_kwargs = {**source['G'].init_kwargs, **kwargs}
    legacy.save_network_pkl(tmp_path / 'odd.pkl', {**source, 'augment_pipe': None})
    result = call(command, '--data', rgb_zip, '--resume', tmp_path / 'odd.pkl', '--outdir', tmp_path / 'runs')
    check_refused(result, 'odd.pkl', text)
    assert not (tmp_path / 'runs').exists()


# --- where the run is to be written ---

def no_reading(*args, **kwargs):
    raise AssertionError('the data or the source was read first')


@pytest.mark.parametrize('below', ['', 'deep/runs'])
def test_an_outdir_below_a_file(command, below, rgb_zip, tmp_path, monkeypatch):
    monkeypatch.setattr('training.dataset.ImageFolderDataset.check_images', no_reading)
    monkeypatch.setattr('training.snapshot.resume.load_source', no_reading)
    file = tmp_path / 'file'
    file.touch()
    result = call(command, '--data', rgb_zip, '--resume', URL, '--outdir', file / below)
    check_refused(result, str(file), *(['--outdir', 'is not a directory'] if below else []))
    assert file.read_bytes() == b''


@pytest.mark.skipif(not hasattr(os, 'seteuid'), reason='needs users as on Unix')
@pytest.mark.parametrize('below', ['', 'runs', 'deep/runs'])
def test_an_outdir_without_permission(below, tmp_path):
    folder = tmp_path / 'folder'
    folder.mkdir(mode=0o500)
    is_root = os.geteuid() == 0     # who may write everywhere
    if is_root:
        os.seteuid(65534)
    try:
        with pytest.raises(ValueError, match=r'--outdir=.*folder.* cannot be written to \(Permission denied\); choose another'):
            check_outdir(folder / below)
    finally:
        if is_root:
            os.seteuid(0)


def test_an_outdir_that_is_fine_stays_as_it_is(tmp_path):
    check_outdir(tmp_path)
    check_outdir(tmp_path / 'a' / 'b')
    assert list(tmp_path.iterdir()) == []


def test_an_outdir_on_a_full_disk_is_a_failed_run(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path))

    monkeypatch.setattr(cli.tempfile, 'TemporaryFile', full)
    with pytest.raises(OSError) as info:
        check_outdir(tmp_path)
    assert info.value.errno == errno.ENOSPC     # which command_errors() makes exit code 1


# --- the source ---

@pytest.mark.parametrize('name, near', [
    ('ffhq265', 'did you mean ffhq256'), ('lsundog', 'did you mean lsundog256?'),
])
def test_an_unknown_source_name(command, name, near, rgb_zip, tmp_path):
    check_refused(call(command, '--data', rgb_zip, '--resume', name, '--outdir', tmp_path / 'runs'),
                  f"no file '{name}'", near, 'ffhq256, ffhq512, ffhq1024, celebahq256, lsundog256')
    assert not (tmp_path / 'runs').exists()


def test_a_misspelt_source_file(command, rgb_zip, tmp_path, monkeypatch):
    (tmp_path / 'network-snapshot-000200.pkl').touch()
    result = call(command, '--data', rgb_zip, '--resume', tmp_path / 'network-snapshots-000200.pkl')
    check_refused(result, f'did you mean {tmp_path / "network-snapshot-000200.pkl"}?')
    monkeypatch.chdir(tmp_path)
    result = call(command, '--data', rgb_zip, '--resume=network-snapshot-00200.pkl')
    check_refused(result, 'did you mean network-snapshot-000200.pkl?')
    result = call(command, '--data', rgb_zip, '--resume=quite-another-thing')
    check_refused(result, "no file 'quite-another-thing'; give the path")


def test_an_unreachable_source_and_its_copy_in_the_cache(command, rgb_zip, source_pkl, tmp_path, monkeypatch):
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path / 'cache'))
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    monkeypatch.setattr(time, 'sleep', lambda seconds: None)        # between attempts
    args = ['--data', rgb_zip, '--outdir', tmp_path / 'runs', '--resume', URL]
    result = call(command, *args)
    check_refused(result, f'cannot download {URL}', 'the connection to the server failed', 'put it at')
    place = Path(result.stderr.rstrip().rpartition('put it at ')[2])
    assert place.parent == Path(dnnlib.make_cache_dir_path('downloads')) and not (tmp_path / 'runs').exists()

    place.write_bytes(source_pkl.read_bytes())
    monkeypatch.setattr(requests, 'get', no_reading)        # no network now
    assert not any('download' in note for note in notes(call(command, *args, '--dry-run')))


# --- precision ---

def test_half_precision_on_the_cpu(command, rgb_zip, tmp_path, monkeypatch):
    monkeypatch.setattr('training.dataset.ImageFolderDataset.check_images', no_reading)
    result = call(command, '--data', rgb_zip, '--resume', URL, '--fp32=0', '--outdir', tmp_path / 'runs')
    check_refused(result, '--fp32=0', 'only on CUDA', 'the device is cpu', 'leave out --fp32')
    assert not (tmp_path / 'runs').exists()


def test_type_of_half_precision_on_the_cpu(command, rgb_zip, tmp_path):
    result = call(command, '--data', rgb_zip, '--resume', URL, '--half=bf16', '--outdir', tmp_path / 'runs')
    check_refused(result, '--half=bf16', 'only on CUDA', 'the device is cpu', 'leave out --half')


@pytest.mark.parametrize('args', [[], ['--fp32=1']])
def test_single_precision_on_the_cpu(command, args, rgb_zip, source_pkl):
    result = call(command, '--data', rgb_zip, '-n', *args, *conditional(command, source_pkl))
    assert json.loads(result.stdout)['G_kwargs']['synthesis_kwargs']['num_fp16_res'] == 0
