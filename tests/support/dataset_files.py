"""Small folders and archives of images that the tests of data sets make."""

import io
import json
import shutil

import numpy as np
from PIL import Image

SIDE = 8
CHANNELS = {'L': 1, 'LA': 2, 'RGB': 3, 'RGBA': 4, 'CMYK': 4}


def png(pixels=None, mode='RGB', size=(SIDE, SIDE), seed=0, file_format='PNG', **options):
    """The bytes of an image file; random pixels unless given (uint8 [H, W] or [H, W, 3])."""
    if pixels is None:
        noise = np.random.default_rng(seed).bytes(size[0] * size[1] * CHANNELS[mode])
        image = Image.frombytes(mode, size, noise)
    else:
        image = Image.fromarray(pixels)
    stream = io.BytesIO()
    image.save(stream, format=file_format, **options)
    return stream.getvalue()


def make_folder(path, files, labels=None, **entries):
    """files: names -> bytes, or a list of names of random RGB images. labels, entries: of dataset.json, which is
    left out if there are none."""
    if not isinstance(files, dict):
        files = {name: png(seed=i) for i, name in enumerate(files)}
    if labels is not None or entries:
        files = {**files, 'dataset.json': json.dumps({'labels': labels, **entries}).encode()}
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def to_zip(folder):
    """The path of an archive with the folder's files, beside it."""
    return shutil.make_archive(str(folder), 'zip', folder)


def assert_one_line(error_info, *parts):
    """The error is one line that holds all parts."""
    text = str(error_info.value)
    assert '\n' not in text
    for part in parts:
        assert part in text, (part, text)
