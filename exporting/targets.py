"""The files that export.py writes, their formats, and what is baked in."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from torch_utils.pickles import weights_file
from training.data.class_labels import NetworkLabels
from training.data.file_names import file_names
from training.snapshot.writing import save_network_pkl

from . import onnx_file
from .baked import bake_snapshot, baked_in
from .hub_folder import FILES as HUB_FILES
from .hub_folder import write_hub_folder
from .model_card import card_path, last_part, write_card
from .web_folder import FILES as WEB_FILES
from .web_folder import MODEL, RUNTIME, find_runtime, write_web_folder

SUFFIXES = {'pkl': '.pkl', 'safetensors': weights_file.SUFFIX, 'onnx': onnx_file.SUFFIX}
FOLDERS = ('hub', 'web')  # formats of several files


@dataclass
class Form:
    """How to write. card: with a model card beside it. half: weights of ONNX files as float16. runtime: folder of
    onnxruntime-web to copy into a web page's."""

    name: str
    card: bool = True
    half: bool = False
    runtime: Path | None = None

    def __post_init__(self) -> None:
        """ValueError for options that the format does not take."""
        if self.half and self.name not in ('onnx', 'web'):
            raise ValueError(f'--half is for --format=onnx and --format=web: found {self.name}')
        if self.runtime is not None and self.name != 'web':
            raise ValueError(f'--runtime is for --format=web: found {self.name}')
        find_runtime(self.runtime)


@dataclass
class Target:
    """A file or folder to write. label: what to bake in, float32 [K], and what it is, as in bake_snapshot; None: the network as
    it is."""

    path: Path
    label: np.ndarray | None = None
    kind: str = ''
    text: str = ''


def choose_format(name: str | None, out: Path, is_directory: bool) -> str:
    """The requested format, else the one of the ending of `out`. ValueError if the two differ.

    is_directory: `out` is a directory for a file of each class.
    """
    if name in FOLDERS:
        if is_directory:
            raise ValueError(f'--format={name} is a folder of one network: found --all; without it, all '
                             'classes are in that one')
        return name
    by_ending = {suffix: known for known, suffix in SUFFIXES.items()}.get(out.suffix.lower())
    if is_directory:
        return name or 'pkl'
    if by_ending is None:
        raise ValueError(f'--out={out}: expected a file that ends in {", ".join(SUFFIXES.values())}; --all and '
                         f'--format={", ".join(FOLDERS)} take a directory')
    if name is not None and name != by_ending:
        raise ValueError(f'--out={out} has the ending of {by_ending} files, but --format={name}: write '
                         f'--out={out.with_suffix(SUFFIXES[name])}')
    return by_ending


def find_targets(labels: NetworkLabels, class_text: str | None, vector: str | None, every_class: bool, out: Path,
                 file_format: str) -> list[Target]:
    """The files to write of a network that takes these labels. ValueError for classes that it does not have."""
    names = labels.class_names
    if every_class:
        labels.check_classes('classes for --all')
        return [Target(out / f'{file}{SUFFIXES[file_format]}', one_hot, 'class', name)
                for file, name, one_hot in zip(file_names(names), names, np.eye(len(names), dtype=np.float32), strict=True)]
    if class_text is not None:
        label = labels.of_class(class_text)
        is_mix = np.count_nonzero(label) > 1
        return [Target(out, label, *(('mix', class_text) if is_mix else ('class', names[int(label.argmax())])))]
    if vector is not None:
        return [Target(out, labels.of_vector(vector), 'label', vector)]
    return [Target(out)]


def files_of(target: Target, form: Form) -> list[Path]:
    """All files that write_target() writes."""
    if form.name == 'hub':
        return [target.path / name for name in HUB_FILES]
    if form.name == 'web':
        model, *more = WEB_FILES if form.runtime is None else (*WEB_FILES, *RUNTIME.values())
        return [*_with_card(target.path / model, form), *(target.path / name for name in more)]
    return _with_card(target.path, form)


def write_target(target: Target, form: Form, snapshot: dict[str, Any], network: str) -> None:
    """Bake, write, describe."""
    if target.label is not None:
        snapshot = bake_snapshot(snapshot, target.label, target.kind, target.text)
    if form.name == 'hub':
        return write_hub_folder(target.path, snapshot, network)
    path = target.path
    if form.name == 'web':
        path /= MODEL
        tqdm.write(write_web_folder(target.path, snapshot, _metadata(snapshot, network), form.half, find_runtime(form.runtime)))
    elif form.name == 'onnx':
        difference = onnx_file.write_onnx(path, snapshot['G_ema'], _metadata(snapshot, network), form.half)
        if difference is None:
            tqdm.write(f'{path} was not compared with PyTorch: pip install onnxruntime')
        elif form.half:
            tqdm.write(f'{path}: images differ from PyTorch by {difference:.1g} at most')
    elif form.name == 'safetensors':
        weights_file.write_fields(path, snapshot)
    else:
        save_network_pkl(path, snapshot)
    if form.card:
        write_card(path, snapshot, network)
    return None


def _with_card(path: Path, form: Form) -> list[Path]:
    return [path, *([card_path(path)] if form.card else [])]


def _metadata(snapshot: dict[str, Any], network: str) -> dict[str, str]:
    """Texts to keep in an ONNX file. class_names: a JSON list, in the order of the label."""
    names = NetworkLabels.of(snapshot).class_names
    return baked_in(snapshot) | dict(made_from=last_part(network)) | (dict(class_names=json.dumps(names)) if names else {})
