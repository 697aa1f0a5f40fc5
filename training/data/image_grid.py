"""Pictures for people: network output to bytes, many images as one labelled grid, and files that are whole or absent.

Shapes: N images, C channels (1 or 3), H x W pixels.
"""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from dnnlib.errors import printable
from dnnlib.files import whole_file

MIN_FONT_PX = 10  # smaller letters cannot be read
MAX_FONT_PX = 48
MAX_NAME_CHARS = 28  # a longer name is cut, so that the margin cannot outgrow the images


def images_to_uint8(images: torch.Tensor) -> torch.Tensor:
    """float [N, C, H, W] in [-1, 1] -> uint8 [N, C, H, W] by x * 127.5 + 128, clamped to 0..255, fraction cut off."""
    return (images.detach().float() * 127.5 + 128).clamp(0, 255).to(torch.uint8)


def to_pixels(images: torch.Tensor) -> np.ndarray:
    """float [N, C, H, W] in [-1, 1] -> uint8 [N, H, W, C], as pictures and grids take them."""
    return images_to_uint8(images).permute(0, 2, 3, 1).cpu().numpy()


def make_grid(images: np.ndarray, num_columns: int, row_names: list[str] | None = None) -> Image.Image:
    """Rows of images, with each row's name, if given, in a margin on the left.

    images: uint8 [rows * num_columns, H, W, C], row by row. ValueError if that does not come out even.
    """
    _check_grid(images, num_columns, row_names)
    num_images, height, width, channels = images.shape
    num_rows = num_images // num_columns
    names = [_shorten(name) for name in row_names or []]
    font = _font(min(max(height // 3, MIN_FONT_PX), MAX_FONT_PX), ''.join(names))
    row_height = max(height, round(font.getbbox('Ag|')[3]) + 2) if names else height
    gap = max(height // 8, 4)
    margin = gap * 2 + max(round(font.getlength(name)) for name in names) if names else 0

    canvas = np.full([num_rows, row_height, margin + num_columns * width, channels], 255, dtype=np.uint8)
    top = (row_height - height) // 2
    rows = images.reshape(num_rows, num_columns, height, width, channels)
    canvas[:, top:top + height, margin:] = rows.transpose(0, 2, 1, 3, 4).reshape(num_rows, height, -1, channels)
    picture = to_picture(canvas.reshape(num_rows * row_height, -1, channels))
    draw = ImageDraw.Draw(picture)
    black = 0 if channels == 1 else (0, 0, 0)
    for row, name in enumerate(names):
        draw.text((gap, (row + 0.5) * row_height), name, fill=black, font=font, anchor='lm')
    return picture


def to_picture(image: np.ndarray) -> Image.Image:
    """uint8 [H, W, C] with C = 1 or 3 -> greyscale or RGB picture."""
    return Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)


def save_image(image: Image.Image, path: str | Path) -> None:
    """Write the picture in the format that the name's ending says; the name appears only when the file is whole."""
    with whole_file(path) as part:
        image.save(part)


def _font(size_px: int, text: str) -> Any:
    """Pillow's own font; it has ASCII letters alone, so for others DejaVu Sans, where matplotlib is installed."""
    if not text.isascii():
        with contextlib.suppress(ImportError):
            import matplotlib  # only for its font files

            return ImageFont.truetype(Path(matplotlib.get_data_path(), 'fonts', 'ttf', 'DejaVuSans.ttf'), size_px)
    return ImageFont.load_default(size=size_px)


def _shorten(name: str) -> str:
    name = printable(name)  # Pillow draws no line breaks, and no halves of characters
    return name if len(name) <= MAX_NAME_CHARS else f'{name[:MAX_NAME_CHARS - 3]}...'


def _check_grid(images: np.ndarray, num_columns: int, row_names: list[str] | None) -> None:
    if images.ndim != 4 or images.dtype != np.uint8 or images.shape[3] not in (1, 3):
        raise ValueError(f'a grid is made of uint8 [N, H, W, 1 or 3]: got {images.dtype} {list(images.shape)}')
    if num_columns < 1 or len(images) == 0 or len(images) % num_columns:
        raise ValueError(f'{len(images)} images do not fill rows of {num_columns}: give a multiple of it, at least one row')
    if row_names is not None and len(row_names) != len(images) // num_columns:
        raise ValueError(f'{len(row_names)} row names for {len(images) // num_columns} rows of the grid: give one for each row')
