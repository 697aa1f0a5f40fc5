"""torch_utils.pickles.safe_values: tensors and arrays equal those that pickle reads; claims beyond the file are refused."""
import io
import pickle

import numpy as np
import pytest
import torch

from tests.support.pickle_opcodes import Evil, called, storage_bytes, storage_call, text
from torch_utils.pickles import safe_pickle, safe_values


def read(content):
    return safe_pickle.load(io.BytesIO(content), safe_values.HANDLERS.get)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.bool, torch.uint8,
                                   torch.int8, torch.int16, torch.int32, torch.int64])
def test_tensors_of_every_type(dtype):
    tensor = torch.arange(12).reshape(3, 4).to(dtype)
    value = read(pickle.dumps([tensor, tensor.T, tensor[1:, ::2], tensor[0, 0], tensor[:0]], 4))
    for got, want in zip(value, [tensor, tensor.T, tensor[1:, ::2], tensor[0, 0], tensor[:0]], strict=True):
        assert got.dtype == dtype and got.device.type == 'cpu'
        assert torch.equal(got, want)


def test_parameter_and_memory_format():
    parameter = torch.nn.Parameter(torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last))
    value = read(pickle.dumps(parameter, 4))
    assert torch.equal(value, parameter) and value.stride() == parameter.stride() and not value.requires_grad


def test_tensor_from_another_device_comes_to_the_cpu():
    data = storage_bytes()
    assert b'cuda:3' in data
    assert read(storage_call(data) + b'.').tolist() == [1.5, -2.0]


@pytest.mark.parametrize('protocol', [3, 4, 5])
@pytest.mark.parametrize('array', [
    np.arange(6, dtype=np.float32).reshape(2, 3), np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.arange(3, dtype='>i4'),
    np.array(['cat', 'zebra']), np.array(7), np.zeros([0, 3], np.uint8), np.array([True, False]), np.float64(0.25),
    np.int64(3), np.bool_(1)])
def test_numpy(array, protocol):
    value = read(pickle.dumps(array, protocol))
    assert type(value) is type(array) and value.dtype == array.dtype
    np.testing.assert_array_equal(value, array)


def test_old_numpy_names():
    content = pickle.dumps(np.float32(1.5), 3)
    assert b'numpy._core.multiarray' in content or b'numpy.core.multiarray' in content
    for core in (b'numpy._core.multiarray', b'numpy.core.multiarray'):
        assert read(content.replace(b'numpy._core.multiarray', core).replace(b'numpy.core.multiarray', core)) == np.float32(1.5)


def test_shared_parts_stay_shared():
    tensor = torch.zeros(3)
    value = read(pickle.dumps([tensor, dict(t=tensor)], 4))
    assert value[0] is value[1]['t']


# What must not run.

@pytest.mark.parametrize('zip_form', [False, True])
def test_storage_that_holds_another_pickle(canary, zip_form):
    buffer = io.BytesIO()
    torch.save(Evil(canary), buffer, _use_new_zipfile_serialization=zip_form)
    with pytest.raises(ValueError, match='zip form' if zip_form else r'(posix|nt)\.system'):
        read(storage_call(buffer.getvalue()) + b'.')


@pytest.mark.parametrize('make', [lambda evil: np.array([evil, 1], dtype=object), lambda evil: np.array([None, {}], dtype=object),
                                  lambda evil: np.zeros(2, dtype=[('a', 'f4')]), lambda evil: np.datetime64('2020-01-01')])
def test_arrays_of_anything_but_numbers_and_strings(canary, make):
    with pytest.raises(ValueError):
        read(pickle.dumps(make(Evil(canary)), 4))


# What claims more than it has.

SHAPE = b'M\xff\xffM\xff\xffM\xff\xff\x87'     # (65535, 65535, 65535)


def tensor(offset, size, stride):
    """A tensor of two stored values, arguments given as opcodes."""
    hooks = called('collections', 'OrderedDict')
    args = (storage_call(storage_bytes()), offset, size, stride, b'\x89', hooks)
    return called('torch._utils', '_rebuild_tensor_v2', *args) + b'.'


def array(dtype, content):
    return called('numpy._core.numeric', '_frombuffer', content, called('numpy', 'dtype', text(dtype)), SHAPE, text('C')) + b'.'

CLAIMS = dict(
    claimed_storage=storage_call(storage_bytes(count=65535)) + b'.',
    claimed_storage_twice=storage_call(storage_bytes(count=65535, stored_count=65535)) + b'.',
    claimed_tensor=tensor(b'K\x00', SHAPE, SHAPE),
    claimed_by_stride_0=tensor(b'K\x00', SHAPE, b'K\x00K\x00K\x00\x87'),
    tensor_past_its_end=tensor(b'K\x01', b'K\x02\x85', b'K\x01\x85'),
    tensor_before_its_start=tensor(b'J\xff\xff\xff\xff', b'K\x01\x85', b'K\x01\x85'),
    tensor_of_no_size=tensor(b'K\x00', b'N', b'N'),
    claimed_array=array('f8', b'C\x04abcd'),
    claimed_empty_strings=array('S0', b'C\x00'),
)


@pytest.mark.parametrize('name', CLAIMS)
def test_claims(name):
    with pytest.raises(ValueError) as error:
        read(CLAIMS[name])
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize('changes', [
    dict(magic=1), dict(version=1000), dict(system=dict(little_endian=False)), dict(system=[]), dict(kind='module'),
    dict(keys=[]), dict(keys=['8']), dict(stored_count=3), dict(content=b'1234567'), dict(content=bytes(12)),
    dict(type=b'ctorch\nload\n'), dict(type=b'N')])
def test_damaged_storages(changes):
    assert read(storage_call(storage_bytes()) + b'.').tolist() == [1.5, -2.0]
    with pytest.raises(ValueError):
        read(storage_call(storage_bytes(**changes)) + b'.')
