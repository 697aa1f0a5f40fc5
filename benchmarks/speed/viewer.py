"""From a slider of view.py to the picture in the browser, in headless Chromium.

    python -m benchmarks.speed.viewer [--network=PATH ...] [--steps=N]

Needs the extra viewer, playwright and Chromium. A step moves a slider and ends when the page has loaded the new picture; the page
notes both moments itself. Without --network: a random one of 32x32 with the demo's sizes, and one of 256x256 with those of
`paper256` and hypernetworks of rank 16.
"""
import contextlib
import importlib.util
import itertools
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

import legacy
from benchmarks.digits_task import ROOT
from benchmarks.markdown import head, row
from commands.cli import UserPath

from .networks import random_snapshots

FLAGS = ['--no-sandbox', '--disable-gpu']
WARM_UP = 4  # steps; the first pictures take memory
MAX_STEPS = 26  # with those, from a truncation of 0.7 to 1 in hundredths
# Milliseconds between the slider's event and the new picture's, in order.
CLOCK = """() => {
    window.waits = [];
    let moved = 0;
    document.addEventListener('input', () => { moved = performance.now(); }, true);
    document.addEventListener('load', event => {
        if (moved && event.target.closest('#picture')) { window.waits.push(performance.now() - moved); moved = 0; }
    }, true);
}"""


@contextlib.contextmanager
def served(network: Path, device: str) -> Iterator[str]:
    """The address of view.py with this network, in a process of its own."""
    command = [sys.executable, str(ROOT / 'view.py'), f'--network={network}', '--no-browser', f'--device={device}']
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            found = [line.split()[1] for line in itertools.islice(process.stdout or (), 1)]
            if not found:
                raise click.ClickException('view.py ended; what it said stands above')
            yield found[0]
        finally:
            process.terminate()


def milliseconds(tab: Any, slider: str, steps: int) -> list[float]:
    """Of each step of a slider, after some that do not count."""
    handle = tab.get_by_label(f'range slider for {slider}', exact=True)
    for step in range(WARM_UP + steps):
        handle.press('ArrowRight')
        tab.wait_for_function(f'window.waits.length > {step}')
    return tab.evaluate('window.waits.splice(0)')[WARM_UP:]


def second_class(network: Path) -> str:
    """The name of its slider."""
    with open(network, 'rb') as file:
        return legacy.load_network_pkl(file)['class_names'][1]


@click.command()
@click.option('--network', 'networks', multiple=True, type=UserPath(exists=True, dir_okay=False, path_type=Path),
              help='Snapshot with named classes; give several, if you like.  [default: random ones of 32x32 and 256x256]')
@click.option('--steps', type=click.IntRange(1, MAX_STEPS), default=20, show_default=True, help='Steps of each slider.')
@click.option('--device', default='cpu', show_default=True, help='Where view.py draws.')
def main(networks: tuple[Path, ...], steps: int, device: str) -> None:
    """Measure how long the viewer takes from a slider to the picture."""
    program = shutil.which('chromium')
    if program is None or importlib.util.find_spec('playwright') is None:
        raise click.ClickException('the program chromium and the package playwright are needed: install both')
    from playwright.sync_api import sync_playwright

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        browser = stack.enter_context(sync_playwright()).chromium.launch(executable_path=program, args=FLAGS)
        click.echo(head('snapshot', 'ms from the slider for truncation', 'from a slider for a class'), nl=False)
        for network in networks or random_snapshots(folder).values():
            with served(network, device) as address:
                tab = browser.new_page(viewport=dict(width=1280, height=900))
                tab.goto(address)
                tab.wait_for_selector('#picture img')
                tab.evaluate(CLOCK)
                found = [milliseconds(tab, slider, steps) for slider in ('Truncation', second_class(network))]
                click.echo(row(network.name, *(f'{statistics.median(times):.0f} ({min(times):.0f} to {max(times):.0f})'
                                               for times in found)), nl=False)
                tab.close()
        browser.close()


if __name__ == '__main__':
    main()
