"""An attribute replaced for a while."""
import contextlib
from collections.abc import Iterator
from typing import Any

_ABSENT = object()


@contextlib.contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[Any]:
    """owner.name = value inside of the context; gives what stood there before, None for nothing."""
    before = vars(owner).get(name, _ABSENT)
    setattr(owner, name, value)
    try:
        yield None if before is _ABSENT else before
    finally:
        if before is _ABSENT:
            delattr(owner, name)
        else:
            setattr(owner, name, before)
