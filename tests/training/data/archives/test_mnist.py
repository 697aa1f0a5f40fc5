"""MNIST's published files through dataset_tool.py."""

import gzip

import numpy as np
import pytest

from tests.support.dataset_commands import contents, refused, run
from tests.support.published_archives import idx, packed, write_mnist
from training.data.archives import mnist
from training.data.image_dataset import ImageFolderDataset

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.integers(0, 256, (7, 28, 28)).astype(np.uint8), np.array([5, 0, 4, 1, 9, 2, 1], np.uint8)


def test_digits_get_a_black_frame_and_the_classes_of_their_labels(tmp_path):
    output = run(f'--source={write_mnist(tmp_path, IMAGES, LABELS)}', f'--dest={tmp_path}/out.zip')
    assert output.strip().endswith('7 images, 32x32 gray, 6 classes (0 1, 1 2, 2 1, 4 1, 5 1, 9 1)')
    dataset = ImageFolderDataset(tmp_path / 'out.zip', use_labels=True)
    for (image, label), pixels, number in zip(dataset, IMAGES, LABELS, strict=True):
        np.testing.assert_array_equal(image[0, 2:30, 2:30], pixels)
        assert image.astype(int).sum() == pixels.astype(int).sum() and image.shape == (1, 32, 32)
        assert dataset.class_names[label.argmax()] == str(number)


def test_other_sizes_and_labels_of_the_same_form(tmp_path):
    images = RNG.integers(0, 256, (4, 16, 16)).astype(np.uint8)
    source = write_mnist(tmp_path, images, np.array([1, 2, 26, 2], np.uint8), name='emnist-letters-t10k')
    run(f'--source={source}', f'--dest={tmp_path}/out.zip')
    assert contents(tmp_path / 'out.zip')[1]['class_names'] == ['1', '2', '26']
    np.testing.assert_array_equal(ImageFolderDataset(tmp_path / 'out.zip')[3][0][0], images[3])


def test_max_images_keeps_names_and_labels_together(tmp_path):
    source = write_mnist(tmp_path, IMAGES, LABELS)
    run(f'--source={source}', f'--dest={tmp_path}/out.zip', '--max-images=3', '--seed=1')
    chosen = [int(np.flatnonzero((image[0, 2:30, 2:30] == IMAGES).all(axis=(1, 2)))[0])
              for image, _label in ImageFolderDataset(tmp_path / 'out.zip')]
    labels = contents(tmp_path / 'out.zip')[1]
    assert len(set(chosen)) == 3
    assert [labels['class_names'][label] for _name, label in labels['labels']] == [str(LABELS[i]) for i in chosen]


def swapped(data):
    return data[:-30] + bytes([data[-30] ^ 255]) + data[-29:]


@pytest.mark.parametrize('images, says', [
    (idx(IMAGES)[:-1], 'declares 7 x 28 x 28 bytes, but holds 5,487'),
    (idx(IMAGES) + b'\0', 'but holds more'),
    (idx(IMAGES, shape=(8, 28, 28)), 'declares 8 x 28 x 28 bytes, but holds 5,488'),
    (idx(IMAGES, shape=(2**32 - 1, 2**32 - 1, 2**32 - 1)), 'expected 1 to 1,073,741,824'),
    (idx(IMAGES[:0]), 'declares 0 x 28 x 28'),
    (idx(IMAGES)[:9], 'ends in its header'),
    (idx(LABELS), 'begins with 00000801, expected 00000803'),
    (idx(IMAGES, magic=0x0d03), 'begins with 00000d03'),
    (b'', 'another kind of file'),
])
def test_images_that_are_none(tmp_path, images, says):
    source = write_mnist(tmp_path, IMAGES, LABELS)
    source.write_bytes(packed(images))
    assert says in refused(tmp_path / 'out.zip', f'--source={source}')


@pytest.mark.parametrize('change', [lambda data: data[:-9], lambda data: data[:200], lambda data: data[:3], swapped])
def test_damaged_packing(tmp_path, change):
    source = write_mnist(tmp_path, IMAGES, LABELS)
    source.write_bytes(change(source.read_bytes()))
    assert 'incomplete, damaged' in refused(tmp_path / 'out.zip', f'--source={source}')


@pytest.mark.parametrize('labels, says', [
    (idx(LABELS[:6]), '6 labels, expected 7'), (idx(IMAGES), 'expected 00000801'), (idx(LABELS)[:-1], 'but holds 6'),
    (None, 'missing'),
])
def test_labels_that_do_not_fit(tmp_path, labels, says):
    source = write_mnist(tmp_path, IMAGES, LABELS)
    path = tmp_path / 'train-labels-idx1-ubyte.gz'
    path.unlink() if labels is None else path.write_bytes(packed(labels))
    output = refused(tmp_path / 'out.zip', f'--source={source}')
    assert says in output and 'train-labels-idx1-ubyte.gz' in output


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    """4 GB of zeros behind an honest header: no more is read than the header asks for, and nothing if that is too much."""
    source = write_mnist(tmp_path, IMAGES, LABELS)
    rest = packed(bytes(2**26))
    source.write_bytes(packed(idx(IMAGES)) + rest * 64)
    sizes = []
    read = gzip.GzipFile.read
    monkeypatch.setattr(gzip.GzipFile, 'read', lambda self, size=-1: sizes.append(size) or read(self, size))
    assert 'but holds more' in refused(tmp_path / 'out.zip', f'--source={source}')
    assert max(sizes) == IMAGES.size + 1 and min(sizes) > 0
    monkeypatch.setattr(mnist, 'MAX_BYTES', IMAGES.size - 1)
    assert 'expected 1 to 5,487' in refused(tmp_path / 'out.zip', f'--source={source}')
    assert sizes.count(IMAGES.size + 1) == 1


def test_names_and_parts(tmp_path):
    source = write_mnist(tmp_path, IMAGES, LABELS)
    assert 'is one part of MNIST' in refused(tmp_path / 'out.zip', f'--source={source}', '--split=test')
    renamed = source.rename(tmp_path / 'mine.gz')
    assert 'has no images-idx3' in refused(tmp_path / 'out.zip', f'--source={renamed}')
