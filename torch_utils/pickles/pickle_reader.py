"""Follows the opcodes of a pickle (documented in the standard library's `pickletools`) with a machine that runs nothing.

It builds numbers, strings and containers; where the file names or calls something it only writes down what was named, as
`Name` and `Call` objects. `safe_pickle` makes values of these. Opcodes of protocols 2 to 5 that no snapshot uses (extension
registry, out-of-band buffers, protocol 0 text, and unless asked for Python 2's strings) are refused. Every failure is a
ValueError.
"""
import pickletools
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from .bounded_stream import BoundedStream

MAX_OPCODES = 500_000   # a snapshot has 10 to 60 thousand; a byte of a file may ask for an object of 60 bytes ...
MAX_SETS = 50_000       # ... or for a set of 200; a module has one
MAX_CALLS = 40_000      # a snapshot has some thousands; each may take a tenth of a millisecond
MAX_KEY = 2 ** 53       # of a number as key; above, many with the same hash can be found, which makes dicts slow

Handler = Callable[['Call'], Any]               # a call with evaluated arguments -> its value
Handlers = Callable[[str], Handler | None]      # 'module.name' -> handler, None = refused


class ForbiddenGlobal(ValueError):
    """The pickle names something that has no handler; `name` is its dotted name."""

    def __init__(self, name: str) -> None:
        super().__init__(f'it refers to {name!r}, which is not allowed')
        self.name = name


@dataclass(frozen=True)
class Name:
    """A global that the pickle names."""
    name: str


@dataclass(eq=False)
class Call:
    """`name(*args)` as the pickle asks for it, then `items` put into the result and `state` given to it."""
    name: str
    args: Any
    items: dict[Any, Any] | None = None
    state: Any = None


PERSISTENT_ID = '<persistent id>'       # name of the Call that stands for data kept beside the pickle

_LITERALS = {
    'BININT', 'BININT1', 'BININT2', 'LONG1', 'BINFLOAT', 'SHORT_BINUNICODE', 'BINUNICODE', 'BINUNICODE8',
    'SHORT_BINBYTES', 'BINBYTES', 'BINBYTES8', 'BYTEARRAY8',
}
_CONSTANTS = {'NONE': None, 'NEWTRUE': True, 'NEWFALSE': False, 'EMPTY_TUPLE': ()}
_EMPTY = {'EMPTY_LIST': list, 'EMPTY_DICT': dict, 'EMPTY_SET': set}
_FIXED_TUPLES = {'TUPLE1': 1, 'TUPLE2': 2, 'TUPLE3': 3}
_KEYS = (str, bytes, int, float, type(None))     # tuples are left out: hashing nested ones can take for ever


def read_tree(stream: BinaryIO, handlers: Handlers, persistent_ids: bool = False, python2: bool = False) -> Any:
    """Read one pickle up to its STOP: literals, containers, and Name and Call objects that `evaluate` understands.

    persistent_ids: allow references to data beside the pickle; they become calls of PERSISTENT_ID. python2: allow strings of
    Python 2, which are text or data: those of up to 255 bytes become text (Latin-1), longer ones bytes.
    """
    machine = _Machine(handlers, persistent_ids, python2)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', DeprecationWarning)     # bad escapes in opcodes that are then refused
            for count, (opcode, arg, _position) in enumerate(pickletools.genops(cast(BinaryIO, BoundedStream(stream)))):
                if count == MAX_OPCODES:
                    raise ValueError(f'more than {MAX_OPCODES} opcodes')
                machine.step(opcode.name, arg)
        return machine.pop()
    except (IndexError, KeyError, TypeError, AttributeError, OverflowError, MemoryError) as err:
        raise ValueError(f'malformed pickle ({type(err).__name__}: {err})') from err


class _Machine:
    """The pickle machine's stack, marks and memo."""

    def __init__(self, handlers: Handlers, persistent_ids: bool, python2: bool) -> None:
        self.handlers = handlers
        self.persistent_ids = persistent_ids
        self.python2 = python2
        self.stack: list[Any] = []
        self.marks: list[int] = []          # heights of the stack
        self.memo: dict[int, Any] = {}
        self.num_sets = 0
        self.num_calls = 0

    def step(self, opcode: str, arg: Any) -> None:
        """Carry out one opcode."""
        if opcode in _LITERALS:
            self.stack.append(arg)
        elif opcode in _CONSTANTS:
            self.stack.append(_CONSTANTS[opcode])
        elif opcode in _EMPTY:
            self.stack.append(_EMPTY[opcode]())
            self.num_sets += opcode == 'EMPTY_SET'
            if self.num_sets > MAX_SETS:
                raise ValueError(f'more than {MAX_SETS} sets')
        elif opcode in _FIXED_TUPLES:
            self.stack.append(tuple(self.pop_many(_FIXED_TUPLES[opcode])))
        elif opcode in ('BINPUT', 'LONG_BINPUT'):
            self.memo[arg] = self.stack[-1]
        elif opcode in ('BINGET', 'LONG_BINGET'):
            self.stack.append(self.memo[arg])
        elif opcode not in ('PROTO', 'FRAME', 'STOP'):
            action = getattr(self, 'op_' + opcode.lower(), None)
            if action is None:
                raise ValueError(f'pickle opcode {opcode} is not allowed')
            action(*([] if arg is None else [arg]))

    def pop(self) -> Any:
        return self.stack.pop()

    def pop_many(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise IndexError('stack is empty')
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def pop_to_mark(self) -> list[Any]:
        height = self.marks.pop()
        items = self.stack[height:]
        del self.stack[height:]
        return items

    def name(self, module: Any, name: Any) -> Name:
        if not isinstance(module, str) or not isinstance(name, str):
            raise TypeError('a global must be named by two strings')
        dotted = f'{module}.{name}'
        if self.handlers(dotted) is None:
            raise ForbiddenGlobal(dotted)
        return Name(dotted)

    def op_mark(self) -> None:
        self.marks.append(len(self.stack))

    def op_pop(self) -> None:
        self.stack.pop()

    def op_pop_mark(self) -> None:
        self.pop_to_mark()

    def op_memoize(self) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def op_tuple(self) -> None:
        self.stack.append(tuple(self.pop_to_mark()))

    def op_frozenset(self) -> None:
        self.stack.append(frozenset(check_keys(self.pop_to_mark())))

    def op_append(self) -> None:
        self.extend([self.pop()])

    def op_appends(self) -> None:
        self.extend(self.pop_to_mark())

    def extend(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise TypeError('items for something that is no list')
        self.stack[-1].extend(items)

    def op_additems(self) -> None:
        items = check_keys(self.pop_to_mark())
        if not isinstance(self.stack[-1], set):
            raise TypeError('members for something that is no set')
        self.stack[-1].update(items)

    def op_setitem(self) -> None:
        self.set_items(self.pop_many(2))

    def op_setitems(self) -> None:
        self.set_items(self.pop_to_mark())

    def set_items(self, flat: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Call):        # a dict of some special class
            if target.items is None:
                target.items = {}
            target = target.items
        if not isinstance(target, dict) or len(flat) % 2:
            raise TypeError('entries for something that is no dict')
        target.update(zip(check_keys(flat[0::2]), flat[1::2], strict=True))

    def op_global(self, module_and_name: str) -> None:
        self.stack.append(self.name(*module_and_name.split(' ', 1)))

    def op_stack_global(self) -> None:
        self.stack.append(self.name(*self.pop_many(2)))

    def op_reduce(self) -> None:
        function, args = self.pop_many(2)
        if not isinstance(function, Name) or not isinstance(args, tuple):
            raise TypeError('a call of something that has no name')
        self.num_calls += 1
        if self.num_calls > MAX_CALLS:
            raise ValueError(f'more than {MAX_CALLS} calls')
        self.stack.append(Call(function.name, args))

    op_newobj = op_reduce       # cls.__new__(cls, *args): the handler knows whether its name is a class

    def op_build(self) -> None:
        target, state = self.pop_many(2)
        if not isinstance(target, Call) or target.state is not None:
            raise TypeError('state for something that takes none')
        target.state = state
        self.stack.append(target)

    def op_short_binstring(self, text: str) -> None:
        if not self.python2:
            raise ValueError('strings of Python 2 are not allowed')
        self.stack.append(text)

    def op_binstring(self, text: str) -> None:
        self.op_short_binstring(text)
        self.stack.append(self.pop().encode('latin-1'))

    def op_binpersid(self) -> None:
        if not self.persistent_ids:
            raise ValueError('pickle opcode BINPERSID is not allowed')
        self.stack.append(Call(PERSISTENT_ID, (self.pop(),)))


def check_keys(keys: Iterable[Any]) -> list[Any]:
    """Keys of a dict or members of a set, which must be numbers up to MAX_KEY, strings, bytes or None."""
    keys = list(keys)
    for key in keys:
        if not isinstance(key, _KEYS):
            raise TypeError(f'a {type(key).__name__} as key')
        if isinstance(key, (int, float)) and not abs(key) <= MAX_KEY:
            raise ValueError('a number as key that is too large, or none')
    return keys
