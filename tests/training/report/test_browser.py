"""The report in a real browser, where Chromium is installed: no sideways scrolling, and the slider and read-out work.

The pages stand in frames of 400, 900 and 1600 pixels on one outer page, and tell it what they measured.
"""

import html
import json
import math
import re
import shutil
import subprocess

import pytest

from tests.support.run_directories import OPTIONS, metric_line, stats_line, write_run
from training.report.page import write_comparison, write_report

WIDTHS = (400, 900, 1600)
CHROMIUM = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'))), None)
QUIET = ('--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
         '--disable-component-update', '--disable-sync', '--virtual-time-budget=4000')
PROBE = """
<script>
addEventListener('load', () => {
  const all = selector => [...document.querySelectorAll(selector)];
  const texts = selector => all(selector).map(element => element.textContent);
  const shown = () => all('.frames img').filter(image => image.getClientRects().length).map(image => image.alt);
  for (const part of all('details')) part.open = true;
  const found = {inner: innerWidth, scroll: document.documentElement.scrollWidth, last: shown(), errors: window.failed || []};
  found.undecoded = all('img').filter(image => image.getClientRects().length && !image.naturalWidth).length;
  const slider = document.querySelector('input[type=range]');
  slider.value = 0;
  slider.dispatchEvent(new Event('input'));
  found.first = shown();
  found.place = document.querySelector('output').textContent;
  const chart = document.querySelector('.chart > svg'), box = chart.getBoundingClientRect();
  const [low, high, start, end] = JSON.parse(chart.parentNode.querySelector('script').textContent).axis;
  found.before = texts('.chart:first-of-type .legend b');
  const x = box.left + (start + (end - start) * (1000 - low) / (high - low)) / 420 * box.width;
  chart.dispatchEvent(new PointerEvent('pointermove', {clientX: x + 1, clientY: box.top + 50}));
  found.hover = texts('.chart:first-of-type .legend b');
  found.at = document.querySelector('.at').textContent;
  chart.dispatchEvent(new PointerEvent('pointerleave'));
  found.after = texts('.chart:first-of-type .legend b');
  parent.postMessage(found, '*');
});
</script>
"""
CATCH = "<script>window.failed = []; addEventListener('error', event => failed.push(event.message));</script>"
COLLECT = """
<pre id="out"></pre><script>
const found = {};
addEventListener('message', event => {
  const frame = [...document.querySelectorAll('iframe')].find(frame => frame.contentWindow === event.source);
  found[frame.id] = event.data;
  document.getElementById('out').textContent = JSON.stringify(found);
});
</script>
"""
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason='Chromium is not installed')


def write_full_run(path, options=OPTIONS):
    """A run with every part of the report, and names that do not fold."""
    lines = [stats_line(k, **{f'Diversity__{"long" * 20}{i}': math.exp(-k * i / 1e4) for i in range(12)})
             for k in range(0, 2001, 100)]
    results = {f'fid__{"word" * 10}': 1.0, 'another_one_with_a_long_name': 2.0}
    metrics = {'fid': [metric_line('fid', k, fid=1e3 / (k + 1), **results) for k in range(0, 2000, 100)]}
    return write_run(path, dict(options, long='x' * 280), lines, (500, 1500), (1400, 300), 'Warning: ' + 'w' * 500 + '\nDone',
                     dict(command='train_hyper.py', options=dict(data='y' * 200), data={}), metrics)


@pytest.fixture(scope='module')
def measured(tmp_path_factory):
    """{'page width': what the page measured} of a run's page and of a comparison."""
    folder = tmp_path_factory.mktemp('browser')
    runs = [write_full_run(folder / ('run' * 20 + str(i)), dict(OPTIONS, batch_size=i)) for i in range(3)]
    pages = dict(one=write_report(runs[0]), many=write_comparison(runs, folder / 'many.html'))
    frames = []
    for name, page in pages.items():
        probed = page.with_name('probed.html')
        probed.write_text(page.read_text().replace('<head>', f'<head>{CATCH}').replace('</body>', f'{PROBE}</body>'))
        source = html.escape(probed.as_uri())
        frames += [f'<iframe id="{name} {width}" width="{width}" height="900" frameborder="0" src="{source}"></iframe>'
                   for width in WIDTHS]
    outer = folder / 'outer.html'
    outer.write_text(f'<!DOCTYPE html><body>{COLLECT}{"".join(frames)}</body>')
    command = [str(CHROMIUM), *QUIET, f'--user-data-dir={folder / "profile"}', '--dump-dom', outer.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=300).stdout
    return json.loads(html.unescape(re.search('<pre id="out">(.*?)</pre>', dom, re.DOTALL)[1]) or '{}')


@pytest.mark.parametrize('width', WIDTHS)
@pytest.mark.parametrize('page', ['one', 'many'])
def test_page_in_a_browser(measured, page, width):
    found = measured[f'{page} {width}']
    runs = 1 if page == 'one' else 3
    assert found['inner'] == width and found['scroll'] <= width
    assert found['errors'] == [] and found['undecoded'] == 0
    assert found['last'] == ['1,500 thousand images'] * runs and found['first'] == ['start'] * runs
    assert found['place'] == '0 thousand images'
    assert found['at'] == 'at 1,000 thousand images'
    assert found['hover'][:1] == ['1.25'] and found['before'][:1] == ['1']  # the generator's loss is 1.5 - kimg / 4000
    assert found['after'] == found['before']
