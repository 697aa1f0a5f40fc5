"""Labels of image files: from dataset.json, else from class sub-folders.

dataset.json is {"labels": [[name, label], ...] or null, "class_names": [...]}, class_names optional. A label is a class index
(int) or a vector of numbers; all labels of a set are of one kind.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .image_files import LABEL_FILE, ImageFiles

CHUNK_FOLDER = re.compile(r'\d{5}')  # the tools spread a set over folders 00000, 00001, ...: these are no classes
LARGEST_FLOAT = float(np.finfo(np.float32).max)
MAX_CLASSES = 100_000  # a larger index is a mistake: every label becomes a vector of this length


@dataclass
class Labels:
    """values: by image, int64 [N] (classes), float32 [N, D] (vectors) or None (unlabelled). class_names: [] unless given."""

    values: np.ndarray | None = None
    class_names: list[str] = field(default_factory=list)


def read_labels(files: ImageFiles, image_names: list[str]) -> Labels:
    """The labels of image_names, in this order; ValueError, with the name of the first image concerned, if they do not fit."""
    if LABEL_FILE in files.file_names:
        return _from_json(files, image_names)
    return _from_folders(image_names)


def _from_folders(image_names: list[str]) -> Labels:
    folders = [name.split('/')[0] if '/' in name else None for name in image_names]
    class_names = sorted({folder for folder in folders if folder is not None})
    if None in folders or len(class_names) < 2 or all(CHUNK_FOLDER.fullmatch(name) for name in class_names):
        return Labels()
    index = {name: i for i, name in enumerate(class_names)}
    return Labels(np.array([index[folder] for folder in folders if folder is not None], dtype=np.int64), class_names)


def _from_json(files: ImageFiles, image_names: list[str]) -> Labels:
    where = f'{files.path}: {LABEL_FILE}'
    entries, class_names = _parse(files.read(LABEL_FILE), where)
    if not entries:
        return Labels()
    by_name = dict(entries)
    _check_names(entries, by_name, image_names, where)
    values = _to_array([by_name[name] for name in image_names], image_names, where)
    if values.ndim == 1 and class_names:
        _check_classes(values, class_names, image_names, where)
    return Labels(values, class_names)


def _parse(text: bytes, where: str) -> tuple[list[tuple[str, Any]], list[str]]:
    """-> entries (name, label) and class names, each [] if absent."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{where} is not JSON ({error}); write it again with dataset_tool.py') from error
    if not isinstance(content, dict) or 'labels' not in content:
        raise ValueError(f'{where} has no entry "labels"; expected {{"labels": [["a.png", 0], ...]}} or "labels": null')
    entries = [] if content['labels'] is None else content['labels']
    if not isinstance(entries, list):
        raise ValueError(f'{where}: "labels" is of type {type(entries).__name__}, expected a list of [name, label] or null')
    for entry in entries:
        if not (isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str)):
            raise ValueError(f'{where}: "labels" holds {json.dumps(entry)[:60]}, expected ["file name", label]')
    class_names = content.get('class_names', [])
    if not isinstance(class_names, list) or not all(isinstance(name, str) for name in class_names):
        raise ValueError(f'{where}: "class_names" must be a list of texts')
    if len(set(class_names)) < len(class_names):
        raise ValueError(f'{where}: "class_names" holds a name twice; every class needs its own')
    return [(name, label) for name, label in entries], class_names


def _check_names(entries: list[tuple[str, Any]], by_name: dict[str, Any], image_names: list[str], where: str) -> None:
    """Every label needs its image, and every image its one label."""
    present = set(image_names)
    absent = [name for name, _label in entries if name not in present]
    if absent:
        raise ValueError(f'{where} lists {absent[0]}, which is not there ({len(absent)} of {len(entries)} entries); '
                         'add the images or remove the entries')
    unlabelled = [name for name in image_names if name not in by_name]
    if unlabelled:
        raise ValueError(f'{where} has no label for {unlabelled[0]} ({len(unlabelled)} of {len(image_names)} images); '
                         'label every image or none')
    if len(by_name) < len(entries):
        seen: set[str] = set()
        twice = next(name for name, _label in entries if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f'{where} lists {twice} more than once; keep one label for each image')


def _to_array(labels: list[Any], image_names: list[str], where: str) -> np.ndarray:
    """-> int64 [N] or float32 [N, D]."""
    is_vector = isinstance(labels[0], list)
    num_dims = len(labels[0]) if is_vector else 0
    for name, label in zip(image_names, labels, strict=True):
        fits = _is_vector(label, num_dims) if is_vector else _is_class(label)
        if not fits:
            kind = f'a list of {num_dims} finite numbers' if is_vector else f'a class index from 0 to {MAX_CLASSES - 1}'
            raise ValueError(f'{where} gives {name} the label {json.dumps(label)[:60]}, expected {kind}')
    return np.array(labels, dtype=np.float32 if is_vector else np.int64)


def _is_class(label: Any) -> bool:
    return isinstance(label, int) and not isinstance(label, bool) and 0 <= label < MAX_CLASSES


def _is_vector(label: Any, num_dims: int) -> bool:
    if not isinstance(label, list) or len(label) != num_dims or num_dims == 0:
        return False
    return all(type(x) in (int, float) and abs(x) <= LARGEST_FLOAT for x in label)  # false for NaN too


def _check_classes(values: np.ndarray, class_names: list[str], image_names: list[str], where: str) -> None:
    """values: int64 [N]. No label may go beyond the class names."""
    beyond = np.flatnonzero(values >= len(class_names))
    if len(beyond):
        raise ValueError(f'{where} gives {image_names[beyond[0]]} the label {values[beyond[0]]}, '
                         f'but with {len(class_names)} class names labels go from 0 to {len(class_names) - 1} '
                         f'({len(beyond)} of {len(values)} images)')
