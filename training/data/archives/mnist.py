"""MNIST as published (LeCun et al. 1998), and sets in the same form such as Fashion-MNIST: two idx files, packed by gzip.

    ...-images-idx3-ubyte.gz    0x00000803, number, rows and columns (big-endian uint32), a byte per pixel
    ...-labels-idx1-ubyte.gz    0x00000801, number, a byte per image
"""

import math
import os
import struct

import numpy as np

from .packed import open_gzip

IMAGES_MAGIC, LABELS_MAGIC = 0x803, 0x801  # the last byte: number of dimensions
IMAGES_PART, LABELS_PART = 'images-idx3', 'labels-idx1'
MAX_BYTES = 2**30  # twice the largest set of this form, EMNIST
SIDE, MARGIN = 28, 2


def read_mnist(path: str) -> tuple[np.ndarray, np.ndarray]:
    """path: of the images -> uint8 [N, H, W], uint8 [N]: the labels of the file beside it. 28x28 pixels get a black frame of 2.

    ValueError or OSError for files that do not fit.
    """
    folder, name = os.path.split(path)
    images = _read_idx(path, IMAGES_MAGIC)
    if IMAGES_PART not in name:
        raise ValueError(f'{path}: its labels are found by its name, which has no {IMAGES_PART}; call the two files as '
                         f'train-{IMAGES_PART}-ubyte.gz and train-{LABELS_PART}-ubyte.gz')
    labels_path = os.path.join(folder, name.replace(IMAGES_PART, LABELS_PART))
    if not os.path.isfile(labels_path):
        raise FileNotFoundError(f'{path}: its labels, {labels_path}, are missing; put the file there')
    labels = _read_idx(labels_path, LABELS_MAGIC)
    if len(labels) != len(images):
        raise ValueError(f'{labels_path} has {len(labels)} labels, expected {len(images)}, one for each image of {path}; '
                         'download both again')
    margin = MARGIN if images.shape[1:] == (SIDE, SIDE) else 0
    return np.pad(images, [(0, 0), (margin, margin), (margin, margin)]), labels


def _read_idx(path: str, magic: int) -> np.ndarray:
    num_dims = magic & 0xff
    with open_gzip(path) as stream:
        start = stream.read(4)
        if start != struct.pack('>I', magic):
            found = start.hex() or 'nothing'
            raise ValueError(f"{path} begins with {found}, expected {magic:08x}; give the file of MNIST's images, with that of "
                             'labels beside it')
        sizes = stream.read(4 * num_dims)
        if len(sizes) < 4 * num_dims:
            raise EOFError('it ends in its header')
        shape = struct.unpack(f'>{num_dims}I', sizes)
        count, declared = math.prod(shape), ' x '.join(map(str, shape))
        if not 0 < count <= MAX_BYTES:
            raise ValueError(f'{path} declares {declared} bytes, expected 1 to {MAX_BYTES:,}; download it again')
        content = stream.read(count + 1)
    if len(content) != count:
        found = 'more' if len(content) > count else f'{len(content):,}'
        raise ValueError(f'{path} declares {declared} bytes, but holds {found}; download it again')
    return np.frombuffer(content, np.uint8).reshape(shape)
