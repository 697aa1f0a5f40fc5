"""Lines of a run's text files, of any size, without holding the file."""

from collections.abc import Iterator
from pathlib import Path

MAX_LINE = 1 << 20  # characters; the longest of ours, with the results of all metrics, has some thousands


def text_lines(path: Path) -> Iterator[str]:
    """The lines, as UTF-8; those longer than MAX_LINE come in pieces."""
    with open(path, encoding='utf-8', errors='replace') as file:
        while line := file.readline(MAX_LINE):
            yield line
