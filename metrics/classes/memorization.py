"""Do generated images copy training images?

For every image the distance to the nearest training image, in the detector's features, is compared with the same distance
of real images that the network has not seen (as in Meehan et al. 2020, arXiv:2004.05675, but by medians and quantiles):

    ratio  = median over generated images / median over held-out images     1: as near as other real images; towards 0: copies
    copies = share of generated images nearer than all but 1 % of the held-out ones         0.01 is what real images have

both of each class, and their means over classes. A low ratio alone may also mean blurred or average images: the closest pairs
are put side by side in a picture.

Shapes: N images, D features, K classes.
"""

import dataclasses
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from metrics.features.labelled_images import open_labelled, shrink
from metrics.features.neighbours import nearest, placed
from metrics.metric_options import MetricOptions
from metrics.registry import register_metric
from training.data.image_grid import make_grid, save_image

from .class_features import (
    ClassFeatures,
    checked_class_names,
    generated_features,
    generated_images,
    held_out_features,
    named_values,
    real_features,
)

NUM_GEN = 10000  # over all classes
CLOSE_SHARE = 0.01  # of the held-out images count as close
NUM_PAIRS = 5  # of a class in the picture
SAME_IMAGE = 1e-4  # a distance that is smaller, as a share of the training images' spread, is rounding
PICTURE_TEXT = 'the closest pairs of each class, left the generated image, right the training image nearest to it'
PICTURE_RESOLUTION = 64  # larger images are averaged down for the picture


@register_metric(num_gen=NUM_GEN, uses_reals=False, higher_is_better=True, needs=('detector', 'classes', 'test_data'))
def memorization(opts: MetricOptions) -> dict[str, float]:
    """Ratio and copies, of the training set as it was trained on (mirrored too) against --test-data; and the closest pairs."""
    if opts.test_dataset_kwargs is None:
        raise ValueError('memorization needs real images that the network has not seen: give them with --test-data')
    names = checked_class_names(opts)
    train = real_features(dataclasses.replace(opts, max_real=None), names)
    held_out = held_out_features(opts, names)
    generated, images = generated_features(opts, names), generated_images(opts, names, PICTURE_RESOLUTION).images
    if opts.rank != 0:
        return {}  # the first process has the values for all
    distances = training_distances(train, held_out, generated, opts.device)
    values = memorization_values(distances, held_out, generated)
    opts.facts.update(num_gen=len(images), num_real=len(train.labels), class_names=names)
    if opts.run_dir is not None:
        path = Path(opts.run_dir, 'memorization.png')
        save_image(_picture_of_pairs(opts, closest_pairs(distances, generated), distances, images, names), path)
        opts.facts['picture'] = path.name
        opts.facts.setdefault('tables', []).append(f'{path}: {PICTURE_TEXT}')
    return values


@dataclasses.dataclass(frozen=True)
class Distances:
    """To the nearest training image: of held-out images, float64 [N], and of generated ones, [M], with its index, int64 [M].

    spread: root mean square distance of the training images from their mean, for scale.
    """

    held_out: np.ndarray
    generated: np.ndarray
    index: np.ndarray
    spread: float


def training_distances(
    train: ClassFeatures, held_out: ClassFeatures, generated: ClassFeatures, device: torch.device | None = None
) -> Distances:
    """Distances to the nearest training image of any class."""
    base, real, made = (placed(part.features, device) for part in (train, held_out, generated))
    reach, _ = nearest(real, base)
    distances, index = nearest(made, base)
    spread = float(base.double().var(dim=0, correction=0).sum().sqrt())
    return Distances(reach[:, 0].cpu().numpy(), distances[:, 0].cpu().numpy(), index[:, 0].cpu().numpy(), spread)


def memorization_values(distances: Distances, held_out: ClassFeatures, generated: ClassFeatures) -> dict[str, float]:
    """Ratio and copies of each class and their means. ValueError where the held-out images are training images themselves."""
    ratios, copies = [], []
    for label, name in enumerate(held_out.class_names):
        real = distances.held_out[held_out.labels == label]
        fake = distances.generated[generated.labels == label]
        same = SAME_IMAGE * distances.spread
        if np.median(real) <= same:
            raise ValueError(f'the images of class {name} in --test-data are those of the training data: give others')
        ratios.append(float(np.median(fake) / np.median(real)))
        copies.append(float(np.mean(fake < max(np.quantile(real, CLOSE_SHARE), same))))
    names = held_out.class_names
    return {**named_values('memorization', ratios, names), **named_values('memorization_copies', copies, names)}


def closest_pairs(distances: Distances, generated: ClassFeatures, num_pairs: int = NUM_PAIRS) -> np.ndarray:
    """Indices of the generated images of each class that lie nearest to a training image, nearest first: int64 [K, P].

    P: num_pairs, or the images of the smallest class.
    """
    num_pairs = min(num_pairs, int(generated.counts().min()))
    order = np.argsort(distances.generated, kind='stable')
    return np.stack([order[generated.labels[order] == label][:num_pairs] for label in range(len(generated.class_names))])


def _picture_of_pairs(
    opts: MetricOptions, pairs: np.ndarray, distances: Distances, images: torch.Tensor, names: list[str]
) -> Image.Image:
    """A row for each class: a generated image, the training image nearest to it, the next pair, ..."""
    dataset = open_labelled(opts.dataset_kwargs, opts.data)
    cells = []
    for index in pairs.flatten().tolist():
        real = shrink(torch.from_numpy(dataset[int(distances.index[index])][0])[None], PICTURE_RESOLUTION)[0]
        gap = torch.full_like(real[:, :, :max(real.shape[2] // 8, 2)], 255)
        cells.append(torch.cat([images[index], real, gap], dim=2))  # [C, H, 2 W + gap]
    dataset.close()
    return make_grid(torch.stack(cells).permute(0, 2, 3, 1).numpy(), pairs.shape[1], names)
