"""dnnlib.urls against a web server on this machine."""
import hashlib
import http.server
import os
import threading
import time

import pytest
import requests

from dnnlib.files import is_disk_full
from dnnlib.util import is_url, make_cache_dir_path, open_url
from tests.support.small_disk import small_disk

BODY = bytes(range(256)) * 40


class Handler(http.server.BaseHTTPRequestHandler):
    """/whole, /cut (fewer bytes than promised), /endless-cut (chunked, broken off), /empty, /flaky (503, cut, then whole)."""

    def do_GET(self):
        self.server.paths.append(self.path)
        count = self.server.paths.count(self.path)
        path = self.path.partition('?')[0]
        if path.startswith('/chunked-cut'):
            self.send_response(200)
            self.send_header('Transfer-Encoding', 'chunked')
            self.end_headers()
            self.wfile.write(b'ff\r\nonly a part')
            return
        status = {'/gone.pkl': 404, '/busy.pkl': 503}.get(path, 503 if path == '/flaky.pkl' and count == 1 else 200)
        body = b'' if path == '/empty.pkl' else BODY
        self.send_response(status)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        cut = path == '/cut.pkl' or (path == '/flaky.pkl' and count == 2)
        self.wfile.write(body[:100] if cut else body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.paths = []
    server.url = f'http://127.0.0.1:{server.server_address[1]}'
    thread = threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.01))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """Pauses between attempts, recorded instead of waited for; no proxy for this machine."""
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    seconds = []
    monkeypatch.setattr(time, 'sleep', seconds.append)
    return seconds


def test_whole_file_is_kept_and_found_without_the_server(server, tmp_path, pauses):
    url = server.url + '/a%20dir/ffhq%20net.pkl?v=1'
    with open_url(url, cache_dir=str(tmp_path), verbose=False) as file:
        assert file.read() == BODY
    path = open_url(url, cache_dir=str(tmp_path), verbose=False, return_filename=True)
    assert os.listdir(tmp_path) == [os.path.basename(path)] and path.endswith('_ffhq_net.pkl')
    assert len(server.paths) == 1 and pauses == []


def test_file_put_into_the_cache_by_hand_is_used(server, tmp_path):
    url = server.url + '/gone.pkl'
    with pytest.raises(OSError, match='put it at') as info:
        open_url(url, cache_dir=str(tmp_path), verbose=False)
    path = str(info.value).rpartition('put it at ')[2]
    with open(path, 'wb') as file:
        file.write(b'by hand')
    with open_url(url, cache_dir=str(tmp_path)) as file:
        assert file.read() == b'by hand'
    assert server.paths == ['/gone.pkl']


def test_cache_file_named_otherwise_by_another_tool_is_used(tmp_path):
    url = 'http://127.0.0.1:9/net.pkl'      # nothing listens there
    (tmp_path / (hashlib.md5(url.encode()).hexdigest() + '_some-name.pkl')).write_bytes(b'x')
    with open_url(url, cache_dir=str(tmp_path)) as file:
        assert file.read() == b'x'


def test_trouble_that_passes_is_waited_out(server, tmp_path, pauses, capsys):
    with open_url(server.url + '/flaky.pkl', cache_dir=str(tmp_path)) as file:
        assert file.read() == BODY
    assert len(server.paths) == 3 and pauses == [1, 2]
    assert 'answered 503' in capsys.readouterr().err and len(os.listdir(tmp_path)) == 1


@pytest.mark.parametrize('name, attempts, message', [
    ('gone.pkl', 1, 'answered 404'),             # asking again would not help
    ('cut.pkl', 3, '(received 100 of 10240 bytes|broke during)'),      # which, depends on the version of urllib3
    ('chunked-cut.pkl', 3, 'broke during'),
    ('empty.pkl', 3, 'empty'),
])
@pytest.mark.parametrize('cache', [True, False])
def test_what_did_not_come_whole_is_refused(server, tmp_path, name, attempts, message, cache, capsys):
    url = f'{server.url}/{name}'
    with pytest.raises(OSError, match=message) as info:
        open_url(url, cache_dir=str(tmp_path), num_attempts=3, verbose=False, cache=cache)
    assert url in str(info.value) and '\n' not in str(info.value)
    assert len(server.paths) == attempts and os.listdir(tmp_path) == []
    assert capsys.readouterr().err == ''        # verbose=False


def test_unreachable_server(tmp_path, pauses):
    with pytest.raises(OSError, match=r'cannot download http://127.0.0.1:9/n.pkl: the connection .*attempt 7 of 7.*put it at'):
        open_url('http://127.0.0.1:9/n.pkl', cache_dir=str(tmp_path), num_attempts=7, verbose=False)
    assert pauses == [1, 2, 3, 4, 5, 5] and os.listdir(tmp_path) == []


def test_interrupted_download_leaves_nothing(server, tmp_path, monkeypatch):
    def interrupt(*_args, **_kwargs):
        raise KeyboardInterrupt
    monkeypatch.setattr(requests.Response, 'iter_content', interrupt)
    with pytest.raises(KeyboardInterrupt):
        open_url(server.url + '/whole.pkl', cache_dir=str(tmp_path), verbose=False)
    assert os.listdir(tmp_path) == []


def test_a_full_disk_is_named_and_nothing_is_left(server, tmp_path):
    with small_disk(tmp_path / 'disk', kib=8) as disk:
        with pytest.raises(OSError) as info:
            open_url(server.url + '/whole.pkl', cache_dir=str(disk), verbose=False)
        assert is_disk_full(info.value)
        assert info.value.filename.startswith(str(disk)) and info.value.filename.endswith('_whole.pkl')
        assert os.listdir(disk) == [] and len(server.paths) == 1      # asking again would not help


def test_without_cache_the_file_stays_in_memory(server, tmp_path, monkeypatch):
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path))
    assert open_url(server.url + '/whole.pkl', cache=False, verbose=False).read() == BODY
    assert os.listdir(tmp_path) == []
    with pytest.raises(ValueError, match='cache=True'):
        open_url(server.url + '/whole.pkl', cache=False, return_filename=True)


def test_default_cache_directory(server, tmp_path, monkeypatch):
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path))
    path = open_url(server.url + '/whole.pkl', verbose=False, return_filename=True)
    assert os.path.dirname(path) == make_cache_dir_path('downloads') == str(tmp_path / 'downloads')
    monkeypatch.delenv('DNNLIB_CACHE_DIR')
    assert make_cache_dir_path('a') == os.path.expanduser(os.path.join('~', '.cache', 'dnnlib', 'a'))


def test_local_names(tmp_path):
    path = tmp_path / 'some file.bin'
    path.write_bytes(BODY)
    for name in (str(path), path.as_uri()):     # as_uri writes the space as %20
        with open_url(name) as file:
            assert file.read() == BODY
        assert open_url(name, return_filename=True) == str(path)
    with pytest.raises(FileNotFoundError):
        open_url(str(tmp_path / 'absent'))
    with pytest.raises(ValueError, match='num_attempts'):
        open_url(str(path), num_attempts=0)


@pytest.mark.parametrize('text, web, local', [
    ('https://example.com/a.pkl', True, False), ('file:///tmp/a', False, True), ('C:/nets/a.pkl', False, False),
    ('http://', False, False), ('http://[::1', False, False), (None, False, False), ('ftp://example.com/a', False, False),
])
def test_is_url(text, web, local):
    assert is_url(text) is web and is_url(text, allow_file_urls=True) is (web or local)


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='this system has no pipes with names')
def test_a_pipe_or_device_is_refused_in_place_of_waiting_for_it(tmp_path):
    os.mkfifo(tmp_path / 'pipe.pkl')
    for path in (tmp_path / 'pipe.pkl', '/dev/zero'):
        with pytest.raises(OSError, match='is not a regular file'):
            open_url(str(path))
