"""Which files a folder or archive is taken to hold: training.data.file_listing and image_files."""

import os
import stat
import subprocess
import sys
import unicodedata
import zipfile

import pytest

from commands.data_facts import inspect_data
from tests.support.dataset_files import assert_one_line, make_folder, png
from training.data.image_dataset import ImageFolderDataset, check_dataset
from training.data.image_files import MAX_FILE_BYTES, ImageFiles, read_shape
from training.data.picture_formats import MAX_PIXELS

JPEG = png(file_format='JPEG')


def reasons(files):
    return {entry.name: entry.reason for entry in files.left_out}


def write_zip(path, entries):
    """entries: (name or ZipInfo, bytes)."""
    with zipfile.ZipFile(path, 'w') as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return path


def legacy_zip(path, names):
    """A zip whose names are these bytes, without the mark of UTF-8."""
    marks = {f'{i:03d}'.encode() + b'x' * (len(name) - 3): name for i, name in enumerate(names)}
    write_zip(path, [(mark.decode(), png(seed=i)) for i, mark in enumerate(marks)])
    content = path.read_bytes()
    for mark, name in marks.items():
        content = content.replace(mark, name)
    path.write_bytes(content)
    return path


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='this system has no pipes with names')
@pytest.mark.parametrize('odd', ['pipe', 'device', 'broken link', 'circle'])
def test_only_regular_files_are_pictures(tmp_path, odd):
    make_folder(tmp_path, ['cat/a.png', 'dog/b.png'])
    path = tmp_path / 'cat' / 'x.png'
    if odd == 'pipe':
        os.mkfifo(path)
    else:
        path.symlink_to({'device': '/dev/zero', 'broken link': 'absent', 'circle': 'x.png'}[odd])
    files = ImageFiles(tmp_path)
    assert files.image_names == ['cat/a.png', 'dog/b.png'] and reasons(files) == {'cat/x.png': 'not a regular file'}


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='this system has no pipes with names')
def test_pipes_in_place_of_labels_or_of_the_set(tmp_path):
    make_folder(tmp_path / 'set', ['cat/a.png', 'dog/b.png'])
    os.mkfifo(tmp_path / 'set' / 'dataset.json')
    os.mkfifo(tmp_path / 'set.zip')
    with pytest.raises(OSError) as error:
        check_dataset(ImageFolderDataset(tmp_path / 'set', use_labels=True))
    assert_one_line(error, 'dataset.json is not a regular file')
    with pytest.raises(OSError) as error:
        ImageFiles(tmp_path / 'set.zip')
    assert_one_line(error, 'set.zip is not a regular file')


@pytest.mark.parametrize('depth', [1, 3])
def test_links_to_folders_above_end(tmp_path, depth):
    """Two links to a parent in every folder would be an exponential walk."""
    folder = tmp_path / 'set'
    make_folder(folder, ['a/b/c/1.png', 'd/1.png'])
    for name in ('left', 'right'):
        (folder / 'a').joinpath(*'bc'[:depth - 1], name).symlink_to(folder if depth == 3 else tmp_path)
    files = ImageFiles(folder)
    assert files.image_names == ['a/b/c/1.png', 'd/1.png']
    assert set(reasons(files).values()) == {'link to a folder already read'}


def test_a_linked_folder_is_read_once_and_real_folders_keep_their_names(tmp_path):
    make_folder(tmp_path, ['set/zebra/1.png', 'elsewhere/2.png'])
    (tmp_path / 'set' / 'ass').symlink_to(tmp_path / 'set' / 'zebra')
    (tmp_path / 'set' / 'cow').symlink_to(tmp_path / 'elsewhere')
    files = ImageFiles(tmp_path / 'set')
    assert files.image_names == ['cow/2.png', 'zebra/1.png'] and list(reasons(files)) == ['ass/']


@pytest.mark.parametrize('folder', ['@eaDir', '.ipynb_checkpoints', '__MACOSX', '#recycle', 'lost+found', '$RECYCLE.BIN'])
@pytest.mark.parametrize('as_zip', [False, True])
def test_folders_of_the_system_hold_no_pictures(tmp_path, folder, as_zip):
    names = [f'{folder}/x.png', f'cat/{folder}/1.png', 'cat/1.png', 'dog/1.png']
    if as_zip:
        path = write_zip(tmp_path / 'set.zip', [(name, png()) for name in names])
    else:
        path = make_folder(tmp_path / 'set', names)
    files = ImageFiles(path)
    assert files.image_names == ['cat/1.png', 'dog/1.png'] and len(files.left_out) == 2


@pytest.mark.parametrize('name', ['0a1b', 'photo.jpg?w=200', 'photo.jpg_large', 'photo.4711', 'photo.'])
def test_pictures_without_an_ending_are_known_by_their_content(tmp_path, name):
    dataset = ImageFolderDataset(make_folder(tmp_path, {'a.jpg': JPEG, name: JPEG}))
    assert len(dataset) == 2 and (dataset[0][0] == dataset[1][0]).all()


def test_what_is_no_picture_is_left_out_with_the_reason(tmp_path):
    heic = b'\0\0\0\x18ftypheic' + bytes(20)
    files = ImageFiles(make_folder(tmp_path, {
        'a.png': png(), 'b.HEIC': heic, 'raw': heic, 'notes.txt': b'text', 'c.png.bak': png(), 'none': b'', 'page': b'<html>',
        'x.h5': b'\x89HDF\r\n\x1a\n', 'clip.mpg': b'\0\0\1\xba', 'drawing.eps': b'%!PS-Adobe', 'scan.pdf': b'%PDF-1.4'}))
    found = reasons(files)
    assert files.image_names == ['a.png']
    assert 'convert to JPEG' in found['b.HEIC'] and 'convert to JPEG' in found['raw']
    assert found['none'] == 'empty file' and found['page'] == 'not a picture but a web page'
    assert {found[name] for name in ('notes.txt', 'c.png.bak', 'x.h5', 'clip.mpg', 'drawing.eps', 'scan.pdf')} == {
        'ending .txt', 'ending .bak', 'ending .h5', 'ending .mpg', 'ending .eps', 'ending .pdf'}


def test_postscript_in_a_png_starts_no_program(tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, 'Popen', lambda *args, **kwargs: pytest.fail('a program was started'))
    monkeypatch.setattr(subprocess, 'check_call', lambda *args, **kwargs: pytest.fail('a program was started'))
    make_folder(tmp_path, {'a.png': b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n'})
    with pytest.raises(OSError) as error:
        read_shape(ImageFiles(tmp_path), 'a.png')
    assert_one_line(error, 'a.png', 'not a picture but PostScript')


def test_duplicate_names_of_an_archive_count_once(tmp_path):
    with pytest.warns(UserWarning, match='Duplicate'):
        path = write_zip(tmp_path / 'set.zip', [('a.png', png(mode='L')), ('b.png', png()), ('a.png', png())])
    files = ImageFiles(path)
    assert files.image_names == ['a.png', 'b.png'] and [entry.reason[:14] for entry in files.left_out] == ['duplicate name']
    assert read_shape(files, 'a.png')[0] == 3  # the last one
    files.close()


def test_names_with_backslashes_and_links_of_an_archive(tmp_path):
    link = zipfile.ZipInfo('cat/link.png')
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    files = ImageFiles(write_zip(tmp_path / 'set.zip', [('cat\\1.png', png()), ('./dog/1.png', png()), (link, b'1.png')]))
    assert files.image_names == ['cat/1.png', 'dog/1.png'] and reasons(files) == {'cat/link.png': 'not a regular file'}
    assert read_shape(files, 'cat/1.png') == (3, 8, 8)
    files.close()


@pytest.mark.parametrize('encoding, word', [('utf-8', 'caf\u00e9'), (None, 'caf\u00e9'), ('cp932', '\u65e5\u672c\u732b'),
                                            ('gbk', '\u732b')])
def test_legacy_names_of_archives(tmp_path, encoding, word):
    raw = [f'{word}/{i}.png'.encode(encoding or 'cp437') for i in range(2)]
    path = legacy_zip(tmp_path / 'set.zip', raw)
    guessed = ImageFiles(path)
    assert bool(guessed.notes) == (encoding in (None, 'cp932'))  # the other bytes are good UTF-8 too
    files = ImageFiles(path, encoding=encoding)
    assert files.image_names == [f'{word}/{i}.png' for i in range(2)]
    assert read_shape(files, files.image_names[0]) == (3, 8, 8)
    if encoding == 'cp932':
        assert f'{word}/0.png (cp932)' in guessed.notes[0] and not files.notes
    guessed.close()
    files.close()


def test_wrong_encodings(tmp_path):
    path = legacy_zip(tmp_path / 'set.zip', [b'caf\xe9/0.png'])
    for encoding, says in [('klingon', 'is unknown'), ('utf-8', 'is not in the encoding utf-8')]:
        with pytest.raises(ValueError) as error:
            ImageFiles(path, encoding)
        assert_one_line(error, '--name-encoding' if encoding == 'klingon' else 'caf', says)


@pytest.mark.skipif(sys.platform in ('win32', 'darwin'), reason='this system has no such names')
def test_names_of_folders_that_are_not_utf8(tmp_path):
    for name in (b'caf\xe9', b'cat'):
        (tmp_path / os.fsdecode(name)).mkdir()
        (tmp_path / os.fsdecode(name) / '1.png').write_bytes(png())
    dataset = ImageFolderDataset(tmp_path, use_labels=True)
    check_dataset(dataset)
    assert dataset.class_names == ['caf\u00e9', 'cat'] and 'read as latin-1' in dataset.notes()[0]
    assert dataset[0][0].shape == (3, 8, 8)


def test_one_name_in_two_unicode_forms_is_one_class(tmp_path):
    forms = [unicodedata.normalize(form, 'caf\u00e9') for form in ('NFC', 'NFD')]
    path = write_zip(tmp_path / 'set.zip', [(f'{name}/{i}.png', png()) for i, name in enumerate([*forms, 'dog'])])
    dataset = ImageFolderDataset(path, use_labels=True)
    check_dataset(dataset)
    assert dataset.class_names == [forms[0], 'dog'] and dataset.class_counts().tolist() == [2, 1]
    assert 'two ways' in ' '.join(dataset.notes())
    dataset.close()


def test_declared_sizes_beyond_the_limits(tmp_path, monkeypatch):
    monkeypatch.setattr('training.data.image_files.MAX_FILE_BYTES', 999_999)
    path = tmp_path / 'set.zip'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('a.png', png())
        archive.writestr('dataset.json', bytes(10**6))
    assert path.stat().st_size < 10_000
    dataset = ImageFolderDataset(path, use_labels=True)
    with pytest.raises(OSError) as error:
        check_dataset(dataset)
    assert_one_line(error, 'dataset.json has 1,000,000 bytes', 'limit of 999,999')
    dataset.close()
    monkeypatch.setattr('training.data.picture_formats.MAX_PIXELS', 63)
    with pytest.raises(OSError) as error:
        read_shape(ImageFiles(make_folder(tmp_path / 'large', ['a.png'])), 'a.png')
    assert_one_line(error, '8x8 pixels, more than the limit of 63')
    assert MAX_PIXELS < 13_000**2 and MAX_FILE_BYTES < 2**30


def test_training_tells_what_a_folder_holds_beside_its_pictures(tmp_path):
    make_folder(tmp_path, {'cat/1.png': png(), 'dog/1.png': png(), 'dog/2.heic': b'', 'dog/.hidden': b'', 'notes.txt': b''})
    (tmp_path / 'wild').mkdir()
    said = ' '.join(inspect_data(str(tmp_path), cond=True).warnings)
    assert 'left out of the data: ' in said and '1 x HEIC' in said and '1 x empty folder (wild/)' in said and 'hidden' not in said
