"""Labels from class folders, and why there are none: training.data.folder_labels."""

import pytest

from tests.support.dataset_files import make_folder
from training.data.folder_labels import choose_part, folder_around, from_folders
from training.data.image_dataset import ImageFolderDataset


@pytest.mark.parametrize('names, around', [
    (['a/b/1.png', 'a/b/2.png'], 'a/b/'), (['a/b/1.png', 'a/c/2.png'], 'a/'), (['a/1.png', 'b/2.png'], ''), (['1.png'], ''),
    (['a/b/1.png', 'a/b.png'], 'a/'), (['ab/1.png', 'abc/1.png'], ''),
])
def test_folder_around(names, around):
    assert folder_around(names) == around


@pytest.mark.parametrize('wrap', ['', 'animals/', 'data/animals/'])
def test_folders_around_class_folders(wrap):
    labels = from_folders([f'{wrap}cat/1.png', f'{wrap}cat/x/2.png', f'{wrap}dog/1.png'])
    assert labels.class_names == ['cat', 'dog'] and labels.values.tolist() == [0, 0, 1] and not labels.why_none


@pytest.mark.parametrize('names, classes', [
    (['00001/0.png', '00001/1.png', '00002/0.png'], ['00001', '00002']),  # ids
    (['00000/0.png', '00000/1.png', '00001/0.png'], ['00000', '00001']),  # the numbers start again
    (['00000/a.png', '00001/b.png'], ['00000', '00001']),
    (['00000/img00000000.png', '00001/img00001000.png'], []),  # what dataset tools write
    (['00000/00000.png', '01000/01000.png'], []),
])
def test_folders_of_five_digits(names, classes):
    labels = from_folders(names)
    assert labels.class_names == classes and bool(labels.why_none) == (not classes)
    assert classes or 'consecutively numbered' in labels.why_none


@pytest.mark.parametrize('parts', [('train', 'val'), ('train', 'test', 'valid'), ('Train', 'Test'), ('train2017', 'val2017'),
                                   ('training_set', 'test_set')])
def test_parts_of_a_set_are_no_classes(parts):
    names = sorted(f'{part}/{name}/{i}.png' for part in parts for name in ('cat', 'dog') for i in range(2))
    labels = from_folders(names)
    assert labels.values is None and labels.parts and f'--split={sorted(parts)[0]}' in labels.why_none
    one = choose_part(names, parts[1])
    assert len(one) == 4 and from_folders(one).class_names == ['cat', 'dog']
    every = choose_part(names, 'all')
    assert from_folders(every, all_parts=True).class_names == ['cat', 'dog'] and len(every) == len(names)
    with pytest.raises(ValueError, match='no such folder'):
        choose_part(names, 'nope')


@pytest.mark.parametrize('names', [['train/1.png', 'bus/2.png'], ['test/1.png', 'cat/1.png', 'dog/1.png']])
def test_classes_may_be_called_train_or_test(names):
    assert from_folders(names).class_names == sorted({name.split('/')[0] for name in names})


def test_folders_with_the_same_folders_in_them_are_noted():
    labels = from_folders(sorted(f'part{i}/{name}/1.png' for i in range(2) for name in ('cat', 'dog')))
    assert labels.class_names == ['part0', 'part1'] and 'hold the same folders cat, dog' in labels.notes[0]
    assert not from_folders(['cat/a/1.png', 'cat/b/1.png', 'dog/a/1.png']).notes


def test_names_that_differ_only_by_capitals_or_spaces_are_noted():
    labels = from_folders(['Cat/1.png', 'cat /1.png', 'cat/1.png', 'dog/1.png'])
    assert len(labels.class_names) == 4 and 'Cat, cat, cat  differ' in labels.notes[0]


def test_stray_images_are_named_and_told_apart_if_they_are_few():
    few = from_folders(['cat/1.png', 'cat/2.png', 'dog/1.png', 'dog/2.png', 'preview.png'])
    assert few.values is None and few.strays == ['preview.png'] and few.why_none.startswith('preview.png is in no class folder')
    assert from_folders(['cat/1.png', 'dog/1.png', 'x.png']).strays == []  # as many as in a class
    assert from_folders([*[f'{i}.png' for i in range(9)], 'more/1.png']).strays == []
    wrapped = from_folders(['animals/cat/1.png', 'animals/cat/2.png', 'animals/dog/1.png', 'animals/dog/2.png', 'animals/x.png'])
    assert wrapped.strays == ['animals/x.png']


@pytest.mark.parametrize('names, says', [
    (['1.png', '2.png'], 'no image is in a class folder'), (['cat/1.png', 'cat/2.png'], 'in one folder, cat'),
    (['cat/1.png', 'dog/1.png', 'x.png'], 'x.png is in no class folder, beside cat, dog'),
])
def test_data_sets_say_why_they_have_no_labels(tmp_path, names, says):
    dataset = ImageFolderDataset(make_folder(tmp_path, names), use_labels=True)
    assert not dataset.has_labels and says in dataset.why_unlabelled
    assert ImageFolderDataset(tmp_path).why_unlabelled == ''  # none are used
