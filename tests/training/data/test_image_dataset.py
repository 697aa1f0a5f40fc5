"""Tests of training.dataset, with training.data.image_files beneath it."""

import io
import json
import multiprocessing
import pickle
import struct
import zipfile
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from tests.support.dataset_files import SIDE, assert_one_line, make_folder, png, to_zip
from training.data import image_files
from training.data.image_convert import to_mode
from training.data.image_dataset import Dataset, ImageFolderDataset, check_dataset

# --- reading

@pytest.mark.parametrize('as_zip', [False, True])
def test_pixels_labels_and_order(tmp_path, as_zip):
    names = ['b/2.png', 'a/z/1.PNG', 'B/1.png', '7.png']
    folder = make_folder(tmp_path / 'set.v1', names, labels=[[name, i] for i, name in enumerate(names)])
    dataset = ImageFolderDataset(to_zip(folder) if as_zip else folder, use_labels=True)
    assert [dataset._image_names[i] for i in range(4)] == ['7.png', 'B/1.png', 'a/z/1.PNG', 'b/2.png']
    assert [int(dataset.get_details(i).raw_label) for i in range(4)] == [3, 2, 1, 0]
    for image, label in dataset:
        want = Image.open(folder / names[int(label.argmax())])
        np.testing.assert_array_equal(image, np.asarray(want).transpose(2, 0, 1))
        want.close()
        assert image.dtype == np.uint8 and label.dtype == np.float32 and label.sum() == 1
    assert dataset.name == ('set.v1' if as_zip else 'set')
    assert (dataset.image_shape, dataset.num_channels, dataset.resolution) == ([3, SIDE, SIDE], 3, SIDE)
    dataset.close()
    assert dataset[0][0].shape == (3, SIDE, SIDE)  # opens itself again
    dataset.close()


def test_formats_other_than_png_are_decoded_by_pillow(tmp_path):
    data = {'a.jpg': png(mode='L', file_format='JPEG'), 'b.bmp': png(mode='L', file_format='BMP')}
    dataset = ImageFolderDataset(make_folder(tmp_path, data))
    for index, name in enumerate(['a.jpg', 'b.bmp']):
        with Image.open(tmp_path / name) as image:
            np.testing.assert_array_equal(dataset[index][0], np.asarray(image)[None])


def test_without_pyspng_the_pixels_are_the_same(tmp_path, monkeypatch):
    dataset = ImageFolderDataset(make_folder(tmp_path, ['a.png']))
    fast = dataset[0][0]
    monkeypatch.setattr(image_files, 'pyspng', None)
    np.testing.assert_array_equal(dataset[0][0], fast)


def test_png_that_decoders_read_differently(tmp_path):
    """16 bits a colour, and a colour that stands for transparent, which shows black: both are 8-bit RGB to the data set."""
    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

    deep = np.random.default_rng(0).integers(0, 65536, (SIDE, SIDE, 3)).astype('>u2')
    rows = b''.join(b'\0' + row.tobytes() for row in deep)
    header = chunk(b'IHDR', struct.pack('>IIBBBBB', SIDE, SIDE, 16, 2, 0, 0, 0))
    files = {'deep.png': b'\x89PNG\r\n\x1a\n' + header + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')}
    plain = png()
    with Image.open(io.BytesIO(plain)) as image:
        pixels = np.asarray(image).copy()
    key = pixels[2, 3].astype('>u2').tobytes()
    files['key.png'] = plain[:33] + chunk(b'tRNS', key) + plain[33:]  # after the signature and IHDR
    dataset = ImageFolderDataset(make_folder(tmp_path, files))
    np.testing.assert_array_equal(dataset[0][0], (deep >> 8).astype(np.uint8).transpose(2, 0, 1))
    pixels[(pixels == pixels[2, 3]).all(axis=2)] = 0
    np.testing.assert_array_equal(dataset[1][0], pixels.transpose(2, 0, 1))


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('file_format', ['PNG', 'JPEG', 'WEBP', 'TIFF'])
def test_images_are_read_upright(tmp_path, orientation, file_format):
    """By training as by dataset_tool.py, and as Pillow's own function turns them."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    smooth = np.add.outer(np.arange(8) * 20, np.arange(8) * 10).astype(np.uint8)
    options = dict(lossless=True) if file_format == 'WEBP' else {}
    make_folder(tmp_path, {'a.png': png(smooth, file_format=file_format, exif=exif, **options)})
    with Image.open(tmp_path / 'a.png') as image:
        want = np.asarray(ImageOps.exif_transpose(image))
        mode = image.mode
    with Image.open(tmp_path / 'a.png') as image:
        np.testing.assert_array_equal(np.asarray(to_mode(image, mode)), want)
    got = ImageFolderDataset(tmp_path)[0][0]
    np.testing.assert_array_equal(got, want[None] if want.ndim == 2 else want.transpose(2, 0, 1))


def test_the_size_of_turned_images_is_as_shown(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for file_format in ('PNG', 'JPEG', 'TIFF'):
        folder = make_folder(tmp_path / file_format, {'a.png': png(size=(8, 16), exif=exif, file_format=file_format)})
        assert image_files.read_shape(image_files.ImageFiles(folder), 'a.png') == (3, 8, 16)


def test_hidden_and_other_files_are_no_images(tmp_path):
    files = {'a.png': png(), '._a.png': b'resource', '__MACOSX/b.png': b'resource', 'notes.txt': b'', 'c.png.bak': b''}
    assert len(ImageFolderDataset(make_folder(tmp_path, files))) == 1


def test_max_size_and_xflip(tmp_path):
    make_folder(tmp_path, [f'{i:02d}.png' for i in range(10)])
    dataset = ImageFolderDataset(tmp_path, max_size=4, xflip=True, random_seed=5)
    order = np.arange(10)
    np.random.RandomState(5).shuffle(order)
    chosen = sorted(order[:4].tolist())
    assert [dataset.get_details(i).raw_idx for i in range(len(dataset))] == chosen * 2
    assert [dataset.get_details(i).xflip for i in range(len(dataset))] == [False] * 4 + [True] * 4
    np.testing.assert_array_equal(dataset[5][0], dataset[1][0][:, :, ::-1])
    with pytest.raises(ValueError, match='max_size is 0'):
        ImageFolderDataset(tmp_path, max_size=0)


def test_what_an_item_gives_may_be_changed(tmp_path):
    dataset = ImageFolderDataset(make_folder(tmp_path, ['a.png'], labels=[['a.png', [1.5, 2]]]), use_labels=True)
    image, label = dataset[0]
    label[:], image[:] = 0, 0
    np.testing.assert_array_equal(dataset[0][1], np.float32([1.5, 2]))
    assert dataset[0][0].any()


# --- several processes

def _read_all(dataset, seed, results):
    order = np.random.default_rng(seed).integers(len(dataset), size=300)
    try:
        results.put(bool(all((dataset[i][0] == i).all() for i in order)))
    except Exception as error:
        results.put(repr(error))


@pytest.mark.filterwarnings('ignore:This process:DeprecationWarning')  # Python warns of forks beside threads
@pytest.mark.skipif('fork' not in multiprocessing.get_all_start_methods(), reason='this system does not fork')
def test_forked_workers_do_not_share_an_archive(tmp_path):
    """Each image is filled with its index; workers forked after the archive was opened read at once."""
    files = {f'{i:03d}.png': png(np.full((SIDE, SIDE), i, np.uint8)) for i in range(50)}
    dataset = ImageFolderDataset(to_zip(make_folder(tmp_path / 'set', files)))
    assert (dataset[7][0] == 7).all()
    context = multiprocessing.get_context('fork')
    results = context.Queue()
    workers = [context.Process(target=_read_all, args=(dataset, seed, results)) for seed in range(3)]
    for worker in workers:
        worker.start()
    assert [results.get(timeout=60) for _ in workers] == [True] * 3
    for worker in workers:
        worker.join()
    dataset.close()


def test_data_loader(tmp_path):
    dataset = ImageFolderDataset(to_zip(make_folder(tmp_path / 'set', ['cat/1.png', 'dog/1.png'])), use_labels=True)
    images, labels = next(iter(torch.utils.data.DataLoader(dataset, batch_size=2)))
    assert images.shape == (2, 3, SIDE, SIDE) and images.dtype == torch.uint8
    assert labels.tolist() == [[1, 0], [0, 1]]
    dataset.close()


def test_pickled_set_drops_its_archive(tmp_path):
    dataset = ImageFolderDataset(to_zip(make_folder(tmp_path / 'set', ['1.png'])))
    again = pickle.loads(pickle.dumps(dataset))
    np.testing.assert_array_equal(again[0][0], dataset[0][0])
    dataset.close()
    np.testing.assert_array_equal(again[0][0], dataset[0][0])
    again.close()
    dataset.close()


def test_a_set_of_another_kind(tmp_path):
    class Ramp(Dataset):
        def _load_raw_image(self, raw_idx):
            return np.full((1, SIDE, SIDE), raw_idx, np.uint8)

        def _load_raw_labels(self):
            return np.array([0, 1, 2])

    dataset = Ramp('ramp', [3, 1, SIDE, SIDE], use_labels=True)
    assert dataset[2][0].max() == 2 and dataset[2][1].tolist() == [0, 0, 1] and dataset.class_names == ['0', '1', '2']
    check_dataset(dataset)


# --- wrong input

def test_paths_that_are_no_data_set(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        ImageFolderDataset(tmp_path / 'absent')
    assert_one_line(error, 'absent', 'no such')
    (tmp_path / 'empty').mkdir()
    zipfile.ZipFile(tmp_path / 'empty.zip', 'w').close()
    (tmp_path / 'notes.txt').write_text('text')
    for name, says in [('empty', 'no image among 0 files'), ('empty.zip', 'no image among 0 files'), ('notes.txt', 'zip')]:
        with pytest.raises(OSError) as error:
            ImageFolderDataset(tmp_path / name)
        assert_one_line(error, name, says)


def test_damaged_archives(tmp_path):
    path = to_zip(make_folder(tmp_path / 'set', ['1.png', '2.png']))
    data = bytearray((tmp_path / 'set.zip').read_bytes())
    (tmp_path / 'cut.zip').write_bytes(data[:len(data) // 2])
    with pytest.raises(OSError) as error:
        ImageFolderDataset(tmp_path / 'cut.zip')
    assert_one_line(error, 'cut.zip', 'nor a complete zip')
    with zipfile.ZipFile(path) as archive:
        at = archive.getinfo('2.png').header_offset + 60  # inside the compressed bytes
    data[at:at + 20] = bytes(20)
    (tmp_path / 'flipped.zip').write_bytes(data)
    dataset = ImageFolderDataset(tmp_path / 'flipped.zip')
    with pytest.raises(OSError) as error:
        _ = dataset[1]
    assert_one_line(error, '2.png')
    dataset.close()


@pytest.mark.parametrize('method', [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, 99])  # 99: no such method
@pytest.mark.parametrize('name', ['1.png', 'dataset.json'])
def test_damage_inside_compressed_files(tmp_path, method, name):
    """Each way of compression has errors of its own."""
    path = tmp_path / 'set.zip'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_STORED if method == 99 else method) as archive:
        for index in range(2):
            archive.writestr(f'{index}.png', png())
        archive.writestr('dataset.json', json.dumps(dict(labels=[['0.png', 0], ['1.png', 1]])))
        damaged, directory = archive.getinfo(name), archive.start_dir
    data = bytearray(path.read_bytes())
    if method == 99:
        at = data.index(name.encode(), directory) - 36  # of the method in the entry of the directory
        data[at:at + 2] = data[damaged.header_offset + 8:damaged.header_offset + 10] = b'c\0'
    else:
        at = damaged.header_offset + 30 + len(name)
        data[at + 10:at + damaged.compress_size] = bytes([0xff] * (damaged.compress_size - 10))
    path.write_bytes(data)
    with pytest.raises(OSError) as error:
        check_dataset(ImageFolderDataset(path, use_labels=True))
        _ = ImageFolderDataset(path)[1]
    assert_one_line(error, 'set.zip', name)


@pytest.mark.parametrize(('size', 'says'), [((8, 16), '8x16'), ((12, 12), '12x12'), ((2, 2), '2x2')])
def test_sizes_without_networks(tmp_path, size, says):
    with pytest.raises(OSError) as error:
        ImageFolderDataset(make_folder(tmp_path, {'a.png': png(size=size)}))
    assert_one_line(error, 'a.png', says, 'power of two', 'dataset_tool.py')


def test_another_resolution_than_asked_for(tmp_path):
    with pytest.raises(OSError) as error:
        ImageFolderDataset(make_folder(tmp_path, ['a.png']), resolution=16)
    assert_one_line(error, '8x8', '16x16')


@pytest.mark.parametrize(('odd', 'says'), [
    (dict(size=(16, 16)), '16x16 RGB'), (dict(mode='L'), '8x8 gray'),
    (dict(mode='RGBA'), 'mode RGBA'), (dict(mode='LA'), 'mode LA'),
])
def test_image_unlike_the_first(tmp_path, odd, says):
    make_folder(tmp_path, {'a.png': png(), 'b.png': png(**odd), 'c.png': png(**odd), 'd.png': png()})
    dataset = ImageFolderDataset(tmp_path)
    with pytest.raises(OSError) as error:
        _ = dataset[1]
    assert_one_line(error, 'b.png', says, 'dataset_tool.py')
    with pytest.raises(OSError) as error:
        check_dataset(dataset)
    assert_one_line(error, 'b.png', says, '2 of 4')


@pytest.mark.parametrize('data', [b'', b'no image', png()[:40], png(mode='CMYK', file_format='JPEG')])
def test_unreadable_image(tmp_path, data):
    dataset = ImageFolderDataset(make_folder(tmp_path, {'a.png': png(), 'b.png': data}))
    with pytest.raises(OSError) as error:
        _ = dataset[1]
    assert_one_line(error, 'b.png')
    with pytest.raises(OSError):
        ImageFolderDataset(make_folder(tmp_path / 'alone', {'b.png': data}))[0]


def test_check_looks_at_the_chosen_images_only(tmp_path):
    files = {f'{i}.png': png() for i in range(6)}
    order = np.arange(6)
    np.random.RandomState(0).shuffle(order)
    files[f'{max(order[3:])}.png'] = b'broken'
    dataset = ImageFolderDataset(make_folder(tmp_path, files), max_size=3)
    check_dataset(dataset)
    with pytest.raises(OSError, match='1 of 6'):
        check_dataset(ImageFolderDataset(tmp_path))
