"""Labels from user input: a class by name or number, a mix of classes, or numbers.

A label is float32 [K], K the number of classes: one-hot, or for a mix the shares of the classes, summing to 1. Where labels are
vectors of other things, any K numbers. In a mix and between the ends of a path, a backslash before a comma, colon or backslash
makes it a part of the name.
"""

import difflib
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from dnnlib.errors import printable

from .name_encoding import clean_name, clean_names

MAX_LISTED, MAX_SHOWN = 20, 60  # names in a message, characters of one
LARGEST_SHARE = 1e9  # of a class in a mix; sums of larger ones overflow
LARGEST_NUMBER = 1000  # of a label vector; networks are made for numbers near 1


@dataclass(frozen=True)
class NetworkLabels:
    """The labels that a network takes: none (num_dims 0), classes, or vectors of num_dims numbers (no class_names)."""

    num_dims: int
    class_names: list[str]

    @classmethod
    def of(cls, snapshot: dict[str, Any]) -> 'NetworkLabels':
        """Of a snapshot; ValueError if it has no generator.

        Classes are called '0', '1' ... where it has no names that fit, as in snapshots of other tools.
        """
        G = snapshot['G_ema']
        if not all(hasattr(G, name) for name in ('z_dim', 'c_dim', 'img_resolution')):
            raise ValueError(f'G_ema of the snapshot is a {type(G).__name__}, expected a generator')
        names = given_class_names(snapshot)
        return cls(G.c_dim, [str(index) for index in range(G.c_dim)] if names is None else names)

    def of_class(self, text: str) -> np.ndarray:
        """The label of a class, or of a mix of classes, as `class_label` reads it."""
        self.check_classes(f'class {text!r}')
        return class_label(text, self.class_names)

    def of_vector(self, text: str) -> np.ndarray:
        """The label of --label, as `vector_label` reads it."""
        if self.num_dims == 0:
            raise ValueError(f'the network is unconditional and takes no --label={text}: leave it out, or make the network '
                             'conditional with train_hyper.py')
        return vector_label(text, self.num_dims)

    def check_classes(self, asked: str = 'classes') -> None:
        """ValueError if there are no classes; asked: what needs them."""
        if self.num_dims == 0:
            raise ValueError(f'the network is unconditional and has no {asked}: leave classes out, or make the network '
                             'conditional with train_hyper.py')
        if not self.class_names:
            raise ValueError(f'the network takes label vectors and has no {asked}: give --label, {self.num_dims} numbers '
                             'separated by commas, like its training labels')


def given_class_names(snapshot: dict[str, Any]) -> list[str] | None:
    """The names that a snapshot gives its classes, [] for label vectors; None if it gives none that fit its generator."""
    names = snapshot.get('class_names')
    fits = isinstance(names, list) and len(names) in (0, snapshot['G_ema'].c_dim) and all(isinstance(name, str) for name in names)
    return clean_names(names) if fits else None


def class_index(text: str, names: list[str]) -> int:
    """'dog' or '1' -> 1. A name goes before a number, so classes that are called '0', '1' ... keep their meaning."""
    index = _find_name(text, names)
    if index is not None:
        return index
    text = text.strip()
    if text.isdecimal() and int(text) < len(names):
        return int(text)
    raise ValueError(f'class {text!r} is unknown: {_suggest(text, names)}')


def class_label(text: str, names: list[str]) -> np.ndarray:
    """'dog', '1', or a mix like 'cat:0.3,dog:0.7' -> label. Shares are normalised to the sum 1."""
    label = np.zeros(len(names), dtype=np.float64)
    if not is_mix(text, names):
        label[class_index(text, names)] = 1
        return label.astype(np.float32)
    for part in split_names(text):
        name, colon, share = part.rpartition(':')
        if not colon:
            raise ValueError(f'class mix {text!r}: {part.strip()!r} has no share; write for example cat:0.3,dog:0.7')
        label[_index_in_mix(name, names)] += _parse_share(share, text)
    if label.sum() <= 0:
        raise ValueError(f'class mix {text!r}: all shares are 0; give one a larger number')
    return (label / label.sum()).astype(np.float32)


def is_mix(text: str, names: list[str]) -> bool:
    """Whether the text is a mix of classes, and no class's name."""
    return _find_name(text, names) is None and ':' in text


def split_names(text: str) -> list[str]:
    """'a,b' -> ['a', 'b'], at commas without a backslash before them; the parts keep their backslashes."""
    parts = ['']
    for piece in re.findall(r'\\.|.', text, re.DOTALL):
        if piece == ',':
            parts.append('')
        else:
            parts[-1] += piece
    return parts


def escape(name: str) -> str:
    """A class name as it is written in a mix."""
    return re.sub(r'([,:\\])', r'\\\1', name)


def unescape(text: str) -> str:
    """Without the backslashes before commas, colons and backslashes."""
    return re.sub(r'\\([,:\\])', r'\1', text)


def vector_label(text: str, num_dims: int) -> np.ndarray:
    """'0.2,1,0' -> label, float32 [num_dims], as it is."""
    try:
        numbers = [float(part) for part in text.split(',')]
    except ValueError:
        numbers = []
    if len(numbers) != num_dims or not all(abs(number) <= LARGEST_NUMBER for number in numbers):  # false for NaN too
        raise ValueError(f'label {text!r}: expected {num_dims} numbers separated by commas, like the training labels, none '
                         f'beyond {LARGEST_NUMBER}')
    return np.array(numbers, dtype=np.float32)


def interpolate_labels(first: np.ndarray, last: np.ndarray, num_steps: int) -> np.ndarray:
    """float32 [num_steps, K]: equal steps from one label to the other, both ends included. num_steps >= 2."""
    t = np.linspace(0, 1, num_steps)[:, None]
    return ((1 - t) * first + t * last).astype(np.float32)


def list_names(names: list[str]) -> str:
    """'cat, dog, owl' on one line; long lists and names are cut."""
    rest = len(names) - MAX_LISTED
    shown = [name if len(name) <= MAX_SHOWN else f'{name[:MAX_SHOWN]}...' for name in names[:MAX_LISTED]]
    return printable(', '.join(shown)) + (f' and {rest} more' if rest > 0 else '')


def _find_name(text: str, names: list[str]) -> int | None:
    """The class of this name, whatever way its accents are written; spaces around it count only where names differ by them."""
    for name in (text, text.strip()):
        if name in names:
            return names.index(name)
    clean = [clean_name(name) for name in names]
    return next((clean.index(name) for name in (clean_name(text), clean_name(text.strip())) if name in clean), None)


def _index_in_mix(text: str, names: list[str]) -> int:
    """The class that a part of a mix names, with backslashes or, if there is such a name, as it stands."""
    index = _find_name(unescape(text), names)
    return class_index(text, names) if index is None else index


def _parse_share(text: str, mix: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= LARGEST_SHARE:
        raise ValueError(f'class mix {mix!r}: {text.strip()!r} is no share; expected a number from 0 to {LARGEST_SHARE:g}, as in '
                         'cat:0.3,dog:0.7')
    return share


def _suggest(text: str, names: list[str]) -> str:
    lower = {name.lower(): name for name in names}
    near = [lower[match] for match in difflib.get_close_matches(text.lower(), lower, n=3)]
    if near and not text.lstrip('-').isdecimal():  # a wrong number is no misspelt name
        return f'did you mean {" or ".join(near)}?'
    return f'choose a number from 0 to {len(names) - 1} or one of {list_names(names)}'
