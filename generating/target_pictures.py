"""Pictures to project: any that data sets are made of, cropped and resized for a network as dataset_tool.py does."""

import os
import zipfile
from typing import BinaryIO

import numpy as np

from dnnlib.files import check_regular
from training.data.dataset_maker import Recipe
from training.data.file_names import file_name, file_names
from training.data.image_files import ImageFiles
from training.data.left_out import no_images
from training.data.picture_formats import HEAD_BYTES, failure_reason, open_picture


def load_targets(source: str, num_channels: int, resolution: int) -> dict[str, np.ndarray]:
    """source: a picture, or a folder or zip of some -> uint8 [C, H, W] by name, a name without ending that is a file name.

    The largest centred square, by Lanczos. OSError for what cannot be read.
    """
    recipe = Recipe('L' if num_channels == 1 else 'RGB', resolution, crop=True, resize_filter='lanczos')
    check_regular(source)
    if not is_picture(source):
        files = ImageFiles(source)
        if not files.image_names:
            raise OSError(no_images(files))
        stems = file_names([os.path.splitext(name)[0] for name in files.image_names])
        found = {}
        for stem, name in zip(stems, files.image_names, strict=True):
            with files.open(name) as stream:
                found[stem] = _convert(stream, f'{source}: {name}', recipe)
        files.close()
        return found
    with open(source, 'rb') as file:
        return {file_name(os.path.splitext(os.path.basename(source))[0]): _convert(file, source, recipe)}


def is_picture(source: str) -> bool:
    """Whether it is one file, and no archive."""
    return not os.path.isdir(source) and not zipfile.is_zipfile(source)


def _convert(stream: BinaryIO, where: str, recipe: Recipe) -> np.ndarray:
    try:
        head = stream.read(HEAD_BYTES)
        stream.seek(0)
        with open_picture(stream) as image:
            pixels = np.asarray(recipe.apply(image))
    except Exception as error:  # damaged files let Pillow raise almost anything
        raise OSError(f'--target: cannot use {where} ({failure_reason(error, head)}); give a picture') from error
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
