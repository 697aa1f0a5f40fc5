"""An LSUN category, an LMDB folder, through dataset_tool.py."""

import io
import os
import sys

import numpy as np
import pytest
from PIL import Image

from tests.support.dataset_commands import contents, refused, run
from tests.support.dataset_files import make_folder, png
from tests.support.published_archives import write_lsun
from training.data.image_dataset import ImageFolderDataset


def webp(seed, size=(12, 8)):
    return png(seed=seed, size=size, file_format='WEBP', lossless=True)


@pytest.fixture
def source(tmp_path):
    """Five pictures of 12x8, under keys as LSUN's."""
    return write_lsun(tmp_path / 'tower_val_lmdb', {b'%040x' % seed: webp(seed) for seed in range(5)})


def test_pictures_without_labels_and_without_a_trace(source, tmp_path):
    os.unlink(source / 'lock.mdb')
    before = (source / 'data.mdb').read_bytes()
    output = run(f'--source={source}', f'--dest={tmp_path}/out.zip', '--transform=center-crop', '--resolution=8')
    assert 'Note: the set has no labels' in output and '5 images, 8x8 RGB, unlabelled' in output
    for seed, (image, _label) in enumerate(ImageFolderDataset(tmp_path / 'out.zip')):
        with Image.open(io.BytesIO(webp(seed))) as picture:
            np.testing.assert_array_equal(image, np.asarray(picture)[:, 2:10].transpose(2, 0, 1))
    assert os.listdir(source) == ['data.mdb'] and (source / 'data.mdb').read_bytes() == before


def test_max_images(source, tmp_path):
    for name in ('1', '2'):
        run(f'--source={source}', f'--dest={tmp_path}/{name}.zip', '--max-images=2', '--resolution=8')
    assert len(contents(tmp_path / '1.zip')[0]) == 3
    assert (tmp_path / '1.zip').read_bytes() == (tmp_path / '2.zip').read_bytes()


def test_two_categories_become_classes(source, tmp_path):
    """As docs/data.md says."""
    write_lsun(tmp_path / 'church_val_lmdb', {b'%040x' % seed: webp(seed) for seed in range(7, 10)})
    for name in ('tower', 'church'):
        run(f'--source={tmp_path}/{name}_val_lmdb', f'--dest={tmp_path}/places/{name}', '--resolution=8')
    output = run(f'--source={tmp_path}/places', f'--dest={tmp_path}/out.zip')
    assert '8 images, 8x8 RGB, 2 classes (church 3, tower 5)' in output


@pytest.mark.parametrize('content, says', [
    (b'no picture', 'its format is unknown'), (b'%!PS-Adobe-3.0 EPSF-3.0', 'PostScript'), (b'', 'empty file'),
    (b'\x89HDF\r\n\x1a\n', 'HDF5'), (webp(0)[:-80], 'cannot use'),
])
def test_values_that_are_no_pictures(source, tmp_path, content, says):
    write_lsun(source, {b'odd': content})
    output = refused(tmp_path / 'out.zip', f'--source={source}', '--resolution=8')
    assert says in output and 'odd' in output and '--skip-broken' in output
    assert '5 images' in run(f'--source={source}', f'--dest={tmp_path}/out.zip', '--resolution=8', '--skip-broken')


@pytest.mark.parametrize('change, says', [
    (lambda data: data[:-4096], 'bytes, expected'), (lambda data: data[:8192], 'bytes, expected'),
    (lambda data: data[:100], 'not a whole'), (lambda data: b'', 'not a whole'), (lambda data: b'no LMDB' * 2000, 'not a whole'),
])
def test_damaged_folders(source, tmp_path, change, says):
    path = source / 'data.mdb'
    path.write_bytes(change(path.read_bytes()))
    assert says in refused(tmp_path / 'out.zip', f'--source={source}')


def test_folders_that_hold_nothing(tmp_path):
    assert 'holds no pictures' in refused(tmp_path / 'out.zip', f'--source={write_lsun(tmp_path / "a_lmdb", {})}')
    plain = make_folder(tmp_path / 'plain_lmdb', {'1.png': png()})
    assert '1 images' in run(f'--source={plain}', f'--dest={tmp_path}/out.zip')


def test_the_library_is_named_if_it_is_missing(source, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'lmdb', None)
    assert 'pip install lmdb' in refused(tmp_path / 'out.zip', f'--source={source}')


def test_parts(source, tmp_path):
    assert 'is one part of LSUN' in refused(tmp_path / 'out.zip', f'--source={source}', '--split=val')
