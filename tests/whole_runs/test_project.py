"""project.py as a user runs it, and generate.py --projected-w, which draws what it found."""

import io
import os
import zipfile

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import generate
import legacy
import project
from generating import projection
from tests.support.hyper_sources import make_varied_hyper
from tests.support.metric_scenes import Everything, save_script
from tests.support.video_frames import read_frames


@pytest.fixture(scope='module')
def hyper_pkl(tmp_path_factory):
    """A hyper-modulated snapshot of three classes that differ."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('hyper') / 'network-snapshot-000000.pkl'
    legacy.save_network_pkl(path, dict(G_ema=make_varied_hyper(), class_names=['cat', 'dog', 'owl']))
    return path


@pytest.fixture
def script(tmp_path, monkeypatch):
    """A detector that is quick: --detector=FILE."""
    monkeypatch.setattr(projection, 'NUM_MEAN_SAMPLES', 200)
    return f'--detector={save_script(tmp_path / "detector.pt", Everything())}'


def run(command, *args, code=0):
    result = CliRunner().invoke(command.main, [str(arg) for arg in args])
    assert result.exit_code == code and 'Traceback' not in result.output, result.output
    return result.output


def read(path):
    with Image.open(path) as image:
        return np.asarray(image.convert('RGB')).astype(int)


def test_a_picture_is_found_and_drawn_as_every_class(hyper_pkl, script, tmp_path):
    network, out = f'--network={hyper_pkl}', tmp_path / 'out'
    run(generate, network, '--class=dog', '--seeds=1', '--trunc=0.5', f'--outdir={tmp_path}')
    output = run(project, network, f'--target={tmp_path / "dog-seed0001.png"}', script, '--steps=20', f'--outdir={out}')
    assert f'{out}: class dog 0.' in output and sorted(path.name for path in out.iterdir()) == [
        'projected.png', 'projected_w.npz', 'target.png']
    assert np.array_equal(read(out / 'target.png'), read(tmp_path / 'dog-seed0001.png'))
    with np.load(out / 'projected_w.npz') as arrays:
        assert arrays['w'].shape == (1, 6, 9) and arrays['w'].dtype == np.float32 and arrays['label'].argmax() == 1

    w = f'--projected-w={out / "projected_w.npz"}'
    run(generate, network, w, f'--outdir={tmp_path}')
    assert np.abs(read(tmp_path / 'projected0000.png') - read(out / 'projected.png')).max() <= 1
    for name in ('cat', 'dog', 'owl'):
        run(generate, network, w, f'--class={name}', f'--outdir={tmp_path}')
    run(generate, network, w, '--grid', f'--outdir={tmp_path}')
    rows = np.split(read(tmp_path / 'grid.png'), 3)
    drawn = [read(tmp_path / f'{name}-projected0000.png') for name in ('cat', 'dog', 'owl')]
    for row, picture in zip(rows, drawn, strict=True):
        top = (len(row) - 16) // 2
        assert np.abs(row[top:top + 16, -16:] - picture).max() <= 1
    assert np.abs(drawn[0] - drawn[1]).mean() > 5
    run(generate, network, w, '--interpolate=cat,owl', '--steps=3', f'--outdir={tmp_path}')
    assert (tmp_path / 'cat-to-owl.png').is_file()
    run(generate, network, w, '--walk=class', f'--video={tmp_path / "a.gif"}', '--seconds=1', '--fps=3', '--scale=8')
    frames = read_frames(tmp_path / 'a.gif')
    for frame, picture in zip(frames, drawn, strict=True):
        assert np.abs(frame.reshape(16, 8, 16, 8, 3).mean(axis=(1, 3)) - picture).mean() < 8


def test_the_class_of_a_hyper_network_s_w_is_its_code(hyper_pkl, tmp_path):
    """Against the network itself; a w of the source model gets a code too."""
    G = legacy.load_network_pkl(hyper_pkl)['G_ema']
    z = torch.randn(2, G.z_dim)
    cat, owl = (torch.eye(3)[[index, index]] for index in (0, 2))
    want = (G(z, owl, noise_mode='const') * 127.5 + 128).clamp(0, 255).permute(0, 2, 3, 1)
    for name, w in (('whole', G.mapping(z, cat)), ('source', G.mapping(z, cat)[:, :, :5])):
        np.savez(tmp_path / f'{name}.npz', w=w.numpy())
        run(generate, f'--network={hyper_pkl}', f'--projected-w={tmp_path / name}.npz', '--class=owl',
            f'--outdir={tmp_path / name}')
        for index in range(2):
            assert np.abs(read(tmp_path / name / f'owl-projected000{index}.png') - want[index].numpy()).max() <= 1.01


def test_a_folder_of_photos_of_any_form(gray_source_pkl, script, tmp_path):
    photos = tmp_path / 'photos'
    (photos / 'sub').mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, [40, 60, 3], dtype=np.uint8)
    Image.fromarray(pixels).save(photos / 'wide.jpg', quality=100)
    Image.fromarray(pixels[:, :, 0]).save(photos / 'sub' / 'wide.png')
    out = tmp_path / 'out'
    options = (script, '--steps=2', '--space=w+', f'--outdir={out}')
    output = run(project, f'--network={gray_source_pkl}', f'--target={photos}', *options)
    assert ': class ' not in output and sorted(path.name for path in out.iterdir()) == ['sub_wide', 'wide']
    square = Image.fromarray(pixels[:, 10:50, 0]).resize((16, 16), Image.Resampling.LANCZOS)
    assert np.array_equal(read(out / 'sub_wide' / 'target.png')[:, :, 0], np.asarray(square))
    assert all(read(path / 'projected.png').shape == (16, 16, 3) for path in out.iterdir())


@pytest.mark.parametrize('fixture, args', [('conditional_pkl', ['--class=owl']), ('conditional_pkl', []), ('source_pkl', [])])
def test_plain_networks(fixture, args, script, request, tmp_path):
    network = f'--network={request.getfixturevalue(fixture)}'
    Image.new('RGB', (20, 20), 'red').save(tmp_path / 'red.png')
    options = (script, '--steps=2', f'--outdir={tmp_path / "out"}')
    output = run(project, network, f'--target={tmp_path / "red.png"}', *options, *args)
    assert ('class owl 1.00' in output) == bool(args)
    w = f'--projected-w={tmp_path / "out" / "projected_w.npz"}'
    run(generate, network, w, f'--outdir={tmp_path / "again"}')
    assert np.abs(read(tmp_path / 'again' / 'projected0000.png') - read(tmp_path / 'out' / 'projected.png')).max() <= 1
    if fixture == 'conditional_pkl':
        assert 'the class is a part of w itself' in run(generate, network, w, '--grid', f'--outdir={tmp_path / "no"}', code=2)
        assert not (tmp_path / 'no').exists()


def test_the_imagenet_network_without_downloads(hyper_pkl, tmp_path, monkeypatch):
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path / 'cache'))
    monkeypatch.setattr(projection, 'NUM_MEAN_SAMPLES', 200)
    Image.new('RGB', (16, 16), 'gray').save(tmp_path / 'gray.png')
    target = f'--target={tmp_path / "gray.png"}'
    output = run(project, f'--network={hyper_pkl}', target, '--steps=1', f'--outdir={tmp_path / "out"}')
    assert 'Detector: imagenet' in output


def test_a_video_of_the_search(hyper_pkl, script, tmp_path):
    """A frame for each step: the target, enlarged, beside what the search draws, which comes nearer; the result is as without."""
    network, options = f'--network={hyper_pkl}', ('--class=dog', '--steps=30')
    run(generate, network, '--class=dog', '--seeds=1', '--trunc=0.5', f'--outdir={tmp_path}')
    target = f'--target={tmp_path / "dog-seed0001.png"}'
    run(project, network, target, script, *options, f'--outdir={tmp_path / "plain"}')
    run(project, network, target, script, *options, f'--outdir={tmp_path / "out"}', f'--video={tmp_path / "new" / "a.mp4"}')
    assert (tmp_path / 'out' / 'projected.png').read_bytes() == (tmp_path / 'plain' / 'projected.png').read_bytes()
    frames = read_frames(tmp_path / 'new' / 'a.mp4').astype(float)
    assert frames.shape == (30, 256, 512, 3)
    wanted = read(tmp_path / 'out' / 'target.png').repeat(16, axis=0).repeat(16, axis=1)
    assert np.abs(frames[:, :, :256] - wanted).mean() < 8
    away = np.abs(frames[:, :, 256:] - wanted).mean(axis=(1, 2, 3))
    assert away[-5:].mean() < 0.7 * away[:5].mean()
    last = read(tmp_path / 'out' / 'projected.png').repeat(16, axis=0).repeat(16, axis=1)
    assert np.abs(frames[-1, :, 256:] - last).mean() < 10


def test_a_video_shows_one_picture(hyper_pkl, script, tmp_path):
    (tmp_path / 'photos').mkdir()
    Image.new('RGB', (16, 16)).save(tmp_path / 'photos' / 'a.png')
    out = (f'--network={hyper_pkl}', script, f'--outdir={tmp_path / "out"}')
    for target, video, message in [('photos', 'a.mp4', 'is a folder or zip; give one picture'),
                                   ('photos/a.png', 'a.avi', 'expected a name that ends in .mp4, .gif, .webp')]:
        assert message in run(project, *out, f'--target={tmp_path / target}', f'--video={tmp_path / video}', code=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['detector.pt', 'photos']


@pytest.mark.parametrize('content, args, message', [
    (None, [], 'No such file'), (b'no picture', [], 'cannot use'), (b'', [], 'empty file'),
    (b'%PDF-1.4', [], 'not a picture but a PDF'),
    ('picture', ['--class=dgo'], 'did you mean dog?'), ('picture', ['--label=1,0'], 'expected 3 numbers'),
    ('picture', ['--class=cat', '--label=1,0,0'], 'exclude each other'), ('picture', ['--detector=no.pt'], 'is neither a file'),
    ('picture', ['--steps=0'], '--steps'), ('picture', ['--network=no.pkl'], 'no.pkl'),
])
def test_wrong_input_is_told_and_leaves_nothing(content, args, message, hyper_pkl, script, tmp_path):
    target, out = tmp_path / 'a.png', tmp_path / 'out'
    if content == 'picture':
        Image.new('RGB', (16, 16)).save(target)
    elif content is not None:
        target.write_bytes(content)
    output = run(project, f'--network={hyper_pkl}', f'--target={target}', script, f'--outdir={out}', *args, code=2)
    assert message in output and not out.exists()


def write_npz(path, **arrays):
    np.savez(path, **arrays)
    return path.read_bytes()


@pytest.mark.parametrize('make, message', [
    (lambda path: b'no archive', 'is no .npz file'), (lambda path: write_npz(path, v=np.zeros([1, 6, 9])), 'has no w, expected'),
    (lambda path: write_npz(path, w=np.zeros([6, 9])), 'a w of shape [6, 9]'),
    (lambda path: write_npz(path, w=np.zeros([1, 6, 5])), 'expected [1, 6, 9]'),
    (lambda path: write_npz(path, w=np.full([1, 6, 9], np.nan)), 'no finite numbers'),
    (lambda path: write_npz(path, w=np.array([[[{}]]])), 'is no .npz file'),
])
def test_files_that_hold_no_w_for_the_network(make, message, hyper_pkl, tmp_path):
    path = tmp_path / 'w.npz'
    path.write_bytes(make(path))
    output = run(generate, f'--network={hyper_pkl}', f'--projected-w={path}', f'--outdir={tmp_path / "out"}', code=2)
    assert message in output and output.count('\n') == 1 and not (tmp_path / 'out').exists()


def header(shape):
    """A .npy file that says so of 8 numbers."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, dict(descr='<f4', fortran_order=False, shape=shape))
    return stream.getvalue() + bytes(32)


def damaged_w(path, kind):
    """A projected_w.npz that was changed or made to do harm."""
    if kind == 'plain':
        np.save(path.with_suffix('.npy'), np.zeros([1, 6, 9], np.float32))
        path.with_suffix('.npy').rename(path)
    elif kind == 'deflated':
        np.savez_compressed(path, w=np.random.default_rng(0).normal(size=[1, 6, 9]))
        data = bytearray(path.read_bytes())
        data[100:140] = b'\xff' * 40
        path.write_bytes(data)
    elif kind == 'too large':
        with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr('w.npy', header((1, 6, 9)) + bytes(2 ** 28))
    elif kind == 'overflow':
        np.savez(path, w=np.full([1, 6, 9], 1e300))
    else:
        contents = dict(huge=header((1, 10**12, 512)), negative=header((1, -6, 9)), beyond=header((1, 10**20, 9)),
                        raw=b'no array', token=header((1, 6, 9)).replace(b'}', b'('))
        with zipfile.ZipFile(path, 'w') as archive:
            archive.writestr('w.npy', contents[kind])


@pytest.mark.parametrize('kind, message', [
    ('plain', 'is no .npz file'), ('deflated', 'is no .npz file'), ('too large', 'more than the limit of 268,435,456 bytes'),
    ('huge', 'is no .npz file'), ('negative', 'is no .npz file'), ('beyond', 'is no .npz file'), ('raw', 'expected w of shape'),
    ('token', 'is no .npz file'), ('overflow', 'no finite numbers'),
])
def test_damaged_and_hostile_files_of_w(kind, message, hyper_pkl, tmp_path):
    path = tmp_path / 'w.npz'
    damaged_w(path, kind)
    output = run(generate, f'--network={hyper_pkl}', f'--projected-w={path}', f'--outdir={tmp_path / "out"}', code=2)
    assert str(path) in output and message in output and output.count('\n') == 1 and not (tmp_path / 'out').exists()


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='this system has no pipes with names')
@pytest.mark.parametrize('command, option', [(project, '--target'), (generate, '--projected-w')])
def test_pipes_and_devices_are_not_waited_for(command, option, hyper_pkl, tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    for path in (tmp_path / 'pipe', '/dev/zero'):
        output = run(command, f'--network={hyper_pkl}', f'{option}={path}', f'--outdir={tmp_path / "out"}', code=2)
        assert f'{path} is not a regular file' in output and not (tmp_path / 'out').exists()


@pytest.mark.parametrize('args', [['--seeds=3'], ['--trunc=0.5'], ['--cuda-graph']])
def test_what_does_not_go_with_a_projected_w(args, hyper_pkl, tmp_path):
    np.savez(tmp_path / 'w.npz', w=np.zeros([1, 6, 9], np.float32))
    w = f'--projected-w={tmp_path / "w.npz"}'
    output = run(generate, f'--network={hyper_pkl}', w, f'--outdir={tmp_path / "out"}', *args, code=2)
    assert 'takes the place of --seeds' in ' '.join(output.split())


def test_a_walk_between_projected_ws_goes_through_w(hyper_pkl, tmp_path):
    np.savez(tmp_path / 'w.npz', w=np.random.default_rng(0).normal(size=[2, 6, 9]).astype(np.float32))
    video = (f'--video={tmp_path / "a.gif"}', '--seconds=1', '--fps=4')
    args = (f'--network={hyper_pkl}', f'--projected-w={tmp_path / "w.npz"}', *video)
    assert 'projected w have no z: take --curve=cubic' in run(generate, *args, code=2)
    run(generate, *args, '--curve=cubic')
    assert len(read_frames(tmp_path / 'a.gif')) == 4
