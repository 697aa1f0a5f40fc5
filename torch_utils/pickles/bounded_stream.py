"""A stream for the standard library's pickletools that keeps it from reading long texts.

Decoded, a text takes up to four times its bytes, and lines are read whole before anybody looks at them. Tensors are stored
as bytes, which are not limited: they take what the file has.
"""
from typing import BinaryIO

MAX_TEXT = 2 ** 22  # bytes; the longest texts of a snapshot are programs
MAX_LINE = 2 ** 12  # bytes of a name that ends with the line

_TEXT_OPCODES = (b'X', b'\x8d', b'\x96')    # BINUNICODE, BINUNICODE8, BYTEARRAY8


class BoundedStream:
    """What pickletools.genops needs of a file, with limits. Raises ValueError beyond MAX_TEXT."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.opcode = b''

    def read(self, count: int) -> bytes:
        """Up to `count` bytes."""
        if count > MAX_TEXT and self.opcode in _TEXT_OPCODES:
            raise ValueError(f'a text of {count} bytes')
        data = self.stream.read(count)
        if count == 1:      # an opcode, or an argument of one byte, which these texts do not have
            self.opcode = data
        return data

    def readline(self) -> bytes:
        """One line, cut after MAX_LINE bytes."""
        return self.stream.readline(MAX_LINE)
