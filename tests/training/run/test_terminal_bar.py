"""training/run/terminal_bar.py on real pseudo-terminals of several widths."""

import io
import re
import sys

import pytest

from tests.support.terminals import Terminal, lines_on_screen
from training.run.terminal_bar import open_bar


@pytest.fixture
def terminal(monkeypatch):
    """terminal(columns) -> Terminal, which is the console of the process."""
    def make(columns):
        made = Terminal(columns)
        monkeypatch.setattr(sys, '__stderr__', made.file)
        return made
    return make


def fill(bar, num_images):
    bar.mininterval = 0     # drawn at every step, however fast these are
    for _ in range(num_images):
        bar.update(1)


@pytest.mark.parametrize('columns', [10, 20, 40, 80, 200])
def test_the_bar_takes_one_line_of_any_terminal(columns, terminal):
    made = terminal(columns)
    bar = open_bar(2000)
    fill(bar, 500)
    bar.close()
    line, rest = lines_on_screen(made.close(), columns)
    assert rest == '' and len(line) <= columns and line.startswith(' 25%')


@pytest.mark.parametrize('widths', [(80, 20, 40), (20, 80, 20), (40, 41, 39)])
def test_the_bar_follows_the_width(widths, terminal):
    made = terminal(widths[0])
    bar = open_bar(300)
    for columns in widths:
        made.resize(columns)
        made.file.write('#')        # marks where the width changes
        fill(bar, 50)
    bar.close()
    for columns, part in zip(widths, made.close().split('#')[1:], strict=True):
        drawn = re.split(r'[\r\n]+', part)[2:]     # the first one still covers the last of the former width
        assert len(drawn) >= 49 and max(map(len, drawn)) <= columns


def test_a_run_that_goes_on_starts_where_it_was(terminal):
    made = terminal(80)
    bar = open_bar(1000, images_done=400)
    fill(bar, 100)
    bar.close()
    text = made.close()
    assert text.lstrip('\r').startswith(' 40%') and ' 50%' in lines_on_screen(text, 80)[0]


@pytest.mark.parametrize('file', [None, io.StringIO()])
def test_no_bar_without_a_terminal(file, monkeypatch):
    monkeypatch.setattr(sys, '__stderr__', file)
    bar = open_bar(100)
    fill(bar, 50)
    bar.clear()
    bar.refresh()
    bar.close()
    assert file is None or file.getvalue() == ''
