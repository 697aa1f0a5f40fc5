"""From pictures as people have them to data set images: upright, 8-bit gray or RGB, square."""

import numpy as np
from PIL import Image, ImageOps

EXIF_ORIENTATION = 0x0112
TURNED_ORIENTATIONS = (5, 6, 7, 8)  # EXIF: width and height are exchanged when shown upright
DEEP_MODES = {'I', 'I;16', 'I;16L', 'I;16B', 'I;16N'}  # gray, 16 bits a pixel; some files with them open as 'I'
GRAY_MODES = {'1', 'L', 'LA', *DEEP_MODES}
ALPHA_MODES = {'LA', 'PA', 'RGBA'}
RESIZE_FILTERS = {'box': Image.Resampling.BOX, 'lanczos': Image.Resampling.LANCZOS}


def is_gray(image: Image.Image) -> bool:
    """Whether the mode has no colour; ValueError if `to_mode` does not know it. Looks at the header alone."""
    if image.mode == 'F':
        raise ValueError('floating-point pixels have no agreed range; expected 8 or 16 bits')
    return image.mode in GRAY_MODES


def upright_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) as shown, after the camera's EXIF rotation. Looks at the header alone."""
    width, height = image.size
    if image.getexif().get(EXIF_ORIENTATION) in TURNED_ORIENTATIONS:
        return height, width
    return width, height


def to_mode(image: Image.Image, mode: str) -> Image.Image:
    """Upright, and in mode 'L' or 'RGB'. Transparent parts show black; 16 bits are scaled to 8."""
    image = ImageOps.exif_transpose(image)
    if image.mode in DEEP_MODES:
        shades = np.asarray(image).astype(np.int64).clip(0, 65535)
        image = Image.fromarray(((shades + 128) // 257).astype(np.uint8))  # 65535 / 257 = 255, rounded
    if image.mode in ALPHA_MODES or 'transparency' in image.info:
        image = image.convert('RGBA')
        image = Image.alpha_composite(Image.new('RGBA', image.size, 'black'), image)
    return image.convert(mode)


def center_square(image: Image.Image) -> Image.Image:
    """The largest square in the middle."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def resize(image: Image.Image, side: int, resize_filter: str) -> Image.Image:
    """To side x side pixels; resize_filter 'box' or 'lanczos'. An image that is not square is squeezed."""
    if image.size == (side, side):
        return image
    return image.resize((side, side), RESIZE_FILTERS[resize_filter])
