"""The files that export.py writes, their formats, and what is baked in."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from torch_utils.pickles import weights_file
from training.data.class_labels import NetworkLabels, list_names
from training.data.file_names import file_names
from training.snapshot.writing import save_network_pkl

from . import onnx_file
from .baked import bake_snapshot, baked_in
from .hub_folder import FILES, write_hub_folder
from .model_card import card_path, last_part, write_card

SUFFIXES = {'pkl': '.pkl', 'safetensors': weights_file.SUFFIX, 'onnx': onnx_file.SUFFIX}
FOLDERS = ('hub',)  # formats of several files


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
    if file_format == 'onnx' and names:
        raise ValueError(f'an ONNX file holds one class: add --class=NAME ({list_names(names)}), or --all')
    if file_format == 'onnx' and labels.num_dims:
        raise ValueError(f'an ONNX file holds one label: add --label, {labels.num_dims} numbers separated by commas')
    return [Target(out)]


def files_of(target: Target, file_format: str, card: bool) -> list[Path]:
    """All files that write_target() writes."""
    if file_format == 'hub':
        return [target.path / name for name in FILES]
    return [target.path, *([card_path(target.path)] if card else [])]


def write_target(target: Target, file_format: str, snapshot: dict[str, Any], network: str, card: bool) -> None:
    """Bake, write, describe."""
    if target.label is not None:
        snapshot = bake_snapshot(snapshot, target.label, target.kind, target.text)
    if file_format == 'hub':
        return write_hub_folder(target.path, snapshot, network)
    if file_format == 'onnx':
        difference = onnx_file.write_onnx(target.path, snapshot['G_ema'], baked_in(snapshot) | dict(made_from=last_part(network)))
        if difference is None:
            tqdm.write(f'{target.path} was not compared with PyTorch: pip install onnxruntime')
    elif file_format == 'safetensors':
        weights_file.write_fields(target.path, snapshot)
    else:
        save_network_pkl(target.path, snapshot)
    if card:
        write_card(target.path, snapshot, network)
