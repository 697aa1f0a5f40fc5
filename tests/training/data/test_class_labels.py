"""training/data/class_labels.py: what people type, and hand-computed labels."""

from types import SimpleNamespace

import numpy as np
import pytest

from training.data.class_labels import (
    class_index,
    class_label,
    given_class_names,
    interpolate_labels,
    list_names,
    split_names,
    unescape,
)

ANIMALS = ['cat', 'dog', 'Owl']


@pytest.mark.parametrize('text, names, index', [
    ('dog', ANIMALS, 1), (' dog ', ANIMALS, 1), (' dog', ['dog', ' dog'], 1), ('0', ANIMALS, 0), ('2', ANIMALS, 2),
    ('1', ['1', '0'], 0),  # a name goes before a number
    ('7', [str(i) for i in range(10)], 7),
])
def test_index(text, names, index):
    assert class_index(text, names) == index


@pytest.mark.parametrize('text, message', [
    ('dgo', r"'dgo' is unknown: did you mean dog\?"), ('owl', r'did you mean Owl\?'), ('10', 'choose a number from 0 to'),
    ('3', 'from 0 to 2 or one of cat, dog, Owl'), ('-1', 'unknown'), ('', 'unknown'),
    ('\u00b2', 'unknown'),  # a superscript two is a digit, but no number
])
def test_unknown_class(text, message):
    with pytest.raises(ValueError, match=message):
        class_index(text, ANIMALS)


@pytest.mark.parametrize('names, given', [
    (ANIMALS, ANIMALS), ([], []), (None, None), (['cat'], None), ([1, 2, 3], None), ('abc', None), (['a', 'b', None], None),
])
def test_names_that_a_snapshot_gives(names, given):
    assert given_class_names(dict(G_ema=SimpleNamespace(c_dim=3), class_names=names)) == given


def test_long_names_in_messages():
    assert list_names(['x' * 10 ** 6, 'y']) == f'{"x" * 60}..., y'


@pytest.mark.parametrize('text, label', [
    ('dog', [0, 1, 0]), ('2', [0, 0, 1]), ('cat:0.25,dog:0.75', [0.25, 0.75, 0]), ('cat:1, 2:3', [0.25, 0, 0.75]),
    ('cat:1,cat:1,dog:2', [0.5, 0.5, 0]), ('dog:5', [0, 1, 0]), ('cat:0,dog:1', [0, 1, 0]),
])
def test_label(text, label):
    got = class_label(text, ANIMALS)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, label, rtol=1e-6)


def test_a_class_name_may_hold_a_colon():
    np.testing.assert_array_equal(class_label('a:b', ['c', 'a:b']), [0, 1])
    np.testing.assert_array_equal(class_label('a:b:1,c:1', ['c', 'a:b']), [0.5, 0.5])


@pytest.mark.parametrize('text, message', [
    ('cat:0.5,dog', 'has no share'), ('cat:x', "'x' is no share"), ('cat:-1,dog:2', 'is no share'), ('cat:nan', 'is no share'),
    ('cat:inf', 'is no share'), ('cat:0', 'all shares are 0'), ('cow:1', 'unknown'), ('cat:', 'is no share'),
])
def test_wrong_mix(text, message):
    with pytest.raises(ValueError, match=message):
        class_label(text, ANIMALS)


def test_path_has_equal_steps_and_exact_ends():
    path = interpolate_labels(np.array([1, 0, 0], np.float32), np.array([0, 0.5, 0.5], np.float32), 5)
    assert path.dtype == np.float32
    np.testing.assert_allclose(path, [[1 - t, t / 2, t / 2] for t in (0, 0.25, 0.5, 0.75, 1)], atol=1e-7)


def test_long_lists_are_cut():
    assert list_names(ANIMALS) == 'cat, dog, Owl'
    assert list_names([f'c{i}' for i in range(25)]).endswith('c19 and 5 more')


SYMBOLS = ['x, y', 'a:0.5', 'a\\b', ',', ':', 'new\nline', 'trail ', 'trail', '\U0001f436', '=']


def escape(name):
    return name.replace('\\', '\\\\').replace(',', '\\,').replace(':', '\\:')


@pytest.mark.parametrize('index', range(len(SYMBOLS)))
def test_every_class_can_be_named_alone_in_a_mix_and_between_ends(index):
    other = (index + 3) % len(SYMBOLS)
    name, last = SYMBOLS[index], SYMBOLS[other]
    assert class_index(name, SYMBOLS) == index and class_label(name, SYMBOLS).argmax() == index
    want = np.zeros(len(SYMBOLS))
    want[[index, other]] = 0.25, 0.75
    np.testing.assert_allclose(class_label(f'{escape(name)}:1,{escape(last)}:3', SYMBOLS), want)
    ends = [unescape(part) for part in split_names(f'{escape(name)},{escape(last)}')]
    assert [class_index(end, SYMBOLS) for end in ends] == [index, other]


@pytest.mark.parametrize('text, parts', [('a,b', ['a', 'b']), ('', ['']), ('a,,b,', ['a', '', 'b', '']),
                                         ('a\\,b,c', ['a\\,b', 'c']), ('a\\\\,b', ['a\\\\', 'b']), ('a\\', ['a\\'])])
def test_names_are_split_at_plain_commas(text, parts):
    assert split_names(text) == parts


def test_accents_are_compared_in_one_form():
    for name in ('caf\u00e9', 'cafe\u0301', 'caf\udce9'):  # composed, decomposed, a byte that is not UTF-8
        assert class_index(name, ['dog', 'caf\u00e9']) == class_index('caf\u00e9', ['dog', name]) == 1


@pytest.mark.parametrize('shares', ['cat:1e308,dog:1e308', 'cat:1e38,dog:1', 'cat:1e999'])
def test_shares_that_overflow_are_refused(shares):
    with pytest.raises(ValueError, match='is no share; expected a number from 0 to 1e'):
        class_label(shares, ANIMALS)


def test_names_in_messages_stay_on_one_line():
    assert list_names(['a\nb', '\x1b[31mred', '\udce9']) == 'a?b, ?[31mred, ?'
