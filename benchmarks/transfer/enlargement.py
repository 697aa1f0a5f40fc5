"""To which size must small images be enlarged before the ImageNet detector judges them?

    python -m benchmarks.transfer.enlargement --train=train.zip --test=test.zip [--train=... --test=...] [--sizes=64,128]

The kernel distance of held-out images to the training images, class by class, ought to rise when the held-out images are
blurred a little. At every size: the distance without blur and with it, and how many standard deviations (over draws of the
held-out images) lie between them. One line of JSON for each pair of data sets and size.
"""
import json
from pathlib import Path

import click
import numpy as np
import torch
from tqdm import tqdm

from metrics.features.detectors import three_channels
from metrics.features.efficientnet_lite import find_weights, load_efficientnet_lite, resize
from metrics.features.labelled_images import LabelledImages, folder_kwargs, load_labelled
from metrics.kernel_inception_distance import kernel_distance

SIZES = (32, 64, 96, 128, 160, 224)
SIGMAS = (0.4, 0.6)  # of the blur, in pixels
BLUR_REACH = 3  # pixels, five times the larger one
MOST_TRAIN, MOST_TEST = 50, 80  # images of a class
NUM_DRAWN, NUM_DRAWS = 40, 20  # held-out images of a class that are compared at a time, and how often they are drawn
BATCH = 50


def first_of_each_class(data: LabelledImages, most: int) -> list[torch.Tensor]:
    """At most so many images of each class, uint8 [N, C, H, W]."""
    return [data.images[data.labels == label][:most] for label in range(data.num_classes)]


def blurred(images: torch.Tensor, sigma: float) -> torch.Tensor:
    """uint8 [N, C, H, W], each channel under a Gaussian."""
    line = torch.exp(-0.5 * (torch.arange(-BLUR_REACH, BLUR_REACH + 1) / sigma) ** 2)
    kernel = (line[:, None] * line / line.sum() ** 2).expand(images.shape[1], 1, -1, -1)
    padded = torch.nn.functional.pad(images.float(), [BLUR_REACH] * 4, mode='replicate')
    return torch.nn.functional.conv2d(padded, kernel, groups=images.shape[1]).round().to(torch.uint8)


def distances(train: list[np.ndarray], test: list[np.ndarray]) -> np.ndarray:
    """Kernel distance, mean over classes, of each draw of the held-out features: [NUM_DRAWS]. Equal draws for equal counts."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(NUM_DRAWS):
        drawn = [features[rng.choice(len(features), min(NUM_DRAWN, len(features)), replace=False)] for features in test]
        found.append(np.mean([kernel_distance(y, x, 1, len(y), rng) for x, y in zip(train, drawn, strict=True)]))
    return np.array(found)


@click.command()
@click.option('--train', 'train_paths', multiple=True, required=True, metavar='PATH', help='Labelled training images.')
@click.option('--test', 'test_paths', multiple=True, required=True, metavar='PATH', help='Held-out images of the same classes.')
@click.option('--sizes', default=','.join(map(str, SIZES)), show_default=True, help='Sizes to compare, in pixels.')
def main(train_paths: tuple[str, ...], test_paths: tuple[str, ...], sizes: str) -> None:
    """Measure what sizes of the ImageNet detector's input see a slight blur."""
    network = load_efficientnet_lite(find_weights())

    def features(classes: list[torch.Tensor], size: int) -> list[np.ndarray]:
        found = [[network.embed(resize(three_channels(part), size)) for part in images.split(BATCH)] for images in classes]
        return [torch.cat(parts).numpy() for parts in found]

    for train_path, test_path in zip(train_paths, test_paths, strict=True):
        train = first_of_each_class(load_labelled(folder_kwargs(train_path)), MOST_TRAIN)
        test = first_of_each_class(load_labelled(folder_kwargs(test_path)), MOST_TEST)
        for size in tqdm(list(map(int, sizes.split(','))), desc=Path(train_path).stem, unit='size'):
            known = features(train, size)
            sharp = distances(known, features(test, size))
            line = dict(data=Path(train_path).stem, size=size, real=sharp.mean(), real_std=sharp.std(ddof=1))
            for sigma in SIGMAS:
                soft = distances(known, features([blurred(images, sigma) for images in test], size))
                line.update({f'blur{sigma}': soft.mean(), f'deviations{sigma}': (soft - sharp).mean() / sharp.std(ddof=1)})
            print(json.dumps({name: value if isinstance(value, str | int) else round(float(value), 5)
                              for name, value in line.items()}), flush=True)


if __name__ == '__main__':
    main()
