"""Handlers for `torch_utils.pickles.safe_pickle`: tensors, numpy arrays and plain containers, rebuilt from checked parts.

A tensor in a pickle is a call of torch's `_rebuild_tensor_v2` on a storage, and a storage is a byte string that
`torch.save` wrote in its format of before version 1.6: five pickles (magic number, version, system, the storage's
description, a list of keys), then the number of elements as int64 and the elements. torch's own reader, even
with `weights_only=True`, knows far more than storages (sparse, quantised and nested tensors, other byte orders that it reads
wrongly); this one knows nothing else.

No handler allocates more than a small multiple of the bytes that the file really holds.
"""
import io
import math
import re
import sys
from collections import OrderedDict
from typing import Any

import numpy as np
import torch

from dnnlib import EasyDict

from .pickle_reader import PERSISTENT_ID, Call, Handler, Name, check_keys, read_tree
from .safe_pickle import load

_MAGIC = 0x1950a86a20f9469cfc6c     # first pickle of the format
_VERSION = 1001                     # second pickle

_STORAGE_DTYPES = {f'torch.{name}Storage': dtype for name, dtype in dict(
    Float=torch.float32, Double=torch.float64, Half=torch.float16, BFloat16=torch.bfloat16, Bool=torch.bool,
    Byte=torch.uint8, Char=torch.int8, Short=torch.int16, Int=torch.int32, Long=torch.int64).items()}


def _arguments(call: Call) -> tuple[Any, ...]:
    """Arguments of a call that must have neither items nor state."""
    if call.items or call.state:
        raise ValueError('unexpected state')
    return call.args


def _ordered_dict(call: Call) -> OrderedDict[Any, Any]:
    if call.args not in ((), ([],)) or call.state:
        raise ValueError('expected a plain dictionary')
    return OrderedDict(call.items or {})


def _easy_dict(call: Call) -> EasyDict:
    if call.args or call.state:
        raise ValueError('expected a plain dictionary')
    return EasyDict(call.items or {})


def _set(call: Call) -> set[Any]:
    members, = _arguments(call)
    if not isinstance(members, list):
        raise ValueError(f'expected a list, found {type(members).__name__}')
    return set(check_keys(members))


def _storage(call: Call) -> torch.Tensor:
    """The elements of a storage, on the CPU whatever device it was on: [number of elements]."""
    data, = _arguments(call)
    if not isinstance(data, bytes):
        raise ValueError(f'expected bytes, found {type(data).__name__}')
    if data[:2] == b'PK':
        raise ValueError('a storage in zip form, which torch never puts into a pickle')
    stream = io.BytesIO(data)
    magic, version, system = (load(stream, lambda name: None) for _ in range(3))
    if magic != _MAGIC or version != _VERSION or not isinstance(system, dict) or system.get('little_endian') is not True:
        raise ValueError('not a little-endian torch storage')
    described = read_tree(stream, lambda name: _not_callable if name in _STORAGE_DTYPES else None, persistent_ids=True)
    keys = load(stream, lambda name: None)
    if not isinstance(described, Call) or described.name != PERSISTENT_ID:
        raise ValueError('not a torch storage')
    kind, storage_type, key, _device, count, view = described.args[0]
    if kind != 'storage' or not isinstance(storage_type, Name) or keys != [key] or view is not None:
        raise ValueError('not a single torch storage')
    dtype = _STORAGE_DTYPES[storage_type.name]
    stored_count = int.from_bytes(stream.read(8), 'little')
    content = bytearray(stream.read())      # a copy: tensors need memory that can be written
    if stored_count != count or len(content) != count * dtype.itemsize:
        raise ValueError(f'a storage of {count} elements of {dtype.itemsize} bytes, but {len(content)} bytes are there')
    return torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)


def _tensor(call: Call) -> torch.Tensor:
    storage, offset, size, stride, *_requires_grad_and_hooks = _arguments(call)
    if not isinstance(storage, torch.Tensor) or storage.ndim != 1:
        raise ValueError('a tensor without a storage')
    if len(size) != len(stride) or any(type(n) is not int or n < 0 for n in (offset, *size, *stride)):
        raise ValueError(f'size {size}, stride {stride}, offset {offset}')
    count = math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if count else offset - 1
    if count > len(storage) or last >= len(storage):
        raise ValueError(f'a tensor of size {tuple(size)} that claims more than the {len(storage)} stored values')
    return storage.as_strided(size, stride, offset)


def _parameter(call: Call) -> torch.Tensor:
    tensor, *_requires_grad_and_hooks = _arguments(call)
    if not isinstance(tensor, torch.Tensor):
        raise ValueError('a parameter without a tensor')
    return tensor


def _dtype(call: Call) -> np.dtype[Any]:
    """numpy.dtype(code, False, True), then the state (version, byte order, nothing structured ...)."""
    code = call.args[0]
    if not isinstance(code, str) or not re.fullmatch(r'[biufcSU][1-9]\d{0,8}', code):
        raise ValueError(f'array of type {code!r}; only numbers and strings are allowed')
    dtype = np.dtype(code)
    if call.state is None:
        return dtype
    _version, order, *structure = call.state[:5]
    if order not in ('<', '>', '|', '=') or any(x is not None for x in structure):
        raise ValueError('a structured type; only numbers and strings are allowed')
    return dtype.newbyteorder(order)


def _from_bytes(content: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray[Any, Any]:
    if not isinstance(content, (bytes, bytearray)) or not isinstance(dtype, np.dtype):
        raise ValueError('an array without content')
    if len(content) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f'an array of shape {tuple(shape)} and type {dtype}, but {len(content)} bytes are there')
    if dtype.kind == 'U' and (np.frombuffer(content, np.dtype(np.uint32).newbyteorder(dtype.byteorder)) > sys.maxunicode).any():
        raise ValueError('an array of text with numbers that are no characters')
    return np.frombuffer(bytearray(content), dtype).reshape(shape, order=order) if content else np.empty(shape, dtype)


def _scalar(call: Call) -> Any:
    dtype, content = _arguments(call)
    return _from_bytes(content, dtype, (1,), 'C')[0]


def _array(call: Call) -> np.ndarray[Any, Any]:
    """`_reconstruct(ndarray, (0,), b'b')`, then the state (version, shape, dtype, Fortran order, content)."""
    _version, shape, dtype, fortran, content = call.state
    return _from_bytes(content, dtype, shape, 'F' if fortran else 'C')


def _buffer_array(call: Call) -> np.ndarray[Any, Any]:
    content, dtype, shape, order = _arguments(call)
    return _from_bytes(content, dtype, shape, order)


def _not_callable(call: Call) -> Any:
    raise ValueError('not to be called')


HANDLERS: dict[str, Handler] = {
    'builtins.set': _set,
    'collections.OrderedDict': _ordered_dict,
    'dnnlib.util.EasyDict': _easy_dict,
    'torch._utils._rebuild_parameter': _parameter,
    'torch._utils._rebuild_tensor_v2': _tensor,
    'torch.storage._load_from_bytes': _storage,
    'numpy.dtype': _dtype,
    'numpy.ndarray': _not_callable,     # an argument of _reconstruct
    **{f'numpy.{core}.multiarray.scalar': _scalar for core in ('core', '_core')},
    **{f'numpy.{core}.multiarray._reconstruct': _array for core in ('core', '_core')},
    **{f'numpy.{core}.numeric._frombuffer': _buffer_array for core in ('core', '_core')},
}
