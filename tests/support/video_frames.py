"""Frames of a video file, read by ffmpeg and Pillow."""

import subprocess
import tempfile
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from PIL import Image


def read_frames(path: Path) -> np.ndarray:
    """uint8 [frames, H, W, 3]."""
    return np.stack([frame for frame, _duration in _decode(path)])


def read_durations(path: Path) -> list[float]:
    """Of each frame of a GIF or WebP, in milliseconds."""
    return [duration for _frame, duration in _decode(path)]


def _decode(path: Path) -> list[tuple[np.ndarray, float]]:
    if path.suffix != '.mp4':
        return _decode_animation(path)
    with tempfile.TemporaryDirectory() as folder:  # Pillow reads no films, but animated PNGs, which lose nothing
        animation = Path(folder, 'film.apng')
        subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), '-v', 'error', '-i', path, '-f', 'apng', animation], check=True)
        return _decode_animation(animation)


def _decode_animation(path: Path) -> list[tuple[np.ndarray, float]]:
    found = []
    with Image.open(path) as image:
        for index in range(image.n_frames):
            image.seek(index)
            pixels = np.asarray(image.convert('RGB'))  # decodes, and only then there is a duration
            found.append((pixels, image.info['duration']))
    return found
