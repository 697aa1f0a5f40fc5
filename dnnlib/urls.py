"""Files by path or URL, with a cache of downloads."""
import glob
import hashlib
import io
import os
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from typing import Any, BinaryIO

from tqdm import tqdm

from . import hub
from .files import check_regular, naming_full_disk

_TIMEOUT_SEC = (10, 60)     # to connect; between two pieces of the body
_MAX_PAUSE_SEC = 5          # the pause before attempt n + 1 is n seconds, at most this
_PIECE_BYTES = 1 << 18


class _Failure(Exception):
    """Why an attempt failed, and whether a retry may succeed."""

    def __init__(self, reason: str, temporary: bool) -> None:
        super().__init__(reason)
        self.temporary = temporary


def make_cache_dir_path(*paths: str) -> str:
    """Path below the cache directory: $DNNLIB_CACHE_DIR, else ~/.cache/dnnlib. Creates nothing."""
    root = os.environ.get('DNNLIB_CACHE_DIR') or os.path.join(os.path.expanduser('~'), '.cache', 'dnnlib')
    return os.path.join(root, *paths)


def is_url(obj: Any, allow_file_urls: bool = False) -> bool:
    """True for an http or https URL with a host, for an address of the hub, and for a file URL if these are allowed."""
    if not isinstance(obj, str):
        return False
    if hub.is_hub_address(obj):
        return True
    try:
        parts = urllib.parse.urlsplit(obj)
    except ValueError:      # such as an unfinished IPv6 address
        return False
    if parts.scheme == 'file':
        return allow_file_urls and bool(parts.path)
    return parts.scheme in ('http', 'https') and bool(parts.hostname)


def open_url(url: str, cache_dir: str | None = None, num_attempts: int = 10, verbose: bool = True,
             return_filename: bool = False, cache: bool = True) -> Any:
    """Open a local path, a file://, http(s):// or hf:// URL for reading bytes, or return the local file's name.

    A download is kept in `cache_dir` (None: make_cache_dir_path('downloads')) and found there the next time, without the network;
    with `cache=False` it stays in memory. Temporary failures are tried `num_attempts` times; a download counts only when
    complete. `verbose` shows progress on stderr. The hub has a cache of its own. Raises OSError if the file cannot be read or
    downloaded.
    """
    if num_attempts < 1:
        raise ValueError(f'num_attempts must be at least 1, got {num_attempts}')
    if not is_url(url):
        path = urllib.request.url2pathname(urllib.parse.urlsplit(url).path) if is_url(url, allow_file_urls=True) else url
        check_regular(path)
        return path if return_filename else open(path, 'rb')
    if hub.is_hub_address(url):
        path = hub.download(url)
        return path if return_filename else open(path, 'rb')
    if not cache:
        if return_filename:
            raise ValueError('return_filename needs cache=True: a download that is not kept has no file name')
        body = io.BytesIO()
        _download(url, body, num_attempts, verbose, 'check the connection')
        body.seek(0)
        return body
    path = _cached(url, cache_dir or make_cache_dir_path('downloads'), num_attempts, verbose)
    return path if return_filename else open(path, 'rb')


def find_download(url: str, cache_dir: str | None = None) -> str | None:
    """Path of what open_url() has kept of this URL; None if it has not been downloaded."""
    cache_dir = cache_dir or make_cache_dir_path('downloads')
    return min(glob.glob(os.path.join(glob.escape(cache_dir), f'{_key(url)}_*')), default=None)


def _key(url: str) -> str:
    return hashlib.md5(url.encode(), usedforsecurity=False).hexdigest()


def _cached(url: str, cache_dir: str, num_attempts: int, verbose: bool) -> str:
    """Path of the downloaded file; fetches it if it is not there."""
    present = find_download(url, cache_dir)
    if present is not None:
        return present
    path = os.path.join(cache_dir, f'{_key(url)}_{_file_name(url)}')
    os.makedirs(cache_dir, exist_ok=True)
    advice = f'check the connection, or download the file another way and put it at {path}'
    handle, part = tempfile.mkstemp(dir=cache_dir, prefix='part_')
    try:
        with naming_full_disk(path), open(handle, 'wb') as file:
            _download(url, file, num_attempts, verbose, advice)
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise
    return path


def _file_name(url: str) -> str:
    """Last part of the URL's path, in characters that every file system takes."""
    last = urllib.parse.unquote(urllib.parse.urlsplit(url).path).rstrip('/').rpartition('/')[2]
    return ''.join(char if char.isascii() and (char.isalnum() or char in '._-') else '_' for char in last)[-100:] or 'download'


def _download(url: str, target: BinaryIO, num_attempts: int, verbose: bool, advice: str) -> None:
    """Write the body to `target`, in as many attempts as allowed."""
    for attempt in range(1, num_attempts + 1):
        target.seek(0)
        target.truncate()
        try:
            return _fetch(url, target, verbose)
        except _Failure as err:
            if attempt == num_attempts or not err.temporary:
                raise OSError(f'cannot download {url}: {err} (attempt {attempt} of {num_attempts}); {advice}') from err
            pause_sec = min(attempt, _MAX_PAUSE_SEC)
            if verbose:
                print(f'{url}: {err}; trying again in {pause_sec} s', file=sys.stderr)
            time.sleep(pause_sec)


def _fetch(url: str, target: BinaryIO, verbose: bool) -> None:
    """One attempt. Raises _Failure unless the whole body came."""
    import requests  # a tenth of a second, which only downloads need
    try:
        with requests.get(url, stream=True, timeout=_TIMEOUT_SEC) as response:
            if not response.ok:
                temporary = response.status_code >= 500 or response.status_code in (408, 429)
                raise _Failure(f'the server answered {response.status_code} {response.reason}', temporary)
            length = response.headers.get('Content-Length', '')
            expected = int(length) if length.isdigit() else None
            with tqdm(total=expected, desc=_file_name(url), unit='B', unit_scale=True, disable=not verbose) as progress:
                for piece in response.iter_content(_PIECE_BYTES):
                    target.write(piece)
                    progress.update(len(piece))
            received = response.raw.tell()      # as sent, which is what Content-Length counts
    except requests.RequestException as err:
        raise _Failure(_reason(requests, err), temporary=not isinstance(err, ValueError)) from err    # ValueError: malformed URL
    if expected is not None and received != expected:
        raise _Failure(f'received {received} of {expected} bytes', temporary=True)
    if received == 0:
        raise _Failure('the server sent an empty file', temporary=True)


def _reason(requests: Any, err: Exception) -> str:
    """One line that a person can read; the library's own texts nest several errors."""
    if isinstance(err, requests.Timeout):
        return 'the server did not answer in time'
    if isinstance(err, requests.ConnectionError):
        return 'the connection to the server failed'
    if isinstance(err, requests.exceptions.ChunkedEncodingError):
        return 'the connection broke during the download'
    return f'{type(err).__name__}: {err}'.replace('\n', ' ')
