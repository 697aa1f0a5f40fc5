"""Tests of training.data.image_labels, through the data set that uses it."""

import pickle

import numpy as np
import pytest

from tests.support.dataset_files import assert_one_line, make_folder, png
from training.data.image_dataset import ImageFolderDataset, check_dataset


def test_class_folders(tmp_path):
    dataset = ImageFolderDataset(make_folder(tmp_path, ['dog/1.png', 'cat/x/1.png', 'cat/2.png']), use_labels=True)
    assert dataset.class_names == ['cat', 'dog']
    assert [int(dataset.get_label(i).argmax()) for i in range(3)] == [0, 0, 1]
    assert dataset.has_labels and dataset.has_onehot_labels and dataset.label_shape == [2]
    np.testing.assert_array_equal(dataset.class_counts(), [2, 1])


@pytest.mark.parametrize('names', [
    ['cat/1.png', 'cat/2.png'],  # one class
    ['cat/1.png', 'dog/1.png', '3.png'],  # one image in no class
    ['00000/1.png', '00001/2.png'],  # chunks that the tools make
])
def test_folders_that_are_no_classes(tmp_path, names):
    dataset = ImageFolderDataset(make_folder(tmp_path, names), use_labels=True)
    assert not dataset.has_labels and not dataset.has_onehot_labels and dataset.label_dim == 0
    assert dataset.class_names == [] and dataset.get_label(0).shape == (0,) and len(dataset.class_counts()) == 0


def test_labels_null_wins_over_class_folders(tmp_path):
    dataset = ImageFolderDataset(make_folder(tmp_path, ['cat/1.png', 'dog/1.png'], class_names=[]), use_labels=True)
    assert not dataset.has_labels


def test_use_labels_false_reads_no_labels(tmp_path):
    make_folder(tmp_path, {'cat/1.png': png(), 'dog/1.png': png(), 'dataset.json': b'no json'})
    dataset = ImageFolderDataset(tmp_path)
    check_dataset(dataset)
    assert not dataset.has_labels and dataset[0][1].shape == (0,)


def test_class_names(tmp_path):
    names = ['1.png', '2.png', '3.png']
    labels = [['1.png', 1], ['2.png', 0], ['3.png', 1]]
    plain = ImageFolderDataset(make_folder(tmp_path / 'plain', names, labels), use_labels=True)
    assert plain.class_names == ['0', '1']
    make_folder(tmp_path / 'named', names, labels, class_names=['no', 'yes', 'never'])
    named = ImageFolderDataset(tmp_path / 'named', use_labels=True)
    assert named.class_names == ['no', 'yes', 'never'] and named.label_dim == 3
    np.testing.assert_array_equal(named.class_counts(), [1, 2, 0])
    again = pickle.loads(pickle.dumps(named))
    assert again.class_names == named.class_names


def test_vectors(tmp_path):
    labels = [['1.png', [0.5, 2]], ['2.png', [1, -1]]]
    dataset = ImageFolderDataset(make_folder(tmp_path, ['1.png', '2.png'], labels), use_labels=True, xflip=True)
    assert dataset.label_shape == [2] and not dataset.has_onehot_labels and dataset.class_names == []
    np.testing.assert_array_equal(dataset.get_label(3), np.float32([1, -1]))


@pytest.mark.parametrize(('content', 'says'), [
    ('no json', 'not JSON'),
    ('[1, 2]', 'no entry "labels"'),
    ('{"class_names": []}', 'no entry "labels"'),
    ('{"labels": 3}', 'type int'),
    ('{"labels": {"1.png": 0}}', 'type dict'),
    ('{"labels": ["1.png"]}', '["file name", label]'),
    ('{"labels": [["1.png", 0]]}', 'no label for 2.png (1 of 2 images)'),
    ('{"labels": [["1.png", 0], ["2.png", 0], ["3.png", 0], ["4.png", 1]]}', 'lists 3.png, which is not there (2 of 4 entries)'),
    ('{"labels": [["1.png", 0], ["2.png", 0], ["2.png", 1]]}', '2.png more than once'),
    ('{"labels": [["1.png", 0], ["2.png", -1]]}', '2.png the label -1'),
    ('{"labels": [["1.png", 0], ["2.png", 1000000000]]}', '2.png the label 1000000000'),
    ('{"labels": [["1.png", 0], ["2.png", true]]}', '2.png the label true'),
    ('{"labels": [["1.png", 0], ["2.png", "cat"]]}', '2.png the label "cat"'),
    ('{"labels": [["1.png", 0.5], ["2.png", 1]]}', '1.png the label 0.5'),
    ('{"labels": [["1.png", [1, 2]], ["2.png", [1]]]}', '2.png the label [1], expected a list of 2 finite numbers'),
    ('{"labels": [["1.png", [1, 2]], ["2.png", [1, NaN]]]}', '2.png the label [1, NaN]'),
    ('{"labels": [["1.png", []], ["2.png", []]]}', '1.png the label []'),
    ('{"labels": [["1.png", 0], ["2.png", 2]], "class_names": ["a", "b"]}', 'labels go from 0 to 1 (1 of 2 images)'),
    ('{"labels": [["1.png", 0], ["2.png", 1]], "class_names": "ab"}', 'list of texts'),
    ('{"labels": [["1.png", 0], ["2.png", 1]], "class_names": ["a", "a"]}', 'a name twice'),
])
def test_wrong_labels(tmp_path, content, says):
    make_folder(tmp_path, {'1.png': png(), '2.png': png(), 'dataset.json': content.encode()})
    dataset = ImageFolderDataset(tmp_path, use_labels=True)
    with pytest.raises(ValueError) as error:
        check_dataset(dataset)
    assert_one_line(error, 'dataset.json', says)
