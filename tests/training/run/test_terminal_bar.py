"""training/run/terminal_bar.py on real pseudo-terminals of several widths."""

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


@pytest.mark.parametrize('columns', [10, 80])
def test_the_bar_takes_one_line_of_any_terminal(columns, terminal):
    made = terminal(columns)
    bar = open_bar(2000)
    fill(bar, 500)
    bar.close()
    line, rest = lines_on_screen(made.close(), columns)
    assert rest == '' and len(line) <= columns and line.startswith(' 25%')


def test_a_run_that_goes_on_starts_where_it_was(terminal):
    made = terminal(80)
    bar = open_bar(1000, images_done=400)
    fill(bar, 100)
    bar.close()
    text = made.close()
    assert text.lstrip('\r').startswith(' 40%') and ' 50%' in lines_on_screen(text, 80)[0]
