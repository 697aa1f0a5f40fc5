"""Labels that are vectors of numbers: digits with a class and a slant, from the data set to pictures and metrics."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import calc_metrics
import generate
import legacy
import train_hyper
from commands.data_facts import inspect_data
from hyper_plugin import selfinit
from hyper_plugin.networks import ClassCode, order_by_class
from tests.conftest import REPO
from tests.support.dataset_files import make_folder
from tests.support.hyper_sources import labels, make_hyper, make_hyper_D, make_source, make_source_D, randomise_, tensors
from tests.support.metric_scenes import Everything, save_script
from tests.support.slanted_digits import MAX_SHEAR, make_slanted_digits, measured_slant, write_slanted_digits

CLASSES = 3
LETTERS = REPO / 'models' / 'letters32.pkl'
TINY = ['--device=cpu', '--batch=8', '--mbstd-group=4', '--gamma=1', '--aug=noaug', '--tick=0.032', '--code-dim=8',
        '--lr-decay=0']


def call(command, *args):
    result = CliRunner().invoke(command.main, [str(arg) for arg in args])
    assert result.exit_code == 0, result.output
    return result


# --- the toy set ---

def test_the_moments_say_the_slant():
    images, vectors = make_slanted_digits(200)
    assert images.shape == (200, 32, 32) and vectors.shape == (200, 11)
    np.testing.assert_allclose(vectors[:, :10].sum(axis=1), 1)
    np.testing.assert_allclose(measured_slant(images), MAX_SHEAR * vectors[:, 10], atol=0.02)  # pixels are square and few
    y, x = np.mgrid[:32, :32]
    leaning = np.exp(-((x - 16 + 0.5 * (y - 16)) / 2) ** 2 - ((y - 16) / 6) ** 2)  # its ridge leans by 0.5
    assert measured_slant(leaning[None])[0] == pytest.approx(0.5, abs=0.01)


# --- networks ---

def test_the_class_code_is_a_linear_layer_of_the_vector_and_then_the_mlp():
    code = randomise_(ClassCode(c_dim=4, code_dim=6))
    c = torch.randn(5, 4) * 3
    first = torch.nn.functional.linear(c.double(), code.table.T.double())
    want = first.float()
    for number in range(code.num_layers):
        want = getattr(code, f'fc{number}')(want)
    torch.testing.assert_close(code(c), want, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(code(c), code(2 * c), atol=1e-2)  # how long a vector is counts


def test_a_generator_follows_a_number_without_jumps():
    G = randomise_(make_hyper(make_source()))
    c = torch.tensor([[1., 0, 0]]).repeat(33, 1)
    c[:, 2] = torch.linspace(-1, 1, 33)
    images = G(torch.randn(1, G.z_dim).repeat(33, 1), c, noise_mode='const').detach()
    steps = (images[1:] - images[:-1]).abs().mean(dim=(1, 2, 3))
    assert (steps > 0).all() and steps.max() < 0.2 * (images[-1] - images[0]).abs().mean()


def test_the_projection_sees_how_long_a_vector_is():
    source = make_source_D()
    D = make_hyper_D(source, d_cond='projection')
    c = torch.randn(4, 3)
    plain = D.mapping(None, c)
    torch.testing.assert_close(D.mapping(None, 2 * c), plain, rtol=1e-3, atol=1e-5)  # the host's mapping network alone does not
    D.keep_label_scale_()
    mapped = D.mapping(None, c)
    for scale in (0.5, 2, -1):
        assert ((D.mapping(None, scale * c) - mapped).norm(dim=1) > 0.05 * mapped.norm(dim=1)).all()
    image = torch.randn(4, 3, 16, 16)
    torch.testing.assert_close(D(image, c[[1, 1, 1, 1]]), source(image, None), rtol=1e-5, atol=1e-5)  # the source at the start


def test_groups_of_the_deviation_hold_neighbours():
    """A group of 1 leaves the batch in its sorted order: first by the first number, then by the next, high to low."""
    for _ in range(20):
        c = torch.cat([labels(*torch.randint(3, [12]).tolist()), torch.randn(12, 1).round(decimals=1)], dim=1)
        order = order_by_class(c, 12)
        want = sorted(range(12), key=lambda row: [-number for number in c[row].tolist()])
        assert order.tolist() == want
        classes = torch.randint(3, [12])
        onehot = order_by_class(labels(*classes.tolist()), 12)
        assert onehot.tolist() == sorted(range(12), key=lambda row: classes[row])


@pytest.mark.parametrize('method', ['exact', 'distill'])
def test_selfinit_draws_the_vectors_of_the_data(method, monkeypatch):
    source, seen = make_source(resolution=4), []
    G, pool = make_hyper(source), torch.randn(7, 3)
    plain = selfinit.feature_errors

    def watch(source, hyper, z, c):
        seen.append(c)
        return plain(source, hyper, z, c)

    monkeypatch.setattr(selfinit, 'feature_errors', watch)
    if method == 'exact':
        selfinit.exact(source, G, torch.device('cpu'), pool)
    else:
        selfinit.distill(source, G, torch.device('cpu'), kimg=0.03, generator=torch.Generator().manual_seed(0), labels=pool)
    drawn = {tuple(row) for row in torch.cat(seen).tolist()}
    assert drawn == {tuple(row) for row in pool.tolist()}


# --- data ---

@pytest.mark.parametrize('vectors, mirror, notes', [
    ([[0, 1], [1, -1]], False, []),
    ([[0, 1], [0, -1]], False, ['have the same number in place 0']),
    ([[0, 1], [50, -1]], False, ['up to 50 in place 0: scale them to about -1 to 1']),
    ([[0, 1], [1, -1]], True, ['--mirror']),
])
def test_what_is_odd_about_vectors_is_said(vectors, mirror, notes, tmp_path):
    folder = make_folder(tmp_path, ['a.png', 'b.png'], labels=[['a.png', vectors[0]], ['b.png', vectors[1]]])
    facts = inspect_data(str(folder), True, mirror=mirror)
    assert facts.has_label_vectors and facts.label_dim == 2 and facts.class_names == ()
    assert len(facts.warnings) == len(notes)
    for warning, text in zip(facts.warnings, notes, strict=True):
        assert text in warning and '\n' not in warning


# --- a run, and what comes after it ---

@pytest.fixture(scope='module')
def slanted_zip(tmp_path_factory):
    return write_slanted_digits(tmp_path_factory.mktemp('data') / 'slanted.zip', 60, CLASSES)


@pytest.fixture(scope='module')
def run(tmp_path_factory, slanted_zip):
    """A run of 64 images from the letters; its directory and what was said."""
    outdir = tmp_path_factory.mktemp('runs')
    result = call(train_hyper, '--outdir', outdir, '--data', slanted_zip, '--resume', LETTERS, '--selfinit', '--kimg=0.064',
                  *TINY)
    run_dir, = outdir.iterdir()
    return run_dir, result.output


def snapshot_of(run_dir):
    return max(run_dir.glob('network-snapshot-*.pkl'))


def test_a_run_on_vectors(run):
    run_dir, output = run
    assert f'vectors of {CLASSES + 1} numbers' in output and 'label vectors use --d-cond=projection instead of heads' in output
    start, after = (legacy.load_network_pkl(path) for path in (run_dir / 'selfinit.pkl', snapshot_of(run_dir)))
    assert after['D'].d_cond == 'projection' and after['G_ema'].c_dim == CLASSES + 1 and after['class_names'] == []
    assert start['D'].mapping.embed.bias.abs().min() > 0
    moved = {name for name, tensor in tensors(after['G']).items() if not torch.equal(tensor, tensors(start['G'])[name])}
    assert 'mapping.class_code.table' in moved and all('hyper' in name or 'class_code' in name for name in moved)
    assert json.loads((run_dir / 'selfinit.json').read_text())['relative_error'] < 1e-4
    last = json.loads((run_dir / 'stats.jsonl').read_text().splitlines()[-1])
    assert np.isfinite(last['Diversity/all']['mean']) and np.isfinite(last['Loss/D/loss']['mean'])
    for name in ('reals.png', 'fakes_init.png', 'fakes000000.png'):
        with Image.open(run_dir / name) as picture:
            assert picture.size == (16 * 32, 12 * 32)  # a plain grid: images beside their labels' real ones


def test_going_on_exactly_and_from_the_snapshot(run, slanted_zip, tmp_path):
    run_dir, _output = run
    args = ['--data', slanted_zip, '--resume', LETTERS, '--selfinit', *TINY]
    call(train_hyper, '--outdir', tmp_path / 'part', '--kimg=0.032', *args)
    part, = (tmp_path / 'part').iterdir()
    call(train_hyper, '--resume', part, '--kimg=0.064')
    want, got = (legacy.load_network_pkl(snapshot_of(path)) for path in (run_dir, part))
    for name in ('G', 'D', 'G_ema'):
        assert all(torch.equal(tensors(got[name])[key], tensor) for key, tensor in tensors(want[name]).items())
    result = call(train_hyper, '--outdir', tmp_path / 'on', '--data', slanted_zip, '--resume', snapshot_of(run_dir),
                  '--kimg=0.008', *TINY)
    assert '0 new, 0 not used' in result.output
    other = write_slanted_digits(tmp_path / 'other.zip', 20, CLASSES + 1)
    result = CliRunner().invoke(train_hyper.main, ['--outdir', str(tmp_path / 'no'), '--data', str(other), '--device=cpu',
                                                   '--resume', str(snapshot_of(run_dir))])
    assert result.exit_code == 2 and 'label vectors of 4 numbers, the data has label vectors of 5' in result.stderr


def test_pictures_of_a_vector(run, tmp_path):
    network = snapshot_of(run[0])
    call(generate, '--network', network, '--label=0,1, 0,-0.5', '--seeds=3-4', '--outdir', tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['label_0_1_0_-0.5-seed0003.png', 'label_0_1_0_-0.5-seed0004.png']
    G = legacy.load_network_pkl(network)['G_ema']
    z = torch.from_numpy(np.random.RandomState(3).randn(1, G.z_dim)).float()
    image = G(z, torch.tensor([[0, 1, 0, -0.5]]), noise_mode='const')[0, 0].detach().numpy()
    with Image.open(tmp_path / 'label_0_1_0_-0.5-seed0003.png') as picture:
        want = np.clip(image * 127.5 + 128, 0, 255).astype(int)
        assert np.abs(np.asarray(picture).astype(int) - want).max() <= 1


@pytest.mark.parametrize('args, text', [
    (['--label=1,0'], 'expected 4 numbers'), (['--label=1,0,0,x'], 'expected 4 numbers'),
    (['--label=1,0,0,nan'], 'expected 4 numbers'), (['--label=1,0,0,-1001'], 'none beyond 1000'),
    (['--label=1,0,0,1e39'], 'none beyond 1000'), (['--label='], 'expected 4 numbers'), ([], 'add --label, 4 numbers'),
    (['--class=1'], "takes label vectors and has no class '1'"), (['--grid'], 'has no rows for --grid: give --label, 4 numbers'),
    (['--interpolate=0,1'], "has no class '0'"),
    (['--label=1,0,0,0', '--class=0'], 'exclude each other'),
])
def test_vectors_that_are_refused(args, text, run, tmp_path):
    result = CliRunner().invoke(generate.main, ['--network', str(snapshot_of(run[0])), '--outdir', str(tmp_path / 'out'), *args])
    assert result.exit_code == 2 and text in result.output and not (tmp_path / 'out').exists()


def test_an_unconditional_network_takes_no_vector(source_pkl, tmp_path):
    result = CliRunner().invoke(generate.main, ['--network', str(source_pkl), '--outdir', str(tmp_path / 'out'), '--label=1,0'])
    assert result.exit_code == 2 and 'unconditional' in result.output and not (tmp_path / 'out').exists()


def test_metrics_draw_the_labels_of_the_data(run, slanted_zip, tmp_path, monkeypatch):
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path / 'cache'))
    detector = save_script(tmp_path / 'everything.pt', Everything())
    args = ['--device=cpu', '--num-gen=24', '--network', snapshot_of(run[0]), '--data', slanted_zip, '--detector', detector]
    result = call(calc_metrics, *args, '--metrics=kid50k_full,is50k')
    assert all(np.isfinite(value) for line in result.stdout.splitlines() for value in json.loads(line)['results'].values())
    result = CliRunner().invoke(calc_metrics.main, [*map(str, args), '--metrics=kid_per_class'])
    assert result.exit_code == 2 and 'has no class labels' in result.stderr and 'Traceback' not in result.output
