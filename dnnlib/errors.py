"""Errors as one line for people, and which errors are the machine's fault."""

import errno
from collections.abc import Sequence

MACHINE_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOMEM}  # the machine's fault, not the input's
MAX_MESSAGE = 2000  # characters: some twenty lines of a terminal


def input_message(error: BaseException) -> str | None:
    """One line about an error that the user can fix; None if the run or the machine is at fault."""
    if isinstance(error, OSError):
        return None if error.errno in MACHINE_ERRNOS else describe_os_error(error)
    return one_line(error) if isinstance(error, ValueError) else None


def describe_os_error(error: OSError) -> str:
    """'no/such.zip: No such file or directory' instead of Python's '[Errno 2] ...'."""
    if error.filename is None or error.strerror is None:
        return one_line(error)
    return cut(printable(f'{error.filename}: {error.strerror}'))


def one_line(error: BaseException) -> str:
    return cut(printable(' '.join(str(error).split()))) or type(error).__name__


def cut(text: str) -> str:
    """The text, cut if too long: names and values from files may have any length."""
    return text if len(text) <= MAX_MESSAGE else f'{text[:MAX_MESSAGE]} ... ({len(text)} characters)'


def listed(names: Sequence[str], most: int = 3) -> str:
    """'a, b, c and 2 more'."""
    return ', '.join(names[:most]) + (f' and {len(names) - most} more' if len(names) > most else '')


def printable(text: str) -> str:
    """The text with '?' for control characters and others that a terminal cannot show, as names from files may have."""
    return ''.join(char if char.isprintable() else '?' for char in text)
