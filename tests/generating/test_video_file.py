"""Video files are what was put in, read back by ffmpeg or Pillow, and whole or absent."""

import sys

import numpy as np
import pytest
from PIL import Image

from generating import video_file
from generating.video_file import check_video
from tests.support.video_frames import read_durations, read_frames


def smooth_frames(count, height, width):
    """uint8 [count, H, W, 3]: a soft gradient that moves, which any encoder keeps."""
    y, x = np.mgrid[:height, :width]
    frames = [np.stack([x * 3 + i * 4, y * 3 + 20, np.full_like(x, 90)], axis=2) for i in range(count)]
    return np.stack(frames).clip(0, 255).astype(np.uint8)


def write(path, frames, fps=10):
    with video_file.video_file(path, fps) as add:
        for frame in frames:
            add(frame)


@pytest.mark.parametrize('ending', ['.mp4', '.gif', '.webp'])
@pytest.mark.parametrize('height, width', [(32, 48), (33, 47)])
def test_frames_come_back(ending, height, width, tmp_path):
    frames, path = smooth_frames(6, height, width), tmp_path / 'new' / f'a{ending}'
    write(path, frames)
    got = read_frames(path)
    if ending == '.mp4':  # even sizes: white lines below and on the right
        assert got.shape == (6, height + height % 2, width + width % 2, 3)
        assert (got[:, height:] > 190).all() and (got[:, :, width:] > 190).all()
        got = got[:, :height, :width]
    assert got.shape == frames.shape
    assert np.abs(got.astype(int) - frames).mean() < 6  # the formats lose some colour
    assert [path.name for path in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize('ending', ['.gif', '.webp'])
def test_pictures_last_as_long_as_asked_and_loop(ending, tmp_path):
    write(tmp_path / f'a{ending}', smooth_frames(5, 16, 16), fps=10)
    assert read_durations(tmp_path / f'a{ending}') == [100] * 5
    with Image.open(tmp_path / f'a{ending}') as image:
        assert image.info['loop'] == 0


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / 'a.mp4'
    path.write_bytes(b'old')
    with pytest.raises(KeyError), video_file.video_file(path, 10) as add:
        add(smooth_frames(1, 16, 16)[0])
        raise KeyError
    assert path.read_bytes() == b'old' and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize('num_frames', [1, 400])
def test_what_ffmpeg_says_is_one_line(num_frames, tmp_path, monkeypatch):
    """At the end of a short video, in the midst of a long one."""
    monkeypatch.setitem(video_file.ENCODERS, '.mp4', ('-c:v', 'no-such-encoder'))
    with pytest.raises(RuntimeError, match=r'^ffmpeg could not write .*a\.mp4 \(exit code \d+: .+\)$'):
        write(tmp_path / 'a.mp4', [smooth_frames(1, 128, 128)[0]] * num_frames)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_an_os_error(tmp_path, monkeypatch):
    """As ffmpeg tells it."""
    program = tmp_path / 'ffmpeg'
    program.write_text('#!/bin/sh\necho "av_interleaved_write_frame(): No space left on device" >&2\nexit 228\n')
    program.chmod(0o700)
    monkeypatch.setattr(video_file, '_find_ffmpeg', lambda: str(program))
    with pytest.raises(OSError, match='No space left on device') as caught:
        write(tmp_path / 'a.mp4', [smooth_frames(1, 128, 128)[0]] * 9)
    assert caught.value.filename == str(tmp_path / 'a.mp4')


@pytest.mark.parametrize('name, fps, message', [
    ('a.avi', 30, r'--video=a\.avi: expected a name that ends in \.mp4, \.gif, \.webp'), ('a', 30, 'expected a name'),
    ('a.GIF', 60, r'--fps=60: \.gif files show at most 50 frames per second'),
])
def test_what_no_format_holds(name, fps, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        check_video(type(tmp_path)(name), fps)


def test_without_the_library(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'imageio_ffmpeg', None)
    with pytest.raises(ValueError, match=r"--video needs imageio-ffmpeg: pip install 'hyper-stylegan2\[video\]'"):
        check_video(tmp_path / 'a.mp4', 30)
