"""generate.py as a user runs it; its pixels against the pickled generator called directly."""

import pickle

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import legacy
from generate import main


def generate(*args):
    return CliRunner().invoke(main, [str(arg) for arg in args])


def draw(snapshot, seed, label=None, **options):
    """The picture of a seed by the interface alone: float64 z from numpy's RandomState, then bytes."""
    G = pickle.loads(snapshot.read_bytes())['G_ema']
    z = torch.from_numpy(np.random.RandomState(seed).randn(1, G.z_dim))
    c = torch.zeros([1, G.c_dim]) if label is None else torch.tensor([label], dtype=torch.float32)
    image = G(z, c, noise_mode=options.pop('noise_mode', 'const'), **options)[0].detach().numpy()
    return np.floor(np.clip(image.transpose(1, 2, 0) * 127.5 + 128, 0, 255)).astype(np.uint8)


def read(path):
    with Image.open(path) as image:
        pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def assert_same_picture(got, want):
    """At most one level apart: batches of another size may round the last bit otherwise."""
    assert got.shape == want.shape
    assert np.abs(got.astype(int) - want.astype(int)).max() <= 1


@pytest.mark.parametrize('fixture', ['source_pkl', 'gray_source_pkl'])
def test_unconditional_pictures_are_those_of_the_seeds(fixture, request, tmp_path):
    snapshot = request.getfixturevalue(fixture)
    result = generate(f'--network={snapshot}', '--seeds=0-2,7', f'--outdir={tmp_path / "new" / "out"}')
    assert result.exit_code == 0, result.output
    outdir = tmp_path / 'new' / 'out'
    assert sorted(path.name for path in outdir.iterdir()) == ['seed0000.png', 'seed0001.png', 'seed0002.png', 'seed0007.png']
    for seed in (0, 1, 2, 7):
        assert_same_picture(read(outdir / f'seed{seed:04d}.png'), draw(snapshot, seed))
    assert np.ptp(read(outdir / 'seed0000.png')) > 20  # not a flat picture


@pytest.mark.parametrize('text, label, prefix', [
    ('dog', [0, 1, 0], 'dog'), ('1', [0, 1, 0], 'dog'), ('cat:1,owl:3', [0.25, 0, 0.75], 'cat_1_owl_3'),
])
def test_class_by_name_number_and_mix(text, label, prefix, conditional_pkl, tmp_path):
    result = generate(f'--network={conditional_pkl}', f'--class={text}', '--seeds=5', f'--outdir={tmp_path}', '--trunc=0.5')
    assert result.exit_code == 0, result.output
    assert_same_picture(read(tmp_path / f'{prefix}-seed0005.png'), draw(conditional_pkl, 5, label, truncation_psi=0.5))


@pytest.mark.parametrize('batch', [1, 3])
def test_a_picture_does_not_depend_on_the_batch(batch, source_pkl, tmp_path):
    assert generate(f'--network={source_pkl}', '--seeds=0-4', f'--outdir={tmp_path / "a"}', f'--batch={batch}').exit_code == 0
    assert generate(f'--network={source_pkl}', '--seeds=4,0', f'--outdir={tmp_path / "b"}', '--batch=8').exit_code == 0
    for name in ('seed0000.png', 'seed0004.png'):
        assert_same_picture(read(tmp_path / 'a' / name), read(tmp_path / 'b' / name))


def test_noise_modes(source_pkl, tmp_path):
    pictures = {}
    for mode in ('const', 'none', 'random'):
        result = generate(f'--network={source_pkl}', '--seeds=3', f'--noise-mode={mode}', f'--outdir={tmp_path / mode}')
        assert result.exit_code == 0, result.output
        pictures[mode] = read(tmp_path / mode / 'seed0003.png')
    assert_same_picture(pictures['none'], draw(source_pkl, 3, noise_mode='none'))
    assert (pictures['const'] != pictures['none']).any() and (pictures['random'] != pictures['const']).any()


def test_grid_has_a_row_for_each_class_and_a_column_for_each_seed(conditional_pkl, tmp_path):
    result = generate(f'--network={conditional_pkl}', '--grid', '--seeds=0-3', f'--outdir={tmp_path}', '--batch=5')
    assert result.exit_code == 0, result.output
    assert [path.name for path in tmp_path.iterdir()] == ['grid.png']
    grid = read(tmp_path / 'grid.png')
    rows = np.split(grid, 3)
    for k, row in enumerate(rows):
        top, margin = (len(row) - 16) // 2, grid.shape[1] - 4 * 16
        for seed in range(4):
            cell = row[top:top + 16, margin + seed * 16:margin + (seed + 1) * 16]
            assert_same_picture(cell, draw(conditional_pkl, seed, np.eye(3)[k].tolist()))


@pytest.mark.parametrize('seeds, shape', [('0-5', (32, 48)), ('0', (16, 16))])
def test_grid_without_classes_is_filled(seeds, shape, source_pkl, tmp_path):
    assert generate(f'--network={source_pkl}', '--grid', f'--seeds={seeds}', f'--outdir={tmp_path}').exit_code == 0
    assert read(tmp_path / 'grid.png').shape[:2] == shape


def test_interpolation_goes_from_one_class_to_the_other(conditional_pkl, tmp_path):
    result = generate(f'--network={conditional_pkl}', '--interpolate=cat,2', '--steps=3', '--seeds=1,4', f'--outdir={tmp_path}')
    assert result.exit_code == 0, result.output
    strip = read(tmp_path / 'cat-to-owl.png')
    for row, seed in zip(np.split(strip, 2), (1, 4), strict=True):
        top, margin = (len(row) - 16) // 2, strip.shape[1] - 3 * 16
        for i, label in enumerate([[1, 0, 0], [0.5, 0, 0.5], [0, 0, 1]]):
            cell = row[top:top + 16, margin + i * 16:margin + (i + 1) * 16]
            assert_same_picture(cell, draw(conditional_pkl, seed, label))


def test_a_snapshot_without_a_generator(conditional_pkl, tmp_path):
    networks = legacy.load_network_pkl(conditional_pkl)
    legacy.save_network_pkl(tmp_path / 'x.pkl', dict(G_ema=networks['D']))
    result = generate(f'--network={tmp_path / "x.pkl"}', f'--outdir={tmp_path / "out"}')
    assert result.exit_code == 2 and 'is a Discriminator, expected a generator' in result.output


def test_default_network_is_the_newest_snapshot(source_pkl, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = generate('--seeds=0')
    assert (result.exit_code, 'no network-snapshot' in result.output) == (2, True)
    run = tmp_path / 'training-runs' / '00000-run'
    run.mkdir(parents=True)
    (run / 'network-snapshot-000001.pkl').write_bytes(source_pkl.read_bytes())
    result = generate('--seeds=0')
    assert result.exit_code == 0 and 'network-snapshot-000001.pkl' in result.output
    assert (tmp_path / 'out' / 'seed0000.png').is_file()


@pytest.mark.parametrize('class_names', [None, ('cat', 'dog', 'owl'), (7, 8)])
def test_classes_without_fitting_names_go_by_number(class_names, make_snapshot, tmp_path):
    snapshot = make_snapshot(c_dim=2, class_names=class_names)
    assert generate(f'--network={snapshot}', '--class=1', '--seeds=0', f'--outdir={tmp_path}').exit_code == 0
    assert_same_picture(read(tmp_path / '1-seed0000.png'), draw(snapshot, 0, [0, 1]))


@pytest.mark.parametrize('fixture, args, message', [
    ('source_pkl', ['--class=cat'], "unconditional and has no class 'cat'"),
    ('source_pkl', ['--interpolate=cat,dog'], 'unconditional'),
    ('conditional_pkl', [], 'class-conditional: add --class=NAME (cat, dog, owl)'),
    ('conditional_pkl', ['--class=dgo'], 'did you mean dog?'),
    ('conditional_pkl', ['--interpolate=cat'], 'expected two classes'),
    ('source_pkl', ['--cuda-graph', '--device=cpu'], 'draw without a graph'),
])
def test_wrong_input_is_one_line_and_leaves_nothing(fixture, args, message, request, tmp_path):
    outdir = tmp_path / 'out'
    result = generate(f'--network={request.getfixturevalue(fixture)}', f'--outdir={outdir}', *args)
    assert result.exit_code == 2
    assert message in result.output and result.output.count('\n') == 1 and 'Traceback' not in result.output
    assert not outdir.exists()


def test_pictures_that_are_not_finite_are_told(source_pkl, tmp_path):
    data = legacy.load_network_pkl(source_pkl)
    data['G_ema'].synthesis.b4.const.data.fill_(3e38)   # overflows
    legacy.save_network_pkl(tmp_path / 'net.pkl', data)
    result = generate(f'--network={tmp_path / "net.pkl"}', f'--outdir={tmp_path / "out"}', '--seeds=3-5')
    assert result.exit_code == 0 and '3 of 3 pictures have NaN or infinite values, the first with seed 3' in result.output


@pytest.mark.parametrize('content', [None, b'no pickle'])
def test_broken_networks_are_one_line(content, tmp_path):
    path = tmp_path / 'net.pkl'
    if content is not None:
        path.write_bytes(content)
    result = generate(f'--network={path}', f'--outdir={tmp_path / "out"}')
    assert result.exit_code == 2 and result.output.count('\n') == 1
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('args', [['--class=cat', '--grid'], ['--grid', '--interpolate=cat,dog'], ['--steps=1'], ['--batch=0'],
                                  ['--noise-mode=loud'], ['--device=tpu']])
def test_options_that_exclude_each_other_or_are_out_of_range(args, conditional_pkl, tmp_path):
    result = generate(f'--network={conditional_pkl}', f'--outdir={tmp_path / "out"}', *args)
    assert result.exit_code == 2 and not (tmp_path / 'out').exists()


def test_help_has_an_example_and_defaults():
    result = generate('--help')
    assert result.exit_code == 0
    for text in ('python generate.py --class=cat --seeds=0-63', '[default: 0-15]', '[default: const]', 'newest network-snapshot'):
        assert text in ' '.join(result.output.split())


def test_names_with_commas_and_mixes_between_the_ends(make_snapshot, tmp_path):
    snapshot = make_snapshot(3, class_names=['x, y', 'a:0.5', 'owl'])
    for ends in ('x\\, y,a:0.5', 'x\\, y,owl:1\\,a\\\\:0.5:1'):
        result = generate(f'--network={snapshot}', f'--interpolate={ends}', '--seeds=0', '--steps=2', f'--outdir={tmp_path}')
        assert result.exit_code == 0, result.output
    assert len(list(tmp_path.iterdir())) == 2
    result = generate(f'--network={snapshot}', '--interpolate=x, y,owl', '--seeds=0', f'--outdir={tmp_path}')
    assert result.exit_code == 2 and 'a comma in a name is written' in result.output
    assert 'a backslash before it' in ' '.join(generate('--help').output.split())
