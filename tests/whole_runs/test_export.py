"""export.py as a user runs it."""

import functools
import pickle

import numpy as np
import onnxruntime
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import legacy
from export import main
from exporting.baked import baked_in
from generate import main as generate_main
from tests.support.hyper_sources import labels, make_hyper, make_hyper_D, make_source, make_source_D
from tests.support.run_directories import metric_line, write_run
from train_hyper import main as train_hyper_main

NAMES = ['cat', 'dog', 'big owl']


def export(*args):
    return CliRunner().invoke(main, [str(arg) for arg in args])


def done(*args):
    result = export(*args)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope='module')
def hyper_pkl(tmp_path_factory):
    """A snapshot of hyper-modulated networks of three classes in a run directory with a metric."""
    torch.manual_seed(2)
    G, D = make_hyper(make_source()), make_hyper_D(make_source_D())
    run = write_run(tmp_path_factory.mktemp('run') / '00000-run',
                    metrics=dict(kid=[metric_line('kid', 5, kid=0.5, kid__dog=0.25)]))
    path = run / 'network-snapshot-000005.pkl'
    legacy.save_network_pkl(path, dict(G=G, D=D, G_ema=G, augment_pipe=None, training_set_kwargs=None, class_names=NAMES))
    return path


@functools.cache
def network(path):
    return legacy.load_network_pkl(path)['G_ema']


def images(path, count=2, **options):
    G = network(path)
    torch.manual_seed(3)
    label = options.pop('label', None)
    c = None if label is None else torch.as_tensor(label).expand(count, -1)
    return G(torch.randn([count, G.z_dim]), c, **dict(dict(noise_mode='const'), **options)).numpy()


def assert_close(got, want, tolerance=1e-5):
    assert np.abs(got - want).max() <= tolerance * max(np.abs(want).max(), 1)


@pytest.mark.parametrize('text, label, baked', [
    ('dog', [0, 1, 0], {'class': 'dog'}), ('1', [0, 1, 0], {'class': 'dog'}), ('big owl', [0, 0, 1], {'class': 'big owl'}),
    ('cat:1,dog:3', [0.25, 0.75, 0], {'mix': 'cat:1,dog:3'}), ('dog:2', [0, 1, 0], {'class': 'dog'}),
])
def test_one_class(text, label, baked, hyper_pkl, tmp_path):
    out = tmp_path / 'new' / 'it.pkl'
    assert f'Saved {out}' in done(f'--network={hyper_pkl}', f'--class={text}', f'--out={out}')
    assert sorted(path.name for path in out.parent.iterdir()) == ['it.pkl', 'it.pkl.md']
    assert baked_in(legacy.load_network_pkl(out)) == baked
    for options in (dict(), dict(truncation_psi=0.5), dict(noise_mode='none')):
        assert_close(images(out, **options), images(hyper_pkl, label=label, **options))
    card = (tmp_path / 'new' / 'it.pkl.md').read_text()
    assert ('one class, ' if 'class' in baked else 'a mix of classes, ') + next(iter(baked.values())) in card
    assert ('kid/dog' in card) == (baked == {'class': 'dog'})


def test_all_classes(hyper_pkl, tmp_path):
    output = done(f'--network={hyper_pkl}', '--all', f'--out={tmp_path / "classes"}', '--no-card')
    assert f'Saved 3 files in {tmp_path / "classes"}' in output
    files = ['cat.pkl', 'dog.pkl', 'big_owl.pkl']
    assert {path.name for path in (tmp_path / 'classes').iterdir()} == set(files)
    for index, name in enumerate(files):
        assert_close(images(tmp_path / 'classes' / name), images(hyper_pkl, label=labels(index)[0]))


def test_plain_pickle_opens_without_this_project_s_reader(hyper_pkl, tmp_path):
    done(f'--network={hyper_pkl}', '--class=cat', f'--out={tmp_path / "cat.pkl"}')
    held = pickle.loads((tmp_path / 'cat.pkl').read_bytes())
    assert type(held['G_ema']).__name__ == 'Generator' and {'G', 'D', 'G_ema'} <= set(held)
    assert b'hyper_plugin' not in (tmp_path / 'cat.pkl').read_bytes()


def test_onnx(hyper_pkl, tmp_path):
    done(f'--network={hyper_pkl}', '--all', '--format=onnx', f'--out={tmp_path}')
    for index, name in enumerate(['cat', 'dog', 'big_owl']):
        session = onnxruntime.InferenceSession(tmp_path / f'{name}.onnx', providers=['CPUExecutionProvider'])
        torch.manual_seed(3)
        inputs = dict(z=torch.randn([2, 6]).numpy(), truncation_psi=np.array(0.7, np.float32))
        assert_close(session.run(None, inputs)[0], images(hyper_pkl, label=labels(index)[0], truncation_psi=0.7), 1e-4)
        assert session.get_modelmeta().custom_metadata_map == {'class': NAMES[index], 'made_from': hyper_pkl.name}
        assert (tmp_path / f'{name}.onnx.md').is_file()


@pytest.mark.parametrize('kind', ['hyper', 'plain'])
def test_onnx_of_all_classes(kind, hyper_pkl, conditional_pkl, tmp_path):
    network = dict(hyper=hyper_pkl, plain=conditional_pkl)[kind]
    done(f'--network={network}', f'--out={tmp_path / "x.onnx"}')
    session = onnxruntime.InferenceSession(tmp_path / 'x.onnx', providers=['CPUExecutionProvider'])
    z_dim = session.get_inputs()[0].shape[1]
    for label in ([0, 0, 1], [0.25, 0.75, 0]):
        torch.manual_seed(3)
        inputs = dict(z=torch.randn([2, z_dim]).numpy(), truncation_psi=np.array(0.7, np.float32), label=np.float32(label))
        assert_close(session.run(None, inputs)[0], images(network, label=label, truncation_psi=0.7), 1e-4)


def test_safetensors_and_back(hyper_pkl, tmp_path):
    done(f'--network={hyper_pkl}', f'--out={tmp_path / "x.safetensors"}')
    done(f'--network={tmp_path / "x.safetensors"}', f'--out={tmp_path / "x.pkl"}')
    got, want = legacy.load_network_pkl(tmp_path / 'x.pkl'), legacy.load_network_pkl(hyper_pkl)
    assert got['class_names'] == NAMES and set(got) == set(want)
    for name in ('G', 'D', 'G_ema'):
        assert all(torch.equal(got[name].state_dict()[key], tensor) for key, tensor in want[name].state_dict().items())
    baked = tmp_path / 'dog.safetensors'
    done(f'--network={tmp_path / "x.safetensors"}', '--class=dog', '--format=safetensors', f'--out={baked}')
    assert_close(images(baked), images(hyper_pkl, label=labels(1)[0]))


def test_generate_draws_the_same_from_every_format(hyper_pkl, tmp_path):
    pictures = []
    done(f'--network={hyper_pkl}', '--class=dog', f'--out={tmp_path / "dog.pkl"}')
    done(f'--network={hyper_pkl}', f'--out={tmp_path / "all.safetensors"}')
    for number, (network, more) in enumerate([(hyper_pkl, ['--class=dog']), (tmp_path / 'all.safetensors', ['--class=dog']),
                                              (tmp_path / 'dog.pkl', [])]):
        outdir = tmp_path / str(number)
        result = CliRunner().invoke(generate_main, [f'--network={network}', '--seeds=4', f'--outdir={outdir}', *more])
        assert result.exit_code == 0, result.output
        with Image.open(next(outdir.iterdir())) as picture:
            pictures.append(np.asarray(picture).astype(int))
    assert np.array_equal(pictures[0], pictures[1]) and np.ptp(pictures[0]) > 20
    assert np.abs(pictures[2] - pictures[0]).max() <= 1  # a value at the border between two levels may be rounded otherwise


@pytest.mark.parametrize('file', ['dog.pkl', 'dog.safetensors'])
def test_a_baked_class_is_a_source_for_transfer(file, hyper_pkl, rgb_zip, tmp_path):
    done(f'--network={hyper_pkl}', '--class=dog', f'--out={tmp_path / file}')
    result = CliRunner().invoke(train_hyper_main, [
        f'--resume={tmp_path / file}', f'--data={rgb_zip}', f'--outdir={tmp_path / "runs"}', '--selfinit', '--no-cond-transfer',
        '--device=cpu'])
    assert result.exit_code == 0, result.output
    made, = (tmp_path / 'runs').rglob('selfinit.pkl')
    assert_close(images(made, label=labels(0)[0]), images(tmp_path / file))


def test_newest_snapshot_is_the_default(hyper_pkl, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'training-runs').mkdir()
    (tmp_path / 'training-runs' / hyper_pkl.name).write_bytes(hyper_pkl.read_bytes())
    assert f'Network: training-runs/{hyper_pkl.name}' in done('--class=cat', '--out=cat.pkl')
    assert 'Data' not in (tmp_path / 'cat.pkl.md').read_text()


def test_help_says_it_all():
    output = done('--help')
    for word in ('--class', '--all', '--format', 'safetensors', 'truncation_psi', 'Examples:', '--no-card', '--force'):
        assert word in output


# --- wrong input ---

def refused(match, *args, exit_code=2):
    result = export(*args)
    assert result.exit_code == exit_code, result.output
    lines = [line for line in result.output.splitlines() if not line.startswith(('Usage:', 'Try ', 'Network:'))]
    assert len([line for line in lines if line]) == 1, result.output
    assert match in lines[-1], result.output


@pytest.mark.parametrize('match, args', [
    ("class 'dgo' is unknown: did you mean dog?", ['--class=dgo', '--out={out}.pkl']),
    ("class '3' is unknown: choose a number from 0 to 2", ['--class=3', '--out={out}.pkl']),
    ('exclude each other', ['--class=cat', '--all', '--out={out}']),
    ('expected a file that ends in .pkl, .safetensors, .onnx', ['--class=cat', '--out={out}']),
    ('expected a file that ends in', ['--class=cat', '--out={out}.pt', '--format=pkl']),
    ('x.onnx has the ending of onnx files, but --format=pkl: write', ['--class=cat', '--out={out}.onnx', '--format=pkl']),
    ("'zip' is not one of", ['--out={out}.zip', '--format=zip']),
    ("Missing option '--out'", ['--class=cat']),
])
def test_wrong_options(match, args, hyper_pkl, tmp_path):
    refused(match, f'--network={hyper_pkl}', *[arg.format(out=tmp_path / 'x') for arg in args])
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope='module')
def vector_pkl(tmp_path_factory):
    """A snapshot of a network of label vectors, three numbers."""
    G = make_hyper(make_source())
    path = tmp_path_factory.mktemp('vectors') / 'net.pkl'
    legacy.save_network_pkl(path, dict(G=G, D=None, G_ema=G, class_names=[]))
    return path


@pytest.mark.parametrize('suffix', ['pkl', 'onnx'])
def test_label_vectors(suffix, vector_pkl, tmp_path):
    out = tmp_path / f'x.{suffix}'
    done(f'--network={vector_pkl}', '--label=0.5,-1, 0', f'--out={out}')
    assert 'Generator, one label, 0.5,-1, 0' in out.with_name(f'{out.name}.md').read_text()
    if suffix == 'pkl':
        assert_close(images(out), images(vector_pkl, label=[0.5, -1.0, 0.0]))


def test_label_vectors_have_no_classes(vector_pkl, tmp_path):
    for args in (['--class=1', '--out={}.pkl'], ['--all', '--out={}']):
        refused('takes label vectors and has no class', f'--network={vector_pkl}', *[arg.format(tmp_path / 'x') for arg in args])
    refused('expected 3 numbers', f'--network={vector_pkl}', '--label=1,2', f'--out={tmp_path / "x.pkl"}')
    refused('exclude each other', f'--network={vector_pkl}', '--label=1,2,3', '--class=0', f'--out={tmp_path / "x.pkl"}')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('args', [['--class=cat', '--out={}.pkl'], ['--all', '--out={}'], ['--label=1,0', '--out={}.pkl']])
def test_unconditional_networks_have_no_classes(args, source_pkl, tmp_path):
    refused('the network is unconditional', f'--network={source_pkl}', *[arg.format(tmp_path / 'x') for arg in args])


@pytest.mark.parametrize('present', ['x.pkl', 'x.pkl.md'])
def test_files_are_not_overwritten_unless_asked(present, hyper_pkl, tmp_path):
    (tmp_path / present).write_text('mine')
    args = [f'--network={hyper_pkl}', '--class=cat', f'--out={tmp_path / "x.pkl"}']
    refused(f'{present} exists; give another name, or --force', *args)
    assert [path.name for path in tmp_path.iterdir()] == [present] and (tmp_path / present).read_text() == 'mine'
    done(*args, '--force')
    assert (tmp_path / present).read_bytes() != b'mine'


def test_places_that_cannot_be_written(hyper_pkl, tmp_path):
    (tmp_path / 'file').write_text('')
    (tmp_path / 'folder.pkl').mkdir()
    refused('is not a directory', f'--network={hyper_pkl}', '--all', f'--out={tmp_path / "file"}')
    refused('--out=', f'--network={hyper_pkl}', '--class=cat', f'--out={tmp_path / "file" / "x.pkl"}')
    refused('is a directory', f'--network={hyper_pkl}', '--class=cat', f'--out={tmp_path / "folder.pkl"}')
    refused('cannot be written to', f'--network={hyper_pkl}', '--class=cat', '--out=/proc/x/y.pkl')


def test_networks_that_cannot_be_read(tmp_path):
    (tmp_path / 'bad.pkl').write_bytes(b'not a pickle')
    (tmp_path / 'bad.safetensors').write_bytes(bytes([9, 0, 0, 0, 0, 0, 0, 0]) + b'{"a": 1}x')
    refused('No such file', f'--network={tmp_path / "none.pkl"}', f'--out={tmp_path / "x.pkl"}')
    refused('bad.pkl', f'--network={tmp_path / "bad.pkl"}', f'--out={tmp_path / "x.pkl"}')
    refused('not a readable safetensors file', f'--network={tmp_path / "bad.safetensors"}', f'--out={tmp_path / "x.pkl"}')


def test_a_failed_write_leaves_nothing(hyper_pkl, tmp_path, monkeypatch):
    def fail(path, snapshot):
        raise MemoryError('no room')

    monkeypatch.setattr('exporting.targets.save_network_pkl', fail)
    refused('MemoryError: no room', f'--network={hyper_pkl}', '--class=cat', f'--out={tmp_path / "x.pkl"}', exit_code=1)
    assert not list(tmp_path.iterdir())
