"""A folder for any web server: a page that draws with the network in the visitor's browser, by onnxruntime-web."""
import base64
import hashlib
import statistics
import time
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from dnnlib.files import write_whole
from training.data.class_labels import NetworkLabels

from .onnx_file import draw, open_session, write_onnx

TEMPLATES = Path(__file__).parent / 'templates'
MODEL = 'generator.onnx'
STATIC = ('page.css', 'page.js', 'draw.js', 'latents.js')
FILES = (MODEL, *STATIC, 'index.html')  # the page comes last: it appears when the rest is there
# Files of the npm package onnxruntime-web, and where the page finds them unless they lie beside it.
RUNTIME = {'module': 'ort.wasm.bundle.min.mjs', 'wasm': 'ort-wasm-simd-threaded.wasm'}
ADDRESS = 'https://cdn.jsdelivr.net/npm/onnxruntime-web@1.30.0/dist'
INTEGRITY = {'module': 'sha384-PLWz+nHEVHpjwBsO0YVdvQj6n5814Iv8E3b8FG0Rp/uIAtjFMCKOpP66iPzedrIG',
             'wasm': 'sha384-vjBJ1z7qrhkTyYsNqKeF6c7N+nOJSU94czEo+tvZcu8G75JparGq9kB+kTnEUNVM'}


def find_runtime(folder: Path | None) -> dict[str, Path]:
    """The runtime's files below `folder`, which is the npm package or its dist; {} for None. ValueError if one is missing."""
    if folder is None:
        return {}
    for place in (folder, folder / 'dist'):
        found = {part: place / name for part, name in RUNTIME.items()}
        if all(path.is_file() for path in found.values()):
            return found
    raise ValueError(f'--runtime={folder}: found no {" and ".join(RUNTIME.values())}; expected the unpacked npm package '
                     'onnxruntime-web, or its folder dist')


def write_web_folder(folder: Path, snapshot: dict[str, Any], metadata: dict[str, str], half: bool,
                     runtime: dict[str, Path]) -> str:
    """Write FILES, and the files of `runtime` as find_runtime() gives them; {} for those at ADDRESS. Returns a summary, one line.

    metadata, half: as in write_onnx(), errors too.
    """
    G = snapshot['G_ema']
    if G.img_channels not in (1, 3):
        raise ValueError(f'a web page shows gray and RGB images: found {G.img_channels} channels')
    folder.mkdir(parents=True, exist_ok=True)
    difference = write_onnx(folder / MODEL, G, metadata, half)
    for path in (*(TEMPLATES / name for name in STATIC), *runtime.values()):
        write_whole(folder / path.name, path.read_bytes())
    size = (folder / MODEL).stat().st_size
    write_whole(folder / 'index.html', _page(describe(folder, NetworkLabels.of(snapshot), G, size, runtime)))
    told = [f'{MODEL}: {size / 1e6:.1f} MB']
    if difference is not None:
        told += [f'{difference:.1g} from PyTorch at most', f'{picture_ms(folder / MODEL, G):.0f} ms per picture on this CPU']
    return ', '.join(told)


def describe(folder: Path, labels: NetworkLabels, G: Any, size: int, runtime: dict[str, Path]) -> dict[str, Any]:
    """What the page's scripts want to know, JSON-ready. size: of the model, in bytes."""
    files = {part: dict(url=path.name, integrity=_integrity(path)) for part, path in runtime.items()}
    files = files or {part: dict(url=f'{ADDRESS}/{name}', integrity=INTEGRITY[part]) for part, name in RUNTIME.items()}
    return dict(title=folder.absolute().name, size=G.img_resolution, channels=G.img_channels, zDim=G.z_dim,
                numDims=labels.num_dims, classes=labels.class_names, model=dict(url=MODEL, bytes=size), runtime=files)


def picture_ms(model: Path, G: Any, num_runs: int = 5) -> float:
    """Median time of one picture with ONNX Runtime, the hypernetwork included. ms"""
    session = open_session(model.read_bytes())
    label = np.full(G.c_dim, 1 / max(G.c_dim, 1), dtype=np.float32)
    times = []
    for seed in range(num_runs + 1):
        start = time.perf_counter()
        draw(session, np.random.RandomState(seed).randn(1, G.z_dim).astype(np.float32), 1, label)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[1:])  # the first one allocates


def _page(page: dict[str, Any]) -> bytes:
    """Jinja escapes the title, and in JSON all that could end the element."""
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True,
                                     lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    return environment.get_template('index.html').render(page=page).encode('utf-8', errors='xmlcharrefreplace')


def _integrity(path: Path) -> str:
    """As the attribute of that name has it."""
    return f'sha384-{base64.b64encode(hashlib.sha384(path.read_bytes()).digest()).decode()}'
