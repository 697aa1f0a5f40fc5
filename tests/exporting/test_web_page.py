"""The web page in headless Chromium, from a folder of this machine, against generate.py and numpy."""

import base64
import hashlib
import io
import itertools
import time

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import legacy
from export import main as export_main
from exporting import web_folder
from exporting.web_folder import ADDRESS, INTEGRITY, RUNTIME
from generate import main as generate_main
from tests.support.browser import npm_files, open_chromium, serve
from tests.support.hyper_sources import make_hyper, make_source

pytestmark = pytest.mark.xdist_group(__name__)  # one worker makes the fixture of all
NAMES = ['cat', 'dog', '</script><img src=x onerror="document.title=1">', *(f'bird {number}' for number in range(7))]
VERSION = ADDRESS.split('@')[-1].partition('/')[0]
TOLERANCE = 2  # of 255: two levels, for rounding that differs


@pytest.fixture(scope='module')
def runtime():
    return npm_files('onnxruntime-web', VERSION, RUNTIME.values())


@pytest.fixture(scope='module')
def browser():
    with open_chromium() as browser:
        yield browser


@pytest.fixture(scope='module')
def pages(runtime, tmp_path_factory):
    """{name: snapshot}, and the address of a folder that holds a page for each."""
    torch.manual_seed(2)
    root = tmp_path_factory.mktemp('pages')
    classes = make_hyper(make_source(), c_dim=len(NAMES), rank=2)
    vectors = make_hyper(make_source(img_channels=1, z_dim=7))
    snapshots = {}
    for name, G, names in (('classes', classes, NAMES), ('vectors', vectors, [])):
        snapshots[name] = root / f'{name}.pkl'
        legacy.save_network_pkl(snapshots[name], dict(G=G, D=None, G_ema=G, class_names=names))
        call(export_main, f'--network={snapshots[name]}', '--format=web', f'--out={root / name}', f'--runtime={runtime}')
    with serve(root) as address:
        yield snapshots, address


@pytest.fixture
def tab(browser, pages):
    """A tab that reaches the pages' address and nothing else, and must meet no error."""
    _snapshots, address = pages
    met = []
    context = browser.new_context(viewport=dict(width=1280, height=800))
    context.route('**', lambda route: route.continue_() if route.request.url.startswith(address) else route.abort())
    tab = context.new_page()
    tab.on('pageerror', lambda error: met.append(str(error)))
    tab.on('requestfailed', lambda request: met.append(request.url))
    yield tab
    context.close()
    assert met == []


def call(command, *args):
    result = CliRunner().invoke(command, [str(arg) for arg in args])
    assert result.exit_code == 0, result.output


def drawn(tab):
    """What the canvas shows when the page is at rest: [H, W, 3]."""
    tab.wait_for_selector('#figure[aria-busy=false]')
    assert 'cannot' not in tab.inner_text('#status')
    url = tab.evaluate("document.getElementById('picture').toDataURL()")
    picture = Image.open(io.BytesIO(base64.b64decode(url.partition(',')[2])))
    assert np.asarray(picture)[:, :, 3].min() == 255
    return np.asarray(picture.convert('RGB')).astype(int)


def generated(snapshot, folder, seed, psi, *label):
    call(generate_main, f'--network={snapshot}', f'--seeds={seed}', f'--trunc={psi}', f'--outdir={folder}', *label)
    picture, = folder.glob('*.png')
    return np.asarray(Image.open(picture).convert('RGB')).astype(int)


def assert_same(got, want):
    assert got.shape == want.shape and np.ptp(want) > 30
    assert np.abs(got - want).max() <= TOLERANCE


def test_the_picture_of_a_mix(tab, pages, tmp_path):
    snapshots, address = pages
    tab.goto(f'{address}/classes/')
    first = drawn(tab)
    assert_same(first, generated(snapshots['classes'], tmp_path / 'first', 0, 0.7, '--class=cat'))

    tab.fill('#seed', '4294967295')
    tab.get_by_label('Truncation').fill('0.45')
    slider = tab.get_by_label('Share of dog')
    slider.focus()
    tab.keyboard.press('End')
    for _ in range(4):
        tab.keyboard.press('PageDown')  # a tenth each
    shares = [float(tab.get_by_label(f'Share of {name}', exact=True).input_value()) for name in NAMES]
    assert shares[0] == 1 and 0.5 < shares[1] < 0.7 and sum(shares) == shares[0] + shares[1]
    got = drawn(tab)
    assert np.abs(got - first).max() > 30
    assert_same(got, generated(snapshots['classes'], tmp_path / 'mix', 4294967295, 0.45, f'--class=cat:1,dog:{shares[1]}'))


def test_label_vectors_in_gray(tab, pages, tmp_path):
    snapshots, address = pages
    tab.goto(f'{address}/vectors/')
    tab.get_by_label('Number 1').fill('-1.5')
    tab.get_by_label('Number 3').fill('0.25')
    tab.fill('#seed', '12')
    assert_same(drawn(tab), generated(snapshots['vectors'], tmp_path / 'x', 12, 0.7, '--label=-1.5,0,0.25'))


def test_latents_are_numpy_s(tab, pages):
    tab.goto(f'{pages[1]}/classes/page.css')  # any place with that origin
    for seed, z_dim in itertools.product([0, 1, 12345, 2 ** 31, 2 ** 32 - 1], [1, 7, 1000]):
        got = tab.evaluate("async ([seed, zDim]) => Array.from((await import('/classes/latents.js')).latent(seed, zDim))",
                           [seed, z_dim])
        want = np.random.RandomState(seed).randn(z_dim).astype(np.float32)
        np.testing.assert_allclose(got, want, rtol=2e-7)  # the last bit: logarithms are not the same everywhere


def test_between_latents(tab, pages):
    """Half-way on a great circle: (a + b) / |a + b| for unit vectors; ends are exact."""
    tab.goto(f'{pages[1]}/classes/page.css')
    a, b = np.array([1, 0, 0]), np.array([0.6, 0.8, 0])
    got = tab.evaluate("""async ([a, b]) => {
        const { between } = await import('/classes/latents.js');
        return [0, 0.5, 1].map((t) => between(a, b, t)).concat([between(a, a, 0.3)]); }""", [a.tolist(), b.tolist()])
    np.testing.assert_allclose(got, [a, (a + b) / np.linalg.norm(a + b), b, a], atol=1e-12)


def test_names_are_text_and_can_be_searched(tab, pages):
    tab.goto(f'{pages[1]}/classes/')
    before = drawn(tab)
    buttons = tab.locator('#label button')
    assert buttons.all_text_contents() == NAMES and tab.title() == 'classes' and not tab.locator('#label img').count()
    tab.get_by_label('Find a class').fill('BIRD 3')
    assert [button.text_content() for button in buttons.all() if button.is_visible()] == ['bird 3']
    tab.get_by_role('button', name='bird 3').press('Enter')
    assert [tab.locator('#label output').nth(i).text_content() for i in range(10)] == ['0%'] * 6 + ['100%'] + ['0%'] * 3
    after = drawn(tab)
    assert np.abs(after - before).max() > 30

    tab.get_by_label('Share of bird 3').fill('0')  # a mix of nothing
    assert 'All shares are 0' in tab.inner_text('#status')
    assert np.array_equal(drawn(tab), after)


def test_animation_and_saved_file(tab, pages, tmp_path):
    tab.goto(f'{pages[1]}/classes/')
    first = drawn(tab)
    tab.get_by_role('button', name='Animate').press('Space')
    tab.wait_for_function("document.getElementById('status').textContent.startsWith('Between seeds')")
    time.sleep(0.2)
    tab.get_by_role('button', name='Stop').press('Space')
    moved = drawn(tab)
    assert np.abs(moved - first).max() > 2
    with tab.expect_download() as download:
        tab.get_by_role('button', name='Save PNG').click()
    download.value.save_as(tmp_path / 'saved.png')
    assert np.array_equal(np.asarray(Image.open(tmp_path / 'saved.png').convert('RGB')), moved)
    tab.fill('#seed', '0')  # back to a whole seed
    assert np.array_equal(drawn(tab), first) and download.value.suggested_filename.startswith('seed000')


def test_widths(tab, pages):
    tab.goto(f'{pages[1]}/classes/')
    for width in (320, 768, 1280):
        tab.set_viewport_size(dict(width=width, height=700))
        assert tab.evaluate('document.documentElement.scrollWidth') <= width
        assert tab.locator('#picture').bounding_box()['height'] < 600
    drawn(tab)


def test_a_runtime_at_another_address(browser, pages, runtime, tmp_path, monkeypatch):
    """As the public one, on this machine: another origin, and the hashes of the package."""
    snapshots, _address = pages
    with browser.new_context() as context, serve(runtime) as elsewhere, serve(tmp_path / 'page') as address:
        monkeypatch.setattr(web_folder, 'ADDRESS', elsewhere)
        call(export_main, f'--network={snapshots["classes"]}', '--format=web', f'--out={tmp_path / "page"}')
        tab = context.new_page()
        tab.goto(address)
        assert_same(drawn(tab), generated(snapshots['classes'], tmp_path / 'first', 0, 0.7, '--class=cat'))


def test_a_changed_runtime_is_refused(browser, pages):
    with browser.new_context() as context:
        context.route(f'**/{RUNTIME["module"]}', lambda route: route.fulfill(body='postMessage({ready: true})'))
        tab = context.new_page()
        tab.goto(f'{pages[1]}/classes/')
        tab.wait_for_selector('#figure[aria-busy=false]')
        assert f'cannot be drawn: {RUNTIME["module"]}' in tab.inner_text('#status')


def test_a_model_of_another_page_is_refused(browser, pages):
    with browser.new_context() as context:
        context.route('**/generator.onnx', lambda route: route.fulfill(body=b'x'))
        tab = context.new_page()
        tab.goto(f'{pages[1]}/classes/')
        tab.wait_for_selector('#figure[aria-busy=false]')
        assert 'generator.onnx is not the file of this page' in tab.inner_text('#status')


def test_opened_as_a_file(browser, pages):
    snapshots, address = pages
    with browser.new_context() as context:
        tab = context.new_page()
        tab.goto((snapshots['classes'].parent / 'classes' / 'index.html').as_uri())
        assert 'python -m http.server' in tab.inner_text('#from-file')
        tab.goto(f'{address}/classes/')
        assert not tab.is_visible('#from-file')


def test_hashes_are_those_of_the_package(runtime):
    for part, name in RUNTIME.items():
        digest = hashlib.sha384((runtime / name).read_bytes()).digest()
        assert INTEGRITY[part] == f'sha384-{base64.b64encode(digest).decode()}'
