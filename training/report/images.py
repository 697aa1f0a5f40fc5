"""The pictures of a report: few enough, small enough, and inside the page as data URIs.

Training writes the page again and again: every picture is read and encoded once. Later choices of frames are subsets of
earlier ones, except for the newest frame.
"""

import base64
import dataclasses
import functools
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from PIL import Image

from training.data.picture_formats import usable_formats

MAX_FRAMES = 24
MAX_WIDTH, MAX_HEIGHT = 1280, 4096  # pixels; taller grids have many rows of classes
Item = TypeVar('Item')


@dataclasses.dataclass(frozen=True)
class Picture:
    """What the page needs for an <img>. source: data URI; kimg: thousands of images at which it was made."""

    alt: str
    source: str
    kimg: float


def choose_frames(frames: Sequence[Item], most: int = MAX_FRAMES) -> list[Item]:
    """At most `most` (2 or more) of the frames, evenly spread: the first, every 2^k-th and the last."""
    step = 1
    while (len(frames) + step - 1) // step > most - 1 and len(frames) > most:
        step *= 2
    return list(frames[::step]) + ([frames[-1]] if (len(frames) - 1) % step else [])


def read_picture(path: Path, alt: str, kimg: float) -> Picture:
    """The picture in a file. ValueError, one line, if it is no picture or damaged."""
    try:
        status = path.stat()
        return Picture(alt, encode(path, status.st_size, status.st_mtime_ns), kimg)
    except Exception as error:  # damaged files let Pillow raise almost anything
        raise ValueError(f'{path.name} could not be read: {" ".join(str(error).split())}') from error


@functools.lru_cache(maxsize=2 * MAX_FRAMES)
def encode(path: Path, _size: int, _mtime_ns: int) -> str:
    """A picture file as data URI, no larger than MAX_WIDTH x MAX_HEIGHT. A file of other size or time is read anew."""
    if not path.is_file():
        raise ValueError('not a regular file')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', Image.DecompressionBombWarning)  # a grid of large images is large
        with Image.open(path, formats=usable_formats()) as file:
            picture = file.convert('RGB')
    picture.thumbnail((MAX_WIDTH, MAX_HEIGHT), Image.Resampling.BOX, reducing_gap=None)
    buffer = io.BytesIO()
    picture.save(buffer, format='WEBP', quality=80, method=1)  # methods above cost twice the time for 5 % fewer bytes
    return f'data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode("ascii")}'
