"""What train.py and train_hyper.py say of hostile and damaged data: one line, exit code 2, and nothing is left behind."""

import os
import struct
import sys
import zipfile
import zlib

import pytest

from tests.whole_runs.test_train_errors import COMMANDS, call, check_refused, conditional, png, write_zip


@pytest.fixture(params=list(COMMANDS))
def command(request):
    return request.param


def bomb(path):
    """A small PNG that claims 65536 x 65536 pixels."""
    def chunk(kind, content):
        return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))

    header = struct.pack('>IIBBBBB', 65536, 65536, 8, 2, 0, 0, 0)
    content = b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(bytes(1000))) + chunk(b'IEND', b'')
    return write_zip(path, [0, 1], images={'0.png': content, '1.png': content})


def damaged_text(path, text):
    with zipfile.ZipFile(path, 'w') as archive:
        for index in range(2):
            archive.writestr(f'{index}.png', png())
        archive.writestr('dataset.json', text)
    return path


def cut(path):
    content = write_zip(path, [0, 1]).read_bytes()
    path.write_bytes(content[:len(content) // 2])
    return path


def encrypted(path):
    """Every entry of a zip says that it is encrypted."""
    content = bytearray(write_zip(path, [0, 1]).read_bytes())
    for mark, offset in ((b'PK\x03\x04', 6), (b'PK\x01\x02', 8)):
        place = -1
        while (place := content.find(mark, place + 1)) >= 0:
            content[place + offset] |= 1
    path.write_bytes(content)
    return path


def pictures(*contents):
    """A maker of a labelled zip of these images."""
    images = {f'{index}.png': content for index, content in enumerate(contents)}
    return lambda path: write_zip(path, range(len(images)), images=images)


def labels(*values):
    """A maker of a zip of good images with these labels."""
    return lambda path: write_zip(path, values)


def text(content):
    """A maker of a zip of two good images with this dataset.json."""
    return lambda path: damaged_text(path, content)


LARGE = png(size=(32, 32))
HOSTILE = {
    'bomb': (bomb, ['0.png is not a readable image', '4294967296 pixels']),
    'deep': (text('[' * 200_000), ['dataset.json is not JSON', 'dataset_tool.py']),
    'huge number': (text('{"labels": [["0.png", 0], ["1.png", 1%s]]}' % ('0' * 400)), ['1.png the label 1']),
    'many classes': (labels(0, 99_999), ['no images of 99998 of its 100000 classes', 'and 99978 more']),
    'cut': (cut, ['nor a complete zip file', 'download it again']),
    'encrypted': (encrypted, ['encrypted']),
    'terminal codes': (lambda path: write_zip(path, [0], images={'\x1b[2J\x07.png': png('RGBA')}), ['?[2J?.png', 'mode RGBA']),
    'mixed sizes': (pictures(png(), LARGE), ['1.png is 32x32']),
}


@pytest.mark.parametrize('name', HOSTILE)
def test_hostile_and_damaged_data(command, name, source_pkl, tmp_path):
    make, texts = HOSTILE[name]
    data = make(tmp_path / 'data.zip')
    result = call(command, '--data', data, '--outdir', tmp_path / 'runs', *conditional(command, source_pkl))
    check_refused(result, str(data), *texts)
    assert all(char.isprintable() for char in result.stderr.rstrip('\n').splitlines()[-1])
    assert not (tmp_path / 'runs').exists()


@pytest.mark.skipif(sys.platform == 'win32', reason='Windows has no such names')
def test_names_that_are_not_utf8(command, source_pkl, tmp_path):
    folder = tmp_path / 'data'
    folder.mkdir()
    (folder / os.fsdecode(b'\xff.png')).write_bytes(b'no picture')
    result = call(command, '--data', folder, '--outdir', tmp_path / 'runs', *conditional(command, source_pkl))
    check_refused(result, '\u00ff.png is not a readable image')
