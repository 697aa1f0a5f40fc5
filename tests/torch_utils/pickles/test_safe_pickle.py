"""torch_utils.pickles.safe_pickle: what it reads equals what pickle reads; what must not run does not."""
import collections
import copyreg
import io
import os
import pickle
import struct

import numpy as np
import pytest
import torch

from dnnlib import EasyDict
from tests.support.pickle_opcodes import called, storage_bytes, storage_call, text
from torch_utils.pickles import safe_pickle, safe_values


def read(content):
    return safe_pickle.load(io.BytesIO(content), safe_values.HANDLERS.get)


# What snapshots hold.

SAMPLES = dict(
    plain=dict(a=[1, -2, 300, 70_000, 2**40, -2**70, 1.5, True, False, None, 'text', '\u00e9', b'bytes', b'y' * 300]),
    tuples=[(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), {'k': {'l': {1: 2.5, None: 'n'}}}],
    sets=[set(), {1, 'b'}, {None}],
    ordered=collections.OrderedDict(b=1, a=collections.OrderedDict()),
    long=dict(items=list(range(3000)), keys={i: str(i) for i in range(3000)}),
)


@pytest.mark.parametrize('protocol', [3, 4, 5])
@pytest.mark.parametrize('name', SAMPLES)
def test_plain_values_equal_those_of_pickle(name, protocol):
    content = pickle.dumps(SAMPLES[name], protocol)
    value = read(content)
    assert value == pickle.loads(content)
    assert repr(value) == repr(pickle.loads(content))       # types and order too


def test_easydict_and_frozenset():
    value = read(pickle.dumps(EasyDict(a=EasyDict(b=1), c=frozenset([1, 2])), 4))
    assert type(value) is EasyDict and value.a.b == 1 and value.c == frozenset([1, 2])


def test_reads_one_pickle_and_stays_behind_it():
    stream = io.BytesIO(pickle.dumps('one', 4) + pickle.dumps('two', 4) + b'rest')
    assert [safe_pickle.load(stream, {}.get) for _ in range(2)] == ['one', 'two']
    assert stream.read() == b'rest'


def test_strings_of_python_2_are_read_only_if_asked_for():
    content = b'\x80\x02](U\x02\xe9bT\x00\x01\x00\x00' + b'x' * 256 + b'e.'
    assert pickle.loads(content, encoding='latin-1') == ['\u00e9b', 'x' * 256]
    assert safe_pickle.load(io.BytesIO(content), {}.get, python2=True) == ['\u00e9b', b'x' * 256]
    with pytest.raises(ValueError, match='strings of Python 2 are not allowed'):
        read(content)


def test_long_strings_of_python_2_cannot_be_used_over_and_over():
    """As other long bytes: each array of them would be a copy."""
    empty = b'cnumpy.core.multiarray\n_reconstruct\n(tR'
    dtype = b'cnumpy\ndtype\n(U\x02u1tR'
    data = b'T\x00\x01\x00\x00' + b'x' * 256
    first = empty + b'(K\x01M\x00\x01\x85' + dtype + b'\x89' + data + b'q\x01tb'
    second = empty + b'(K\x01M\x00\x01\x85' + dtype + b'\x89h\x01tb'
    array, = safe_pickle.load(io.BytesIO(b'\x80\x02](' + first + b'e.'), safe_values.HANDLERS.get, python2=True)
    assert array.tobytes() == b'x' * 256
    with pytest.raises(ValueError, match='the same 256 bytes for several values'):
        safe_pickle.load(io.BytesIO(b'\x80\x02](' + first + second + b'e.'), safe_values.HANDLERS.get, python2=True)


# What must not run. Each entry, read by pickle.load, would do harm or reach a part that it must not.

def code_routes(command):
    system = text('posix') + text('system') + b'\x93'       # STACK_GLOBAL
    return {
        'global': b'cos\nsystem\n(' + text(command) + b'tR.',
        'global, text protocol': f"cos\nsystem\n(S'{command}'\ntR.".encode(),
        'stack global': b'\x80\x04' + system + text(command) + b'\x85R.',
        'dotted stack global': b'\x80\x04' + text('torch') + text('serialization.os.system') + b'\x93'
                               + text(command) + b'\x85R.',
        'dotted allowed class': b'\x80\x04' + text('collections') + text('OrderedDict.fromkeys') + b'\x93(]tR.',
        'inst': f"(S'{command}'\nios\nsystem\n.".encode(),
        'obj': b'(' + b'cos\nsystem\n' + text(command) + b'o.',
        'newobj': b'\x80\x02csubprocess\nPopen\n' + text(command) + b'\x85\x81.',
        'newobj of a string': b'\x80\x02' + text('os') + text(command) + b'\x85\x81.',
        'newobj_ex': b'\x80\x04' + text('subprocess') + text('Popen') + b'\x93' + text(command) + b'\x85}'
                     + text('shell') + b'\x88s\x92.',
        'newobj_ex of an allowed name': b'\x80\x04' + text('numpy') + text('dtype') + b'\x93' + text('f8') + b'\x85}\x92.',
        'extension registry': b'\x80\x02\x82\xc8' + text(command) + b'\x85R.',
        'persistent id': b'\x80\x02' + text(command) + b'Q.',
        'persistent id, text protocol': b'P' + command.encode() + b'\n.',
        'reduce of a call': called('collections', 'OrderedDict') + b'(tR.',
        'reduce without a tuple': b'ccollections\nOrderedDict\n]R.',
        'build on a name': b'ccollections\nOrderedDict\n}' + text('pop') + text('x') + b'sb.',
        'build with slot state on a name': b'cdnnlib.util\nEasyDict\nN}' + text('pop') + text('x') + b's\x86b.',
        'build on an ordered dict': called('collections', 'OrderedDict') + b'}' + text('items') + text('x') + b'sb.',
        'build on an easydict': called('dnnlib.util', 'EasyDict') + b'}' + text('items') + text('x') + b'sb.',
        'build on a list': b']}b.',
        'build on a storage': storage_call(storage_bytes()) + b'}' + text('x') + b'Nsb.',
        'append to a call': called('collections', 'OrderedDict') + b'Na.',
        'additems to a list': b'\x80\x04](N\x90.',
        'eval': called('builtins', 'eval', text(f'__import__("os").system("{command}")')) + b'.',
        'exec, old name': called('__builtin__', 'exec', text(f'import os; os.system("{command}")')) + b'.',
        'getattr': called('builtins', 'getattr', text('os'), text('system')) + b'.',
        '__import__': called('builtins', '__import__', text('os')) + b'.',
        'partial': b'cfunctools\npartial\n.',
        'operator': b'coperator\nattrgetter\n.',
        'torch.load': b'ctorch\nload\n.',
        'torch.hub': b'ctorch.hub\nload\n.',
        'numpy.load': b'cnumpy\nload\n.',
        'pickle in pickle': called('pickle', 'loads', b'B\x01\x00\x00\x00.') + b'.',
        'module name with a newline': b'\x80\x04' + text('os\nx') + text('system') + b'\x93.',
        'names that are no strings': b'\x80\x04K\x01K\x02\x93.',
        'calling the array class': called('numpy', 'ndarray', b'(K\x02t') + b'.',
    }


@pytest.mark.parametrize('route', code_routes(''))
def test_no_route_reaches_code(route, canary, monkeypatch):
    monkeypatch.setattr(copyreg, '_extension_cache', {200: os.system}, raising=False)
    with pytest.raises(ValueError) as error:
        read(code_routes(f'touch {canary}')[route])
    assert len(str(error.value).splitlines()) == 1


def test_the_canary_works(tmp_path):
    path = tmp_path / 'canary'
    pickle.loads(code_routes(f'touch {path}')['global'])
    assert path.exists()


def test_refusal_names_the_global():
    with pytest.raises(safe_pickle.ForbiddenGlobal, match=r"'subprocess\.Popen'") as error:
        read(b'csubprocess\nPopen\n.')
    assert error.value.name == 'subprocess.Popen'


# What must not take all memory or time.

def nested(opening, closing, levels):
    return b'\x80\x02' + opening * levels + closing * levels + b'.'


def doubled(start, step, levels=60):
    """Every level holds the level before twice: 2^60 paths in a few hundred bytes."""
    return b'\x80\x04' + start + b'\x94' + b''.join(b'h' + bytes([i]) + b'h' + bytes([i]) + step + b'\x94' for i in range(levels))


BOMBS = dict(
    deep_lists=nested(b']', b'a', 100_000)[:-2] + b'.',
    deep_tuples=b'\x80\x02)' + b'\x85' * 100_000 + b'.',
    deep_dicts=nested(b'}N', b's', 100_000)[:-2] + b'.',
    deep_calls=b'\x80\x02' + b'ctorch._utils\n_rebuild_parameter\n' * 10_000 + b'N' + b'\x85R' * 10_000 + b'.',
    itself=b'\x80\x02]q\x00h\x00a.',
    itself_in_a_tuple=b'\x80\x02]q\x00h\x00\x85a.',
    hashed_tuples=doubled(b'N', b'\x86') + b'}' + b'h\x3cNs.',
    set_of_tuples=doubled(b'N', b'\x86') + b'\x8f(' + b'h\x3c\x90.',
    memo_index=b'\x80\x02]r\xff\xff\xff\xffj\xff\xff\xff\x7f.',
    claimed_bytes=b'\x80\x04\x8e' + struct.pack('<Q', 2**60) + b'x.',
    claimed_text=b'\x80\x04\x8d' + struct.pack('<Q', 2**62) + b'x.',
    claimed_int=b'\x80\x02\x8b' + struct.pack('<i', 2**31 - 1) + b'x.',
    large_int=b'\x80\x02\x8b' + struct.pack('<i', 300) + b'\x7f' * 300 + b'.',
    calls=b'\x80\x02ccollections\nOrderedDict\nq\x000](' + b'h\x00)R' * 40_001 + b'e.',
    shared_bytes=b'\x80\x04B' + struct.pack('<I', 100) + bytes(100) + b'\x940(' + (
        b'cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\n' + text('S100') + b'\x85Rh\x00\x86R') * 2 + b't.',
)
ONCE = dict(     # the same, small enough
    calls=b'\x80\x02ccollections\nOrderedDict\nq\x000](' + b'h\x00)R' * 39_999 + b'e.',
    shared_bytes=b'\x80\x04B' + struct.pack('<I', 9) + bytes(9) + b'\x940(' + (
        b'cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\n' + text('S9') + b'\x85Rh\x00\x86R') * 2 + b't.',
)


@pytest.mark.parametrize('name', BOMBS)
def test_bombs(name):
    with pytest.raises(ValueError) as error:
        read(BOMBS[name])
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize('name', ONCE)
def test_what_a_snapshot_may_have(name):
    assert len(read(ONCE[name])) > 1


@pytest.mark.parametrize('key', [2 ** 61 - 1, -2 ** 60, float('nan'), float('inf'), 1e300])
@pytest.mark.parametrize('make', [lambda key: {key: 1}, lambda key: {key}, lambda key: frozenset([key])])
def test_numbers_as_keys(make, key):
    assert read(pickle.dumps(make(7), 4)) == make(7)
    with pytest.raises(ValueError, match='as key'):
        read(pickle.dumps(make(key), 4))


def test_sharing_is_bounded_by_what_it_would_be_written_out():
    def calls(previous):
        return called('collections', 'OrderedDict') + b'(N' + previous + b'K\x01' + previous + b'u\x94'

    value = read(doubled(b'N', b'\x86', levels=18) + b'h\x12.')
    assert value[0] is value[1]
    for levels in (20, 60):
        with pytest.raises(ValueError, match='parts'):
            read(doubled(b'N', b'\x86', levels) + b'h' + bytes([levels]) + b'.')
    with pytest.raises(ValueError, match='parts'):
        read(b'\x80\x04N\x94' + b''.join(calls(b'h' + bytes([i])) for i in range(30)) + b'.')


# What is damaged.

@pytest.mark.parametrize('content', [
    b'', b'.', b'N', b'\x80\x04', b'(.', b't.', b'R.', b'b.', b'\x93.', b'h\x05.', b's.', b'\x94.', b'0.', b'1.', b'}(Nu.',
    b'cos.', b"S'\\d'\n.", b'\xff', b'X\xff\xff\xff\xff', b'X\x01\x00\x00\x00\xff.'])
def test_malformed(content):
    with pytest.raises(ValueError) as error:
        read(content)
    assert len(str(error.value).splitlines()) == 1


def test_truncated_anywhere():
    content = pickle.dumps(dict(a=torch.zeros(3), b=np.float32(1), c=EasyDict(d=[1, (2, 3)])), 4)
    assert read(content)['c'].d == [1, (2, 3)]
    for end in range(len(content)):
        with pytest.raises(ValueError):
            read(content[:end])
