"""Labels from class folders: cat/1.png, dog/2.png, also in a folder around them. If folders are not classes, the reason."""

import itertools
import re
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from dnnlib.errors import listed

from .name_encoding import clean_name

PARTS = re.compile(r'(train|training|val|valid|validation|test|testing|dev|eval|evaluation|holdout)'
                   r'([-_ ]?(set|data|images|\d+))?', re.IGNORECASE)
CHUNK_FOLDER = re.compile(r'\d{5}')  # the tools spread a set over folders 00000, 00001, ...
ALL_PARTS = 'all'
STRAY_SHARE = 0.25  # at most so many pictures beside class folders, for each one in them, are strays


@dataclass
class Labels:
    """values: by image, int64 [N] (classes), float32 [N, D] (vectors) or None (unlabelled). class_names: [] unless given.
    why_none: why the set has no labels. strays: the only images that prevent class folders. parts: whether the top folders are
    train, val, ... and one must be chosen. notes: what is unusual.
    """

    values: np.ndarray | None = None
    class_names: list[str] = field(default_factory=list)
    why_none: str = ''
    strays: list[str] = field(default_factory=list)
    parts: bool = False
    notes: list[str] = field(default_factory=list)


def folder_around(names: list[str]) -> str:
    """The deepest folder that holds all of them, with '/' at its end; '' for the top."""
    first, last = min(names).split('/')[:-1], max(names).split('/')[:-1]
    depth = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return ''.join(f'{part}/' for part in first[:depth])


def choose_part(names: list[str], part: str) -> list[str]:
    """The images in one of the top folders (train, val, ...), or in 'all' of them. ValueError if there is none."""
    around = folder_around(names)
    chosen = [name for name in names if '/' in name[len(around):] and part in (ALL_PARTS, _top(name, around))]
    if not chosen:
        raise ValueError(f'--split={part}: no such folder with pictures; there are '
                         f'{listed(sorted({_top(name, around) for name in names if "/" in name[len(around):]}), 5) or "none"}')
    return chosen


def from_folders(names: list[str], all_parts: bool = False) -> Labels:
    """The classes of images by their folders. all_parts: the top folders are parts of a set, with the classes in them."""
    around = folder_around(names)
    inner = [name[len(around):].partition('/')[2] if all_parts else name[len(around):] for name in names]
    strays = [name for name, rest in zip(names, inner, strict=True) if '/' not in rest]
    stored = sorted({rest.partition('/')[0] for rest in inner if '/' in rest})
    if not stored:
        where = f'all images are in one folder, {around[:-1]}' if around else 'no image is in a class folder'
        return Labels(why_none=f'{where}; give each of two or more classes a folder, or write a dataset.json')
    if strays:
        return _with_strays(names, strays, stored)
    if not all_parts and all(PARTS.fullmatch(folder) for folder in stored):
        return Labels(why_none=f'{listed(stored, 5)} are splits of a set, not classes; use one with dataset_tool.py '
                               f'--split={stored[0]}, or all with --split={ALL_PARTS}', parts=True)
    if _are_chunks(stored, inner):
        return Labels(why_none=f'{listed(stored, 5)} hold consecutively numbered images, as tools write them, not classes; give '
                               'classes other folder names, or write a dataset.json')
    class_names = sorted({clean_name(folder) for folder in stored})
    if len(class_names) < 2:
        return Labels(why_none=f'there is only one class folder, {class_names[0]}; give each of two or more classes a folder')
    index = {name: i for i, name in enumerate(class_names)}
    values = np.array([index[clean_name(rest.partition('/')[0])] for rest in inner], dtype=np.int64)
    return Labels(values, class_names, notes=_notes(stored, inner))


def _with_strays(names: list[str], strays: list[str], folders: list[str]) -> Labels:
    """No labels; strays are listed separately if they are few and classes remain without them."""
    beside = set(strays)
    rest = [name for name in names if name not in beside]
    few = len(strays) <= STRAY_SHARE * len(rest) and from_folders(rest).values is not None
    more = f' and {len(strays) - 1} more are' if len(strays) > 1 else ' is'
    return Labels(why_none=f'{strays[0]}{more} in no class folder, beside {listed(folders, 5)}; move such images, or leave '
                           'them out',
                  strays=strays if few else [])


def _are_chunks(folders: list[str], inner: list[str]) -> bool:
    """Whether five-digit folders from 00000 hold images numbered continuously from folder to folder."""
    if folders[0] != '00000' or not all(CHUNK_FOLDER.fullmatch(folder) for folder in folders):
        return False
    numbers = [re.search(r'(\d+)\D*$', name.rpartition('/')[2]) for name in sorted(inner)]
    values = [int(match[1]) for match in numbers if match]
    return len(values) == len(inner) and all(a < b for a, b in itertools.pairwise(values))


def _notes(stored: list[str], inner: list[str]) -> list[str]:
    """Notes on doubts about the classes found, and on decisions made."""
    notes = []
    twice = [name for name, count in Counter(clean_name(folder) for folder in stored).items() if count > 1]
    if twice:
        notes.append(f'the folder name {twice[0]} is written in two ways that are equal in Unicode: they become one class')
    alike = Counter(name.strip().casefold() for name in {clean_name(folder) for folder in stored})
    similar = [folder for folder in stored if alike[clean_name(folder).strip().casefold()] > 1]
    if similar:
        notes.append(f'the class folders {listed(similar, 5)} differ only in capitals or spaces: they stay separate classes')
    below: dict[str, set[str]] = {folder: set() for folder in stored}
    for name in inner:
        top, _slash, rest = name.partition('/')
        below[top].add(clean_name(rest.partition('/')[0]) if '/' in rest else '')
    first = below[stored[0]]
    if len(first) > 1 and '' not in first and all(folders == first for folders in below.values()):
        notes.append(f'{listed(stored, 5)} are read as classes, but all hold the same folders {listed(sorted(first), 5)}; if '
                     f'those are the classes, give dataset_tool.py --split={ALL_PARTS}')
    return notes


def _top(name: str, around: str) -> str:
    return name[len(around):].partition('/')[0]
