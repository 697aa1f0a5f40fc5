"""Small MNIST, CIFAR-10 and LSUN files, byte for byte in the form in which these sets are published."""

import gzip
import io
import struct
import tarfile

import lmdb
import numpy as np

CIFAR_NAMES = ['airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck']
CIFAR_TRAIN = [f'data_batch_{number}' for number in range(1, 6)]


def idx(array, magic=None, shape=None):
    """uint8 array -> idx file. magic, shape: what the header says, if not the truth."""
    shape = array.shape if shape is None else shape
    return struct.pack(f'>{1 + len(shape)}I', magic or 0x800 + len(shape), *shape) + array.tobytes()


def packed(content):
    """By gzip, without the time."""
    return gzip.compress(content, mtime=0)


def write_mnist(folder, images, labels, name='train'):
    """uint8 [N, H, W], [N] -> the path of the images."""
    path = folder / f'{name}-images-idx3-ubyte.gz'
    path.write_bytes(packed(idx(images)))
    (folder / f'{name}-labels-idx1-ubyte.gz').write_bytes(packed(idx(labels)))
    return path


def python2_pickle(value):
    """Protocol 2 as Python 2's cPickle wrote it: every str a string of bytes, and no byte more for small containers."""
    return b'\x80\x02' + _opcodes(value, _Memo()) + b'.'


class _Memo:
    """Numbers of the objects, from 1 on, as cPickle gave them."""

    count = 0

    def put(self):
        self.count += 1
        return b'q' + bytes([self.count]) if self.count < 256 else b'r' + struct.pack('<I', self.count)


def _opcodes(value, memo):
    if isinstance(value, np.ndarray):
        return _array_opcodes(value, memo)
    if isinstance(value, str | bytes):
        text = value.encode('latin-1') if isinstance(value, str) else value
        start = b'U' + bytes([len(text)]) if len(text) < 256 else b'T' + struct.pack('<I', len(text))
        return start + text + memo.put()
    if isinstance(value, int):
        return (b'K' + bytes([value]) if 0 <= value < 2**8 else b'M' + struct.pack('<H', value) if 0 <= value < 2**16
                else b'J' + struct.pack('<i', value))
    if isinstance(value, list):
        return b']' + memo.put() + b'(' + b''.join(_opcodes(item, memo) for item in value) + b'e'
    start = b'}' + memo.put() + b'('
    return start + b''.join(_opcodes(part, memo) for item in value.items() for part in item) + b'u'


def _array_opcodes(array, memo):
    """What numpy 1's __reduce__ gave: an empty array, and its state."""
    put = memo.put
    empty = (b'cnumpy.core.multiarray\n_reconstruct\n' + put() + b'cnumpy\nndarray\n' + put() + b'K\x00\x85' + put()
             + _opcodes('b', memo) + b'\x87' + put() + b'R' + put())
    shape = b''.join(_opcodes(size, memo) for size in array.shape) + {1: b'\x85', 2: b'\x86'}[array.ndim] + put()
    dtype = (b'cnumpy\ndtype\n' + put() + _opcodes(array.dtype.str[1:], memo) + b'K\x00K\x01\x87' + put() + b'R' + put()
             + b'(K\x03' + _opcodes('|', memo) + b'NNN' + _opcodes(-1, memo) + _opcodes(-1, memo) + b'K\x00t' + put() + b'b')
    return empty + b'(K\x01' + shape + dtype + b'\x89' + _opcodes(array.tobytes(), memo) + b't' + put() + b'b'


def cifar_meta(names=tuple(CIFAR_NAMES)):
    return python2_pickle({'num_cases_per_batch': 10_000, 'label_names': list(names), 'num_vis': 3072})


def cifar_batch(images, labels, label='training batch 1 of 5'):
    """images: uint8 [N, 32, 32, 3]."""
    rows = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    names = [f'{CIFAR_NAMES[label % 10]}_s_{index:06d}.png' for index, label in enumerate(labels)]
    return python2_pickle({'batch_label': label, 'labels': list(labels), 'data': rows, 'filenames': names})


def cifar_files(images, labels, test_images, test_labels):
    """{name in the archive: bytes}; the training images spread evenly over five batches."""
    parts = zip(np.array_split(images, 5), np.array_split(labels, 5), strict=True)
    batches = {name: cifar_batch(part, few.tolist()) for name, (part, few) in zip(CIFAR_TRAIN, parts, strict=True)}
    files = {'batches.meta': cifar_meta(), **batches, 'readme.html': b'<meta HTTP-EQUIV="REFRESH">',
             'test_batch': cifar_batch(test_images, test_labels, 'testing batch 1 of 1')}
    return {f'cifar-10-batches-py/{name}': content for name, content in files.items()}


def tar_gz(files):
    """{name: bytes, or a TarInfo without content} -> the bytes of the archive."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode='w') as archive:
        for name, content in files.items():
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = 0 if info is content else len(content)
            archive.addfile(info, None if info is content else io.BytesIO(content))
    return packed(stream.getvalue())


def write_lsun(path, pictures):
    """pictures: {key: bytes} -> the folder."""
    with lmdb.open(str(path), map_size=2**24) as database, database.begin(write=True) as transaction:
        for key, content in pictures.items():
            transaction.put(key, content)
    return path
