"""dnnlib/files.py: what is under a name after a write that ends well, or does not; appending on a full disk."""

import errno
import multiprocessing
import os
import subprocess
import sys
import time

import pytest

from dnnlib.files import PatientFile, is_disk_full, remove_parts, whole_file, write_whole
from tests.conftest import REPO
from tests.support.small_disk import FullFile, fill_disk, small_disk


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# --- whole or absent ---

def test_the_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / 'report.v1.json'
    with whole_file(str(path)) as part:
        part.write_text('new')
        assert part.suffix == '.json' and part.parent == tmp_path
        assert not path.exists()
    assert path.read_text() == 'new' and names(tmp_path) == ['report.v1.json']


def test_text_and_bytes_are_written_whole(tmp_path):
    write_whole(tmp_path / 'a.txt', '\u00e9\n')
    write_whole(tmp_path / 'b', b'\xff')
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {'a.txt': '\u00e9\n'.encode(), 'b': b'\xff'}


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / 'a'):
        pass
    assert names(tmp_path) == []


def test_writers_with_the_same_number_do_not_meet(tmp_path):
    """As in two containers that share a directory: each has a process 1."""
    path = tmp_path / 'net.pkl'
    with whole_file(path) as first, whole_file(path) as second:
        first.write_text('one')
        second.write_text('two')
        assert first.read_text() == 'one'
    assert path.read_text() == 'one' and names(tmp_path) == ['net.pkl']     # the first block ends last


def test_a_full_disk_is_told_behind_errors_of_a_library(tmp_path):
    with pytest.raises(OSError) as info, whole_file(tmp_path / 'state.pt'):
        raise caused(RuntimeError('unexpected pos'), OSError(errno.ENOSPC, 'No space left on device'))
    assert is_disk_full(info.value) and info.value.filename == str(tmp_path / 'state.pt')
    with pytest.raises(RuntimeError, match='other'), whole_file(tmp_path / 'state.pt'):
        raise caused(RuntimeError('other'), ValueError())


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    with small_disk(tmp_path / 'disk', kib=64) as disk:
        path = disk / 'net.pkl'
        path.write_text('old')
        with pytest.raises(OSError) as info, whole_file(path) as part:
            part.write_bytes(bytes(100_000))
        assert is_disk_full(info.value) and info.value.filename == str(path)
        assert path.read_text() == 'old' and names(disk) == ['net.pkl']
        with whole_file(path) as part:      # the space is there again
            part.write_bytes(bytes(30_000))
        assert path.stat().st_size == 30_000


def caused(error, cause):
    error.__context__ = cause
    return error


@pytest.mark.parametrize('error, full', [
    (OSError(errno.EDQUOT, 'x'), True), (OSError(errno.EIO, 'x'), False), (ValueError(errno.ENOSPC), False),
    (caused(RuntimeError('unexpected pos'), OSError(errno.ENOSPC, 'x')), True), (caused(OSError(5, 'x'), ValueError()), False),
])
def test_what_counts_as_a_full_disk(error, full):
    assert is_disk_full(error) is full


# --- left-overs ---

def test_parts_of_dead_processes_go(tmp_path):
    killed = ('import os, signal; from dnnlib.files import whole_file\n'
              f'with whole_file({str(tmp_path / "net.pkl")!r}) as part:\n'
              '    part.write_text("half"); os.kill(os.getpid(), signal.SIGKILL)')
    subprocess.run([sys.executable, '-c', killed], cwd=REPO, check=False)
    left, = names(tmp_path)
    assert left.startswith('.net.') and left.endswith('.part.pkl')
    others = ['.hidden', '.net.123-x.part.pkl', '.net.x.part.pkl', 'net.123-0f.part.pkl', 'net.pkl']
    for name in others:
        (tmp_path / name).write_text('whole')
    assert remove_parts(tmp_path) == [tmp_path / left]
    assert names(tmp_path) == others
    assert remove_parts(tmp_path) == []


def hold_part(path, pipe):
    with whole_file(path) as part:
        part.write_text('half')
        pipe.send(True)
        pipe.recv()


@pytest.mark.parametrize('name', ['net.pkl', 'without'])
def test_parts_of_running_processes_stay(name, tmp_path):
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context('spawn').Process(target=hold_part, args=(tmp_path / name, theirs))
    process.start()
    assert ours.recv()
    with whole_file(tmp_path / 'own.json') as part:
        part.write_text('half')
        assert remove_parts(tmp_path) == [] and len(names(tmp_path)) == 2
    ours.send(True)
    process.join()
    assert names(tmp_path) == sorted([name, 'own.json'])


@pytest.mark.parametrize('chance', ['', '-0123abcd'])   # without: of older versions
def test_a_new_process_with_an_old_number_does_not_keep_the_part(chance, tmp_path):
    """As in a container, where the training has the same number after every start."""
    part = tmp_path / f'.net.{os.getpid()}{chance}.part.pkl'
    part.write_text('half')
    assert remove_parts(tmp_path) == []     # this process may be writing it
    os.utime(part, (time.time() - 10**6,) * 2)
    assert remove_parts(tmp_path) == [part]


# --- appending ---

def test_appending_is_visible_at_once(tmp_path):
    path = tmp_path / 'a.txt'
    for mode, expected in [('w', 'één\n'), ('a', 'één\néén\n'), ('w', 'één\n')]:
        file = PatientFile(path, mode)
        assert file.write('één\n') == 4
        assert path.read_text(encoding='utf-8') == expected and file.num_waiting == 0
        file.close()
    file = PatientFile(path)
    file.write(b'\xff' + '\udcff'.encode('utf-8', 'surrogateescape'))
    file.write('\udcff')        # of a file name that is no UTF-8
    file.close()
    assert path.read_bytes().endswith(b'\xff\xff\\udcff')


@pytest.mark.parametrize('code', [errno.ENOSPC, errno.EDQUOT])
def test_what_a_full_disk_does_not_take_is_written_later(tmp_path, code):
    said = []
    file = PatientFile(tmp_path / 'stats.jsonl', on_full=said.append)
    file._file.close()
    file._file = full = FullFile(room=7, code=code)
    for text in ('first\n', 'second\n', 'third\n'):
        file.write(text)
    assert full.content == b'first\ns' and file.num_waiting == len('econd\nthird\n')
    assert len(said) == 1 and str(tmp_path) in said[0] and 'stats.jsonl' in said[0] and 'the run continues' in said[0]
    full.room = 12
    file.flush()
    assert full.content == b'first\nsecond' and len(said) == 1      # still the same trouble
    full.room = 1000
    file.write('fourth\n')
    assert full.content == b'first\nsecond\nthird\nfourth\n' and file.num_waiting == 0
    full.room = 0
    file.write('fifth\n')
    assert len(said) == 2       # new trouble
    full.room = 1000
    file.close()
    file.close()
    assert full.content.endswith(b'fourth\nfifth\n') and full.closed and len(said) == 2


def test_what_is_lost_in_the_end_is_said(tmp_path):
    said = []
    file = PatientFile(tmp_path / 'stats.jsonl', on_full=said.append)
    file._file.close()
    file._file = FullFile()
    file.write('12345')
    file.close()
    assert len(said) == 2 and 'last 5 bytes of stats.jsonl are lost' in said[1]


def test_other_errors_are_raised(tmp_path):
    file = PatientFile(tmp_path / 'a')
    file._file.close()
    file._file = FullFile(code=errno.EIO)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        file.write('x')
    with pytest.raises(FileNotFoundError):
        PatientFile(tmp_path / 'no' / 'a')


def test_appending_on_a_real_full_disk(tmp_path):
    said = []
    with small_disk(tmp_path / 'disk', kib=64) as disk:
        file = PatientFile(disk / 'log.txt', on_full=said.append)
        lines = [f'line {number} {"x" * 500}\n' for number in range(40)]
        file.write(lines[0])
        filler = fill_disk(disk)
        for line in lines[1:]:
            file.write(line)
        assert file.num_waiting > 0 and len(said) == 1
        filler.unlink()
        file.close()
        assert (disk / 'log.txt').read_text() == ''.join(lines) and len(said) == 1
