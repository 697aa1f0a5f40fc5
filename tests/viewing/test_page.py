"""The page of view.py in headless Chromium, against the files that its commands give."""

import importlib.util
import io
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import legacy
from generate import main as generate_main
from tests.support.browser import open_chromium
from tests.support.commands import REPO, wait_for_line
from tests.support.hyper_sources import make_hyper, make_source, make_varied_hyper
from view import main as view_main

NAMES = ['cat', 'dog, or <b>wolf</b>', 'owl']
MANY = [f'bird {number}' for number in range(14)]
NETWORKS = 'network-snapshot-000003.pkl', 'network-snapshot-000002.pkl', 'network-snapshot-000001.pkl'


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """A folder with training-runs: classes, many classes, label vectors, from the newest to the oldest."""
    if importlib.util.find_spec('gradio') is None:
        pytest.skip('needs gradio')
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp('view')
    runs = folder / 'training-runs' / '00000-animals'
    runs.mkdir(parents=True)
    networks = make_varied_hyper(), make_hyper(make_source(), c_dim=len(MANY), rank=2), make_hyper(make_source(img_channels=1))
    for age, (name, G, names) in enumerate(zip(NETWORKS, networks, (NAMES, MANY, []), strict=True)):
        legacy.save_network_pkl(runs / name, dict(G=G, D=None, G_ema=G, class_names=names))
        os.utime(runs / name, (1000 - age, 1000 - age))
    return folder


@pytest.fixture(scope='module')
def server(runs):
    """The process, and its address."""
    words = [sys.executable, str(REPO / 'view.py'), '--no-browser', '--device=cpu']
    (runs / 'tmp').mkdir()
    process = subprocess.Popen(words, cwd=runs, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               env=os.environ | dict(TMPDIR=str(runs / 'tmp')),
                               # A shell that starts the tests in the background has children ignore Ctrl-C.
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    try:
        yield process, re.search(r'http://127\.0\.0\.1:\d+', wait_for_line('Page:', process)[-1])[0]
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope='module')
def tab(server):
    """A page that reaches the server alone, and must not ask for anything else or meet an error."""
    _process, address = server
    met = []
    with open_chromium() as browser:
        tab = browser.new_page(viewport=dict(width=1280, height=900))
        tab.route('**', lambda route: route.continue_() if route.request.url.startswith(address) else (
            met.append(route.request.url), route.abort()))
        tab.on('pageerror', lambda error: met.append(str(error)))
        tab.set_default_timeout(10000)
        tab.goto(address)
        tab.wait_for_selector('#picture img')
        yield tab
        assert met == []


def pixels(tab, selector):
    """Of the picture that the page shows there."""
    url = tab.get_attribute(f'{selector} img', 'src')
    return np.asarray(Image.open(io.BytesIO(tab.request.get(url).body())))


def command(tab):
    return tab.input_value('#command textarea')


def wait_until(condition, explain):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, explain()
        time.sleep(0.05)


def wait_for_picture(tab, words, runs, tmp_path, monkeypatch):
    """Until the page shows these words in the command, and the picture that the command draws. Returns it."""
    wait_until(lambda: set(words) <= set(shlex.split(command(tab))), lambda: (words, command(tab)))
    monkeypatch.chdir(runs)
    out = tmp_path / str(len(list(tmp_path.iterdir())))
    result = CliRunner().invoke(generate_main, ['--device=cpu', *shlex.split(command(tab))[2:], f'--outdir={out}'])
    assert result.exit_code == 0, result.output
    path, = out.iterdir()
    wanted = np.asarray(Image.open(path))
    wait_until(lambda: np.array_equal(pixels(tab, '#picture'), wanted), lambda: 'another picture than that of the command')
    assert np.ptp(wanted) > 30
    return wanted


@pytest.fixture
def shown(tab, runs, tmp_path, monkeypatch):
    """Waits for words in the command."""
    return lambda *words: wait_for_picture(tab, words, runs, tmp_path, monkeypatch)


def choose(tab, label, text):
    tab.get_by_label(label).fill(text)
    tab.keyboard.press('Enter')


def test_slider_to_picture(tab, shown):
    first = shown('--seeds=0', '--class=cat', '--trunc=0.7')
    tab.get_by_label('range slider for dog').press('End')
    tab.get_by_label('range slider for Truncation').press('Home')
    tab.get_by_label('range slider for Truncation').press('PageUp')
    tab.get_by_label('Seed', exact=True).fill('12')
    mixed = shown('--seeds=12', '--class=cat:1,dog\\, or <b>wolf</b>:1', '--trunc=0.1')
    assert not np.array_equal(mixed, first)


def test_source_and_every_class(tab):
    assert not tab.is_visible('#source')
    tab.get_by_label('Show what the source draws').check()
    tab.wait_for_selector('#source img')
    assert not np.array_equal(pixels(tab, '#source'), pixels(tab, '#picture'))
    tab.get_by_role('button', name='Draw every class').click()
    tab.wait_for_selector('.grid-container img')
    assert tab.locator('.grid-container img').count() == len(NAMES)


def test_second_seed_and_saved_w(tab, runs, tmp_path, monkeypatch):
    tab.get_by_text('Second seed: walk').click()
    tab.get_by_label('8x8').check()
    wait_until(lambda: '--projected-w=w.npz' in command(tab), lambda: command(tab))
    tab.get_by_role('button', name='Save w').click()
    with tab.expect_download() as download:
        tab.get_by_role('link', name=re.compile('KB|B')).first.click()
    download.value.save_as(runs / 'w.npz')
    wait_for_picture(tab, ['--projected-w=w.npz'], runs, tmp_path, monkeypatch)
    tab.get_by_label('8x8').uncheck()


def test_projected_w(tab, shown, runs):
    """The file of the test before."""
    tab.get_by_text('Projected w', exact=True).click()
    tab.locator('input[type=file]').first.set_input_files(runs / 'w.npz')
    shown('--projected-w=w.npz', '--class=cat:1,dog\\, or <b>wolf</b>:1')
    tab.get_by_label('Clear').click()
    shown('--seeds=12')


def test_walk(tab, shown):
    """At the second seed it goes on to the next one."""
    tab.get_by_label('range slider for On the way').press('End')
    tab.get_by_role('button', name='Walk', exact=True).click()
    wait_until(lambda: [tab.input_value(f'input[aria-label="{label}"]') for label in ('Seed', 'Second seed')] == ['1', '2'],
               lambda: command(tab))
    wait_until(lambda: '--projected-w=w.npz' in command(tab), lambda: command(tab))
    tab.get_by_role('button', name='Stop').click()
    wait_until(lambda: tab.get_by_role('button', name='Walk', exact=True).is_visible(), lambda: 'Stop does nothing')
    tab.get_by_label('range slider for On the way').press('Home')
    wait_until(lambda: '--projected-w=w.npz' not in command(tab), lambda: command(tab))
    shown('--seeds=1')


def test_snapshots_that_come_later(tab, shown, runs):
    folder = runs / 'training-runs' / '00000-animals'
    shutil.copy(folder / NETWORKS[0], folder / 'network-snapshot-000004.pkl')
    tab.get_by_role('button', name='Refresh').click()
    tab.get_by_label('Snapshot').click()
    tab.get_by_role('option', name='000004').click()
    shown('--network=training-runs/00000-animals/network-snapshot-000004.pkl', '--class=cat:1,dog\\, or <b>wolf</b>:1')


def test_many_classes_and_label_vectors(tab, shown):
    choose(tab, 'Snapshot', NETWORKS[1])
    shown('--class=bird 0')
    choose(tab, 'Classes', 'bird 13')
    tab.get_by_label('range slider for bird 13').press('End')
    shown('--class=bird 0:1,bird 13:1')
    choose(tab, 'Snapshot', NETWORKS[2])
    tab.get_by_label('range slider for Number 2').press('End')
    shown('--label=0,3,0')


def test_widths(tab):
    for width in (360, 768, 1280):
        tab.set_viewport_size(dict(width=width, height=800))
        assert tab.evaluate('document.documentElement.scrollWidth') <= width


def test_listens_on_this_machine_alone(server):
    process, _address = server
    listening = [place.laddr.ip for place in psutil.Process(process.pid).net_connections() if place.status == 'LISTEN']
    assert listening and set(listening) == {'127.0.0.1'}


def test_ctrl_c_leaves_nothing_behind(server, runs):
    process, _address = server
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0 and not list((runs / 'tmp').glob('hyper-stylegan2-*'))


def test_the_benchmark_times_steps_of_two_sliders(runs):
    network = runs / 'training-runs' / '00000-animals' / NETWORKS[0]
    words = [sys.executable, '-m', 'benchmarks.speed.viewer', f'--network={network}', '--steps=2']
    done = subprocess.run(words, cwd=REPO, text=True, capture_output=True, check=False, timeout=120)
    times = re.search(rf'\| {NETWORKS[0]}' + 2 * r' \| (\d+) \((\d+) to (\d+)\)' + r' \|\n$', done.stdout)
    assert times, done.stderr
    for median, low, high in np.reshape(list(map(int, times.groups())), [2, 3]):
        assert 1 <= low <= median <= high < 10000


def test_without_gradio(monkeypatch, tmp_path):
    legacy.save_network_pkl(tmp_path / 'x.pkl', dict(G=make_source(), D=None, G_ema=make_source()))
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    result = CliRunner().invoke(view_main, [f'--network={tmp_path / "x.pkl"}'])
    assert result.exit_code == 1 and result.output == 'Error: the page needs the package gradio: pip install gradio\n'


def test_without_a_snapshot(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(view_main, ['--no-browser'])
    assert result.exit_code == 2 and 'train first, or name a snapshot' in result.output
