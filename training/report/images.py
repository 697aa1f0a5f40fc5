"""The pictures of a report: few enough, small enough, and inside the page as data URIs.

A rewritten page reuses the pictures of its previous version, so that every picture is read and encoded once. Later choices of
frames are subsets of earlier ones, except for the newest frame.
"""

import base64
import dataclasses
import html
import io
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from PIL import Image, features

from training.data.picture_formats import usable_formats

MAX_FRAMES = 24
MAX_WIDTH, MAX_HEIGHT = 1280, 4096  # pixels; taller grids have many rows of classes
Item = TypeVar('Item')
Coded = dict[str, str]  # key of a picture file -> data URI
IN_PAGE = re.compile(r'data-file="([^"<>]+)" src="(data:image/(?:webp|jpeg);base64,[A-Za-z0-9+/=]+)"')


@dataclasses.dataclass(frozen=True)
class Picture:
    """What the page needs for an <img>. source: data URI; kimg: thousands of images at which it was made."""

    alt: str
    key: str
    source: str
    kimg: float


def choose_frames(frames: Sequence[Item], most: int = MAX_FRAMES) -> list[Item]:
    """At most `most` of the frames, evenly spread: the first, every 2^k-th and the last."""
    if most < 2:
        return list(frames[-1:])
    step = 1
    while (len(frames) + step - 1) // step > most - 1 and len(frames) > most:
        step *= 2
    return list(frames[::step]) + ([frames[-1]] if (len(frames) - 1) % step else [])


def file_key(path: Path) -> str:
    """Name, size and time of a file: the same key, the same picture."""
    status = path.stat()
    return f'{path.name}:{status.st_size}:{status.st_mtime_ns}'


def coded_in(page: Path) -> Coded:
    """The pictures that a written page holds; none if it is missing or unreadable."""
    try:
        found = IN_PAGE.findall(page.read_text(encoding='utf-8', errors='replace'))
        return {html.unescape(key): source for key, source in found}
    except OSError:
        return {}


def read_picture(path: Path, alt: str, kimg: float, coded: Coded) -> Picture:
    """The picture in a file, from those already encoded if possible. ValueError, one line, if it is no picture or damaged."""
    try:
        key = file_key(path)
        return Picture(alt, key, coded.get(key) or encode(path), kimg)
    except Exception as error:  # damaged files let Pillow raise almost anything
        raise ValueError(f'{path.name} could not be read: {" ".join(str(error).split())}') from error


def encode(path: Path) -> str:
    """A picture file as data URI, no larger than MAX_WIDTH x MAX_HEIGHT, as WebP where Pillow has it, else JPEG."""
    if not path.is_file():
        raise ValueError('not a regular file')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', Image.DecompressionBombWarning)  # a grid of large images is large
        with Image.open(path, formats=usable_formats()) as file:
            picture = file.convert('RGB')
    picture.thumbnail((MAX_WIDTH, MAX_HEIGHT), Image.Resampling.BOX, reducing_gap=None)
    buffer = io.BytesIO()
    if features.check('webp'):
        picture.save(buffer, format='WEBP', quality=80, method=1)  # methods above cost twice the time for 5 % fewer bytes
        kind = 'webp'
    else:
        picture.save(buffer, format='JPEG', quality=85)
        kind = 'jpeg'
    return f'data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode("ascii")}'
