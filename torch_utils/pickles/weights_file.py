"""Networks in a safetensors file (https://github.com/huggingface/safetensors): tensors and a JSON description, no code.

The file's metadata holds, under one key, the JSON of

    {"version": 1, "fields": {"G_ema": {"network": {"args": [], "kwargs": {}, "parts": {"": "Generator", ...},
                                                     "buffers": ["mapping.w_avg", ...]}},
                              "class_names": {"value": ["cat", "dog"]}, ...}}

A network's tensors are called FIELD.NAME, as 'G_ema.mapping.fc0.weight'. Parts are the bare class names of the network and
of its layers; tensors that are not among the buffers are parameters. Reading gives descriptions
(`saved_module.SavedModule`), as reading a pickle without running it does; who builds networks from them decides which
classes there are.
"""
import json
import os
from collections.abc import Iterable
from typing import Any

import torch

from dnnlib.files import write_whole
from dnnlib.schema import parse_json
from torch_utils import misc, persistence

from .saved_module import SavedModule

SUFFIX = '.safetensors'
KEY = 'torch_utils.pickles.weights_file'  # of the description in the file's metadata
VERSION = 1
_LENGTH_BYTES = 8  # a little-endian number: bytes of the JSON header that follows
_LIBRARY_HEADER = 100_000_000  # bytes; the library takes no longer one
MAX_HEADER = 2 ** 21  # bytes; a snapshot has 100 to 300 thousand, and what is made of them takes 30 times that
MAX_PARTS = 10_000  # of a network; a large one has 300
_FORMAT = 'networks are described in the metadata of such a file, see torch_utils/pickles/weights_file.py'


def is_weights_file(content: bytes) -> bool:
    """Whether a file's content begins as that of a safetensors file, whole or not. A pickle begins otherwise."""
    return content[_LENGTH_BYTES:_LENGTH_BYTES + 1] == b'{' and _header_end(content) <= _LIBRARY_HEADER


def write_fields(path: str | os.PathLike[str], fields: dict[str, Any]) -> None:
    """Write networks of persistent classes and plain values. The file appears when it is complete.

    ValueError for what JSON cannot hold exactly, and without the safetensors library; OSError.
    """
    safetensors = _library()
    tensors: dict[str, torch.Tensor] = {}
    described: dict[str, Any] = {}
    for field, value in fields.items():
        if isinstance(value, torch.nn.Module):
            described[field] = dict(network=_describe(field, value))
            # Copies: the format refuses tensors that share memory or are not laid out in order.
            tensors.update({f'{field}.{name}': tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
                            for name, tensor in misc.named_params_and_buffers(value)})
        else:
            described[field] = dict(value=_plain(value, field))
    text = json.dumps(dict(version=VERSION, fields=described), allow_nan=False)
    write_whole(path, safetensors.save(tensors, metadata={KEY: text}))


def read_fields(content: bytes) -> dict[str, Any]:
    """What `write_fields` wrote: plain values, and a SavedModule for each network. Builds and runs nothing.

    ValueError, in one line, for anything else.
    """
    safetensors = _library()
    if _header_end(content) > MAX_HEADER:
        raise ValueError(f'its header has {_header_end(content)} bytes, expected at most {MAX_HEADER}; {_FORMAT}')
    try:
        tensors = safetensors.load(content)
    except Exception as err:  # the library has an exception of its own
        raise ValueError(f'not a readable safetensors file ({" ".join(str(err).split())}); get the file again') from err
    fields = _described_fields(content)
    found: dict[str, Any] = {}
    for field, entry in fields.items():
        if isinstance(entry, dict) and 'network' in entry:
            own = {name.removeprefix(f'{field}.'): tensor for name, tensor in tensors.items() if name.startswith(f'{field}.')}
            found[field] = _saved_module(field, entry['network'], own)
        elif isinstance(entry, dict) and 'value' in entry:
            found[field] = entry['value']
        else:
            raise ValueError(f'its field {field!r} is neither a network nor a value; {_FORMAT}')
    return found


def _library() -> Any:
    try:
        import safetensors.torch
    except ImportError as err:
        raise ValueError(f'{SUFFIX} files need the safetensors library: pip install safetensors') from err
    return safetensors.torch


def _header_end(content: bytes) -> int:
    return _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], 'little')


def _described_fields(content: bytes) -> dict[str, Any]:
    """The fields in the metadata of a file that the library has accepted."""
    metadata = json.loads(content[_LENGTH_BYTES:_header_end(content)]).get('__metadata__')
    text = metadata.get(KEY) if isinstance(metadata, dict) else None
    if text is None:
        raise ValueError(f'a safetensors file of another tool; {_FORMAT}')
    try:
        described = parse_json(text)
    except ValueError as err:
        raise ValueError(f'its description is not JSON that can be read; {_FORMAT}') from err
    version, fields = (described.get(key) if isinstance(described, dict) else None for key in ('version', 'fields'))
    if version != VERSION or not isinstance(fields, dict):
        raise ValueError(f'its description is of version {version!r}, expected {VERSION}; {_FORMAT}')
    return fields


# --- networks and their descriptions ---

def _describe(field: str, network: torch.nn.Module) -> dict[str, Any]:
    if not persistence.is_persistent(network):
        raise ValueError(f'{field} is a {type(network).__name__}, which does not record the arguments of its constructor')
    return dict(args=_plain(network.init_args, f'{field}.args'), kwargs=_plain(network.init_kwargs, f'{field}.kwargs'),
                parts={name: type(part).__name__ for name, part in network.named_modules()},
                buffers=[name for name, _tensor in network.named_buffers()])


def _saved_module(field: str, described: Any, tensors: dict[str, torch.Tensor]) -> SavedModule:
    """The tree of parts that the description lists, with each tensor at its part."""
    parts, args, kwargs, buffers = (described.get(key) if isinstance(described, dict) else None
                                    for key in ('parts', 'args', 'kwargs', 'buffers'))
    if not (isinstance(parts, dict) and '' in parts and len(parts) <= MAX_PARTS and _are_texts(parts.values())
            and isinstance(args, list) and isinstance(kwargs, dict) and isinstance(buffers, list) and _are_texts(buffers)):
        raise ValueError(f'{field} lacks args, kwargs, parts or buffers of the right kind; {_FORMAT}')
    known_buffers = set(buffers)
    modules = {name: SavedModule(kind, {}) for name, kind in parts.items()}
    for name, module in modules.items():
        if name:
            _part_above(field, name, modules).state['_modules'][name.rpartition('.')[2]] = module
    for name, tensor in sorted(tensors.items()):  # the library gives them in any order
        if tensor.is_complex():
            raise ValueError(f'{field}.{name} is of type {tensor.dtype}; networks have real numbers')
        kind = '_buffers' if name in known_buffers else '_parameters'
        _part_above(field, name, modules).state[kind][name.rpartition('.')[2]] = tensor
    modules[''].state.update(_init_args=tuple(args), _init_kwargs=kwargs)
    return modules['']


def _are_texts(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _part_above(field: str, name: str, modules: dict[str, SavedModule]) -> SavedModule:
    above = name.rpartition('.')[0]
    if above not in modules:
        raise ValueError(f'{field}.{name} belongs to {above!r}, which is not among the parts of {field}')
    return modules[above]


def _plain(value: Any, place: str) -> Any:
    """The value in JSON's types: dicts with text keys, lists (tuples too), text, finite numbers, True, False, None."""
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain(entry, f'{place}.{key}') for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry, f'{place}[{index}]') for index, entry in enumerate(value)]
    if value is None or isinstance(value, (str, bool, int)) or (isinstance(value, float) and value - value == 0):
        return value
    raise ValueError(f'{place} is {value!r:.100} of type {type(value).__name__}, which {SUFFIX} files cannot hold')
