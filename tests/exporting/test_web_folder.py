"""The folder of the web page: its files, what the page is told, and what the command says."""

import base64
import hashlib
import json
import re

import onnxruntime
import pytest
import torch
from click.testing import CliRunner

import legacy
from export import main
from exporting.web_folder import ADDRESS, INTEGRITY, RUNTIME
from tests.support.hyper_sources import make_hyper, make_source

NAMES = ['cat', 'dog', '</script><b>"owl" & \'co\'\n\u2028{{ 1 }}']
PAGE_FILES = {'index.html', 'page.css', 'page.js', 'draw.js', 'latents.js', 'generator.onnx', 'generator.onnx.md'}


@pytest.fixture(scope='module')
def hyper_pkl(tmp_path_factory):
    torch.manual_seed(2)
    G = make_hyper(make_source())
    path = tmp_path_factory.mktemp('web') / 'animals.pkl'
    legacy.save_network_pkl(path, dict(G=G, D=None, G_ema=G, class_names=NAMES))
    return path


@pytest.fixture
def runtime(tmp_path):
    """Files with the names of the npm package's."""
    dist = tmp_path / 'package' / 'dist'
    dist.mkdir(parents=True)
    for name in [*RUNTIME.values(), 'ort.all.js']:
        (dist / name).write_text(f'// {name}')
    return dist


def export(*args, code=0):
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    assert result.exit_code == code, result.output
    return result.output


def told(folder):
    """What the page's scripts read."""
    html = (folder / 'index.html').read_text(encoding='utf-8')
    found, = re.findall(r'<script type="application/json" id="page">(.*?)</script>', html, re.DOTALL)
    return json.loads(found)


def test_files_and_what_is_said(hyper_pkl, tmp_path):
    out = tmp_path / 'my <animals>'
    output = export(f'--network={hyper_pkl}', '--format=web', f'--out={out}')
    assert re.search(r'generator.onnx: 0\.0 MB, \S+ from PyTorch at most, \d+ ms per picture on this CPU\n', output)
    assert output.endswith(f'Saved {out}\n') and {path.name for path in out.iterdir()} == PAGE_FILES
    page = told(out)
    assert page['classes'] == NAMES and page['numDims'] == 3 and page['zDim'] == 6
    assert page['size'] == 16 and page['channels'] == 3 and page['title'] == 'my <animals>'
    assert page['model'] == dict(url='generator.onnx', bytes=(out / 'generator.onnx').stat().st_size)
    assert page['runtime'] == {part: dict(url=f'{ADDRESS}/{name}', integrity=INTEGRITY[part]) for part, name in RUNTIME.items()}
    assert '<title>my &lt;animals&gt;</title>' in (out / 'index.html').read_text()
    metadata = onnxruntime.InferenceSession(out / 'generator.onnx').get_modelmeta().custom_metadata_map
    assert json.loads(metadata['class_names']) == NAMES and metadata['made_from'] == 'animals.pkl'
    assert 'label=np.eye(3, dtype=np.float32)[0]' in (out / 'generator.onnx.md').read_text()


def test_a_local_runtime(hyper_pkl, runtime, tmp_path):
    for number, folder in enumerate([runtime, runtime.parent]):
        out = tmp_path / str(number)
        export(f'--network={hyper_pkl}', '--format=web', f'--out={out}', f'--runtime={folder}', '--no-card')
        assert {path.name for path in out.iterdir()} == PAGE_FILES - {'generator.onnx.md'} | set(RUNTIME.values())
        for part, name in RUNTIME.items():
            content = (out / name).read_bytes()
            assert content == (runtime / name).read_bytes()
            integrity = f'sha384-{base64.b64encode(hashlib.sha384(content).digest()).decode()}'
            assert told(out)['runtime'][part] == dict(url=name, integrity=integrity)


@pytest.mark.parametrize('kind, want', [
    (['--class=dog'], dict(classes=[], numDims=0)), (['--half'], dict(classes=NAMES, numDims=3))])
def test_one_class_and_half_precision(kind, want, hyper_pkl, tmp_path):
    export(f'--network={hyper_pkl}', '--format=web', f'--out={tmp_path / "x"}', *kind)
    assert want.items() <= told(tmp_path / 'x').items()


def test_label_vectors(tmp_path):
    G = make_hyper(make_source())
    legacy.save_network_pkl(tmp_path / 'net.pkl', dict(G=G, D=None, G_ema=G, class_names=[]))
    export(f'--network={tmp_path / "net.pkl"}', '--format=web', f'--out={tmp_path / "x"}')
    assert dict(classes=[], numDims=3).items() <= told(tmp_path / 'x').items()


def test_half_says_the_difference(hyper_pkl, tmp_path):
    output = export(f'--network={hyper_pkl}', '--half', f'--out={tmp_path / "x.onnx"}')
    difference, = re.findall(r'x.onnx: images differ from PyTorch by (\S+) at most', output)
    assert 1e-5 < float(difference) < 0.05


def refused(match, *args):
    lines = [line for line in export(*args, code=2).splitlines() if line and not line.startswith(('Usage:', 'Try '))]
    assert len(lines) == 1 and match in lines[0], lines


def test_wrong_options(hyper_pkl, runtime, tmp_path):
    page = [f'--network={hyper_pkl}', f'--out={tmp_path / "x"}', '--format=web']
    refused('--half is for --format=onnx and --format=web: found pkl', f'--network={hyper_pkl}', '--half',
            f'--out={tmp_path / "x.pkl"}')
    refused('--runtime is for --format=web: found onnx', f'--network={hyper_pkl}', f'--runtime={runtime}',
            f'--out={tmp_path / "x.onnx"}')
    refused('found --all', *page, '--all')
    refused('found no ort.wasm.bundle.min.mjs and ort-wasm-simd-threaded.wasm', *page, f'--runtime={tmp_path / "none"}')
    (runtime / RUNTIME['wasm']).unlink()
    refused('expected the unpacked npm package onnxruntime-web', *page, f'--runtime={runtime}')
    assert not (tmp_path / 'x').exists()


def test_existing_files_stay(hyper_pkl, tmp_path):
    out = tmp_path / 'x'
    out.mkdir()
    (out / 'page.css').write_text('mine')
    args = [f'--network={hyper_pkl}', '--format=web', f'--out={out}']
    refused('page.css exists', *args)
    assert [path.name for path in out.iterdir()] == ['page.css'] and (out / 'page.css').read_text() == 'mine'
    export(*args, '--force')
    assert (out / 'page.css').read_text() != 'mine'


def test_images_that_no_page_can_show(tmp_path):
    G = make_source(img_channels=4)
    legacy.save_network_pkl(tmp_path / 'net.pkl', dict(G=G, D=None, G_ema=G, class_names=[]))
    refused('found 4 channels', f'--network={tmp_path / "net.pkl"}', '--format=web', f'--out={tmp_path / "x"}')
    assert not list((tmp_path / 'x').iterdir())
