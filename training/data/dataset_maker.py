"""Turn pictures (folder, class folders, zip, or built-in set) into a training data set: one pass over the headers that decides
mode and size before anything is written, one pass that converts."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from . import builtin_data
from .dataset_writer import DatasetWriter, Label
from .image_convert import center_square, is_gray, resize, to_mode, upright_size
from .image_dataset import BAR_DELAY_SEC, MIN_RESOLUTION
from .image_files import DECODING_ERRORS, ImageFiles, reason
from .image_labels import read_labels

DIGIT_SETS = {
    'builtin:digits': partial(builtin_data.digits, 'train'), 'builtin:digits-test': partial(builtin_data.digits, 'test'),
    'builtin:mnist20': partial(builtin_data.mnist, 20), 'builtin:mnist50': partial(builtin_data.mnist, 50),
    'builtin:mnist200': partial(builtin_data.mnist, 200), 'builtin:mnist-test': partial(builtin_data.mnist, None),
}
BUILTIN_SETS = ('builtin:letters', *DIGIT_SETS)
DEFAULT_NUM_LETTERS = 20_000


@dataclass
class Pictures:
    """A source: names and labels (class index, vector or None) of all pictures, their pixels in files or in an array."""

    where: str
    names: list[str]
    labels: list[Label]
    class_names: list[str]
    files: ImageFiles | None = None
    pixels: np.ndarray | None = None  # uint8 [N, H, W]

    def select(self, indices: np.ndarray) -> 'Pictures':
        """Only these, in this order."""
        pixels = None if self.pixels is None else self.pixels[indices]
        return replace(self, names=[self.names[i] for i in indices], labels=[self.labels[i] for i in indices], pixels=pixels)

    @contextlib.contextmanager
    def open(self, index: int) -> Iterator[Image.Image]:
        """One picture, not yet decoded. What fails inside the block to be read or converted is an OSError with its name."""
        try:
            if self.files is None:
                assert self.pixels is not None
                yield Image.fromarray(self.pixels[index])
                return
            with self.files.open(self.names[index]) as stream, Image.open(stream) as image:
                yield image
        except DECODING_ERRORS as error:
            raise OSError(f'{self.where}: cannot use {self.names[index]} ({reason(error)}); replace or remove it') from error


@dataclass(frozen=True)
class Recipe:
    """How every picture is converted. mode: 'L' or 'RGB'; side: of the result in pixels."""

    mode: str
    side: int
    crop: bool
    resize_filter: str

    def apply(self, image: Image.Image) -> Image.Image:
        image = to_mode(image, self.mode)
        return resize(center_square(image) if self.crop else image, self.side, self.resize_filter)


def load_pictures(source: str, max_images: int | None, seed: int) -> Pictures:
    """source: folder, zip, or one of BUILTIN_SETS. max_images random ones are kept, in their order; seed also draws the letters.

    OSError or ValueError if there are none, or if the labels do not fit.
    """
    if source == 'builtin:letters':
        pixels = builtin_data.letters(max_images or DEFAULT_NUM_LETTERS, seed)
        return Pictures(source, [f'letter {i}' for i in range(len(pixels))], [None] * len(pixels), [], pixels=pixels)
    pictures = _load_digits(source) if source in DIGIT_SETS else _load_files(source)
    num_pictures = len(pictures.names)
    if max_images is None or num_pictures <= max_images:
        return pictures
    return pictures.select(np.sort(np.random.default_rng(seed).permutation(num_pictures)[:max_images]))


def _load_digits(source: str) -> Pictures:
    pixels, classes = DIGIT_SETS[source]()
    names = [f'digit {i}' for i in range(len(pixels))]
    return Pictures(source, names, classes.tolist(), [str(digit) for digit in range(builtin_data.NUM_DIGITS)], pixels=pixels)


def _load_files(source: str) -> Pictures:
    if source.startswith('builtin:'):
        raise ValueError(f'there is no built-in set {source}; choose one of {", ".join(BUILTIN_SETS)}')
    files = ImageFiles(source)
    names = files.image_names
    if not names:
        raise OSError(f'{source}: no image among {len(files.file_names)} files; expected PNG, JPEG or other images at any depth')
    labels = read_labels(files, names)
    values: list[Label] = [None] * len(names) if labels.values is None else labels.values.tolist()
    return Pictures(source, names, values, labels.class_names, files=files)


def plan(pictures: Pictures, side: int | None, crop: bool, resize_filter: str, mode: str | None = None) -> Recipe:
    """Look at all headers and decide. ValueError or OSError if it would be no data set.

    side: of the result in pixels; None keeps the pictures' own, which must then be equal, square and a power of two.
    mode: 'L' or 'RGB'; None gives gray if every picture is.
    """
    all_gray = True
    sizes: list[tuple[int, int]] = []
    errors: list[OSError] = []
    for index in _progress(range(len(pictures.names)), 'Looking'):
        try:
            with pictures.open(index) as image:
                all_gray &= is_gray(image)
                width, height = upright_size(image)
        except OSError as error:
            errors.append(error)
            continue
        sizes.append((min(width, height),) * 2 if crop else (width, height))
    if errors:
        raise OSError(f'{errors[0]} ({len(errors)} of {len(pictures.names)} pictures are wrong)')
    if side is None:
        side = _common_side(pictures, sizes)
    return Recipe(mode=mode or ('L' if all_gray else 'RGB'), side=side, crop=crop, resize_filter=resize_filter)


def _common_side(pictures: Pictures, sizes: list[tuple[int, int]]) -> int:
    width, height = sizes[0]
    first = f'{pictures.where}: {pictures.names[0]} is {width}x{height} pixels'
    advice = 'give --resolution=SIDE, and --transform=center-crop to cut instead of squeeze'
    if width != height:
        raise ValueError(f'{first}, expected a square; {advice}')
    other = [index for index, size in enumerate(sizes) if size != (width, height)]
    if other:
        found = '{}x{}'.format(*sizes[other[0]])
        raise ValueError(f'{pictures.where}: {pictures.names[other[0]]} is {found} pixels, expected {width}x{height} '
                         f'like the first ({len(other)} of {len(sizes)} differ); {advice}')
    if not is_resolution(width):
        raise ValueError(f'{first}, expected a power of two as its side; {advice}')
    return width


def is_resolution(side: int) -> bool:
    """Whether networks exist for this size: a power of two, at least 4."""
    return side >= MIN_RESOLUTION and side & (side - 1) == 0


def convert(pictures: Pictures, recipe: Recipe, writer: DatasetWriter) -> None:
    """Write every picture; OSError with its name if one cannot be read."""
    for index in _progress(range(len(pictures.names)), 'Writing'):
        with pictures.open(index) as image:
            converted = recipe.apply(image)
        writer.add(converted, pictures.labels[index])


def _progress(items: Any, what: str) -> Any:
    return tqdm(items, desc=what, unit='img', delay=BAR_DELAY_SEC, leave=False)
