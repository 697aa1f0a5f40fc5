"""Tests of dataset_tool.py, with training.data.dataset_maker, dataset_writer and image_convert beneath it."""

import contextlib
import io
import os
import re
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import dataset_tool
from commands.data_facts import inspect_data
from tests.support.dataset_commands import contents, first_image, refused, run
from tests.support.dataset_files import SIDE, make_folder, png, to_zip
from training.data.builtin_data import digits, letters
from training.data.dataset_writer import DatasetWriter
from training.data.image_convert import center_square, resize, to_mode
from training.data.image_dataset import ImageFolderDataset

# --- what comes out

@pytest.mark.parametrize('color, channels', [('gray', 1), ('rgb', 3)])
@pytest.mark.parametrize('mode', ['L', 'RGB'])
def test_color_as_asked_for(tmp_path, mode, color, channels):
    (tmp_path / 'a').mkdir()
    Image.new(mode, (8, 8), 'white').save(tmp_path / 'a' / 'x.png')
    run(f'--source={tmp_path}/a', f'--dest={tmp_path}/out.zip', f'--color={color}')
    image = first_image(tmp_path / 'out.zip')
    assert image.shape == (channels, 8, 8) and (image == 255).all()


def test_class_folders_to_zip(tmp_path):
    names = ['cat/x.png', 'cat/y.png', 'dog/x.png']
    source = make_folder(tmp_path / 'animals', names)
    output = run(f'--source={source}', f'--dest={tmp_path}/deep/er/out.zip')
    assert output.strip().endswith('3 images, 8x8 RGB, 2 classes (cat 2, dog 1)')
    files, labels = contents(tmp_path / 'deep' / 'er' / 'out.zip')
    wanted = [f'00000/img{i:08d}.png' for i in range(3)]
    assert list(files) == [*wanted, 'dataset.json']
    assert labels == {'labels': [[wanted[0], 0], [wanted[1], 0], [wanted[2], 1]], 'class_names': ['cat', 'dog']}
    for name, original in zip(wanted, names, strict=True):
        with Image.open(io.BytesIO(files[name])) as got, Image.open(source / original) as want:
            np.testing.assert_array_equal(np.asarray(got), np.asarray(want))
            assert len(files[name]) > got.width * got.height * 3  # not compressed
    with zipfile.ZipFile(tmp_path / 'deep' / 'er' / 'out.zip') as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}


def test_zip_to_folder_and_back_gives_the_same_bytes(tmp_path):
    labels = [['a.png', [0.5, 1.0]], ['b.png', [2.0, 3.0]]]
    source = to_zip(make_folder(tmp_path / 'set', ['a.png', 'b.png'], labels))
    assert 'labels of 2 numbers' in run(f'--source={source}', f'--dest={tmp_path}/1.zip')
    (tmp_path / 'unpacked').mkdir()
    run(f'--source={tmp_path}/1.zip', f'--dest={tmp_path}/unpacked')
    run(f'--source={tmp_path}/unpacked', f'--dest={tmp_path}/2.zip')
    assert (tmp_path / '1.zip').read_bytes() == (tmp_path / '2.zip').read_bytes()
    assert contents(tmp_path / '1.zip')[1]['labels'][1] == ['00000/img00000001.png', [2.0, 3.0]]


def test_more_than_a_thousand_images_take_a_second_folder(tmp_path):
    with DatasetWriter(tmp_path / 'out.zip') as writer:
        for i in range(1001):
            writer.add(Image.new('L', (4, 4), i % 256), None if i == 500 else 0)
    files, labels = contents(tmp_path / 'out.zip')
    assert list(files)[999:1001] == ['00000/img00000999.png', '00001/img00001000.png']
    assert labels == {'labels': None, 'class_names': []}  # one image has no label


def test_max_images_is_a_seeded_choice(tmp_path):
    source = make_folder(tmp_path / 'set', {f'{i}.png': png(np.full((SIDE, SIDE), i, np.uint8)) for i in range(10)})
    for seed in (0, 1):
        run(f'--source={source}', f'--dest={tmp_path}/{seed}.zip', '--max-images=4', f'--seed={seed}')
    run(f'--source={source}', f'--dest={tmp_path}/again.zip', '--max-images=4', '--seed=0')
    chosen = [[int(image[0, 0, 0]) for image, _ in ImageFolderDataset(tmp_path / f'{name}.zip')] for name in ('0', '1', 'again')]
    assert len(set(chosen[0])) == 4 and chosen[0] == sorted(chosen[0])
    assert chosen[0] == chosen[2] != chosen[1]


def test_builtin_sets(tmp_path):
    run('--source=builtin:letters', f'--dest={tmp_path}/letters.zip', '--max-images=3', '--seed=7')
    dataset = ImageFolderDataset(tmp_path / 'letters.zip', use_labels=True)
    assert not dataset.has_labels
    np.testing.assert_array_equal(np.stack([image[0] for image, _ in dataset]), letters(3, seed=7))
    for name, split in [('digits', 'train'), ('digits-test', 'test')]:
        run(f'--source=builtin:{name}', f'--dest={tmp_path}/{name}.zip')
        dataset = ImageFolderDataset(tmp_path / f'{name}.zip', use_labels=True)
        images, classes = digits(split)
        np.testing.assert_array_equal(np.stack([image[0] for image, _ in dataset]), images)
        assert [int(label.argmax()) for _, label in dataset] == classes.tolist()
        assert dataset.class_names == [str(i) for i in range(10)]


# --- sizes

def test_crop_and_resize(tmp_path):
    pixels = np.zeros((8, 16), np.uint8)
    pixels[:, 4:12] = np.repeat(np.repeat(np.arange(16, dtype=np.uint8).reshape(4, 4) * 10, 2, axis=0), 2, axis=1)
    source = make_folder(tmp_path / 'set', {'a.png': png(pixels)})
    run(f'--source={source}', f'--dest={tmp_path}/crop.zip', '--transform=center-crop')
    np.testing.assert_array_equal(first_image(tmp_path / 'crop.zip')[0], pixels[:, 4:12])
    run(f'--source={source}', f'--dest={tmp_path}/both.zip', '--transform=center-crop', '--resolution=4x4', '--resize-filter=box')
    np.testing.assert_array_equal(first_image(tmp_path / 'both.zip')[0], np.arange(16).reshape(4, 4) * 10)
    run(f'--source={source}', f'--dest={tmp_path}/squeezed.zip', '--width=8', '--height=8', '--resize-filter=box')
    squeezed = (pixels[:, ::2].astype(int) + pixels[:, 1::2]) // 2
    np.testing.assert_array_equal(first_image(tmp_path / 'squeezed.zip')[0], squeezed)


@pytest.mark.parametrize('size', [(5, 8), (8, 5), (7, 7)])
def test_center_square(size):
    image = center_square(Image.new('L', size))
    assert image.size == (min(size),) * 2


def test_resize_keeps_a_constant():
    for name in ('box', 'lanczos'):
        assert set(resize(Image.new('L', (9, 5), 77), 16, name).tobytes()) == {77}


# --- modes

def test_gray_stays_gray_only_if_all_are(tmp_path):
    gray = {'a.png': png(mode='L'), 'b.png': png(mode='LA')}
    assert 'gray' in run(f'--source={make_folder(tmp_path / "gray", gray)}', f'--dest={tmp_path}/gray.zip')
    mixed = make_folder(tmp_path / 'mixed', {'a.png': png(mode='L'), 'z.jpg': png(mode='CMYK', file_format='JPEG')})
    assert 'RGB' in run(f'--source={mixed}', f'--dest={tmp_path}/mixed.zip')
    image = first_image(tmp_path / 'mixed.zip')
    with Image.open(mixed / 'a.png') as want:
        np.testing.assert_array_equal(image, np.broadcast_to(np.asarray(want), (3, SIDE, SIDE)))


def test_transparent_parts_show_black():
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 4)).astype(np.uint8)
    got = np.asarray(to_mode(Image.fromarray(pixels), 'RGB')).astype(float)
    np.testing.assert_allclose(got, pixels[:, :, :3] * (pixels[:, :, 3:] / 255), atol=1)  # rounded in 8 bits


def test_palette_with_a_transparent_colour():
    image = Image.new('P', (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1])
    image.info['transparency'] = 0
    assert np.asarray(to_mode(image, 'RGB')).tolist() == [[[0, 0, 0], [200, 100, 50]]]


def test_sixteen_bits_are_scaled():
    shades = np.array([[0, 128, 129, 257, 32768, 65535]], dtype=np.uint16)
    assert np.asarray(to_mode(Image.fromarray(shades), 'L')).tolist() == [[0, 0, 1, 1, 128, 255]]


def test_exif_rotation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by a quarter, clockwise
    pixels = np.zeros((4, 8), np.uint8)
    pixels[:, 4:] = 255  # right half: the lower half when upright
    source = make_folder(tmp_path / 'set', {'a.png': png(pixels, exif=exif)})
    assert '4x8 pixels' in refused(tmp_path / 'out.zip', f'--source={source}')  # width and height as shown
    run(f'--source={source}', f'--dest={tmp_path}/out.zip', '--resolution=4', '--resize-filter=box')
    np.testing.assert_array_equal(first_image(tmp_path / 'out.zip')[0, :, 0], [0, 0, 255, 255])


# --- what is found and what is left out

def make_set(folder, *classes, **files):
    """Two pictures of each class, and further files."""
    return make_folder(folder, {**{f'{name}/{i}.png': png(seed=i) for name in classes for i in range(2)}, **files})


def table(output):
    """{class: (kept, left out, why)} of the printed table."""
    rows = [re.fullmatch(r'(.*?) +(\d+) +(\d+)(?:  (.*))?', line) for line in output.splitlines()]
    return {row[1]: (int(row[2]), int(row[3]), row[4] or '') for row in rows if row}


def test_the_table_names_what_is_left_out_and_why(tmp_path):
    source = make_set(tmp_path / 'set', 'cat', 'dog', **{
        'cat/notes.txt': b'', 'cat/@eaDir/0.png': png(), 'wild/a.HEIC': b'', 'wild/b.HEIC': b'', 'dog/.hidden.png': png(),
        'dog/0a1b': png(), 'preview.png': png()})
    (source / 'none').mkdir()
    output = run(f'--source={source}', f'--dest={tmp_path}/out.zip')
    rows = table(output)
    assert rows['cat'][:2] == (2, 2) and 'ending .txt (cat/notes.txt)' in rows['cat'][2] and '@eaDir' in rows['cat'][2]
    assert rows['dog'][:2] == (3, 1) and 'hidden' in rows['dog'][2]
    assert rows['wild'][:2] == (0, 2) and '2 x HEIC' in rows['wild'][2] and 'convert' in rows['wild'][2]
    assert rows['none'] == (0, 1, '1 x empty folder (none/)')
    assert rows['(no class)'] == (0, 1, '1 x in no class folder (preview.png)')
    assert 'Note: wild is not a class of the set' in output and 'Note: none is not a class' in output
    assert output.strip().endswith('5 images, 8x8 RGB, 2 classes (cat 2, dog 3)')


def test_the_table_of_many_classes_shows_those_that_lose_pictures(tmp_path):
    names = [f'c{i:02d}' for i in range(40)]
    rows = table(run(f'--source={make_set(tmp_path / "set", *names, **{"c33/x.txt": b""})}', f'--dest={tmp_path}/out.zip'))
    assert len(rows) == 20 and rows['c33'][:2] == (2, 1)


def test_a_source_without_pictures_says_what_it_holds(tmp_path):
    source = make_folder(tmp_path / 'set', {'a.heic': b'', 'b.heic': b'', 'c.txt': b''})
    assert 'found 2 x HEIC' in refused(tmp_path / 'out.zip', f'--source={source}')


def test_parts_of_a_set_have_to_be_chosen(tmp_path):
    source = make_set(tmp_path / 'set', 'train/cat', 'train/dog', 'val/cat', 'val/dog')
    assert 'train, val are splits of a set' in refused(tmp_path / 'out.zip', f'--source={source}')
    for part, images in [('train', 4), ('val', 4), ('all', 8)]:
        output = run(f'--source={source}', f'--dest={tmp_path}/{part}.zip', f'--split={part}')
        assert f'{images} images' in output and f'(cat {images // 2}, dog {images // 2})' in output
    assert table(output) == {'cat': (4, 0, ''), 'dog': (4, 0, '')}
    assert 'no such folder' in refused(tmp_path / 'out.zip', f'--source={source}', '--split=test')


def test_the_reason_for_no_labels_goes_with_the_set(tmp_path):
    source = make_folder(tmp_path / 'set', ['cat/1.png', 'dog/1.png', 'x.png'])
    output = run(f'--source={source}', f'--dest={tmp_path}/1.zip')
    assert 'Note: the set has no labels: x.png is in no class folder' in output
    run(f'--source={tmp_path}/1.zip', f'--dest={tmp_path}/2.zip')
    with pytest.raises(ValueError, match=r'needs: x\.png is in no class folder, beside cat, dog'):
        inspect_data(str(tmp_path / '2.zip'), cond=True)


def test_label_vectors_are_noted(tmp_path):
    source = make_folder(tmp_path / 'set', ['a.png', 'b.png'], [['a.png', [0.5]], ['b.png', [2]]])
    assert 'vectors of 1 numbers, the first is [0.5], not classes' in run(f'--source={source}', f'--dest={tmp_path}/out.zip')


def test_broken_pictures_can_be_left_out(tmp_path):
    source = make_set(tmp_path / 'set', 'cat', 'dog', **{
        'cat/half.png': png()[:-60], 'cat/text.png': b'text', 'dog/web.jpg': b'<html>', 'ill/1.png': b'',
        'ill/2.png': png()[:50]})
    assert '--skip-broken' in refused(tmp_path / 'out.zip', f'--source={source}')
    output = run(f'--source={source}', f'--dest={tmp_path}/out.zip', '--skip-broken')
    rows = table(output)
    assert rows['cat'][:2] == (2, 2) and rows['ill'][:2] == (0, 2) and 'not a picture but a web page' in rows['dog'][2]
    assert output.strip().endswith('2 classes (cat 2, dog 2)')
    assert contents(tmp_path / 'out.zip')[1]['class_names'] == ['cat', 'dog']
    only = make_folder(tmp_path / 'only', {'a.png': b'', 'b.png': b''})
    assert '2 of 2 pictures' in refused(tmp_path / 'none.zip', f'--source={only}', '--skip-broken')


def turned_jpeg(*entries):
    """A picture of 8x4, upright 4x8, whose EXIF also has these 12-byte entries."""
    entries = [struct.pack('<HHII', 0x0112, 3, 1, 6), *entries]
    tiff = b'II*\0' + struct.pack('<IH', 8, len(entries)) + b''.join(sorted(entries)) + bytes(4) + bytes(64)
    return png(size=(8, 4), file_format='JPEG', exif=b'Exif\0\0' + tiff)


@pytest.mark.parametrize('entry', [
    struct.pack('<HHII', 0x010f, 5, 1, 60), struct.pack('<HHII', 0x010f, 12, 1, 60), struct.pack('<HHII', 0x010e, 3, 8, 60),
    struct.pack('<HHII', 0x0213, 2, 3, 0x414141), struct.pack('<HHII', 0x9286, 7, 10**9, 60),
    struct.pack('<HHII', 0x8769, 4, 1, 8),
])
def test_odd_metadata_are_no_reason_to_lose_a_picture(tmp_path, entry):
    source = make_folder(tmp_path / 'set', {'a.jpg': turned_jpeg(), 'b.jpg': turned_jpeg(entry)})
    run(f'--source={source}', f'--dest={tmp_path}/out.zip', '--transform=center-crop', '--resolution=4')
    dataset = ImageFolderDataset(tmp_path / 'out.zip')
    np.testing.assert_array_equal(dataset[0][0], dataset[1][0])
    dataset.close()


@pytest.mark.parametrize('profile', ['\nexif\n 12\nno hexadecimal digits', '\nexif\n 6\n4d4d00ff'])
def test_metadata_that_pillow_cannot_read_are_passed_over(tmp_path, profile):
    """As some tools write them into PNG: Pillow raises a ValueError, or finds no TIFF."""
    text = PngInfo()
    text.add_text('Raw profile type exif', profile)
    source = make_folder(tmp_path / 'set', {'a.png': png(), 'b.png': png(pnginfo=text)})
    run(f'--source={source}', f'--dest={tmp_path}/out.zip')
    with contextlib.closing(ImageFolderDataset(tmp_path / 'out.zip')) as dataset:
        np.testing.assert_array_equal(dataset[0][0], dataset[1][0])


def test_training_reads_a_folder_as_the_tool_converts_it(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    smooth = np.add.outer(np.arange(8) * 20, np.arange(8) * 10).astype(np.uint8)
    source = make_folder(tmp_path / 'set', {'a.jpg': png(smooth, exif=exif, file_format='JPEG'), 'b.png': png(smooth, exif=exif),
                                            'c.png': png(smooth, transparency=70)})
    run(f'--source={source}', f'--dest={tmp_path}/out.zip')
    direct, converted = ImageFolderDataset(source), ImageFolderDataset(tmp_path / 'out.zip')
    for index in range(3):
        np.testing.assert_array_equal(direct[index][0], converted[index][0])
    assert (direct[1][0] != smooth).any() and (direct[2][0] == 0).sum() > (smooth == 0).sum()


def test_pictures_nearly_without_contrast_are_noted(tmp_path):
    deep = {f'{i}.png': png(np.random.default_rng(i).integers(0, 4096, (SIDE, SIDE)).astype(np.uint16)) for i in range(3)}
    deep['0.png'] = png(np.linspace(7, 4095, SIDE * SIDE).astype(np.uint16).reshape(SIDE, SIDE))
    output = run(f'--source={make_folder(tmp_path / "deep", deep)}', f'--dest={tmp_path}/deep.zip')
    assert '3 of 3 pictures came out nearly constant' in output and 'to 4095 of 65535; scale the files' in output
    black = np.zeros((SIDE, SIDE, 4), np.uint8)
    black[::2, :, 3] = 255
    output = run(f'--source={make_folder(tmp_path / "alpha", {"a.png": png(black), "b.png": png()})}', f'--dest={tmp_path}/a.zip')
    assert '1 of 2 pictures came out nearly constant, the first is a.png: transparent parts become black' in output
    assert 'constant' not in run(f'--source={make_folder(tmp_path / "good", ["a.png"])}', f'--dest={tmp_path}/good.zip')


# --- wrong input

@pytest.mark.parametrize(('files', 'says'), [
    ({'a.png': png(size=(8, 12))}, '8x12 pixels, expected a square; give --resolution'),
    ({'a.png': png(size=(12, 12))}, 'power of two'),
    ({'a.png': png(), 'b.png': png(size=(16, 16)), 'c.png': png(size=(4, 8))},
     'b.png is 16x16 pixels, expected 8x8 like the first (2 of 3 differ)'),
    ({'a.png': png(), 'b.png': b'no image', 'c.png': b''}, 'cannot use b.png'),
    ({'a.png': png(), 'b.png': b'no image', 'c.png': b''}, '2 of 3 pictures'),
    ({'a.png': png(), 'b.png': png()[:-60]}, 'cannot use b.png'),  # its header is whole
    ({'notes.txt': b'text'}, 'no image among 1 files'),
    ({'a.png': png(), 'dataset.json': b'{"labels": [["b.png", 0]]}'}, 'lists b.png, which is not there'),
    ({'a.png': png(), 'dataset.json': b'no json'}, 'not JSON'),
])
def test_sources_that_make_no_set(tmp_path, files, says):
    assert says in refused(tmp_path / 'out.zip', f'--source={make_folder(tmp_path / "set", files)}')


def test_float_pixels(tmp_path):
    (tmp_path / 'set').mkdir()
    Image.new('F', (SIDE, SIDE)).save(tmp_path / 'set' / 'a.tiff')
    assert 'floating-point' in refused(tmp_path / 'out.zip', f'--source={tmp_path}/set')


def test_a_failure_keeps_the_older_archive(tmp_path):
    make_folder(tmp_path / 'set', {'a.png': png(), 'b.png': png()[:-60]})
    (tmp_path / 'out.zip').write_bytes(b'older')
    refused(tmp_path / 'out.zip', f'--source={tmp_path}/set')
    assert (tmp_path / 'out.zip').read_bytes() == b'older'


def test_destinations_that_would_destroy(tmp_path):
    source = make_folder(tmp_path / 'set', ['a.png'])
    (tmp_path / 'file').write_text('mine')
    (tmp_path / 'folder.zip').mkdir()
    archive = to_zip(source)
    assert 'folder that is not empty' in refused(source, f'--source={archive}')
    assert 'is the source itself' in refused(tmp_path / 'set.zip', f'--source={archive}')
    assert 'is a file' in refused(tmp_path / 'file', f'--source={source}')
    assert 'is a folder' in refused(tmp_path / 'folder.zip', f'--source={source}')
    assert (tmp_path / 'file').read_text() == 'mine'


def test_a_folder_in_the_source_would_be_part_of_it_the_next_time(tmp_path, monkeypatch):
    source = make_folder(tmp_path / 'set', ['a.png', 'b.png'])
    (tmp_path / 'link').symlink_to(source)
    monkeypatch.chdir(tmp_path)
    for dest in (source / 'out', source / 'new' / 'out', tmp_path / 'link' / 'out'):
        for name in (source, 'set', 'link'):
            assert 'lies inside --source' in run(f'--source={name}', f'--dest={dest}', code=2)
    assert sorted(os.listdir(source)) == ['a.png', 'b.png']
    for dest in (source / 'out.zip', tmp_path / 'set-out', source / '..' / 'out'):
        assert '2 images' in run(f'--source={source}', f'--dest={dest}')
    assert '2 images' in run(f'--source={source}', f'--dest={tmp_path}/again')


@pytest.mark.parametrize(('args', 'says'), [
    (['--source=builtin:faces'], 'builtin:letters, builtin:digits'),
    (['--source=absent'], 'absent: no such folder or zip file'),
    (['--source=builtin:digits', '--width=32', '--height=64'], '32 and 64'),
])
def test_arguments_that_contradict(tmp_path, args, says):
    assert says in refused(tmp_path / 'out.zip', *args)


@pytest.mark.parametrize('args', [['--resolution=48'], ['--resolution=64x32'], ['--resolution=big'], ['--resize-filter=magic'],
                                  ['--max-images=0'], ['--transform=mirror']])
def test_wrong_options_leave_nothing(tmp_path, args):
    output = run('--source=builtin:digits', f'--dest={tmp_path}/out.zip', *args, code=2)
    assert args[0].split('=')[0] in output
    assert os.listdir(tmp_path) == []


def test_an_interrupted_run_leaves_nothing(tmp_path):
    for name in ('out.zip', 'out'):
        with pytest.raises(KeyboardInterrupt), DatasetWriter(tmp_path / 'new' / name) as writer:
            writer.add(Image.new('L', (4, 4)))
            raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


def test_help_has_an_example():
    assert 'Example: python dataset_tool.py --source=animals' in ' '.join(run('--help').split())


def test_a_data_set_is_made_without_torch(tmp_path):
    """Which would take most of the time of a small one."""
    Image.new('L', (8, 8), 200).save(tmp_path / 'a.png')
    code = 'import sys; sys.modules["torch"] = None; import dataset_tool; dataset_tool.main()'
    done = subprocess.run([sys.executable, '-c', code, f'--source={tmp_path}', f'--dest={tmp_path / "set.zip"}'],
                          cwd=Path(dataset_tool.__file__).parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and (tmp_path / 'set.zip').is_file(), done.stderr
