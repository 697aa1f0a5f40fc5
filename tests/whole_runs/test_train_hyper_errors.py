"""The train_hyper.py command given wrong, broken or hostile input: one line, exit code 2, nothing run and nothing left."""

import io
import json
import os
import pickle
import zipfile

import pytest
from PIL import Image

import legacy
import train_hyper
from tests.conftest import CLASS_NAMES, write_dataset
from tests.support.commands import invoke
from tests.support.hyper_sources import make_hyper, make_hyper_D, make_source_D
from tests.whole_runs.test_train_hyper import TINY
from torch_utils import persistence

SIX = [0, 1, 2, 0, 1, 2]


def write_zip(path, labels, class_names=None):
    """Six images; labels None: no dataset.json."""
    with zipfile.ZipFile(path, 'w') as archive:
        for index in range(6):
            stream = io.BytesIO()
            Image.new('RGB', (16, 16), index).save(stream, format='PNG')
            archive.writestr(f'{index}.png', stream.getvalue())
        if labels is not None:
            rows = [[f'{index}.png', label] for index, label in enumerate(labels)]
            names = dict(class_names=class_names) if class_names else {}
            archive.writestr('dataset.json', json.dumps(dict(labels=rows) | names))
    return path


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Data sets by name: what is wrong with each."""
    folder = tmp_path_factory.mktemp('wrong')

    def path(name):
        return folder / f'{name}.zip'

    (folder / 'empty').mkdir()
    return dict(
        large=write_dataset(path('large'), 'RGB', resolution=32),
        unlabelled=write_zip(path('unlabelled'), None),
        one=write_zip(path('one'), [0] * 6),
        hole=write_zip(path('hole'), [0, 3] * 3),
        two=write_zip(path('two'), [0, 1] * 3),
        vectors=write_zip(path('vectors'), [[0, 0.5], [1, -0.5]] * 3),
        same=write_zip(path('same'), [[1, 0.5]] * 6),
        huge=write_zip(path('huge'), [[0, 1], [1, 5000]] * 3),
        endless=write_zip(path('endless'), [[0, 1], [1, 1e39]] * 3),
        empty=folder / 'empty', absent=folder / 'no-such.zip',
    )


class Evil:
    """Runs a command when it is unpickled the plain way."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f'touch {self.path}',)


class Saved:
    """A network as a snapshot holds it, of any class name and program text."""

    def __init__(self, class_name, module_src):
        self.meta = dict(type='class', version=6, module_src=module_src, class_name=class_name, state={})

    def __reduce__(self):
        return persistence._reconstruct_persistent_obj, (self.meta,)


@pytest.fixture
def canary(tmp_path):
    return tmp_path / 'canary'


@pytest.fixture
def networks(canary, tmp_path, source_pkl, conditional_pkl):
    """Snapshots by name: what is wrong with each."""
    content = source_pkl.read_bytes()
    written = dict(
        system=pickle.dumps(dict(G=None, D=None, G_ema=Evil(canary))),
        unknown=pickle.dumps(dict(G=None, D=None, G_ema=Saved('FancyGenerator', f'open({str(canary)!r}, "w")'))),
        picture=b'\x89PNG\r\n\x1a\n' + bytes(100),
        swapped=pickle.dumps(dict(G_ema=pickle.loads(content)['D'])),
        part=pickle.dumps(dict(G_ema=pickle.loads(content)['G'].mapping)),
        doubled=pickle.dumps(dict(G_ema=pickle.loads(content)['G'], D=pickle.loads(content)['G'])),
    )
    for name, text in written.items():
        (tmp_path / f'{name}.pkl').write_bytes(text)
    return {name: tmp_path / f'{name}.pkl' for name in written} | dict(source=source_pkl, conditional=conditional_pkl)


def check_refused(outdir, args, texts):
    result = invoke(train_hyper.main, '--outdir', outdir, *TINY, *args)
    assert result.exit_code == 2, result.output
    assert 'Traceback' not in result.output
    error, = (line for line in result.stderr.splitlines() if line.startswith('Error: '))
    assert result.stderr.rstrip().endswith(error)
    for text in texts:
        assert text in error, error
    assert not outdir.exists()


@pytest.mark.parametrize('network, texts', [
    ('system', ['system', '--trust-pickle']),
    ('unknown', ['FancyGenerator', 'unknown class']),
    ('picture', ['a PNG image', 'expected a network pickle']),
    ('swapped', ['a Discriminator as G_ema', 'expected a Generator']),
    ('part', ['a MappingNetwork as G_ema', 'expected a Generator']),
    ('doubled', ['a Generator as D', 'expected a Discriminator']),
    ('conditional', ['already conditional', '3 label dimensions', 'train.py']),
])
def test_sources_that_are_refused(network, texts, networks, canary, rgb_zip, tmp_path):
    check_refused(tmp_path / 'runs', ['--resume', networks[network], '--data', rgb_zip, '--selfinit'], texts)
    assert not canary.exists()


def test_the_canary_sings(networks, canary):
    """What the tests above rule out does happen when the same file is opened the plain way."""
    pickle.loads(networks['system'].read_bytes())
    assert canary.exists()


@pytest.mark.parametrize('name, texts', [
    ('large', ['16x16 pixels', '32x32', 'dataset_tool.py']),
    ('gray', ['3 channels', 'the data has 1']),
    ('unlabelled', ['no labels', 'dataset.json']),
    ('one', ['only one class']),
    ('hole', ['no images of 2 of its 4 classes']),
    ('same', ['same label vector']),
    ('huge', ['up to 5000', 'place 1', 'scale']),
    ('endless', ['1.png', '1e+39', '2 finite numbers']),
    ('empty', ['empty']),
    ('absent', ['no-such.zip']),
])
def test_data_that_is_refused(name, texts, data, gray_zip, source_pkl, tmp_path):
    path = gray_zip if name == 'gray' else data[name]
    check_refused(tmp_path / 'runs', ['--resume', source_pkl, '--data', path, '--selfinit'], texts)


@pytest.mark.parametrize('args, texts', [
    (['--data={rgb}'], ['--resume is missing']),
    (['--resume={source}'], ['--data is missing']),
    (['--resume={source}', '--classes=3'], ['--data is missing']),
    (['--resume={source}', '--no-cond-transfer'], ['--data', '--classes']),
    (['--resume={source}', '--data={rgb}', '--classes=a,b,c'], ['--classes=a,b,c', 'leave out']),
    (['--resume={source}', '--no-cond-transfer', '--classes=1'], ['--classes=1', '2 or more']),
    (['--resume={source}', '--no-cond-transfer', '--classes=cat'], ['--classes=cat']),
    (['--resume={source}', '--no-cond-transfer', '--classes=a,b,a'], ['different names']),
    (['--resume={source}', '--no-cond-transfer', '--classes=a,,b'], ['--classes=a,,b']),
    (['--resume={source}', '--data={rgb}', '--hyper-rank=4000'], ['--hyper-rank']),
    (['--resume={source}', '--data={rgb}', '--batch-gpu=1', '--mbstd-group=1', '--contrastive=barlow'],
     ['which has only 1', '--batch-gpu', '--contrastive=none']),
    (['--resume=http://no.such.host.invalid/source.pkl', '--data=no-such.zip'], ['no-such.zip']),  # before the download
    (['--resume={source}', '--data={rgb}', '--hyper-scale=nan'], ['--hyper-scale=nan', 'finite']),
    (['--resume={source}', '--no-cond-transfer', '--classes=2', '--selfinit=distill', '--selfinit-kimg=inf'],
     ['--selfinit-kimg=inf', 'finite']),
    (['--resume=no-such-source', '--data={rgb}'], ['no-such-source', 'ffhq256']),
    (['--resume={rgb}', '--data={rgb}'], ['rgb.zip', 'zip archive']),
])
def test_options_that_are_refused(args, texts, rgb_zip, source_pkl, tmp_path):
    paths = dict(rgb=rgb_zip, source=source_pkl)
    check_refused(tmp_path / 'runs', [arg.format(**paths) for arg in args], texts)


@pytest.fixture(scope='module')
def hyper_pkl(tmp_path_factory, source_pkl):
    """A hyper-modulated snapshot of three classes."""
    G = make_hyper(legacy.load_network_pkl(source_pkl)['G_ema'])
    path = tmp_path_factory.mktemp('hyper') / 'network-snapshot-000000.pkl'
    legacy.save_network_pkl(path, dict(G=G, D=make_hyper_D(make_source_D()), G_ema=G, augment_pipe=None, training_set_kwargs=None,
                                       class_names=CLASS_NAMES))
    return path


@pytest.mark.parametrize('args, texts', [
    (['--data={two}'], ['has 3 classes', 'the data has 2 without names', 'class_names']),
    (['--data={vectors}'], ['has 3 classes', 'label vectors of 2 numbers', 'same kind and number']),
    (['--data={rgb}', '--freeze-old-classes'], ['nothing to learn']),
    (['--data={rgb}', '--selfinit'], ['already hyper-modulated', '--selfinit']),
    (['--data={rgb}', '--no-cond-transfer'], ['already hyper-modulated', '--no-cond-transfer']),
    (['--no-cond-transfer', '--classes=3'], ['already hyper-modulated']),
    (['--data={large}'], ['16x16 pixels', '32x32']),
    (['--data={rgb}', '--hyper-rank=3'], ['--hyper-rank=3', 'the value 0']),
    (['--data={rgb}', '--hyper-rank=0x'], ['--hyper-rank']),
    (['--data={rgb}', '--code-dim=5'], ['--code-dim=5', 'the value 4']),
])
def test_hyper_snapshots_that_cannot_go_on_so(args, texts, hyper_pkl, rgb_zip, data, tmp_path):
    check_refused(tmp_path / 'runs', ['--resume', hyper_pkl, *(arg.format(rgb=rgb_zip, **data) for arg in args)], texts)


def test_a_run_that_fails_ends_with_1(tmp_path, rgb_zip, source_pkl, monkeypatch):
    def fail(*args, **kwargs):
        raise FloatingPointError('self-initialisation diverged')

    monkeypatch.setattr('hyper_plugin.selfinit.distill', fail)
    args = ['--resume', source_pkl, '--data', rgb_zip, *TINY, '--selfinit=distill']
    result = invoke(train_hyper.main, '--outdir', tmp_path / 'runs', *args)
    assert result.exit_code == 1 and 'self-initialisation diverged' in result.stderr and 'Traceback' not in result.output
    left = {path.name for path in next((tmp_path / 'runs').iterdir()).iterdir()}
    assert left == {'.lock', 'run.json', 'transfer.json', 'log.txt'}


def test_a_failed_write_leaves_no_part_of_a_file(tmp_path, rgb_zip, source_pkl, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('training.snapshot.writing.pickle.dump', fail)
    args = ['--resume', source_pkl, '--data', rgb_zip, *TINY, '--selfinit']
    result = invoke(train_hyper.main, '--outdir', tmp_path / 'runs', *args)
    assert result.exit_code == 1 and 'No space left' in result.stderr
    left = {path.name for path in next((tmp_path / 'runs').iterdir()).iterdir()}
    assert not any(name.startswith(('selfinit.pkl', 'network-snapshot')) for name in left)
