"""Reads pickles without running them.

`pickle.load` is an interpreter: a file names a function and says what to call it with. Here `pickle_reader` follows the
opcodes and can do less: it builds numbers, strings and containers, and writes down what else was named and called. Nothing
is imported, looked up or called while reading.

`evaluate` then turns the recorded calls into values through a table of handlers that the caller supplies. A name
without a handler is refused while reading, so a file can reach these handlers and nothing else. Every failure is a
ValueError.
"""
from collections.abc import Iterable
from typing import Any, BinaryIO

from .pickle_reader import Call, ForbiddenGlobal, Handlers, Name, read_tree

MAX_DEPTH = 100     # levels of nesting; a snapshot has about 30, and each takes three of the 1000 frames that Python allows
MAX_PARTS = 1_000_000   # a snapshot has about 20 thousand
MAX_SHARED = 64         # bytes; values made of longer ones copy them, so each of these may serve one value only

_ATOMS = (str, bytes, bytearray, int, float, type(None), Name)       # bool is an int


def load(stream: BinaryIO, handlers: Handlers, python2: bool = False) -> Any:
    """The value of one pickle, made by `handlers` alone. Raises ValueError (ForbiddenGlobal for a name without one).

    python2: allow strings of Python 2, as in `read_tree`.
    """
    return evaluate(read_tree(stream, handlers, python2=python2), handlers)


def evaluate(tree: Any, handlers: Handlers) -> Any:
    """Replace every Call in `tree`, which is used up, by what its handler returns. Shared parts stay shared; cycles,
    excessive depth (MAX_DEPTH) and parts that share so much that they are huge when written out (MAX_PARTS) are refused.

    A handler gets a Call whose arguments, items and state are evaluated already. Raises ValueError.
    """
    return _Evaluator(handlers).value(tree, 0)


class _Evaluator:
    def __init__(self, handlers: Handlers) -> None:
        self.handlers = handlers
        self.done: dict[int, Any] = {}          # id of a part of the tree -> its value
        self.open: set[int] = set()             # ids of the parts that the current one lies in
        self.copied: set[int] = set()           # ids of the long bytes that have served a call
        self.num_parts: dict[int, int] = {}     # id of a part -> number of parts in it, shared ones as often as they occur

    def value(self, part: Any, depth: int) -> Any:
        if isinstance(part, _ATOMS):
            return part
        if depth > MAX_DEPTH:
            raise ValueError(f'nested more than {MAX_DEPTH} levels deep')
        key = id(part)
        if key in self.open:
            raise ValueError('a container or call that contains itself')
        if key not in self.done:
            self.open.add(key)
            self.done[key] = self.call(part, depth + 1) if isinstance(part, Call) else self.container(part, depth + 1)
            self.open.remove(key)
        return self.done[key]

    def values(self, part: Any, inside: Iterable[Any], depth: int) -> list[Any]:
        """Values of what is inside of `part`; a limit keeps later code, which may print or copy them, from running for ever."""
        inside = list(inside)
        values = [self.value(item, depth) for item in inside]
        count = self.num_parts[id(part)] = 1 + sum(self.num_parts.get(id(item), 1) for item in inside)
        if count > MAX_PARTS:
            raise ValueError(f'more than {MAX_PARTS} parts when shared ones are counted as often as they occur')
        return values

    def container(self, part: Any, depth: int) -> Any:
        if isinstance(part, dict):
            return dict(zip(part, self.values(part, part.values(), depth), strict=True))
        if isinstance(part, (list, tuple)):
            return type(part)(self.values(part, part, depth))
        return part     # sets: their members are atoms

    def call(self, part: Call, depth: int) -> Any:
        self.check_bytes(part)
        args, items, state = self.values(part, (part.args, part.items, part.state), depth)
        handler = self.handlers(part.name)
        assert handler is not None, part.name       # or read_tree would have refused it
        self.done.pop(id(part.args), None)    # what the call was given may be large, and has been used
        part.args = part.items = part.state = None
        try:
            return handler(Call(part.name, args, items, state))
        except ForbiddenGlobal:
            raise
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError, OverflowError, MemoryError) as err:
            raise ValueError(f'{part.name}: {str(err).splitlines()[0] if str(err) else type(err).__name__}') from err

    def check_bytes(self, part: Call) -> None:
        """ValueError if long bytes that are given to this call were given to another one."""
        given = [item for items in (part.args, part.state) if isinstance(items, tuple) for item in items]
        for item in given:
            if isinstance(item, (bytes, bytearray)) and len(item) > MAX_SHARED:
                if id(item) in self.copied:
                    raise ValueError(f'the same {len(item)} bytes for several values')
                self.copied.add(id(item))
