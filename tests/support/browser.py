"""Headless Chromium, folders served on this machine, and files of npm packages."""

import contextlib
import functools
import http.server
import os
import shutil
import subprocess
import tarfile
import threading
from pathlib import Path

import pytest

FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
         '--disable-component-update', '--disable-sync']
CACHE = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'hyper-stylegan2-tests'


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """As `python -m http.server`, without its log, and for pages of other addresses too."""

    def end_headers(self):
        self.send_header('Access-Control-Allow-Origin', '*')
        super().end_headers()

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def serve(folder):
    """Gives the address of the folder, without a slash at the end."""
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(QuietHandler, directory=folder))
    thread = threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.01))
    thread.start()
    try:
        yield f'http://127.0.0.1:{server.server_address[1]}'
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def open_chromium():
    """Gives playwright's browser, with a profile of its own. Skips where there is no Chromium."""
    program = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
    if program is None:
        pytest.skip('needs Chromium')
    sync_api = pytest.importorskip('playwright.sync_api')
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


def npm_files(package, version, names):
    """A folder with these files of dist of an npm package, fetched once. Skips where npm cannot fetch it."""
    folder = CACHE / f'{package}-{version}'
    if not all((folder / name).is_file() for name in names):
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(_pack(f'{package}@{version}', folder)) as archive:
            for name in names:
                (folder / f'{name}.{os.getpid()}').write_bytes(archive.extractfile(f'package/dist/{name}').read())
                (folder / f'{name}.{os.getpid()}').replace(folder / name)
        for path in folder.glob('*.tgz'):
            path.unlink(missing_ok=True)
    return folder


def _pack(package, folder):
    if shutil.which('npm') is None:
        pytest.skip(f'needs npm, to fetch {package}')
    done = subprocess.run(['npm', 'pack', '--silent', package, f'--pack-destination={folder}'], cwd=folder, text=True,
                          capture_output=True, timeout=300)
    if done.returncode:
        pytest.skip(f'npm cannot fetch {package}: {done.stderr.strip()[-200:]}')
    return folder / done.stdout.split()[-1]
