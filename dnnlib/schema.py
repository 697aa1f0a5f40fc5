"""Plain values, as JSON has them, checked against type annotations.

Known are bool, int, float, str, None, Any, Literal, unions, lists, dicts with text as keys, dataclasses (from dicts), other
classes by isinstance(), and Annotated with a Range. Every number must be finite; a bool is no number, an int is a float too.
"""

import dataclasses
import json
import math
import sys
import types
import typing
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

T = TypeVar('T')
WORDS = {bool: 'true or false', int: 'a whole number', float: 'a number', str: 'text', type(None): 'null', Any: 'anything'}
LARGEST = sys.float_info.max
MAX_SHOWN = 60  # characters of a value in a message
MAX_DEPTH = 50  # levels of nesting in JSON


@dataclasses.dataclass(frozen=True)
class Range:
    """For Annotated: the smallest and the largest number that fit."""

    low: float = -math.inf
    high: float = math.inf


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text. ValueError if it is invalid, or nested so deeply that a walk through it might fail."""
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError('nested too deeply') from error
    _check_depth(value, MAX_DEPTH)
    return value


def _check_depth(value: Any, left: int) -> None:
    if isinstance(value, (list, dict)):
        if left == 0:
            raise ValueError('nested too deeply')
        for item in value.values() if isinstance(value, dict) else value:
            _check_depth(item, left - 1)


def read_dataclass(kind: type[T], values: Any, name: str = '') -> T:
    """The dataclass with these field values. ValueError, one line, names what is missing, unknown, or of another type.

    Fields with a default may be missing. name: prefix of a field's name in messages.
    """
    if not isinstance(values, dict):
        raise ValueError(f'{name or "it"} is {show(values)}, expected an object')
    prefix = f'{name}.' if name else ''
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    missing = [prefix + key for key, field in fields.items() if key not in values and _is_required(field)]
    unknown = [prefix + show(key) for key in values if key not in fields]
    if missing or unknown:
        found = [f'{text}: {", ".join(names)}' for text, names in (('missing', missing), ('unknown', unknown)) if names]
        raise ValueError('; '.join(found))
    hints = typing.get_type_hints(kind, include_extras=True)
    return kind(**{key: check(value, hints[key], prefix + key) for key, value in values.items()})


def check(value: Any, kind: Any, name: str) -> Any:
    """The value, with dicts turned into the dataclasses of `kind`. ValueError, one line, if it does not match."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return read_dataclass(kind, value, name)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        others = [argument for argument in arguments if argument is not type(None)]
        return check(value, others[0], name) if len(others) == 1 else _check_plain(value, kind, name)
    if origin is Annotated:
        value = check(value, arguments[0], name)
        if isinstance(value, (int, float)) and not arguments[1].low <= value <= arguments[1].high:
            raise ValueError(f'{name} is {show(value)}, expected {describe(kind)}')
        return value
    if origin in (list, Sequence) and isinstance(value, (list, tuple)):
        return [check(item, arguments[0], f'{name}[{index}]') for index, item in enumerate(value)]
    if origin is dict and isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: check(item, arguments[1], f'{name}.{key}') for key, item in value.items()}
    return _check_plain(value, kind, name)


def _check_plain(value: Any, kind: Any, name: str) -> Any:
    if not _fits(value, kind):
        raise ValueError(f'{name} is {show(value)}, expected {describe(kind)}')
    return value


def _fits(value: Any, kind: Any) -> bool:
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return any(_fits(value, argument) for argument in arguments)
    if typing.get_origin(kind) is Literal:
        return isinstance(value, str) and value in arguments
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST
    return kind is Any or (isinstance(kind, type) and isinstance(value, kind))


def describe(kind: Any) -> str:
    """A type in words: int | None -> 'a whole number or null'."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return ' or '.join(map(describe, arguments))
    if origin is Annotated:
        low, high = arguments[1].low, arguments[1].high
        limits = [f'{word} {limit:g}' for word, limit in (('from', low), ('to', high)) if math.isfinite(limit)]
        return ' '.join([describe(arguments[0]), *limits])
    if origin is Literal:
        return ' or '.join(arguments)
    if origin in (list, Sequence):
        return f'a list of {describe(arguments[0]).removeprefix("a ")}s'
    return 'an object' if origin is dict else WORDS.get(kind, getattr(kind, '__name__', str(kind)))


def show(value: Any) -> str:
    """A value for a message, on one short line."""
    if isinstance(value, (list, tuple, dict)):
        return 'an object' if isinstance(value, dict) else 'a list'
    if isinstance(value, (bool, type(None))):
        return {True: 'true', False: 'false', None: 'null'}[value]
    if isinstance(value, int) and value.bit_length() > 200:  # too many digits to print
        return 'a huge number'
    text = repr(value) if isinstance(value, (str, int, float)) else f'a {type(value).__name__}'
    return text if len(text) <= MAX_SHOWN else f'{text[:MAX_SHOWN]}...'


def _is_required(field: 'dataclasses.Field[Any]') -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
