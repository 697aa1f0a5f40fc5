"""CIFAR-10's published archive through dataset_tool.py, and what must not be done with a pickle from elsewhere."""

import pickle
import tarfile

import numpy as np
import pytest

from tests.support.dataset_commands import contents, refused, run
from tests.support.pickle_opcodes import Evil
from tests.support.published_archives import CIFAR_NAMES, cifar_batch, cifar_files, cifar_meta, packed, python2_pickle, tar_gz
from training.data.archives import cifar10
from training.data.image_dataset import ImageFolderDataset

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.integers(0, 256, (11, 32, 32, 3)).astype(np.uint8), RNG.integers(0, 10, 11)
TEST_IMAGES, TEST_LABELS = RNG.integers(0, 256, (3, 32, 32, 3)).astype(np.uint8), [9, 0, 3]
FILES = cifar_files(IMAGES, LABELS, TEST_IMAGES, TEST_LABELS)
FOLDER = 'cifar-10-batches-py'


def write(tmp_path, changes=None):
    """The archive, with some members replaced, or left out if None."""
    files = {name: content for name, content in {**FILES, **(changes or {})}.items() if content is not None}
    path = tmp_path / 'cifar-10-python.tar.gz'
    path.write_bytes(tar_gz(files))
    return path


def test_the_archives_here_have_the_published_form():
    """batches.meta has 158 bytes, as published, and Python's own unpickler reads the batches."""
    assert len(cifar_meta()) == 158
    batch = pickle.loads(FILES[f'{FOLDER}/test_batch'], encoding='bytes')
    assert batch[b'labels'] == TEST_LABELS and batch[b'data'].shape == (3, 3072) and batch[b'data'].dtype == np.uint8
    np.testing.assert_array_equal(batch[b'data'][0].reshape(3, 32, 32)[1], TEST_IMAGES[0, :, :, 1])


@pytest.mark.parametrize('args, images, labels', [
    ([], IMAGES, LABELS), (['--split=train'], IMAGES, LABELS), (['--split=test'], TEST_IMAGES, TEST_LABELS),
    (['--split=all'], [*IMAGES, *TEST_IMAGES], [*LABELS, *TEST_LABELS]),
])
def test_images_labels_and_names(tmp_path, args, images, labels):
    output = run(f'--source={write(tmp_path)}', f'--dest={tmp_path}/out.zip', *args)
    assert f'{len(images)} images, 32x32 RGB, 10 classes (airplane ' in output
    dataset = ImageFolderDataset(tmp_path / 'out.zip', use_labels=True)
    assert dataset.class_names == CIFAR_NAMES
    assert [int(label.argmax()) for _image, label in dataset] == list(labels)
    np.testing.assert_array_equal(np.stack([image for image, _label in dataset]), np.stack(images).transpose(0, 3, 1, 2))


def test_fewer_images_and_another_order_in_the_archive(tmp_path):
    path = tmp_path / 'any-name.tgz'
    path.write_bytes(tar_gz(dict(reversed(FILES.items()))))
    output = run(f'--source={path}', f'--dest={tmp_path}/out.zip', '--max-images=4', '--resolution=16', '--color=gray')
    assert 'is not a class' not in output  # of those that lost all images
    files, labels = contents(tmp_path / 'out.zip')
    assert len(files) == 5 and len(labels['labels']) == 4 and labels['class_names'] == CIFAR_NAMES


def hostile(path):
    """A pickle that runs a command when Python reads it."""
    return pickle.dumps({'data': Evil(path), 'labels': [0]}, 2)


def test_a_hostile_pickle_runs_nothing(tmp_path, canary):
    assert b'system' in hostile(canary)
    for name in ('batches.meta', 'data_batch_3'):
        source = write(tmp_path, {f'{FOLDER}/{name}': hostile(canary)})
        output = refused(tmp_path / 'out.zip', f'--source={source}')
        assert "it refers to 'posix.system', which is not allowed" in output and name in output


def test_pickles_outside_of_the_folder_are_not_read(tmp_path, canary):
    others = {'other/data_batch_1': hostile(canary), 'data_batch_1': hostile(canary), f'{FOLDER}/more': hostile(canary)}
    assert '11 images' in run(f'--source={write(tmp_path, others)}', f'--dest={tmp_path}/out.zip')


ROWS = IMAGES[:2].transpose(0, 3, 1, 2).reshape(2, -1)


@pytest.mark.parametrize('batch, says', [
    (cifar_batch(IMAGES[:2], [1]), 'has 1 labels, expected 2'),
    (cifar_batch(IMAGES[:2], [1, 10]), 'not a number from 0 to 9'),
    (python2_pickle({'data': ROWS, 'fine_labels': [1, 2]}), 'has no list of labels, expected 2'),
    (python2_pickle({'data': ROWS, 'labels': ['cat', 'dog']}), 'not a number from 0 to 9'),
    (python2_pickle({'data': ROWS[:, :-1].copy(), 'labels': [1, 2]}), 'the data uint8 [2, 3071], expected uint8 [N, 3072]'),
    (python2_pickle({'data': ROWS.view(np.int8), 'labels': [1, 2]}), 'the data int8'),
    (python2_pickle({'data': ROWS.ravel(), 'labels': [1, 2]}), 'the data uint8 [6144]'),
    (python2_pickle({'data': [0, 1], 'labels': [1, 2]}), 'the data none'),
    (python2_pickle([1, 2]), 'the data none'),
    (cifar_batch(IMAGES[:2], [1, 2])[:5000], 'is not a pickle of CIFAR-10'),
    (cifar_batch(IMAGES[:2], [1, 2]).replace(b'K\x02M\x00\x0c', b'K\x03M\x00\x0c'), 'is not a pickle of CIFAR-10'),
    (b'', 'is not a pickle of CIFAR-10'), (b'PK\3\4', 'is not a pickle of CIFAR-10'), (None, f'has no {FOLDER}/data_batch_2'),
])
def test_batches_that_are_none(tmp_path, batch, says):
    source = write(tmp_path, {f'{FOLDER}/data_batch_2': batch})
    output = refused(tmp_path / 'out.zip', f'--source={source}')
    assert says in output and 'data_batch_2' in output


@pytest.mark.parametrize('meta', [
    python2_pickle({'label_names': []}), python2_pickle({'label_names': [1, 2]}), python2_pickle([1]),
    python2_pickle({'fine_label_names': ['a']}), cifar_meta(['cat', 'cat']), None,
])
def test_class_names_that_are_none(tmp_path, meta):
    source = write(tmp_path, {f'{FOLDER}/batches.meta': meta})
    assert 'batches.meta' in refused(tmp_path / 'out.zip', f'--source={source}')


def linked(kind, size=0):
    info = tarfile.TarInfo(f'{FOLDER}/data_batch_1')
    info.type, info.linkname, info.size = kind, '/etc/passwd', size
    return info


@pytest.mark.parametrize('kind', [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_members_that_are_no_files(tmp_path, kind):
    source = write(tmp_path, {f'{FOLDER}/data_batch_1': linked(kind)})
    assert 'data_batch_1 is no file of up to' in refused(tmp_path / 'out.zip', f'--source={source}')


def test_sizes_are_limited(tmp_path, monkeypatch):
    source = write(tmp_path)
    for name, limit, says in [('MAX_FILE_BYTES', 3000, 'no file of up to 3,000 bytes'), ('MAX_FILES', 3, 'more than 3 files'),
                              ('MAX_BYTES', 20_000, 'unpacks to more than 20,000 bytes')]:
        with monkeypatch.context() as patch:
            patch.setattr(cifar10, name, limit)
            assert says in refused(tmp_path / 'out.zip', f'--source={source}')


@pytest.mark.parametrize('content, says', [
    (tar_gz(FILES)[:-40], 'incomplete, damaged'), (tar_gz(FILES)[:20_000], 'incomplete, damaged'),
    (tar_gz(FILES)[:12], 'incomplete'),
    (packed(b'text ' * 300), 'another kind of file'), (packed(b''), 'another kind of file'),
    (tar_gz({'cifar-100-python/train': python2_pickle({'data': ROWS, 'fine_labels': [1, 2]})}), f'has no {FOLDER}/batches.meta'),
    (tar_gz({'animals/cat/1.png': b'png'}), 'unpack other archives, and give the folder'), (tar_gz({}), 'begins with 00000000'),
])
def test_other_and_damaged_archives(tmp_path, content, says):
    path = tmp_path / 'cifar-10-python.tar.gz'
    path.write_bytes(content)
    assert says in refused(tmp_path / 'out.zip', f'--source={path}')


def test_parts(tmp_path):
    assert 'train, test, all' in refused(tmp_path / 'out.zip', f'--source={write(tmp_path)}', '--split=val')
