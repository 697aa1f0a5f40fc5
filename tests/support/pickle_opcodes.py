"""Parts of hostile pickles: opcodes, put together by hand, and a command."""
import os
import pickle
import struct


def text(value):
    """Opcode BINUNICODE."""
    return b'X' + struct.pack('<I', len(value)) + value.encode()


def called(module, name, *args):
    """Opcodes of module.name(*args), args given as opcodes."""
    return f'c{module}\n{name}\n'.encode() + b'(' + b''.join(args) + b'tR'


def storage_bytes(**changes):
    """A float32 storage as torch.save writes it inside of pickles, with parts replaced."""
    part = dict(magic=0x1950a86a20f9469cfc6c, version=1001, system=dict(little_endian=True), kind='storage', count=2,
                keys=['7'], stored_count=2, content=struct.pack('<2f', 1.5, -2.0), type=b'ctorch\nFloatStorage\n') | changes
    count = b'M' + struct.pack('<H', part['count'])
    described = b'\x80\x02(' + text(part['kind']) + part['type'] + text('7') + text('cuda:3') + count + b'NtQ.'
    return (b''.join(pickle.dumps(part[x], 2) for x in ('magic', 'version', 'system')) + described
            + pickle.dumps(part['keys'], 2) + struct.pack('<q', part['stored_count']) + part['content'])


def storage_call(data):
    return called('torch.storage', '_load_from_bytes', b'B' + struct.pack('<I', len(data)) + data)


class Evil:
    """Runs a command where it is unpickled: makes the file `path`."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f'touch {self.path}',)
