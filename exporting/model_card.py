"""A model card: what an exported file is, how to load it, and the data, options and metrics from its run directory.

Markdown, plain ASCII but for names. Only file names are shown, without directories.
"""

import contextlib
import hashlib
import os
import re
import urllib.parse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import dnnlib
from dnnlib.files import write_whole
from torch_utils import misc
from training.data.class_labels import NetworkLabels, list_names
from training.run.run_dir import OPTIONS, SNAPSHOT_PATTERN
from training.run.run_history import RunHistory, flatten, read_history
from training.snapshot.source_names import RESUME_NAMES

from .baked import baked_in

_BAKED = {'class': 'one class,', 'mix': 'a mix of classes,', 'label': 'one label,'}
_NVIDIA = re.compile(r'nvlabs|nvidia', re.IGNORECASE)
_USE_PYTORCH = """\
    import torch, legacy

    G = legacy.load_network_pkl({path!r})['G_ema']
    z = torch.randn(1, G.z_dim)
    image = G(z, {label}, truncation_psi=0.7, noise_mode='const')  # [1, {channels}, {size}, {size}], about -1 to 1
"""
_USE_ONNX = """\
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession({path!r})
    z = np.random.randn(1, {z_dim}).astype(np.float32)
    image, = session.run(['image'], dict(z=z, truncation_psi=np.array(0.7, np.float32){label_input}))
    # [1, {channels}, {size}, {size}], about -1 to 1
"""


def write_card(exported: Path, snapshot: dict[str, Any], network: str) -> Path:
    """Write exported.pkl.md for the file exported.pkl and return its path.

    snapshot: what the file holds. network: path or URL that it was made from; if a training run made that, its directory
    is read too. Errors: OSError, ValueError if the directory's options are damaged.
    """
    path = card_path(exported)
    write_whole(path, card_text(exported, snapshot, network, run_of(network)))
    return path


def card_path(exported: Path) -> Path:
    """Path of a file's card, beside it."""
    return exported.with_name(f'{exported.name}.md')


def run_of(network: str) -> RunHistory | None:
    """The run directory that a snapshot lies in."""
    if dnnlib.util.is_url(network, allow_file_urls=True) or not (Path(network).absolute().parent / OPTIONS).is_file():
        return None
    return read_history(Path(network).absolute().parent)


def card_text(exported: Path, snapshot: dict[str, Any], network: str, run: RunHistory | None, title: str | None = None,
              use: str = '') -> str:
    """The card of `exported`, which must exist: the card has its checksum. use: more on how to use it, Markdown."""
    G = snapshot['G_ema']
    names = _names(snapshot.get('class_names'))
    baked = baked_in(snapshot)
    channels = 'gray' if G.img_channels == 1 else f'{G.img_channels} channels'
    facts = {'Images': f'{G.img_resolution}x{G.img_resolution}, {channels}',
             'Network': f'{type(G).__name__}, {_of_what(snapshot)}', 'Class names': names,
             'Latent code z': f'{G.z_dim} numbers, standard normal',
             'Weights': f'{sum(tensor.numel() for _name, tensor in misc.named_params_and_buffers(G)):,}',
             'Made from': last_part(network), 'SHA-256': hashlib.sha256(exported.read_bytes()).hexdigest()}
    template = _USE_ONNX if exported.suffix == '.onnx' else _USE_PYTORCH
    use += template.format(path=exported.name, z_dim=G.z_dim, channels=G.img_channels, size=G.img_resolution,
                           label=f'torch.eye({G.c_dim})[:1]' if G.c_dim else 'None',
                           label_input=f', label=np.eye({G.c_dim}, dtype=np.float32)[0]' if G.c_dim else '')
    parts = [f'# {_plain(title or exported.name)}', _table(('Property', 'Value'), facts.items()), '## Use', use.rstrip()]
    if run is not None:
        name = _snapshot_name(Path(network))
        parts += ['## Data', _table(('Property', 'Value'), _data(run).items()),
                  '## Training', _table(('Option', 'Value'), _options(run, name).items()), *_metrics(run, name, baked)]
    return '\n\n'.join([*parts, '## Licence', _licence(_source(run))]) + '\n'


def _of_what(snapshot: dict[str, Any]) -> str:
    """What its pictures show, in the words of its labels."""
    labels = NetworkLabels.of(snapshot)
    baked = [f'{_BAKED[kind]} {text}' for kind, text in baked_in(snapshot).items()]
    if labels.num_dims:
        return f'{labels.num_dims} classes' if labels.class_names else f'label vectors of {labels.num_dims} numbers'
    return baked[0] if baked else 'no classes'


def _data(run: RunHistory) -> dict[str, Any]:
    told = run.recorded('data')
    path = flatten(run.options).get('training_set_kwargs.path')
    name = last_part(path) if isinstance(path, str) else None
    return {'Data set': name, 'Images': told.get('num_images'), 'Classes': _names(told.get('class_names'))}


def _names(names: Any) -> str | None:
    """Class names from a file, in one text."""
    return list_names(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def _snapshot_name(network: Path) -> str:
    """The name that training gave this file: another one where it is a link to a snapshot, as network-best.pkl is."""
    with contextlib.suppress(FileNotFoundError):    # of a snapshot that a running training removes in this moment
        for path in network.absolute().parent.glob(SNAPSHOT_PATTERN):
            if path.samefile(network):
                return path.name
    return network.name


def _options(run: RunHistory, snapshot: str) -> dict[str, Any]:
    """How long training took until this snapshot, and the command's options; the loop's where those are not recorded."""
    chosen = run.recorded('options') or flatten(run.options)
    kimg = re.fullmatch(r'network-snapshot-(\d+)', Path(snapshot).stem)
    shown = {name: last_part(value) if isinstance(value, str) else value for name, value in chosen.items()}
    return {'Command': run.record.get('command'), 'Thousand images': int(kimg[1]) if kimg else None, **shown}


def _metrics(run: RunHistory, snapshot: str, baked: dict[str, str]) -> list[str]:
    """The latest results of this snapshot; results of single classes only of the baked one, if one is."""
    results = {name: value for line in run.metrics if line.snapshot == snapshot for name, value in line.results.items()
               if not baked or '/' not in name or name.partition('/')[2] == baked.get('class')}
    if not results:
        return []
    note = ['Measured on the network of all classes that this one was taken from.'] if baked else []
    return ['## Metrics', *note, _table(('Metric', 'Value'), ((name, f'{value:.6g}') for name, value in results.items()))]


def _source(run: RunHistory | None) -> str | None:
    """What the run started from, as the user named it."""
    if run is None:
        return None
    source = run.recorded('options').get('resume') or run.options.get('resume_pkl')
    return source if isinstance(source, str) else None


def _licence(source: str | None) -> str:
    hint = ('These weights carry no licence of their own. Their use depends on the licences of the source network and of the '
            'training images: state them here.')
    if source is not None:
        hint += f' Training started from {_plain(last_part(source))}.'
        if source in RESUME_NAMES or _NVIDIA.search(source):
            hint += ' NVIDIA published that network, usually for non-commercial use only: read its licence.'
    return hint


def _table(heads: tuple[str, str], rows: Iterable[tuple[str, Any]]) -> str:
    """A Markdown table; rows without a value are left out."""
    lines = [f'| {heads[0]} | {heads[1]} |', '| --- | --- |']
    lines += [f'| {_plain(name)} | {_plain(str(value))} |' for name, value in rows if value not in (None, '', [], {})]
    return '\n'.join(lines)


def last_part(text: str) -> str:
    """The file name of a path; URLs stay, without user names and queries, which may hold passwords."""
    if not dnnlib.util.is_url(text):
        return os.path.basename(text.replace('\\', '/').rstrip('/')) or text
    url = urllib.parse.urlsplit(text)
    return urllib.parse.urlunsplit((url.scheme, url.netloc.rpartition('@')[2], url.path, '', ''))


def _plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    shown = ''.join(char if char.isprintable() else ' ' for char in text)
    return re.sub(r'([\\`*_{}\[\]<>|#~])', r'\\\1', shown)
