"""Labels of image files: from dataset.json, else from class folders (`folder_labels`).

dataset.json is {"labels": [[name, label], ...] or null, "class_names": [...]}, class_names optional. A label is a class index
(int), the same as a list of one, a one-hot list, or a vector of numbers; all labels of a set are of one kind. Without labels,
"why_none" may say why.
"""

import json
import unicodedata
from typing import Any

import numpy as np

from .file_listing import IRREGULAR
from .folder_labels import ALL_PARTS, Labels, choose_part, folder_around, from_folders
from .image_files import LABEL_FILE, ImageFiles
from .name_encoding import clean_name

LARGEST_FLOAT = float(np.finfo(np.float32).max)
MAX_CLASSES = 100_000  # a larger index is a mistake: every label becomes a vector of this length


def read_labels(files: ImageFiles, image_names: list[str], part: str | None = None) -> Labels:
    """The labels of image_names, in this order; ValueError, with the name of the first image concerned, if they do not fit.

    part: the top folder that image_names come from, or 'all', where top folders are parts of a set.
    """
    label_file = find_label_file(files, image_names)
    if label_file is not None:
        return _from_json(files, image_names, label_file)
    return from_folders(image_names, all_parts=part == ALL_PARTS)


def find_label_file(files: ImageFiles, image_names: list[str]) -> str | None:
    """dataset.json, in any case, at the top or in the folder that holds all images; OSError if it is no regular file."""
    for folder in dict.fromkeys(['', *_folders(folder_around(image_names))]):
        found = [name for name in files.label_files if name.lower() == f'{folder}{LABEL_FILE}'.lower()]
        irregular = [entry for entry in files.left_out
                     if entry.reason == IRREGULAR and entry.name.lower() == f'{folder}{LABEL_FILE}'.lower()]
        if irregular and not found:
            raise OSError(f'{files.path}: {irregular[0].name} is {IRREGULAR}; replace or remove it')
        if found:
            return f'{folder}{LABEL_FILE}' if f'{folder}{LABEL_FILE}' in found else found[0]
    return None


def choose_images(files: ImageFiles, part: str | None) -> list[str]:
    """All images, or those in one part of the set."""
    return files.image_names if part is None else choose_part(files.image_names, part)


def _folders(around: str) -> list[str]:
    """'a/b/' -> ['a/', 'a/b/']."""
    return [around[:i + 1] for i, char in enumerate(around) if char == '/']


def _from_json(files: ImageFiles, image_names: list[str], label_file: str) -> Labels:
    where = f'{files.path}: {label_file}'
    entries, class_names, why_none = _parse(files.read(label_file), where)
    if not entries:
        return Labels(why_none=why_none)
    by_name = _by_image(entries, files.image_names)
    _check_names(entries, by_name, files, image_names, where)
    values, num_dims = _to_array([by_name[name] for name in image_names], image_names, where)
    values = _as_classes(values, bool(class_names))
    if values.ndim == 2:
        unused = [f'{label_file}: class_names are ignored: the labels are neither class indices nor one-hot']
        return Labels(values, notes=unused if class_names else [])
    if num_dims > 1 and not class_names:
        class_names = [str(index) for index in range(num_dims)]
    if class_names:
        _check_classes(values, class_names, image_names, where)
    return Labels(values, class_names)


def _parse(text: bytes, where: str) -> tuple[list[tuple[str, Any]], list[str], str]:
    """-> entries (name, label) and class names, each [] if absent, and why there are no entries."""
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
    class_names = content.get('class_names') or []
    if not isinstance(class_names, list) or not all(isinstance(name, str) for name in class_names):
        raise ValueError(f'{where}: "class_names" must be a list of texts')
    class_names = [clean_name(name) for name in class_names]
    if len(set(class_names)) < len(class_names):
        raise ValueError(f'{where}: "class_names" holds a name twice; give every class its own')
    why_none = content.get('why_none')
    if not isinstance(why_none, str) or not why_none:
        why_none = f'"labels" of its {LABEL_FILE} is {"null" if content["labels"] is None else "empty"}'
    return [(name, label) for name, label in entries], class_names, why_none


def _by_image(entries: list[tuple[str, Any]], image_names: list[str]) -> dict[str, Any]:
    """Labels by image. Names are those of image_names, also without the folder around all, with '\\' for '/', or with accents
    written in the other way. A name that is no image keeps its own."""
    known: dict[str, str] = {}
    for folder in ['', *_folders(folder_around(image_names))]:
        known = {_plain(name[len(folder):]): name for name in image_names} | known
    exact = set(image_names)
    return {name if name in exact else known.get(_plain(name), name): label for name, label in entries}


def _plain(name: str) -> str:
    return unicodedata.normalize('NFC', name.replace('\\', '/').removeprefix('./'))


def _check_names(entries: list[tuple[str, Any]], by_name: dict[str, Any], files: ImageFiles, image_names: list[str],
                 where: str) -> None:
    """Every label needs its image, and every image its one label."""
    present = set(files.image_names)
    absent = [name for name in by_name if name not in present]
    if absent:
        left_out = {entry.name: entry.reason for entry in files.left_out}
        why = f'left out ({left_out[absent[0]]})' if absent[0] in left_out else 'not there'
        raise ValueError(f'{where} lists {absent[0]}, which is {why} ({len(absent)} of {len(entries)} entries); '
                         'add the images or remove the entries')
    unlabelled = [name for name in image_names if name not in by_name]
    if unlabelled:
        raise ValueError(f'{where} has no label for {unlabelled[0]} ({len(unlabelled)} of {len(image_names)} images); '
                         'label every image or none')
    if len(by_name) < len(entries):
        seen: set[str] = set()
        plain = [_plain(name) for name, _label in entries]
        twice = next((name for name in plain if name in seen or seen.add(name)), plain[0])  # type: ignore[func-returns-value]
        raise ValueError(f'{where} lists {twice} more than once; keep one label for each image')


def _to_array(labels: list[Any], image_names: list[str], where: str) -> tuple[np.ndarray, int]:
    """-> int64 [N] or float [N, D], and D, 0 for the first."""
    is_vector = isinstance(labels[0], list)
    num_dims = len(labels[0]) if is_vector else 0
    for name, label in zip(image_names, labels, strict=True):
        fits = _is_vector(label, num_dims) if is_vector else _is_class(label)
        if not fits:
            kind = f'a list of {num_dims} finite numbers' if is_vector else f'a class index from 0 to {MAX_CLASSES - 1}'
            raise ValueError(f'{where} gives {name} the label {json.dumps(label)[:60]}, expected {kind}')
    wrapped = num_dims == 1 and all(_is_class(label[0]) for label in labels)
    if wrapped:
        labels, is_vector = [label[0] for label in labels], False
    return np.array(labels, dtype=np.float32 if is_vector else np.int64), num_dims


def _is_class(label: Any) -> bool:
    return isinstance(label, int) and not isinstance(label, bool) and 0 <= label < MAX_CLASSES


def _is_vector(label: Any, num_dims: int) -> bool:
    if not isinstance(label, list) or len(label) != num_dims or num_dims == 0:
        return False
    return all(type(x) in (int, float) and abs(x) <= LARGEST_FLOAT for x in label)  # false for NaN too


def _as_classes(values: np.ndarray, named: bool) -> np.ndarray:
    """Vectors that are one-hot, or where classes have names one whole number, become class indices; others stay."""
    if values.ndim == 1:
        return values
    if values.shape[1] > 1 and np.isin(values, (0, 1)).all() and (values.sum(axis=1) == 1).all():
        return values.argmax(axis=1).astype(np.int64)
    if named and values.shape[1] == 1 and (values >= 0).all() and (values < MAX_CLASSES).all() and (values % 1 == 0).all():
        return values[:, 0].astype(np.int64)
    return values


def _check_classes(values: np.ndarray, class_names: list[str], image_names: list[str], where: str) -> None:
    """values: int64 [N]. No label may go beyond the class names."""
    beyond = np.flatnonzero(values >= len(class_names))
    if len(beyond):
        raise ValueError(f'{where} gives {image_names[beyond[0]]} the label {values[beyond[0]]}, '
                         f'but with {len(class_names)} class names labels go from 0 to {len(class_names) - 1} '
                         f'({len(beyond)} of {len(values)} images)')
