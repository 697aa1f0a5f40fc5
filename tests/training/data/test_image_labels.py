"""Tests of training.data.image_labels, through the data set that uses it."""

import json
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


@pytest.mark.parametrize('values, class_names, want, names', [
    ([[0], [1], [2]], None, [0, 1, 2], ['0', '1', '2']),
    ([[0], [1], [2]], ['a', 'b', 'c'], [0, 1, 2], ['a', 'b', 'c']),
    ([[1.0], [0.0], [1.0]], ['no', 'yes'], [1, 0, 1], ['no', 'yes']),
    ([[1, 0], [0, 1], [1, 0]], ['cat', 'dog'], [0, 1, 0], ['cat', 'dog']),
    ([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], None, [1, 0, 1], ['0', '1', '2']),
])
def test_lists_that_are_classes(tmp_path, values, class_names, want, names):
    files = ['1.png', '2.png', '3.png']
    more = {} if class_names is None else {'class_names': class_names}
    dataset = ImageFolderDataset(make_folder(tmp_path, files, [list(pair) for pair in zip(files, values, strict=True)], **more),
                                 use_labels=True)
    assert dataset.has_onehot_labels and dataset.classes().tolist() == want and dataset.class_names == names
    np.testing.assert_array_equal(dataset.labels(), np.eye(len(names), dtype=np.float32)[want])


@pytest.mark.parametrize('values', [[[0.5], [1]], [[0.0], [1.0]], [[1, 1], [0, 1]], [[0, 0], [0, 1]], [[-1], [1]],
                                    [[1, 0], [2, 0]]])
def test_lists_that_are_vectors(tmp_path, values):
    labels = [['1.png', values[0]], ['2.png', values[1]]]
    dataset = ImageFolderDataset(make_folder(tmp_path, ['1.png', '2.png'], labels), use_labels=True)
    assert not dataset.has_onehot_labels
    np.testing.assert_array_equal(dataset.labels(), np.float32(values))
    with pytest.raises(ValueError, match='has no classes'):
        dataset.classes()


def test_names_of_classes_that_vectors_do_not_use_are_noted(tmp_path):
    labels = [['1.png', [1, 1]], ['2.png', [0, 1]]]
    dataset = ImageFolderDataset(make_folder(tmp_path, ['1.png', '2.png'], labels, class_names=['a', 'b']), use_labels=True)
    assert dataset.class_names == [] and 'class_names are ignored' in dataset.notes()[0]


@pytest.mark.parametrize('label_file', ['dataset.json', 'Dataset.json', 'DATASET.JSON', 'set/dataset.json', 'set/Dataset.JSON'])
@pytest.mark.parametrize('before, slash', [('', '/'), ('', '\\'), ('./', '/'), ('set/', '/'), ('set\\', '\\')])
def test_labels_are_found_as_they_are_meant(tmp_path, label_file, before, slash):
    names = ['a/1.png', 'a/2.png', 'b/1.png']
    labels = [[before + name.replace('/', slash), i] for i, name in enumerate(names)]
    content = {'labels': labels, 'class_names': ['x', 'y', 'z']}
    make_folder(tmp_path, {**{f'set/{name}': png() for name in names}, label_file: json.dumps(content).encode()})
    dataset = ImageFolderDataset(tmp_path, use_labels=True)
    assert dataset.classes().tolist() == [0, 1, 2] and dataset.class_names == ['x', 'y', 'z']


def test_accents_of_labels_and_class_names_are_compared_in_one_form(tmp_path):
    composed, decomposed = 'caf\u00e9', 'cafe\u0301'
    content = {'labels': [[f'{decomposed}/1.png', 0], ['dog/1.png', 1]], 'class_names': [decomposed, 'dog']}
    make_folder(tmp_path, {f'{composed}/1.png': png(), 'dog/1.png': png(), 'dataset.json': json.dumps(content).encode()})
    dataset = ImageFolderDataset(tmp_path, use_labels=True)
    assert dataset.class_names == [composed, 'dog'] and dataset.classes().tolist() == [0, 1]


def test_images_that_are_labelled_but_left_out_are_told(tmp_path):
    content = {'labels': [['1.png', 0], ['2.heic', 1]]}
    make_folder(tmp_path, {'1.png': png(), '2.heic': b'', 'dataset.json': json.dumps(content).encode()})
    with pytest.raises(ValueError) as error:
        check_dataset(ImageFolderDataset(tmp_path, use_labels=True))
    assert_one_line(error, 'lists 2.heic, which is left out (HEIC', '1 of 2 entries')


@pytest.mark.parametrize('labels, more, says', [
    (None, {}, '"labels" of its dataset.json is null'), ([], {}, 'is empty'),
    (None, {'why_none': 'x.png is in the way'}, 'x.png is in'),
])
def test_labels_of_a_file_that_has_none(tmp_path, labels, more, says):
    content = {'labels': labels, **more}
    make_folder(tmp_path, {'cat/1.png': png(), 'dog/1.png': png(), 'dataset.json': json.dumps(content).encode()})
    dataset = ImageFolderDataset(tmp_path, use_labels=True)
    assert not dataset.has_labels and says in dataset.why_unlabelled


def test_labels_at_once_are_those_one_by_one(tmp_path):
    dataset = ImageFolderDataset(make_folder(tmp_path, [f'{name}/{i}.png' for name in 'abc' for i in range(4)]), use_labels=True,
                                 max_size=7, xflip=True)
    np.testing.assert_array_equal(dataset.labels(), [dataset.get_label(index) for index in range(14)])
    np.testing.assert_array_equal(dataset.labels([3, 9, 3]), [dataset.get_label(index) for index in (3, 9, 3)])
    np.testing.assert_array_equal(dataset.classes(), dataset.labels().argmax(axis=1))
    assert dataset.labels().dtype == np.float32 and dataset.classes().dtype == np.int64
    assert ImageFolderDataset(tmp_path).labels().shape == (12, 0)
