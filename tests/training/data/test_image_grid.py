"""training/data/image_grid.py against plain loops over pixels and the positions that a grid must have."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from training.data.image_grid import images_to_uint8, make_grid, save_image, to_pixels


def noise_images(num, height, width, channels):
    return np.random.default_rng(0).integers(0, 256, [num, height, width, channels], dtype=np.uint8)


@pytest.mark.parametrize('dtype', [torch.float16, torch.float32, torch.float64])
def test_bytes_equal_a_plain_loop(dtype):
    images = torch.randn(2, 3, 4, 5).to(dtype)
    got = to_pixels(images)
    assert got.shape == (2, 4, 5, 3) and got.dtype == np.uint8
    for n, c, y, x in np.ndindex(2, 3, 4, 5):
        level = min(max(float(images[n, c, y, x]) * 127.5 + 128, 0), 255)
        assert got[n, y, x, c] == math.floor(level)


def test_ends_of_the_range():
    images = torch.tensor([-9.0, -1.0, 0.0, 1.0, 9.0]).reshape(1, 1, 1, 5).requires_grad_()
    assert images_to_uint8(images).flatten().tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('row_names', [None, ['a', 'class with a name', 'x']])
def test_every_image_stands_in_its_place(channels, row_names):
    images = noise_images(6, 32, 40, channels)
    grid = np.asarray(make_grid(images, 2, row_names)).reshape(3 * 32, -1, channels)
    margin = grid.shape[1] - 2 * 40
    assert (margin > 0) == (row_names is not None)
    for i in range(6):
        row, column = divmod(i, 2)
        left = margin + column * 40
        np.testing.assert_array_equal(grid[row * 32:(row + 1) * 32, left:left + 40], images[i])


@pytest.mark.parametrize('size', [4, 16, 32, 256])
def test_each_name_is_written_in_the_middle_of_its_row(size):
    """Ink in the margin: dark pixels in every row's middle, none above or below the letters of a row, at any size of image."""
    white = np.full([2, size, size, 3], 255, dtype=np.uint8)
    grid = np.asarray(make_grid(white, 1, ['owl', 'Cygnus']))
    assert grid.shape[0] % 2 == 0
    for row in np.split(grid, 2):
        ink = np.flatnonzero((row < 128).any(axis=(1, 2)))
        assert 6 <= np.ptp(ink) + 1 <= 60  # high enough to read, and no taller than a font of 48
        assert abs(ink.mean() - len(row) / 2) < len(row) / 4
        assert ink.min() >= 0 and ink.max() < len(row) - 1


def test_long_names_are_cut():
    images = noise_images(1, 32, 32, 3)
    assert make_grid(images, 1, ['n' * 28]).width == pytest.approx(make_grid(images, 1, ['n' * 300]).width, abs=20)


@pytest.mark.parametrize('images, num_columns, row_names, message', [
    (noise_images(5, 8, 8, 3), 2, None, 'do not fill'),
    (noise_images(0, 8, 8, 3), 2, None, 'do not fill'),
    (noise_images(4, 8, 8, 3), 0, None, 'do not fill'),
    (noise_images(4, 8, 8, 2), 2, None, 'uint8'),
    (noise_images(4, 8, 8, 3).astype(np.float32), 2, None, 'uint8'),
    (noise_images(4, 8, 8, 3), 2, ['one'], 'row names'),
])
def test_wrong_grids_are_refused(images, num_columns, row_names, message):
    with pytest.raises(ValueError, match=message):
        make_grid(images, num_columns, row_names)


def test_saved_picture_is_read_back_and_nothing_else_is_left(tmp_path):
    picture = make_grid(noise_images(2, 8, 8, 3), 2)
    save_image(picture, tmp_path / 'grid.png')
    save_image(picture, tmp_path / 'grid.png')  # over an old one
    assert [path.name for path in tmp_path.iterdir()] == ['grid.png']
    with Image.open(tmp_path / 'grid.png') as read:
        np.testing.assert_array_equal(np.asarray(read), np.asarray(picture))


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / 'grid.png'
    path.write_bytes(b'old')

    def save_half(self, file):
        file.write_bytes(b'half')
        raise OSError('disk full')

    monkeypatch.setattr(Image.Image, 'save', save_half)
    with pytest.raises(OSError, match='disk full'):
        save_image(Image.new('L', [4, 4]), path)
    assert path.read_bytes() == b'old' and [p.name for p in tmp_path.iterdir()] == ['grid.png']


def test_names_beyond_ascii_are_drawn():
    """Different letters look different: none is the box that stands for a missing one."""
    pytest.importorskip('matplotlib')
    black = np.zeros([1, 32, 32, 1], np.uint8)
    umlaut, accent = (np.asarray(make_grid(black, 1, [name])) for name in ('gr\u00fcn', 'gr\u00e9n'))
    assert not np.array_equal(umlaut, accent)


@pytest.mark.parametrize('name', ['new\nline', 'a\r\nb', '\udce9', '\U0001f436\u200d', '\u732b', '\0', '', '\x1b[31m',
                                  '\u202eabc'])
def test_any_name_can_be_drawn(name):
    """One layout of Pillow refuses line breaks, the other draws two lines: none gets to see them."""
    images = noise_images(2, 32, 32, 3)
    grid = np.asarray(make_grid(images, 1, [name, 'b']))
    assert grid.shape[0] == 2 * 32
    shown = ''.join(char if char.isprintable() else '?' for char in name)
    assert np.array_equal(grid, make_grid(images, 1, [shown, 'b']))
