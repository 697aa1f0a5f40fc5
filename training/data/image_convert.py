"""From pictures of any kind to data set images: upright, 8-bit gray or RGB, square."""

import numpy as np
from PIL import Image

EXIF_ORIENTATION = 0x0112
TURNS = {  # EXIF orientation -> what shows the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}
EXCHANGED = (5, 6, 7, 8)  # orientations that exchange width and height
PNG_METADATA = {'exif', 'Raw profile type exif', 'xmp', 'XML:com.adobe.xmp'}
DEEP_MODES = {'I', 'I;16', 'I;16L', 'I;16B', 'I;16N'}  # gray, 16 bits a pixel; some files with them open as 'I'
GRAY_MODES = {'1', 'L', 'LA', *DEEP_MODES}
ALPHA_MODES = {'LA', 'PA', 'RGBA'}
MIN_RESOLUTION = 4  # the networks start at 4x4
RESIZE_FILTERS = {'box': Image.Resampling.BOX, 'lanczos': Image.Resampling.LANCZOS}


def is_gray(image: Image.Image) -> bool:
    """Whether the mode has no colour; ValueError if `to_mode` does not know it. Looks at the header alone."""
    if image.mode == 'F':
        raise ValueError('floating-point pixels have no agreed range; expected 8 or 16 bits')
    return image.mode in GRAY_MODES


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) to 8, of a picture that is not decoded yet; 1 if missing or damaged."""
    if image.format == 'TIFF':  # Pillow turns these itself
        return 1
    if image.format == 'PNG' and not PNG_METADATA & image.info.keys():  # else Pillow would decode it to look behind the pixels
        return 1
    try:
        value = image.getexif().get(EXIF_ORIENTATION)
        return int(value) if value in TURNS else 1
    except Exception:  # damaged metadata let Pillow raise almost anything, and are no reason to lose the picture
        return 1


def upright_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) as shown, after the camera's EXIF rotation. Looks at the header alone."""
    width, height = image.size
    return (height, width) if orientation(image) in EXCHANGED else (width, height)


def to_mode(image: Image.Image, mode: str) -> Image.Image:
    """Upright, and in mode 'L' or 'RGB'. Transparent parts show black; 16 bits are scaled to 8."""
    turn = TURNS.get(orientation(image))
    if image.mode in DEEP_MODES:
        shades = np.asarray(image).astype(np.int64).clip(0, 65535)
        pixels = Image.fromarray(((shades + 128) // 257).astype(np.uint8))  # 65535 / 257 = 255, rounded
    elif image.mode in ALPHA_MODES or 'transparency' in image.info:
        pixels = image.convert('RGBA')
        pixels = Image.alpha_composite(Image.new('RGBA', pixels.size, 'black'), pixels)
    else:
        pixels = image
    pixels = pixels.convert(mode)
    return pixels if turn is None else pixels.transpose(turn)


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
