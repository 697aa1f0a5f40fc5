"""The content of a snapshot, found without running or building anything from it."""

import hashlib
import inspect
import io
import json
import math
from collections import Counter
from typing import Any

import numpy as np
import torch

import dnnlib
from dnnlib.errors import listed, printable
from torch_utils.pickles import pickle_reader, safe_pickle, weights_file
from torch_utils.pickles.saved_module import SavedModule

from .file_kinds import TENSORFLOW, check_kind_of_file, foreign_kind, tensorflow_era
from .known_classes import KNOWN_CLASSES, PERSISTENT, handler_of
from .soundness import nonfinite

MAX_SHOWN = 100     # characters of a text, items of a list
ROW = '{:<12} {}'

Facts = dict[str, Any]


class _Refused:
    """Stands for what the file asks for and is refused."""

    def __init__(self, name: str) -> None:
        self.name = name


class _Reader:
    """Reads a pickle with the handlers of `known_classes`, and notes names that these refuse and program texts."""

    def __init__(self) -> None:
        self.refused: Counter[str] = Counter()
        self.sources: dict[str, Counter[str]] = {}      # program text -> classes that carry it

    def read(self, content: bytes) -> Any:
        """The value of the pickle; ValueError if it is damaged or malformed."""
        return safe_pickle.load(io.BytesIO(content), self.handler)

    def handler(self, name: str) -> pickle_reader.Handler:
        usual = handler_of(name)
        if usual is None:
            self.refused[name] += 1
            return lambda call: _Refused(name)
        return self.persistent if name == PERSISTENT else usual

    def persistent(self, call: pickle_reader.Call) -> Any:
        usual = handler_of(call.name)
        assert usual is not None
        saved, text = usual(call), call.args[0].get('module_src')
        if isinstance(text, str) and text:
            self.sources.setdefault(text, Counter())[saved.class_name] += 1
        return saved


def inspect_snapshot(path: str) -> Facts:
    """JSON-ready facts about a snapshot, hostile ones too.

    kind: safetensors, pickle, empty, or what else it is. safe: it names nothing that network pickles do not need. refused:
    what else it names. problem: why it cannot be read, or None. fields: each network's class, constructor arguments and
    counts, and all other values. sources: the program texts that it carries, with the file of this project that is the same,
    if one is. OSError if there is no such file.
    """
    with open(path, 'rb') as file:
        content = file.read()
    is_weights = weights_file.is_weights_file(content)
    reader, fields, problem = _Reader(), {}, None
    try:
        if not is_weights:
            check_kind_of_file(content)
        data = weights_file.read_fields(content) if is_weights else reader.read(content)
        if not isinstance(data, dict):
            raise ValueError(f'holds {_type_name(data)} instead of a dict with G, D and G_ema')
        fields = {str(key): describe_network(value) if isinstance(value, SavedModule) else dict(value=plain(value))
                  for key, value in data.items()}
    except ValueError as error:
        problem = str(error)
    if any(name.startswith(TENSORFLOW) for name in reader.refused):
        problem = str(tensorflow_era())
    kind = 'safetensors' if is_weights else foreign_kind(content) or ('pickle' if content else 'empty')
    return dict(file=path, kind=kind, bytes=len(content), safe=problem is None and not reader.refused,
                refused=sorted(reader.refused), problem=problem, fields=fields,
                sources=[_describe_source(text, classes) for text, classes in reader.sources.items()])


def describe_network(saved: SavedModule) -> Facts:
    """Class, arguments, numbers of elements and types of a network in a file."""
    counts: Counter[str] = Counter(parameters=0, buffers=0)
    types: set[str] = set()
    for part in saved.modules().values():
        for kind in ('parameters', 'buffers'):
            tensors = [tensor for tensor in part.state[f'_{kind}'].values() if tensor is not None]
            counts[kind] += sum(tensor.numel() for tensor in tensors)
            types |= {str(tensor.dtype).removeprefix('torch.') for tensor in tensors}
    return dict({'class': saved.class_name}, known=saved.class_name in KNOWN_CLASSES, **counts, types=sorted(types),
                nonfinite=nonfinite(saved.tensors()), parts=len(saved.modules()),
                arguments=plain(saved.state.get('_init_kwargs', {})),
                positional=plain(saved.state.get('_init_args', ())))


def plain(value: Any) -> Any:
    """A value of a file as JSON has it; long ones are cut, tensors and networks only named."""
    if isinstance(value, np.generic) and not isinstance(value.item(), np.generic):  # long double has no other form
        value = value.item()
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)  # which JSON does not have
    if isinstance(value, str):
        return value if len(value) <= MAX_SHOWN else f'{value[:MAX_SHOWN]} ... ({len(value)} characters)'
    if isinstance(value, dict):
        return {str(key)[:MAX_SHOWN]: plain(item) for key, item in list(value.items())[:MAX_SHOWN]}
    if isinstance(value, (list, tuple)):
        rest = len(value) - MAX_SHOWN
        return [plain(item) for item in value[:MAX_SHOWN]] + ([f'... ({rest} more)'] if rest > 0 else [])
    return f'<{_type_name(value)}>'


def _type_name(value: Any) -> str:
    if isinstance(value, _Refused):
        return f'refused: {value.name}'
    if isinstance(value, SavedModule):
        return f'a {value.class_name}'
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return f'{str(value.dtype).removeprefix("torch.")} array {list(value.shape)}'
    return f'a {type(value).__name__}'


def _describe_source(text: str, classes: Counter[str]) -> Facts:
    return dict(sha256=hashlib.sha256(text.encode(errors='replace')).hexdigest(), characters=len(text), classes=sorted(classes),
                same_as=_own_files().get(text))


def _own_files() -> dict[str, str]:
    """Text of this project's files that define networks -> their module."""
    modules = sorted({name.rpartition('.')[0] for name in KNOWN_CLASSES.values()})
    return {inspect.getsource(dnnlib.util.get_obj_by_name(name)): name for name in modules}


# --- for people ---

def report(facts: Facts) -> str:
    """The facts on one screen."""
    unknown = [f'{name} is of class {field["class"]!r}' for name, field in facts['fields'].items() if field.get('known') is False]
    rows = [('File', f'{facts["file"]}: {facts["kind"]}, {facts["bytes"]:,} bytes')]
    if facts['refused']:
        rows += [('Safe', f'NO: it refers to {", ".join(facts["refused"][:8])}, which network pickles do not need')]
    elif facts['problem']:
        rows += [('Safe', 'NO: it could not be read to its end')]
    else:
        rows += [('Safe', 'yes: opening it here runs no code from it')]
    if facts['problem']:
        rows += [('Problem', facts['problem'])]
    elif unknown:
        rows += [('Opens', f'with --trust-pickle only: {"; ".join(unknown)}, unknown here')]
    for name, field in facts['fields'].items():
        rows += _network_rows(name, field) if 'class' in field else [(name, _json(field['value']))]
    for source in facts['sources']:
        same = f'the text of {source["same_as"]} here' if source['same_as'] else 'not of this version (pickle.load runs it)'
        rows += [('Program', f'{source["characters"]:,} characters, {same}; sha256 {source["sha256"][:16]}; '
                             f'for {", ".join(source["classes"])}')]
    return '\n'.join(printable(ROW.format(*row)) for row in rows)


def _network_rows(name: str, field: Facts) -> list[tuple[str, str]]:
    given = [_json(value) for value in field['positional']] if isinstance(field['positional'], list) else ['?']
    given += [f'{key}={_json(value)}' for key, value in field['arguments'].items()] \
        if isinstance(field['arguments'], dict) else ['?']
    return [(name, f'{field["class"]}: {field["parameters"]:,} parameters, {field["buffers"]:,} numbers in buffers, '
                   f'{", ".join(field["types"]) or "no tensors"}'),
            ('', f'({", ".join(given)})'),
            *([('', f'NaN or infinity in {listed(field["nonfinite"])}: unusable')] if field['nonfinite'] else [])]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)  # printable sees to characters that are none
