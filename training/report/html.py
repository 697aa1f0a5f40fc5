"""Pieces of HTML that hold the report together. Every text that comes in is escaped; `parts`, `figures` and `body` are HTML."""

import json
import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from .style import CSS, SCRIPT

MAX_TEXT = 300  # characters of an option's value
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"  # the page loads nothing


def page(title: str, sections: Iterable[str]) -> str:
    """A whole HTML document of the sections that are not empty."""
    return '\n'.join([
        '<!DOCTYPE html>', '<html lang="en">', '<head>', '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<title>{escape(title)}</title>', f'<style>\n{CSS}\n</style>', '</head>', '<body>',
        *filter(None, sections), f'<script>\n{SCRIPT}\n</script>', '</body>', '</html>', ''])


def section(title: str, *parts: str) -> str:
    """A section under a heading; '' if nothing is in it."""
    body = '\n'.join(filter(None, parts))
    return f'<section>\n<h2>{escape(title)}</h2>\n{body}\n</section>' if body else ''


def charts(figures: Sequence[str]) -> str:
    """Figures in as many columns as the window has room for."""
    return '<div class="charts">\n' + '\n'.join(figures) + '\n</div>' if figures else ''


def folded(title: str, body: str) -> str:
    """A part that opens on demand; '' if it is empty."""
    return f'<details>\n<summary>{escape(title)}</summary>\n{body}\n</details>' if body else ''


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers_from: int | None = None, kind: str = '') -> str:
    """A table that scrolls in its own box. Columns from number `numbers_from` on hold numbers. '' without rows."""
    if not rows:
        return ''

    def cells(tag: str, texts: Sequence[str]) -> str:
        return ''.join(f'<{tag}{_number_class(i, numbers_from)}>{escape(text)}</{tag}>' for i, text in enumerate(texts))

    body = '\n'.join(f'<tr>{cells("td", row)}</tr>' for row in rows)
    return (f'<div class="scroll" tabindex="0"><table class="{kind}">\n<thead><tr>{cells("th", head)}</tr></thead>\n'
            f'<tbody>\n{body}\n</tbody></table></div>')


def text(value: Any) -> str:
    """An option's value for people."""
    if isinstance(value, float) and math.isfinite(value):
        return f'{value:.6g}'
    return shorten(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def shorten(words: str, most: int = MAX_TEXT) -> str:
    """Cut a long text."""
    return words if len(words) <= most else f'{words[:most - 4]} ...'


def long_table(head: Sequence[str], rows: Sequence[Sequence[str]], most: int, title: str, numbers_from: int | None = None,
               kind: str = '') -> str:
    """A table of the first `most` rows, and one of the others that opens under `title`."""
    rest = table(head, rows[most:], numbers_from, kind)
    return f'{table(head, rows[:most], numbers_from, kind)}\n{folded(title, rest)}'.strip()


def _number_class(column: int, numbers_from: int | None) -> str:
    return ' class="number"' if numbers_from is not None and column >= numbers_from else ''
