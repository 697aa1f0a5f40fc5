"""dnnlib.util: attribute dictionary, objects by name, logging, time."""
import fractions
import inspect
import io
import math
import sys

import numpy as np
import pytest

from dnnlib import EasyDict
from dnnlib.util import (
    Logger,
    call_func_by_name,
    construct_class_by_name,
    format_time,
    get_obj_by_name,
    get_top_level_function_name,
    is_pickleable,
)
from tests.support.small_disk import FullFile, fill_disk, small_disk


def test_dnnlib_imports_without_torch():
    import subprocess
    code = 'import sys, dnnlib, dnnlib.util; sys.exit("torch" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0


# --- EasyDict ---

def test_easydict_entries_are_attributes():
    d = EasyDict(a=1)
    d.b = 2
    d['c'] = 3
    assert (d.a, d['b'], d.c) == (1, 2, 3) and d == dict(a=1, b=2, c=3)
    del d.a
    assert list(d) == ['b', 'c'] and not hasattr(d, 'a') and getattr(d, 'a', 9) == 9


def test_easydict_says_what_is_missing_and_what_there_is():
    with pytest.raises(AttributeError, match="no entry 'gama'; it has gamma, beta"):
        EasyDict(gamma=1, beta=2).gama  # noqa: B018
    with pytest.raises(AttributeError, match='to delete'):
        del EasyDict().x
    with pytest.raises(KeyError):
        EasyDict()['x']


# --- objects by name ---

@pytest.mark.parametrize('name, expected', [
    ('math', math),
    ('fractions.Fraction.from_float', fractions.Fraction.from_float),
    ('np.random.RandomState', np.random.RandomState),
    ('dnnlib.util.EasyDict', EasyDict),
])
def test_object_by_name(name, expected):
    assert get_obj_by_name(name) == expected


@pytest.mark.parametrize('name, error, message', [
    ('no_such_module.thing', ImportError, 'no_such_module'),
    ('math.no_such_function', AttributeError, 'no_such_function'),
    ('', ImportError, 'dotted name'),
])
def test_bad_names(name, error, message):
    with pytest.raises(error, match=message):
        get_obj_by_name(name)


def test_error_inside_an_imported_module_is_not_hidden(tmp_path, monkeypatch):
    (tmp_path / 'needs_absent.py').write_text('import absent_dependency\nclass Net: pass\n')
    (tmp_path / 'is_broken.py').write_text('1 / 0\n')
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match='absent_dependency'):
        get_obj_by_name('needs_absent.Net')
    with pytest.raises(ZeroDivisionError):
        get_obj_by_name('is_broken.Net')


def test_call_and_construct():
    assert call_func_by_name(7, 2, func_name='math.fmod') == 1
    assert call_func_by_name('ff', func_name='builtins.int', base=16) == 255
    assert construct_class_by_name(1, 4, class_name='fractions.Fraction') == fractions.Fraction(1, 4)
    with pytest.raises(TypeError, match='func_name'):
        call_func_by_name(1)
    with pytest.raises(ValueError, match=r'math.pi is a float; expected'):
        call_func_by_name(func_name='math.pi')
    with pytest.raises(TypeError, match='nonsense'):
        construct_class_by_name(class_name='fractions.Fraction', nonsense=1)


def a_function():
    pass


def test_function_name_leads_back_to_the_function():
    assert get_obj_by_name(get_top_level_function_name(a_function)) is a_function
    assert get_top_level_function_name(Logger) == 'dnnlib.util.Logger'
    with pytest.raises(ValueError, match='top level'):
        get_top_level_function_name(lambda: None)


def test_is_pickleable():
    assert is_pickleable(dict(a=[1, 2.0], f=a_function))
    assert not is_pickleable(lambda: None)
    assert not is_pickleable(inspect.currentframe())


# --- Logger ---

def test_logger_copies_both_streams(tmp_path, capsys):
    path = tmp_path / 'log.txt'
    before = sys.stdout, sys.stderr
    with Logger(str(path)) as logger:
        print('to out')
        print('to err', file=sys.stderr)
        logger.write(b'bytes\n')
        assert path.read_text() == 'to out\nto err\nbytes\n'    # flushed at once
    assert (sys.stdout, sys.stderr) == before
    print('after')
    assert path.read_text() == 'to out\nto err\nbytes\n'
    out, err = capsys.readouterr()
    assert (out, err) == ('to out\nbytes\nafter\n', 'to err\n')


def test_logger_appends_or_starts_anew(tmp_path):
    path = tmp_path / 'log.txt'
    for mode, expected in [('w', 'w\n'), ('a', 'w\na\n'), ('w', 'w\n')]:
        with Logger(str(path), file_mode=mode):
            print(mode)
        assert path.read_text() == expected
    with pytest.raises(ValueError, match="'r'"):
        Logger(str(path), file_mode='r')


def test_logger_keeps_redrawn_progress_out_of_the_file(tmp_path):
    path = tmp_path / 'log.txt'
    with Logger(str(path)):
        print('\r 50% |#####     |', end='', file=sys.stderr)
        print('done')
    assert path.read_text() == 'done\n'


def test_logger_leaves_a_later_replacement_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'stdout', sys.stdout)      # put back after the test
    logger, original = Logger(str(tmp_path / 'log.txt')), sys.stderr
    sys.stdout = later = sys.__stdout__
    logger.close()
    logger.close()
    assert sys.stdout is later and sys.stderr is not original


def test_logger_without_file(capsys):
    with Logger():
        print('hello')
        assert sys.stdout.isatty() is False     # other methods reach the console
    assert capsys.readouterr().out == 'hello\n'


@pytest.mark.parametrize('written, kept', [
    (['\r  0%|  |', '\r 50%|# |', '\r100%|##|', '\n', 'done', '\n'], 'done\n'),     # a bar that stays, as tqdm writes it
    (['\r 50%|# |', '\r        \r', 'tick 1', '\n', '\r 60%|# |'], 'tick 1\n'),       # a line above a bar
    (['a\n', '\n', 'b\r\n', 'c\n'], 'a\n\nb\nc\n'),       # empty lines, and those of Windows, are no bars
    (['\x1b[1;31mred\x1b[0m \x1b]0;title\x07text\x1b[2K\n'], 'red text\n'),
    (['bell \x07, tab \t, null \x00, C1 \x9b\n'], 'bell , tab \t, null , C1 \n'),
    (['line 1\nline 2\n 10%|\r 20%|\nline 3\n'], 'line 1\nline 2\nline 3\n'),
])
def test_logger_writes_plain_lines(tmp_path, capsys, written, kept):
    path = tmp_path / 'log.txt'
    with Logger(str(path)):
        for text in written:
            sys.stderr.write(text)
    assert path.read_text() == kept
    assert capsys.readouterr().err == ''.join(written)      # the console gets it as it is


def test_logger_tells_of_a_full_disk_between_lines(tmp_path, monkeypatch):
    console = io.StringIO()
    monkeypatch.setattr(sys, 'stdout', console)
    monkeypatch.setattr(sys, 'stderr', console)
    with Logger(str(tmp_path / 'log.txt')) as logger:
        logger.file._file.close()
        logger.file._file = FullFile()
        print('first', 'line')
        print('second line')
    first, said, second, lost = console.getvalue().splitlines()
    assert (first, second) == ('first line', 'second line')
    assert said.startswith('The disk of') and lost.startswith('The disk of') and 'are lost' in lost


def test_logger_outlives_a_full_disk(tmp_path, capsys):
    with small_disk(tmp_path / 'disk', kib=64) as disk:
        with Logger(str(disk / 'log.txt')):
            print('first')
            filler = fill_disk(disk)
            for number in range(20):
                print(f'{number} {"x" * 1000}')
            print('to err', file=sys.stderr)
            filler.unlink()
        lines = (disk / 'log.txt').read_text().splitlines()
    out, err = capsys.readouterr()
    assert lines == [*out.splitlines(), 'to err'] and len(lines) == 22      # nothing is lost, and the order is kept
    said, other = err.splitlines()
    assert f'The disk of {disk} is full' in said and 'log.txt' in said and 'continues' in said and other == 'to err'


# --- time ---

@pytest.mark.parametrize('seconds, text', [
    (59.4, '59s'), (59.5, '1m 00s'), (3599.6, '1h 00m 00s'), (3723, '1h 02m 03s'), (2 * 86400 + 3 * 3600 + 299, '2d 03h 04m'),
])
def test_format_time(seconds, text):
    assert format_time(seconds) == text
