"""generate.py --video as a user runs it: decoded frames against the pictures that generate.py saves."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from scipy.spatial import geometric_slerp

import legacy
from generate import main
from tests.support.hyper_sources import make_hyper, make_source, randomise_
from tests.support.video_frames import read_frames
from training.data.image_grid import to_pixels

SCALE = '--scale=8'


@pytest.fixture(scope='module')
def hyper_pkl(tmp_path_factory):
    """A hyper-modulated snapshot of three classes."""
    torch.manual_seed(0)
    G = randomise_(make_hyper(make_source())).requires_grad_(False)
    path = tmp_path_factory.mktemp('hyper') / 'network-snapshot-000000.pkl'
    legacy.save_network_pkl(path, dict(G_ema=G, class_names=['cat', 'dog', 'owl']))
    return path


def generate(*args):
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    assert result.exit_code == 0, result.output
    return result.output


def refused(*args):
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    assert result.exit_code == 2 and 'Traceback' not in result.output
    return result.output


def read(path):
    with Image.open(path) as image:
        return np.asarray(image.convert('RGB'))


def assert_like(frame, picture):
    """The mean colours of each square of 8 x 8 pixels are the picture's pixels; single ones lose some of their colour."""
    height, width, channels = picture.shape
    squares = frame[:8 * height, :8 * width].reshape(height, 8, width, 8, channels).mean(axis=(1, 3))
    assert np.abs(squares - picture).mean() < 8  # between two pictures it is 50 and more


@pytest.mark.parametrize('curve', ['spherical', 'cubic'])
@pytest.mark.parametrize('fixture', ['hyper_pkl', 'conditional_pkl'])
def test_a_walk_of_one_class_meets_the_pictures_of_its_seeds(fixture, curve, request, tmp_path):
    network = f'--network={request.getfixturevalue(fixture)}'
    options = (network, '--class=dog', '--seeds=0-2', '--trunc=0.7')
    video = (f'--video={tmp_path / "a.mp4"}', f'--curve={curve}', '--seconds=2', '--fps=6', SCALE)
    output = generate(*options, *video, '--batch=5')
    assert f'{tmp_path / "a.mp4"}: 12 frames of 128x128, 6 per second' in output
    generate(*options, f'--outdir={tmp_path}')
    frames = read_frames(tmp_path / 'a.mp4')
    assert frames.shape == (12, 128, 128, 3)
    for seed in range(3):
        assert_like(frames[4 * seed], read(tmp_path / f'dog-seed000{seed}.png'))
    steps = np.abs(np.diff(frames.astype(int), axis=0, append=frames[:1].astype(int))).mean(axis=(1, 2, 3))
    assert 0 < steps[-1] <= 1.1 * steps[:-1].max()  # it closes: the last frame is a usual step from the first


def test_frames_between_seeds_are_the_network_s(hyper_pkl, tmp_path):
    """Halfway between two seeds is the middle of the arc between their z, as scipy has it."""
    video = (f'--video={tmp_path / "a.mp4"}', '--seconds=1', '--fps=4', SCALE)
    generate(f'--network={hyper_pkl}', '--class=owl', '--seeds=3,5', *video)
    G = legacy.load_network_pkl(hyper_pkl)['G_ema']
    first, second = (np.random.RandomState(seed).randn(G.z_dim) for seed in (3, 5))
    middle = geometric_slerp(first / np.linalg.norm(first), second / np.linalg.norm(second), [0.5])  # G asks for directions only
    image = to_pixels(G(torch.from_numpy(middle).float(), torch.eye(3)[2:], noise_mode='const'))[0]
    frames = read_frames(tmp_path / 'a.mp4')
    for frame in (1, 3):  # there and back
        assert_like(frames[frame], image)


def test_a_grid_begins_as_the_picture_does_and_moves_every_column(hyper_pkl, tmp_path):
    options = (f'--network={hyper_pkl}', '--seeds=0-2')
    generate(*options, '--grid', f'--video={tmp_path / "a.mp4"}', '--seconds=1', '--fps=6', SCALE)
    for name in ('cat', 'dog', 'owl'):
        generate(*options, f'--class={name}', f'--outdir={tmp_path}')
    frames = read_frames(tmp_path / 'a.mp4')
    margin = frames.shape[2] // 2 * 2 - 3 * 128  # with the names; an odd width has a white line more
    margin -= int(frames[0, :, -1].mean() > 250)
    for frame in (0, 2, 4):
        for row, name in enumerate(('cat', 'dog', 'owl')):
            for column in range(3):
                seed = (column + frame // 2) % 3
                cell = frames[frame, row * 128:, margin + column * 128:]
                assert_like(cell, read(tmp_path / f'{name}-seed000{seed}.png'))
    assert frames[0, :, :margin].min() < 60 and frames[0, :, :margin].mean() > 200  # names in black on white


def test_a_walk_through_classes_keeps_the_latents(hyper_pkl, tmp_path):
    options = (f'--network={hyper_pkl}', '--seeds=0-3')
    generate(*options, '--interpolate=cat,dog,owl', f'--video={tmp_path / "a.gif"}', '--seconds=3', '--fps=2', SCALE)
    frames = read_frames(tmp_path / 'a.gif')
    assert frames.shape == (6, 256, 256, 3)
    for index, mix in enumerate(['cat', 'cat:1,dog:1', 'dog', 'dog:1,owl:1', 'owl', 'owl:1,cat:1']):
        generate(*options, f'--class={mix}', f'--outdir={tmp_path / str(index)}')
        pictures = [read(path) for path in sorted((tmp_path / str(index)).iterdir())]
        tiles = np.concatenate([np.concatenate(pictures[:2], axis=1), np.concatenate(pictures[2:], axis=1)])
        assert_like(frames[index], tiles)


@pytest.mark.parametrize('ways', [['--walk=both'], ['--walk=both', '--interpolate=cat,dog,owl', '--curve=cubic']])
def test_both_move_and_need_not_return(ways, hyper_pkl, tmp_path):
    video = (f'--video={tmp_path / "a.webp"}', '--no-loop', '--seconds=1', '--fps=5', SCALE)
    generate(f'--network={hyper_pkl}', '--seeds=0-2', *ways, *video)
    frames = read_frames(tmp_path / 'a.webp')
    assert len(frames) == 5
    for index, name in ((0, 'cat'), (2, 'dog'), (4, 'owl')):
        generate(f'--network={hyper_pkl}', f'--class={name}', f'--seeds={index // 2}', f'--outdir={tmp_path}')
        assert_like(frames[index], read(tmp_path / f'{name}-seed000{index // 2}.png'))


def test_gray_and_unconditional(gray_source_pkl, tmp_path):
    options = (f'--network={gray_source_pkl}', '--grid', '--seeds=0-3')
    generate(*options, f'--video={tmp_path / "new" / "a.mp4"}', '--seconds=1', '--fps=4', SCALE)
    generate(*options, f'--outdir={tmp_path}')
    assert_like(read_frames(tmp_path / 'new' / 'a.mp4')[0], read(tmp_path / 'grid.png'))


def test_two_seconds_for_each_seed(source_pkl, tmp_path):
    assert '12 frames' in generate(f'--network={source_pkl}', '--seeds=0-2', '--fps=2', f'--video={tmp_path / "a.mp4"}')


def test_frames_that_are_not_finite_are_told(source_pkl, tmp_path):
    data = legacy.load_network_pkl(source_pkl)
    data['G_ema'].synthesis.b4.const.data.fill_(3e38)   # overflows
    legacy.save_network_pkl(tmp_path / 'net.pkl', data)
    video = (f'--video={tmp_path / "a.mp4"}', '--seconds=1', '--fps=4')
    output = generate(f'--network={tmp_path / "net.pkl"}', '--seeds=3-5', *video)
    assert '4 of 4 pictures have NaN or infinite values, the first with frame 0' in output


@pytest.mark.parametrize('args, message', [
    (['--class=cat', '--seeds=0'], 'needs two seeds at least'),
    (['--walk=latent', '--interpolate=cat,dog'], '--walk=latent stays in one class'),
    (['--walk=class', '--class=cat'], 'name them with --interpolate=A,B,C'),
    (['--walk=both', '--grid'], 'name them with --interpolate=A,B,C'),
    (['--interpolate=cat'], 'needs two at least'),
    (['--interpolate=cat,dgo'], 'did you mean dog?'),
    (['--class=cat', '--seconds=0.01'], 'no video'),
    (['--video=a.avi', '--class=cat'], 'expected a name that ends in .mp4, .gif, .webp'),
    (['--class=cat', '--steps=5'], '--steps is for pictures'),
    (['--class=cat', '--outdir=x'], '--outdir is for pictures'),
    (['--class=cat', '--noise-mode=random'], 'flicker'),
    (['--class=cat', '--cuda-graph'], '--cuda-graph draws pictures only'),
    ([], 'class-conditional: add --class=NAME'),
])
def test_wrong_input_is_told_and_leaves_nothing(args, message, conditional_pkl, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    output = refused(f'--network={conditional_pkl}', f'--video={tmp_path / "new" / "a.mp4"}', *args)
    assert message in ' '.join(output.split()) and not list(tmp_path.iterdir())


@pytest.mark.parametrize('option', ['--walk=both', '--seconds=3', '--no-loop'])
def test_options_of_videos_alone(option, conditional_pkl, tmp_path):
    output = refused(f'--network={conditional_pkl}', '--grid', f'--outdir={tmp_path / "out"}', option)
    assert 'belongs to --video: add --video=FILE' in output and not list(tmp_path.iterdir())


def test_a_walk_through_classes_needs_some(source_pkl, tmp_path):
    assert 'unconditional and has no classes for --walk=class' in refused(
        f'--network={source_pkl}', '--walk=class', f'--video={tmp_path / "a.mp4"}')
