"""A terminal for tests: a real pseudo-terminal whose output is kept, and what of it would stand on the screen."""

import contextlib
import os
import struct
import threading

import pytest


class Terminal:
    """`file` is the terminal as a program sees it; `text()` what was written to it so far."""

    def __init__(self, columns):
        pty = pytest.importorskip('pty', reason='pseudo-terminals are of Unix')
        self._outer, inner = pty.openpty()
        self.file = open(inner, 'w', encoding='utf-8')      # noqa: SIM115, closed by close()
        self.resize(columns)
        self._pieces = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def resize(self, columns):
        import fcntl
        import termios
        fcntl.ioctl(self._outer, termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns, 0, 0))

    def close(self):
        """End it; returns all that was written."""
        self.file.close()       # the reader gets the rest, then an error
        self._reader.join()
        with contextlib.suppress(OSError):
            os.close(self._outer)
        return b''.join(self._pieces).decode()

    def _read(self):
        with contextlib.suppress(OSError):
            while piece := os.read(self._outer, 1 << 16):
                self._pieces.append(piece)


def lines_on_screen(text, columns):
    """The lines that stand on a terminal after `text`; one that is wider than the terminal is joined again.

    Knows line feeds and carriage returns, of the terminal codes none.
    """
    rows, joins = [[]], [False]     # characters of each row; whether it continues the row above
    row = column = 0
    for char in text:
        assert char.isprintable() or char in '\r\n', repr(char)
        if char == '\r':
            column = 0
        elif char == '\n':
            row += 1
            joins[row:row + 1] = [False]
        else:
            if column == columns:
                row, column = row + 1, 0
                joins[row:row + 1] = [True]
        if row == len(rows):
            rows.append([])
        if char not in '\r\n':
            rows[row][column:column + 1] = [char]
            column += 1
    lines = []
    for characters, joined in zip(rows, joins, strict=True):
        lines[-1:] = [lines[-1] + ''.join(characters)] if joined else [*lines[-1:], ''.join(characters)]
    return [line.rstrip() for line in lines]
