"""Errors as one line for people, and which of them are the machine's fault."""

import errno

MACHINE_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOMEM}  # the machine's fault, not the input's


def input_message(error: BaseException) -> str | None:
    """One line about an error that is the user's to mend; None if the run or the machine is at fault."""
    if isinstance(error, OSError):
        return None if error.errno in MACHINE_ERRNOS else describe_os_error(error)
    return one_line(error) if isinstance(error, ValueError) else None


def describe_os_error(error: OSError) -> str:
    """'no/such.zip: No such file or directory' in place of Python's '[Errno 2] ...'."""
    if error.filename is None or error.strerror is None:
        return one_line(error)
    return printable(f'{error.filename}: {error.strerror}')


def one_line(error: BaseException) -> str:
    return printable(' '.join(str(error).split())) or type(error).__name__


def printable(text: str) -> str:
    """Names from files may hold what a terminal takes for commands, or cannot encode."""
    return ''.join(char if char.isprintable() else '?' for char in text)
