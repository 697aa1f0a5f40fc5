"""File names from class names."""

import pytest

from training.data.file_names import MAX_LENGTH, file_name, file_names, mix_file_name, path_file_name, vector_file_name


@pytest.mark.parametrize('text, want', [
    ('cat', 'cat'), ('big cat', 'big_cat'), ('cat:0.5,dog:0.5', 'cat_0.5_dog_0.5'), ('a/b\\c', 'a_b_c'), ('Loewe-2', 'Loewe-2'),
    ('..', '_'), ('', '_'), ('.hidden', 'hidden'), ('../../etc', '_.._etc'), ('con', '_con'), ('NUL.x', '_NUL.x'),
    ('com1', '_com1'), ('comet', 'comet'), ('-rf', '_-rf'), ('end.', 'end'), ('\x1b[31m', '_31m'), ('\u732b', '\u732b'),
    ('o\u0308', '\u00f6'),
])
def test_file_name(text, want):
    assert file_name(text) == want


def test_long_names_fit_with_an_ending():
    for text in ('x' * 500, '\U0001f600' * 500, '\u732b' * 500):
        assert 1 <= len(f'{file_names([text, text])[1]}.safetensors.md'.encode()) <= 255


@pytest.mark.parametrize('texts, want', [
    (['cat', 'dog'], ['cat', 'dog']),
    (['Cat', 'cat', 'owl'], ['Cat-0', 'cat-1', 'owl']),
    (['a b', 'a/b', 'a_b'], ['a_b-0', 'a_b-1', 'a_b-2']),
    (['', '.', 'x'], ['_-0', '_-1', 'x']),
    ([], []),
])
def test_file_names(texts, want):
    assert file_names(texts) == want


@pytest.mark.parametrize('texts', [
    ['cat', 'CAT', 'cat-1'], ['a', 'A', 'a-0', 'A-0', 'a-1'], ['0-a', 'a', 'A'], [f'{"x" * 300}{i}' for i in range(30)],
])
def test_names_are_all_different(texts):
    assert len({name.casefold() for name in file_names(texts)}) == len(texts)


CLASSES = ['+', '=', '(', ')', ',', 'C#', 'C++', 'cat', 'Cat', 'cat_1', 'a-to-b', 'b-to-a', 'a', 'b',
           f'{"x" * 60}1', f'{"x" * 60}2']


def test_two_mixes_never_share_a_file():
    mixes = [f'{first}:{share},{last}:1' for first in CLASSES for last in CLASSES for share in ('1', '0.5')]
    names = [mix_file_name(mix, CLASSES) for mix in mixes]
    assert len({name.casefold() for name in names + file_names(CLASSES)}) == len(mixes) + len(CLASSES)
    assert max(len(name.encode()) for name in names) < 230


def test_mixes_of_plain_names_stay_readable():
    assert mix_file_name('cat:0.5,dog:0.5', ['cat', 'dog']) == 'cat_0.5_dog_0.5'


def test_two_paths_never_share_a_file():
    ends = file_names(CLASSES, MAX_LENGTH // 2)
    paths = [path_file_name(first, last) for first in ends for last in ends]
    assert len({path.casefold() for path in paths}) == len(CLASSES) ** 2
    assert path_file_name('cat', 'dog') == 'cat-to-dog'


def test_long_label_vectors_do_not_share_a_file():
    numbers = ','.join(['0.25'] * 30)
    assert vector_file_name('0.2, 1') == 'label_0.2_1'
    assert vector_file_name(f'{numbers},1') != vector_file_name(f'{numbers},2')
