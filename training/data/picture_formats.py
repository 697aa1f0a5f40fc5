"""Which files are pictures, how to open one, and what is wrong with a file that is not one.

Only raster formats that Pillow decodes itself are opened, whatever a file's name says: other plugins start programs
(PostScript) or hold no pixels (HDF5, MPEG).
"""

import contextlib
import re
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import PurePosixPath
from typing import Any

from PIL import Image, UnidentifiedImageError

FORMATS = ('PNG', 'JPEG', 'MPO', 'GIF', 'BMP', 'DIB', 'TIFF', 'WEBP', 'AVIF', 'JPEG2000', 'PPM', 'QOI', 'SGI', 'PCX', 'ICO',
           'TGA')
MAX_PIXELS = 100_000_000  # of one picture: 0.3 GB of memory as RGB, several times that while it is converted
HEAD_BYTES = 64
HEIC_ADVICE = 'HEIC, which is not supported: convert to JPEG or PNG'
_HEIC_ENDINGS = {'.heic', '.heif', '.hif'}
_HEIC_BRANDS = {b'heic', b'heix', b'hevc', b'hevx', b'heim', b'heis', b'mif1', b'msf1'}
_OTHER_CONTENT = {b'%PDF': 'a PDF', b'%!PS': 'PostScript', b'<!DO': 'a web page', b'<htm': 'a web page', b'<svg': 'SVG',
                  b'<?xm': 'XML', b'PK\x03\x04': 'a zip archive', b'\x89HDF': 'HDF5'}
# An ending that names a format; not '.jpg?w=200', '.jpg_large', '.4711'.
_WORD = re.compile(r'\.[a-z][a-z0-9]{0,7}', re.IGNORECASE)


@cache
def usable_formats() -> tuple[str, ...]:
    """Those of FORMATS that this Pillow was built with."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@cache
def picture_endings() -> frozenset[str]:
    """Lower-case file endings, with the dot, of the formats that are opened."""
    return frozenset(ending for ending, name in Image.registered_extensions().items() if name in usable_formats())


def ending_of(name: str) -> str:
    """'cat/a.PNG' -> '.png'; '' without one."""
    return PurePosixPath(name).suffix.lower()


def ending_reason(name: str) -> str | None:
    """'' for a picture by its name, why it is none, or None where the name tells nothing and the content must."""
    ending = ending_of(name)
    if ending in picture_endings():
        return ''
    if ending in _HEIC_ENDINGS:
        return HEIC_ADVICE
    return f'ending {ending}' if _WORD.fullmatch(ending) else None


@contextlib.contextmanager
def open_picture(stream: Any) -> Iterator[Image.Image]:
    """A picture, not yet decoded. Damaged files let Pillow raise almost anything; ValueError beyond MAX_PIXELS."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # about metadata, which is not used
        with Image.open(stream, formats=usable_formats()) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f'{image.width}x{image.height} pixels, more than the limit of {MAX_PIXELS:,}: make it smaller')
            yield image


def content_reason(head: bytes) -> str:
    """What a file is that Pillow does not know. head: its first bytes."""
    if not head:
        return 'empty file'
    if head[4:8] == b'ftyp' and head[8:12] in _HEIC_BRANDS:
        return HEIC_ADVICE
    kind = next((kind for start, kind in _OTHER_CONTENT.items() if head.lstrip()[:4].lower() == start.lower()), None)
    return f'not a picture but {kind}' if kind else 'its format is unknown'


def failure_reason(error: Exception, head: bytes) -> str:
    """Why a picture cannot be used, in one line. head: the file's first bytes."""
    if isinstance(error, UnidentifiedImageError):
        return content_reason(head)  # Pillow's own text shows an object in memory
    text = ' '.join(str(error).split())[:200]
    return text if isinstance(error, OSError | ValueError) and text else f'{type(error).__name__} {text}'.strip()
