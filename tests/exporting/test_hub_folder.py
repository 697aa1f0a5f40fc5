"""The folder for the Hugging Face hub, and networks read back from a hub on this machine."""
import http.server
import json
import re
import threading
from hashlib import sha256

import huggingface_hub
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import legacy
from dnnlib import hub
from dnnlib.util import open_url
from export import main as export_main
from generate import main as generate_main
from tests.support.hyper_sources import make_hyper, make_hyper_D, make_source, make_source_D
from training.snapshot.source_names import resolve_resume

NAMES = ['cat', 'dog', 'big owl']
COMMIT = '0' * 39 + '1'


class Hub(http.server.BaseHTTPRequestHandler):
    """The part of the hub's interface that downloads need. server.models: {repository: {file name: content}}."""

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def answer(self, with_body):
        path = self.path.partition('?')[0]
        listing = re.fullmatch(r'/api/models/([^/]+/[^/]+)(?:/(?:revision|tree)/([^/]+))?', path)
        file = re.fullmatch(r'/([^/]+/[^/]+)/resolve/([^/]+)/(.+)', path)
        repo, revision, name = (listing or file).group(1, 2) + (file[3] if file else None,)
        files = self.server.models.get(repo)
        body, code, status = b'', None, 404
        if files is None:
            code = 'RepoNotFound'
        elif revision not in (None, 'main', 'v1', COMMIT):
            code = 'RevisionNotFound'
        elif listing:
            entries = [dict(type='file', path=key, size=len(content), oid=COMMIT) for key, content in files.items()]
            about = dict(id=repo, sha=COMMIT, siblings=[dict(rfilename=key) for key in files])
            status, body = 200, json.dumps(entries if '/tree/' in path else about).encode()
        elif name not in files:
            code = 'EntryNotFound'
        else:
            status, body = 200, files[name]
        self.send_response(status)
        for key, value in {'Content-Length': str(len(body)), 'ETag': f'"{sha256(body).hexdigest()}"', 'X-Repo-Commit': COMMIT,
                           'Content-Type': 'application/json' if listing else 'application/octet-stream',
                           **({'X-Error-Code': code} if code else {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A hub of no models, and an empty cache."""
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Hub)
    server.models = {}
    thread = threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.01))
    thread.start()
    url = f'http://127.0.0.1:{server.server_address[1]}'
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    for name, value in dict(ENDPOINT=url, HUGGINGFACE_CO_URL_TEMPLATE=url + '/{repo_id}/resolve/{revision}/{filename}',
                            HF_HUB_CACHE=str(tmp_path / 'hub-cache')).items():
        monkeypatch.setattr(huggingface_hub.constants, name, value)
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope='module')
def hyper_pkl(tmp_path_factory):
    G, D = make_hyper(make_source()), make_hyper_D(make_source_D())
    path = tmp_path_factory.mktemp('hub') / 'animals.pkl'
    legacy.save_network_pkl(path, dict(G=G, D=D, G_ema=G, augment_pipe=None, training_set_kwargs=None, class_names=NAMES))
    return path


def call(main, *args, code=0):
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    assert result.exit_code == code, result.output
    return result.output


def test_folder(hyper_pkl, tmp_path, monkeypatch):
    out = tmp_path / 'animals'
    assert call(export_main, f'--network={hyper_pkl}', '--format=hub', f'--out={out}').endswith(f'Saved {out}\n')
    assert {path.name for path in out.iterdir()} == {'model.safetensors', 'config.json', 'README.md', 'samples.png'}
    G = legacy.load_network_pkl(hyper_pkl)['G_ema']
    config = json.loads((out / 'config.json').read_text())
    assert config['class_names'] == NAMES and config['c_dim'] == 3 and config['img_resolution'] == G.img_resolution
    made = huggingface_hub.ModelCard.load(out / 'README.md')
    text = made.text
    assert made.data.pipeline_tag == 'unconditional-image-generation' and made.data.library_name == 'hyper-stylegan2'
    assert text.lstrip().startswith('# animals\n\n![Samples](samples.png)') and '## Licence' in text
    assert sha256((out / 'model.safetensors').read_bytes()).hexdigest() in text

    # The sample picture has the pixels of generate.py.
    call(generate_main, f'--network={out / "model.safetensors"}', '--grid', '--seeds=0-7', '--trunc=0.7', f'--outdir={tmp_path}')
    assert np.array_equal(np.asarray(Image.open(out / 'samples.png')), np.asarray(Image.open(tmp_path / 'grid.png')))

    assert 'exists' in call(export_main, f'--network={hyper_pkl}', '--format=hub', f'--out={out}', code=2)
    call(export_main, f'--network={hyper_pkl}', '--format=hub', f'--out={out}', '--force', '--class=dog')
    assert json.loads((out / 'config.json').read_text())['c_dim'] == 0
    assert '--all' in call(export_main, f'--network={hyper_pkl}', '--format=hub', f'--out={tmp_path / "x"}', '--all', code=2)


def test_networks_from_the_hub(hyper_pkl, tmp_path, server, monkeypatch):
    out = tmp_path / 'animals'
    call(export_main, f'--network={hyper_pkl}', '--format=hub', f'--out={out}')
    server.models = {'me/animals': {path.name: path.read_bytes() for path in out.iterdir()},
                     'me/pickle': {'README.md': b'', 'sub/net.pkl': hyper_pkl.read_bytes()},
                     'me/many': {'a.pkl': b'a', 'b.pkl': b'b'}, 'me/none': {'README.md': b''}}
    for number, address in enumerate(['hf://me/animals', 'hf://me/animals@v1', 'hf://me/pickle', 'hf://me/pickle/sub/net.pkl']):
        call(generate_main, f'--network={address}', '--class=dog', '--seeds=5', f'--outdir={tmp_path / str(number)}')
        picture = Image.open(tmp_path / str(number) / 'dog-seed0005.png')
        call(generate_main, f'--network={hyper_pkl}', '--class=dog', '--seeds=5', f'--outdir={tmp_path}')
        assert np.array_equal(np.asarray(picture), np.asarray(Image.open(tmp_path / 'dog-seed0005.png')))
    assert resolve_resume('hf://me/animals@v1') == 'hf://me/animals@v1'

    for address, said in {'hf://me/gone': 'no such model', 'hf://me/animals@v9': 'no such revision',
                          'hf://me/animals/x.pkl': 'no such file', 'hf://me/many': '2 snapshots (a.pkl, b.pkl)',
                          'hf://me/none': 'no .safetensors or .pkl file', 'hf://me': 'expected hf://OWNER/NAME',
                          'hf://../../x': '', 'hf://me/animals/../../../x': ''}.items():
        output = call(generate_main, f'--network={address}', '--class=dog', '--seeds=5', f'--outdir={tmp_path}', code=2)
        assert said in output and len(output.splitlines()) == 1 and address in output

    server.models = {}  # what was downloaded is found without the hub
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)
    with open_url('hf://me/animals') as file:
        assert file.read() == (out / 'model.safetensors').read_bytes()
    with pytest.raises(OSError, match='not in the cache'):
        hub.download('hf://me/other')


def test_without_the_library(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__('sys').modules, 'huggingface_hub', None)
    output = call(generate_main, '--network=hf://me/animals', f'--outdir={tmp_path}', code=2)
    assert 'pip install huggingface_hub' in output and len(output.splitlines()) == 1
