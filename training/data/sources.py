"""Where the pictures of a data set come from: a built-in set, a published archive, or a folder or zip of files."""

from functools import partial

import numpy as np

from . import builtin_data
from .archives.cifar10 import read_cifar10
from .archives.kinds import CIFAR10, LSUN, MNIST, archive_kind
from .archives.lsun import LsunFiles
from .archives.mnist import read_mnist
from .dataset_maker import Pictures
from .dataset_writer import Label
from .file_listing import Entry
from .folder_labels import ALL_PARTS, folder_around
from .image_files import ImageFiles
from .image_labels import choose_images, read_labels
from .left_out import no_images

DIGIT_SETS = {
    'builtin:digits': partial(builtin_data.digits, 'train'), 'builtin:digits-test': partial(builtin_data.digits, 'test'),
    'builtin:mnist20': partial(builtin_data.mnist, 20), 'builtin:mnist50': partial(builtin_data.mnist, 50),
    'builtin:mnist200': partial(builtin_data.mnist, 200), 'builtin:mnist-test': partial(builtin_data.mnist, None),
}
BUILTIN_SETS = ('builtin:letters', *DIGIT_SETS)
DEFAULT_NUM_LETTERS = 20_000


def load_pictures(source: str, max_images: int | None, seed: int, part: str | None = None,
                  name_encoding: str | None = None) -> Pictures:
    """source: folder, zip, published archive, or one of BUILTIN_SETS. max_images random ones are kept, in their order; seed also
    draws the letters.

    part: of the set, as in `read_labels`. name_encoding: of names that are not UTF-8. OSError or ValueError if there are no
    pictures, or if the labels do not fit.
    """
    if source == 'builtin:letters':
        pixels = builtin_data.letters(max_images or DEFAULT_NUM_LETTERS, seed)
        return Pictures(source, [f'letter {i}' for i in range(len(pixels))], [None] * len(pixels), [], pixels=pixels)
    pictures = _load_all(source, part, name_encoding)
    num_pictures = len(pictures.names)
    if max_images is None or num_pictures <= max_images:
        return pictures
    return pictures.select(np.sort(np.random.default_rng(seed).permutation(num_pictures)[:max_images]))


def _load_all(source: str, part: str | None, name_encoding: str | None) -> Pictures:
    if source in DIGIT_SETS:
        return _of_arrays(source, 'digit', *DIGIT_SETS[source]())
    kind = archive_kind(source)
    if kind is None:
        return _load_files(source, part, name_encoding)
    if kind == CIFAR10:
        return _of_arrays(source, 'image', *read_cifar10(source, part))
    if part is not None:
        raise ValueError(f'--split={part}: {source} is one part of {kind}; leave it out, and give the archive of that part')
    if kind == MNIST:
        return _of_arrays(source, 'image', *read_mnist(source))
    files = LsunFiles(source)
    names = files.image_names
    why_none = f'{source} is one category of {LSUN}; for classes, convert each category to a folder, side by side in one source'
    return Pictures(source, names, [None] * len(names), [], files, why_none=why_none)


def _of_arrays(source: str, what: str, pixels: np.ndarray, labels: np.ndarray, class_names: list[str] | None = None) -> Pictures:
    """labels: [N]; without class_names, a class for each number that occurs, which is its name."""
    if class_names is None:
        numbers, labels = np.unique(labels, return_inverse=True)
        class_names = [str(number) for number in numbers]
    return Pictures(source, [f'{what} {i}' for i in range(len(pixels))], labels.tolist(), class_names, pixels=pixels)


def _load_files(source: str, part: str | None, name_encoding: str | None) -> Pictures:
    if source.startswith('builtin:'):
        raise ValueError(f'there is no built-in set {source}; choose one of {", ".join(BUILTIN_SETS)}')
    files = ImageFiles(source, name_encoding)
    if not files.image_names:
        raise OSError(no_images(files))
    names = choose_images(files, part)
    chosen = set(names)
    labels = read_labels(files, names, part)
    strays = [Entry(name, name, 'in no class folder') for name in labels.strays]
    if strays:
        names = sorted(chosen - set(labels.strays))
        labels = read_labels(files, names, part)
    if labels.parts:
        raise ValueError(f'{source}: {labels.why_none}')
    notes = [*files.notes, *labels.notes]
    if labels.values is not None and labels.values.ndim == 2:
        notes.append(f'the labels are vectors of {labels.values.shape[1]} numbers, the first is {labels.values[0, :4].tolist()}, '
                     'not classes; for classes give each image an index')
    other = [Entry(name, name, f'outside --split={part}') for name in files.image_names if name not in chosen]
    values: list[Label] = [None] * len(names) if labels.values is None else labels.values.tolist()
    return Pictures(source, names, values, labels.class_names, files, left_out=[*files.left_out, *strays, *other],
                    around=folder_around(names), depth=int(part == ALL_PARTS), why_none=labels.why_none, notes=notes)
