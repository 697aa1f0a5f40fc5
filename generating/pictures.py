"""What generate.py draws: a picture per seed, a grid of all classes, a path between classes. Each function returns what it
saved."""

import math
from pathlib import Path

import numpy as np
from PIL import Image

from training.data.class_labels import NetworkLabels, class_index, interpolate_labels, is_mix, list_names, split_names, unescape
from training.data.file_names import MAX_LENGTH, file_names, mix_file_name, path_file_name, vector_file_name
from training.data.image_grid import make_grid, save_image, to_picture

from .sampler import Sampler


def save_each(sampler: Sampler, seeds: list[int], class_text: str | None, vector: str | None, outdir: Path) -> str:
    """outdir/seed0000.png, or with a class outdir/cat-seed0000.png, with a label vector outdir/label_0.2_1-seed0000.png."""
    if vector is not None:
        label = sampler.labels.of_vector(vector)
        prefix = f'{vector_file_name(vector)}-'
    elif class_text is not None:
        label = sampler.labels.of_class(class_text)
        prefix = f'{_as_file_name(class_text, sampler.labels.class_names)}-'
    else:
        label, prefix = _no_label(sampler.labels), ''
    outdir.mkdir(parents=True, exist_ok=True)
    images = sampler.images(seeds, np.tile(label, [len(seeds), 1]))
    for seed, image in zip(seeds, images, strict=True):
        save_image(to_picture(image), outdir / f'{prefix}seed{seed:04d}.png')
    return f'{len(seeds)} picture{"s" if len(seeds) > 1 else ""} in {outdir}'


def save_class_grid(sampler: Sampler, seeds: list[int], outdir: Path) -> str:
    """outdir/grid.png: a row for each class, a column for each seed; without classes as square as the seeds allow."""
    num_seeds, num_classes = len(seeds), len(sampler.labels.class_names)
    if sampler.labels.num_dims:
        sampler.labels.check_classes('rows for --grid')
        num_columns, labels = num_seeds, np.repeat(np.eye(num_classes, dtype=np.float32), num_seeds, axis=0)
    else:
        num_columns = next(k for k in range(math.isqrt(num_seeds - 1) + 1, num_seeds + 1) if num_seeds % k == 0)
        labels = np.zeros([num_seeds, 0], dtype=np.float32)
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
    return _save_picture(make_grid(images, num_steps, [f'seed {seed}' for seed in seeds]), outdir / f'{name}.png')


def _save_picture(picture: Image.Image, path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_image(picture, path)
    return str(path)


def _no_label(labels: NetworkLabels) -> np.ndarray:
    """float32 [0]; ValueError for networks that need a label."""
    if labels.num_dims == 0:
        return np.zeros(0, np.float32)
    if not labels.class_names:
        raise ValueError(f'the network takes label vectors: add --label, {labels.num_dims} numbers separated by commas, like '
                         'its training labels')
    raise ValueError(f'the network is class-conditional: add --class=NAME ({list_names(labels.class_names)}), --grid for all '
                     'classes, or --label=NUMBERS')


def _as_file_name(class_text: str, names: list[str], max_length: int = MAX_LENGTH) -> str:
    """That of the class, also when it was given by number; of a mix, as it was written."""
    if is_mix(class_text, names):
        return mix_file_name(class_text, names, max_length)
    return file_names(names, max_length)[class_index(class_text, names)]
