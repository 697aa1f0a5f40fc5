"""A corpus of hostile snapshots: none runs code, each ends in one line, none takes more memory than twice its size and its model.

What single opcodes may do is in test_safe_pickle.py; here whole files go through legacy.load_network_pkl and the inspection.
"""
import contextlib
import copyreg
import io
import json
import os
import pickle
import struct
import subprocess
import zipfile

import numpy as np
import pytest
import torch

from tests.conftest import REPO
from tests.support.pickle_opcodes import Evil, called, storage_bytes, storage_call, text
from tests.support.snapshots import described, make_networks, pickled, refused
from tests.support.warm_python import warm_python
from training.networks import Discriminator, Generator, MappingNetwork
from training.snapshot.inspection import inspect_snapshot, report

MIB = 2 ** 20


class Calls:
    """Pickles as a call, an object and what __reduce_ex__ may add to it."""

    def __init__(self, *parts):
        self.parts = parts

    def __reduce__(self):
        return self.parts


class WithState:
    """Runs a command in __setstate__, which BUILD calls."""

    def __setstate__(self, state):
        os.system(state)


class NewWithKeywords:
    """Pickles by NEWOBJ_EX."""

    def __getnewargs_ex__(self):
        return (), dict(command='x')


def in_zip(content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        archive.writestr('archive/data.pkl', content)
        archive.writestr('archive/version', '3')
    return buffer.getvalue()


def torch_file(value, zip_form):
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=zip_form)
    return buffer.getvalue()


def snapshot_with(opcodes):
    """A snapshot dict whose field x is made by opcodes."""
    return b'\x80\x04}(' + text('x') + opcodes + b'u.'


def corpus(canary):
    """name -> content. They make the file `canary`, open it, or reach what could."""
    command = f'touch {canary}'
    evil, G = Evil(canary), make_networks()['G']
    quoted = text(command)
    by_setstate = pickle.dumps(dict(G_ema=Calls(WithState, (), command)), 4)
    function = dict(type='class', version=6, module_src=f'import os\nos.system({command!r})\n', class_name='Generator', state={})
    return {
        'reduce': snapshot_with(called('os', 'system', quoted)),
        'inst': snapshot_with(b'(' + quoted + b'ios\nsystem\n'),
        'obj': snapshot_with(b'(cos\nsystem\n' + quoted + b'o'),
        'newobj': snapshot_with(b'csubprocess\nPopen\n' + quoted + b'\x85\x81'),
        'newobj_ex': pickle.dumps(dict(G_ema=G, x=NewWithKeywords()), 4),
        'build with setstate': by_setstate,
        'build on a network': pickle.dumps(dict(G_ema=described(G, dict(_modules=Calls(WithState, (), command)))), 4),
        'items of a foreign dict': pickle.dumps(dict(x=Calls(dict, (), None, None, iter([(1, evil)]))), 4),
        'dotted stack global': snapshot_with(text('torch') + text('serialization.os.system') + b'\x93' + quoted + b'\x85R'),
        'dotted name of ours': snapshot_with(text('torch_utils.persistence')
                                             + text('_reconstruct_persistent_obj.__globals__') + b'\x93'),
        'attribute of an allowed class': snapshot_with(text('collections') + text('OrderedDict.fromkeys') + b'\x93)R'),
        'getattr': snapshot_with(called('builtins', 'getattr', b'cos\npath\n', text('join'))),
        'eval': snapshot_with(called('builtins', 'eval', text(f'__import__("os").system({command!r})'))),
        'extension registry': snapshot_with(b'\x82\xc8' + quoted + b'\x85R'),
        'extension registry, 2 bytes': snapshot_with(b'\x83\xc8\x00' + quoted + b'\x85R'),
        'extension registry, 4 bytes': snapshot_with(b'\x84\xc8\x00\x00\x00' + quoted + b'\x85R'),
        'persistent id': snapshot_with(quoted + b'Q'),
        'persistent id as text': snapshot_with(b'P' + command.encode() + b'\n'),
        'out of band': snapshot_with(b'\x97'),
        'torch file in zip form': torch_file(evil, True),
        'torch file of old form': torch_file(evil, False),
        'zip': in_zip(pickle.dumps(evil)),
        'zip in a storage': snapshot_with(storage_call(in_zip(pickle.dumps(evil)))),
        'torch file in a storage': snapshot_with(storage_call(torch_file(evil, False))),
        'torch file of zip form in a storage': snapshot_with(storage_call(torch_file(evil, True))),
        'torch.load': snapshot_with(called('torch', 'load', text(str(canary)))),
        'torch.jit': snapshot_with(called('torch.jit', 'load', text(str(canary)))),
        'torch package': snapshot_with(called('torch.package', 'PackageImporter', text(str(canary)))),
        'torch tensor subclass': snapshot_with(called('torch._tensor', '_rebuild_from_type_v2', b'cos\nsystem\n', quoted)),
        'torch.hub': snapshot_with(called('torch.hub', 'load', quoted)),
        'numpy object array': pickle.dumps(dict(x=np.array([evil], dtype=object)), 4),
        'numpy object scalar': snapshot_with(called('numpy._core.multiarray', 'scalar', called('numpy', 'dtype', text('O')),
                                                    b'C\x01.')),
        'numpy.load': snapshot_with(called('numpy', 'load', text(str(canary)))),
        'pickle in a pickle': snapshot_with(called('pickle', 'loads', b'C' + bytes([len(b'x')]) + b'x')),
        'program text of a function': pickle.dumps(dict(x=Calls(os.system, (command,)), G_ema=described(G, **function)), 4),
        'class of another name': pickled(dict(G_ema=described(G, class_name='os.system', module_src=function['module_src']))),
        'command as argument': pickle.dumps(dict(G_ema=described(G, dict(_init_args=(evil,)))), 4),
        'command as tensor': pickle.dumps(dict(G_ema=described(G, dict(_buffers=dict(x=evil)))), 4),
        'command as layer': pickle.dumps(dict(G_ema=described(G, dict(_modules=dict(mapping=evil)))), 4),
        'description that is a text': snapshot_with(called('torch_utils.persistence', '_reconstruct_persistent_obj', text('x'))),
        'description that is a list': snapshot_with(called('torch_utils.persistence', '_reconstruct_persistent_obj', b']')),
        'data to construct that are no dict': pickled(dict(G_ema=G), training_set_kwargs=[evil]),
        'string with an escape': snapshot_with(b"S'\\x27'\n"),
    }


NAMES = sorted(corpus('x'))


@pytest.mark.parametrize('name', NAMES)
def test_nothing_runs(canary, tmp_path, monkeypatch, name):
    monkeypatch.setattr(copyreg, '_extension_cache', {200: os.system}, raising=False)
    content = corpus(canary)[name]
    refused(content, 'network pickle: ')
    path = tmp_path / 'hostile.pkl'
    path.write_bytes(content)
    facts = inspect_snapshot(str(path))
    # Program text of a class is stored in good files too, and not safe to trust: but it is not run here.
    assert not facts['safe'] or name == 'class of another name'
    assert all(line.isprintable() for line in report(facts).splitlines())
    json.dumps(facts)


@pytest.mark.parametrize('name', ['reduce', 'inst', 'obj', 'build with setstate', 'eval', 'numpy object array',
                                  'command as tensor', 'torch file in zip form', 'torch file of old form',
                                  'program text of a function'])
def test_the_corpus_is_live(tmp_path, name):
    path = tmp_path / 'ran'
    content = corpus(path)[name]
    with contextlib.suppress(Exception):
        if name.startswith('torch file'):
            torch.load(io.BytesIO(content), weights_only=False)
        else:
            pickle.loads(content)
    assert path.exists()


# Memory, measured in a process of its own.

ALLOWANCE_MIB = 48      # for objects that are small but many: a snapshot has tens of thousands


def many(head, opcodes, count):
    """A list of what the opcodes make, which may use what the head has put into the memo."""
    return snapshot_with(b'](' + head + opcodes * count + b'e')


def layers_of_one_storage():
    """1000 layers with 1 GiB of weights that all look at the same 1 MiB."""
    with torch.device('meta'):
        mapping = MappingNetwork(z_dim=512, c_dim=0, w_dim=512, num_ws=None, num_layers=1000)
    storage = torch.zeros(512 * 512)._typed_storage()
    for layer in mapping.children():
        for name, tensor in layer.named_parameters():
            arguments = (storage, 0, tuple(tensor.shape), tensor.stride(), False, {})
            layer._parameters[name] = Calls(torch._utils._rebuild_tensor_v2, arguments)
    return pickled(dict(G_ema=mapping))


def memory_bombs():
    wide = 'x' + '\U0001f600'
    G = make_networks()['G']

    def asking(**kwargs):
        return pickled(dict(G_ema=described(G, dict(_init_kwargs={**G.init_kwargs, **kwargs}))))

    storage, shared = b'ctorch.storage\n_load_from_bytes\n\x940B', struct.pack('<I', MIB) + bytes(MIB) + b'\x940'
    floats = storage_bytes(count=2 ** 14, stored_count=2 ** 14, content=bytes(2 ** 16))
    buffer = b'cnumpy.core.numeric\n_frombuffer\n\x940B' + shared + b'cnumpy\ndtype\n' + text('u1') + b'\x85R\x940'
    return {
        'one storage for all': many(storage + struct.pack('<I', len(floats)) + floats + b'\x940', b'h\x00h\x01\x85R', 10_000),
        'one buffer for all': many(buffer, b'h\x00(h\x01h\x02J' + struct.pack('<i', MIB) + b'\x85' + text('C') + b'tR', 1000),
        'small storages': many(storage + struct.pack('<I', len(storage_bytes())) + storage_bytes() + b'\x940',
                               b'h\x00h\x01\x85R', 100_000),
        'one storage for all layers': layers_of_one_storage(),
        'one network for all': pickle.dumps({f'x{i}': G for i in range(100)} | dict(G_ema=G), 4),
        'numbers as keys': b'\x80\x04}(' + b''.join(pickle.dumps((2 ** 61 - 1) * i, 4)[2:-1] + b'N' for i in range(1, 10 ** 5))
                           + b'u.',
        'lists': b'\x80\x04' + b']' * MIB + b'.',
        'sets': b'\x80\x04' + b'\x8f' * MIB + b'.',
        'dicts in the memo': b'\x80\x04' + b'}\x94' * MIB + b'.',
        'strings': b'\x80\x04' + b'\x8c\x01a' * MIB + b'.',
        'floats': b'\x80\x04(' + (b'G' + bytes(8)) * MIB + b't.',
        'deep lists': b'\x80\x04' + b']' * MIB + b'a' * (MIB - 1) + b'.',
        'deep tuples': b'\x80\x04)' + b'\x85' * MIB + b'.',
        'deep calls': b'\x80\x04' + b'ccollections\nOrderedDict\n' * 10_000 + b')' + b'R\x85' * 10_000 + b'.',
        'wide text': b'\x80\x04X' + struct.pack('<I', 32 * MIB + 4) + b'x' * (32 * MIB) + wide[1:].encode() + b'.',
        'long line': b'\x80\x04V' + b'x' * (32 * MIB) + b'\n.',
        'long name': b'c' + b'x' * (32 * MIB) + b'\ny\n.',
        'long number': b'\x80\x04L' + b'9' * (8 * MIB) + b'L\n.',
        'number in bytes': b'\x80\x04\x8b' + struct.pack('<i', 16 * MIB) + b'\x7f' * (16 * MIB) + b'.',
        'bytes again and again': b'\x80\x04B' + struct.pack('<I', MIB) + bytes(MIB) + b'\x94' + (b'0h\x00' * 1000) + b'.',
        'claimed bytes': b'\x80\x04\x8e' + struct.pack('<Q', 2 ** 50) + b'x.',
        'claimed text': b'\x80\x04\x8d' + struct.pack('<Q', 2 ** 50) + b'x.',
        'claimed array': snapshot_with(called('numpy._core.numeric', '_frombuffer', b'C\x04abcd',
                                              called('numpy', 'dtype', text('f8')), b'J\xff\xff\xff\x7f\x85', text('C'))),
        'network of any size': asking(w_dim=2 ** 23),
        'many layers': asking(mapping_kwargs=dict(num_layers=10 ** 6)),
        **{f'many layers, {number.__class__.__name__}': asking(mapping_kwargs=dict(num_layers=number))
           for number in (np.int64(10 ** 8), np.array(10 ** 8), torch.tensor(10 ** 8), 2 ** 24)},
        'much resolution': asking(img_resolution=2 ** 20),
        'cut off': pickled(dict(G_ema=G))[:-1],
    }


MEASURE = """
import gc, sys
import legacy
def status(key):     # MiB
    with open('/proc/self/status') as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 2 ** 10
for name in sys.argv[1:]:
    gc.collect()
    with open('/proc/self/clear_refs', 'w') as file:
        file.write('5')     # the peak starts anew
    before, data = status('VmRSS:'), None
    try:
        data = legacy.load_network_pkl(name)
        outcome = 'loaded'
    except ValueError as err:
        outcome = f'{len(str(err).splitlines())} line'
    taken = status('VmHWM:') - before
    networks = [m for m in (data or {}).values() if hasattr(m, 'state_dict')]
    print(taken, sum(t.nbytes for m in networks for t in m.state_dict().values()) / 2 ** 20, outcome)
    del data, networks
"""


def measure(tmp_path, files):
    """What loading takes: [(MiB above what was there before, MiB of the model, outcome)], file by file."""
    if not os.access('/proc/self/clear_refs', os.W_OK):
        pytest.skip('needs the memory statistics of Linux')
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    environment = os.environ | dict(PYTHONPATH=str(REPO), OMP_NUM_THREADS='1', MALLOC_ARENA_MAX='1')
    command = [warm_python(), '-c', MEASURE, *files]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    rows = [line.split(maxsplit=2) for line in result.stdout.splitlines()]
    return [(float(taken), float(model), outcome) for taken, model, outcome in rows]


def test_memory_of_hostile_files(tmp_path):
    files = {'warm-up': pickled(make_networks()), **memory_bombs()}
    for name, (taken, _model, outcome) in list(zip(files, measure(tmp_path, files), strict=True))[1:]:
        assert outcome == '1 line', name
        assert taken < 2 * len(files[name]) / MIB + ALLOWANCE_MIB, f'{name}: {taken} MiB for {len(files[name]) / MIB:.1f}'


def test_memory_of_a_good_file(tmp_path):
    """No more than twice the file and the model, here of some 70 MiB."""
    image = dict(c_dim=0, img_resolution=8, img_channels=1)
    sizes = dict(channel_base=4096, channel_max=512)
    G = Generator(z_dim=4, w_dim=64, mapping_kwargs=dict(num_layers=2), synthesis_kwargs=sizes, **image)
    D = Discriminator(**image, **sizes)
    content = pickled(dict(G=G, D=D, G_ema=Generator(**G.init_kwargs)))
    files = {'warm-up': pickled(make_networks()), 'large': content}
    taken, model, outcome = measure(tmp_path, files)[1]
    size = len(content) / MIB
    assert outcome == 'loaded' and model > 60 and abs(size - model) < 1
    assert taken < 2 * size + model
