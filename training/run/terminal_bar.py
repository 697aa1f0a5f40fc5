"""The progress bar of a run: on the terminal itself, at its width, and nowhere else."""

import contextlib
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO

import tqdm

NARROW_COLUMNS, TINY_COLUMNS = 60, 40
NARROW = '{percentage:3.0f}% {n_fmt}/{total_fmt} <{remaining} {rate_fmt}'
TINY = '{percentage:3.0f}% {remaining} left'
UNKNOWN_COLUMNS = 80  # of a terminal that tells no width


class TerminalBar(tqdm.tqdm):
    """A bar that never takes more than a line: text alone where there is no room for more, and cut at the last column."""

    @property
    def format_dict(self) -> dict[str, Any]:
        values = super().format_dict
        columns = _columns(self.fp)
        values['ncols'] = columns
        if columns < NARROW_COLUMNS:
            values['bar_format'] = TINY if columns < TINY_COLUMNS else NARROW
        return values

    @staticmethod
    def status_printer(file: TextIO) -> Callable[[str], None]:
        """What draws a text over the last one. The width may have become smaller since."""
        last_length = 0

        def draw(text: str) -> None:
            nonlocal last_length
            columns = _columns(file)
            text = text[:columns]
            with contextlib.suppress(OSError):  # the terminal may be closed while training goes on
                file.write('\r' + text.ljust(min(last_length, columns)))
                file.flush()
            last_length = len(text)

        return draw


def open_bar(total_images: int, images_done: int = 0) -> TerminalBar:
    """A bar on the terminal, past the log file; hidden where there is no terminal."""
    terminal = sys.__stderr__
    hidden = terminal is None or not terminal.isatty()
    return TerminalBar(total=total_images, initial=images_done, unit='img', unit_scale=True, file=terminal, disable=hidden)


def _columns(file: TextIO) -> int:
    try:
        return os.get_terminal_size(file.fileno()).columns or UNKNOWN_COLUMNS
    except (OSError, ValueError, AttributeError):
        return UNKNOWN_COLUMNS
