"""What a checkout lacks: packages that are not installed, files on servers that cannot be reached."""
import ast
import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import requests

from patches.checkout import Checkout

FROM_PACKAGE = dict(OpenGL='pyopengl', PIL='pillow', sklearn='scikit-learn', cv2='opencv-python')   # where the names differ
MENDED = {'pkg_resources'}
WEIGHTS_URL = re.compile(r"""https?://[^\s'"{}]+\.(?:pkl|pt|pth|zip)\b""")
TIMEOUT_SEC = 5


def missing_modules(checkout: Checkout) -> dict[str, list[str]]:
    """Packages that files of the checkout import but that are not installed, with these files. Runs nothing."""
    own = {path.stem for path in checkout.path.iterdir()}
    missing: dict[str, list[str]] = {}
    for path in _programs(checkout):
        for name in sorted(set(_imported(path)) - own - MENDED - sys.stdlib_module_names):
            if importlib.util.find_spec(name) is None:
                missing.setdefault(name, []).append(path.relative_to(checkout.path).as_posix())
    return missing


def describe_missing(missing: dict[str, list[str]]) -> list[str]:
    """A line for each package."""
    return [f'{name}: not installed, for {", ".join(files[:4])}{" ..." if len(files) > 4 else ""}; '
            f'pip install {FROM_PACKAGE.get(name, name)}' for name, files in missing.items()]


def unreachable(checkout: Checkout) -> dict[str, list[str]]:
    """Servers that do not answer, with their URLs of weights in the checkout's programs. Asks each once."""
    servers: dict[str, list[str]] = {}
    for url in sorted({url for path in _programs(checkout) for url in WEIGHTS_URL.findall(_text(path))}):
        servers.setdefault(urlsplit(url).netloc, []).append(url)
    return {server: urls for server, urls in servers.items() if not _answers(urls[0])}


def describe_unreachable(servers: dict[str, list[str]]) -> list[str]:
    """A line for each server."""
    return [f'{server} cannot be reached: download the files you need another way and put each in its place, for '
            f'example {urls[0]} at {place_of(urls[0])}' for server, urls in servers.items()]


def place_of(url: str) -> Path:
    """Path at which a manually downloaded file of this URL is found."""
    root = os.environ.get('DNNLIB_CACHE_DIR') or Path.home() / '.cache' / 'dnnlib'
    return Path(root) / 'downloads' / (Path(urlsplit(url).path).name or 'download')


def _answers(url: str) -> bool:
    try:
        requests.head(url, timeout=TIMEOUT_SEC)
    except requests.RequestException:
        return False
    return True


def _programs(checkout: Checkout) -> Iterator[Path]:
    """The scripts of the checkout and of its packages, sorted."""
    packages = [path for path in checkout.path.iterdir() if path.is_dir() and not path.name.startswith('.')]
    yield from sorted(path for folder in (checkout.path, *packages) for path in folder.glob('*.py'))


def _text(path: Path) -> str:
    return path.read_text(encoding='utf-8', errors='replace')


def _imported(path: Path) -> Iterator[str]:
    """Top-level names that a file imports, except optional ones (in a try block)."""
    try:
        parts: list[ast.AST] = [ast.parse(_text(path))]
    except SyntaxError:
        return
    while parts:
        part = parts.pop()
        if isinstance(part, ast.Import):
            yield from (alias.name.partition('.')[0] for alias in part.names)
        elif isinstance(part, ast.ImportFrom) and part.level == 0 and part.module:
            yield part.module.partition('.')[0]
        elif not isinstance(part, ast.Try):
            parts.extend(ast.iter_child_nodes(part))
