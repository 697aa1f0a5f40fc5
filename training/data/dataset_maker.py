"""Turn pictures into a training data set: one pass over the headers that decides mode and size before anything is written, one
pass that converts."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from .archives.lsun import LsunFiles
from .dataset_writer import DatasetWriter, Label
from .file_listing import Entry
from .flat_pictures import FlatPictures
from .image_convert import MIN_RESOLUTION, center_square, is_gray, resize, to_mode, upright_size
from .image_files import BAR_DELAY_SEC, ImageFiles
from .picture_formats import failure_reason, open_picture


@dataclass
class Pictures:
    """A source: names and labels (class index, vector or None) of all pictures, their pixels in files or in an array.

    left_out: files found but not used. around: the folder around all pictures; depth: how many
    folders lie between it and the class folders. why_none: why there are no labels.
    """

    where: str
    names: list[str]
    labels: list[Label]
    class_names: list[str]
    files: ImageFiles | LsunFiles | None = None
    pixels: np.ndarray | None = None  # uint8 [N, H, W] or [N, H, W, 3]
    left_out: list[Entry] = field(default_factory=list)
    around: str = ''
    depth: int = 0
    why_none: str = ''
    notes: list[str] = field(default_factory=list)

    def select(self, indices: Any) -> 'Pictures':
        """Only these, in this order."""
        pixels = None if self.pixels is None else self.pixels[indices]
        return replace(self, names=[self.names[i] for i in indices], labels=[self.labels[i] for i in indices], pixels=pixels)

    @contextlib.contextmanager
    def open(self, index: int) -> Iterator[Image.Image]:
        """One picture, not yet decoded. Failures to read or convert it inside the block become an UnusableError."""
        if self.files is None:
            assert self.pixels is not None
            yield Image.fromarray(self.pixels[index])
            return
        name = self.names[index]
        try:
            with self.files.open(name) as stream, open_picture(stream) as image:
                yield image
        except Exception as error:  # damaged files let Pillow raise almost anything
            raise UnusableError(self.where, name, failure_reason(error, self.files.head(name))) from error


class UnusableError(OSError):
    """A picture that cannot be used."""

    def __init__(self, where: str, name: str, reason: str):
        super().__init__(f'{where}: cannot use {name} ({reason}); replace or remove it, or skip it with --skip-broken')
        self.entry = Entry(name, name, reason)


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


def plan(pictures: Pictures, side: int | None, crop: bool, resize_filter: str, mode: str | None = None,
         skip_broken: bool = False) -> tuple[Pictures, Recipe]:
    """Read all headers and decide -> the usable pictures, and how to convert them. ValueError or OSError if they make no data
    set.

    side: of the result in pixels; None keeps the pictures' own, which must then be equal, square and a power of two.
    mode: 'L' or 'RGB'; None gives gray if every picture is. skip_broken: leave out files that are not pictures.
    """
    all_gray = True
    sizes: dict[int, tuple[int, int]] = {}
    errors: list[UnusableError] = []
    for index in _progress(range(len(pictures.names)), 'Looking'):
        try:
            with pictures.open(index) as image:
                gray, (width, height) = is_gray(image), upright_size(image)
                if skip_broken:
                    to_mode(image, 'RGB')  # what cannot be decoded shows now
        except UnusableError as error:
            errors.append(error)
            continue
        all_gray &= gray
        sizes[index] = (min(width, height),) * 2 if crop else (width, height)
    if errors and (not skip_broken or not sizes):
        raise OSError(f'{errors[0]} ({len(errors)} of {len(pictures.names)} pictures have errors)')
    usable = _without_empty_classes(pictures.select(list(sizes)), pictures.labels) if errors else pictures
    usable.left_out = [*pictures.left_out, *(error.entry for error in errors)]
    if side is None:
        side = _common_side(usable, list(sizes.values()))
    return usable, Recipe(mode=mode or ('L' if all_gray else 'RGB'), side=side, crop=crop, resize_filter=resize_filter)


def _without_empty_classes(pictures: Pictures, before: list[Label]) -> Pictures:
    """Drop named classes that have lost all pictures, and renumber the others."""
    labels = [label for label in pictures.labels if isinstance(label, int)]
    emptied = {label for label in before if isinstance(label, int)} - set(labels)
    if not pictures.class_names or not emptied:
        return pictures
    stay = [index for index in range(len(pictures.class_names)) if index not in emptied]
    place = {index: i for i, index in enumerate(stay)}
    return replace(pictures, labels=[place[label] for label in labels], class_names=[pictures.class_names[i] for i in stay])


def _common_side(pictures: Pictures, sizes: list[tuple[int, int]]) -> int:
    width, height = sizes[0]
    first = f'{pictures.where}: {pictures.names[0]} is {width}x{height} pixels'
    advice = 'give --resolution=SIDE, and --transform=center-crop to crop instead of squeeze'
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


def convert(pictures: Pictures, recipe: Recipe, writer: DatasetWriter) -> FlatPictures:
    """Write every picture -> those nearly without contrast. OSError with its name if one cannot be read."""
    flat = FlatPictures()
    for index in _progress(range(len(pictures.names)), 'Writing'):
        with pictures.open(index) as image:
            converted = recipe.apply(image)
            flat.look(pictures.names[index], image, converted)
        writer.add(converted, pictures.labels[index])
    return flat


def _progress(items: Any, what: str) -> Any:
    return tqdm(items, desc=what, unit='img', delay=BAR_DELAY_SEC, leave=False)
