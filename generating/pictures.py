"""What generate.py draws: a picture per seed, a grid of all classes, a path between classes. Each function returns what it
saved."""

import math
from pathlib import Path

import numpy as np
from PIL import Image

from training.data.class_labels import class_index, interpolate_labels, is_mix, split_names, unescape
from training.data.file_names import MAX_LENGTH, file_names, mix_file_name, path_file_name, vector_file_name
from training.data.image_grid import make_grid, save_image, to_picture

from .sampler import Sampler


def save_each(sampler: Sampler, seeds: list[int], class_text: str | None, vector: str | None, outdir: Path) -> str:
    """outdir/seed0000.png, or with a class outdir/cat-seed0000.png, with a label vector outdir/label_0.2_1-seed0000.png."""
    label = chosen_label(sampler, class_text, vector)
    if vector is not None:
        prefix = f'{vector_file_name(vector)}-'
    else:
        prefix = '' if class_text is None else f'{_as_file_name(class_text, sampler.labels.class_names)}-'
    outdir.mkdir(parents=True, exist_ok=True)
    images = sampler.images(seeds, np.tile(label, [len(seeds), 1]))
    for seed, image in zip(seeds, images, strict=True):
        save_image(to_picture(image), outdir / f'{prefix}{sampler.word}{seed:04d}.png')
    return f'{len(seeds)} picture{"s" if len(seeds) > 1 else ""} in {outdir}'


def save_class_grid(sampler: Sampler, seeds: list[int], outdir: Path) -> str:
    """outdir/grid.png: a row for each class, a column for each seed; without classes as square as the seeds allow."""
    num_seeds, num_classes = len(seeds), len(sampler.labels.class_names)
    if sampler.labels.num_dims:
        sampler.labels.check_classes('rows for --grid')
        num_columns, labels = num_seeds, np.repeat(np.eye(num_classes, dtype=np.float32), num_seeds, axis=0)
    else:
        num_columns, labels = as_square_as_possible(num_seeds), np.zeros([num_seeds, 0], dtype=np.float32)
    images = np.stack(list(sampler.images(seeds * max(num_classes, 1), labels)))
    return _save_picture(make_grid(images, num_columns, sampler.labels.class_names or None), outdir / 'grid.png')


def save_path(sampler: Sampler, seeds: list[int], ends: str, num_steps: int, outdir: Path) -> str:
    """outdir/cat-to-dog.png: a row for each seed, from the one class on the left to the other on the right."""
    parts = [unescape(part) for part in split_names(ends)]
    if len(parts) != 2:
        raise ValueError(f'--interpolate={ends}: expected two classes, for example --interpolate=cat,dog; a comma in a name is '
                         'written \\,')
    first, last = parts
    path = interpolate_labels(sampler.labels.of_class(first), sampler.labels.of_class(last), num_steps)
    all_seeds = [seed for seed in seeds for _ in range(num_steps)]
    images = np.stack(list(sampler.images(all_seeds, np.tile(path, [len(seeds), 1]))))
    name = path_file_name(*(_as_file_name(end, sampler.labels.class_names, MAX_LENGTH // 2) for end in parts))
    return _save_picture(make_grid(images, num_steps, [f'{sampler.word} {seed}' for seed in seeds]), outdir / f'{name}.png')


def chosen_label(sampler: Sampler, class_text: str | None, vector: str | None) -> np.ndarray:
    """The label that --label or --class gives, else the sampler's own, float32 [K]."""
    if vector is not None:
        return sampler.labels.of_vector(vector)
    return sampler.default_label() if class_text is None else sampler.labels.of_class(class_text)


def as_square_as_possible(num_images: int) -> int:
    """The number of columns of a full grid of so many images, at least as wide as high."""
    return next(k for k in range(math.isqrt(num_images - 1) + 1, num_images + 1) if num_images % k == 0)


def _save_picture(picture: Image.Image, path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_image(picture, path)
    return str(path)


def _as_file_name(class_text: str, names: list[str], max_length: int = MAX_LENGTH) -> str:
    """That of the class, also when it was given by number; of a mix, as it was written."""
    if is_mix(class_text, names):
        return mix_file_name(class_text, names, max_length)
    return file_names(names, max_length)[class_index(class_text, names)]
