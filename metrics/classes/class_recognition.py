"""How well a class-conditional generator makes the class that it is asked for, and how varied each class is.

Two numbers per class:
- recognised: the share of images generated for the class that a classifier trained on real images assigns to it;
- spread: mean distance between two images of the class, reduced to 8x8, generated over real (1 = as varied as the real
  images; a generator that collapsed to one image per class has 0, however well recognised).

Command: python -m metrics.classes --network=SNAPSHOT.pkl --train=train.zip --test=test.zip

Shapes: N images, C channels, K classes. Images are uint8 [0, 255].
"""
import os
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

import dnnlib
from metrics.features.labelled_images import LabelledImages, check_labelled, folder_kwargs, load_labelled
from metrics.features.spread import spread
from training.data.class_labels import given_class_names
from training.data.image_grid import images_to_uint8
from training.snapshot.reading import open_snapshot

from .gan_test import judge_of_real_images, recognised_share

BATCH = 64

TABLE_HEAD = """\
| class | recognised | spread | real images recognised | spread of test images |
|---|---:|---:|---:|---:|
"""
TABLE_NOTE = """
Recognised: share of {num_gen_per_class} generated images a class (seed {seed}) that a classifier assigns to the class asked
for. It learnt from {num_judge_train} real images; of {num_held_out} others, held out, it is right on {real_recognised:.1%}
(mean over classes). Spread: mean distance between two images of a class, reduced to 8x8, over that of the {num_train} training
images (1 = as varied); the {num_test} test images, which the generator never saw, have {real_spread:.2f}.
"""


def class_spreads(images: torch.Tensor, labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    """spread() of the images of each class, of which each needs 2 or more: float64 [K]."""
    check_labelled(images, labels, num_classes)
    counts = torch.bincount(labels, minlength=num_classes)
    if counts.min() < 2:
        raise ValueError(f'class {int(counts.argmin())} has a single image: the spread of a class needs at least 2')
    return torch.tensor([spread(images[labels == k]) for k in range(num_classes)], dtype=torch.float64)


def relative_spreads(
    fakes: torch.Tensor, fake_labels: torch.Tensor, reals: torch.Tensor, real_labels: torch.Tensor, num_classes: int
) -> torch.Tensor:
    """class_spreads() of the generated images over those of the real ones: float64 [K], 1 = as varied as real."""
    if fakes.shape[1:] != reals.shape[1:]:
        raise ValueError(f'generated and real images differ in shape: {list(fakes.shape[1:])} and {list(reals.shape[1:])}')
    real = class_spreads(reals, real_labels, num_classes)
    if not real.all():
        raise ValueError(f'the real images of class {int(real.argmin())} are all the same: no spread to compare with')
    return class_spreads(fakes, fake_labels, num_classes) / real


@torch.no_grad()
def generate_classes(
    G: Any, num_per_class: int, seed: int, device: torch.device | str = 'cpu', batch: int = BATCH
) -> tuple[torch.Tensor, torch.Tensor]:
    """num_per_class images of every class, each from its own z. G: conditional, called as G(z, c, noise_mode='const').

    Returns uint8 [K * num_per_class, C, H, W], class by class, and their labels, int64, both on the CPU.
    """
    labels = torch.arange(G.c_dim).repeat_interleave(num_per_class)
    z = torch.from_numpy(np.random.RandomState(seed).randn(len(labels), G.z_dim)).to(device)
    c = torch.nn.functional.one_hot(labels, G.c_dim).to(device)
    images = []
    with tqdm(total=len(labels), desc='Generating', unit='img', delay=2, leave=False, disable=None) as bar:
        for part_z, part_c in zip(z.split(batch), c.split(batch), strict=True):
            images.append(images_to_uint8(G(part_z.float(), part_c.float(), noise_mode='const')).cpu())
            bar.update(len(part_z))
    return torch.cat(images), labels


def check_match(G: Any, train: LabelledImages, test: LabelledImages, network_names: list[str]) -> None:
    """Raises ValueError unless generator, training and test images agree in classes, channels and resolution."""
    names = {'training images': train.class_names, 'test images': test.class_names}
    if network_names:
        names['network'] = network_names
    if len({tuple(value) for value in names.values()}) > 1:
        found = '; '.join(f'{key}: {", ".join(value)}' for key, value in names.items())
        raise ValueError(f'the classes differ ({found}): judge a network on the data set that it was trained on')
    if G.c_dim != train.num_classes:
        kind = f'has {G.c_dim} classes' if G.c_dim else 'is unconditional'
        raise ValueError(f'the network {kind}, the images have {train.num_classes} classes')
    made = [G.img_channels, G.img_resolution, G.img_resolution]
    for data in (train, test):
        if list(data.images.shape[1:]) != made:
            raise ValueError(f'the network makes images of shape {made}, the data set has {list(data.images.shape[1:])}')


def judge_generator(
    G: Any,
    train: LabelledImages,
    test: LabelledImages,
    num_gen: int,
    seed: int,
    cache_dir: str | os.PathLike | None,
    network_names: list[str] | None = None,
    device: torch.device | str = 'cpu',
) -> dict:
    """Report (JSON-ready) on num_gen images of each class. train: what G learnt from; test: other images of the classes.

    The judge learns from all of train and 70 % of test (stratified, by seed); the remaining images, held out, which neither
    the judge nor G has seen, give its own accuracy. Spreads are relative to train; that of all of test is the reference.
    """
    check_match(G, train, test, network_names or [])
    K = train.num_classes
    judge = judge_of_real_images(train, test, seed, cache_dir, device)
    held_out = judge.held_out
    fakes, asked = generate_classes(G, num_gen, seed, device)
    shares, confusion = recognised_share(judge.net, fakes, asked, K)
    real_shares, _ = recognised_share(judge.net, held_out.images, held_out.labels, K)
    spreads = relative_spreads(fakes, asked, train.images, train.labels, K)
    real_spreads = relative_spreads(test.images, test.labels, train.images, train.labels, K)
    columns = zip(train.class_names, shares, spreads, real_shares, real_spreads, strict=True)
    return {
        'classes': [
            dict(name=name, recognised=float(a), spread=float(b), real_recognised=float(c), real_spread=float(d))
            for name, a, b, c, d in columns
        ],
        'recognised': float(shares.mean()),
        'spread': float(spreads.mean()),
        'real_recognised': float(real_shares.mean()),
        'real_spread': float(real_spreads.mean()),
        'confusion': confusion.tolist(),
        'num_gen_per_class': num_gen,
        'num_train': len(train.labels),
        'num_test': len(test.labels),
        'num_judge_train': judge.num_known,
        'num_held_out': len(held_out),
        'seed': seed,
    }


def markdown_table(report: dict) -> str:
    """The report of judge_generator() as a markdown table, one row per class and one for their mean, and what it means."""
    rows = [*report['classes'], {**report, 'name': '**all**'}]
    columns = {'recognised': '.1%', 'spread': '.2f', 'real_recognised': '.1%', 'real_spread': '.2f'}
    body = [' | '.join([row['name'], *(format(row[key], spec) for key, spec in columns.items())]) for row in rows]
    return TABLE_HEAD + ''.join(f'| {line} |\n' for line in body) + TABLE_NOTE.format(**report)


def judge_snapshot(
    network: str, train: str, test: str, num_gen: int, seed: int, cache: bool = True, device: torch.device | str = 'cpu',
    trust: bool = False,
) -> dict:
    """judge_generator() for G_ema of a snapshot (path or URL) and two labelled data sets (folders or zips)."""
    snapshot = open_snapshot(network, trust)
    G = snapshot['G_ema'].eval().requires_grad_(False).to(device)
    cache_dir = dnnlib.make_cache_dir_path('judges') if cache else None
    names = given_class_names(snapshot)
    known, unseen = (load_labelled(folder_kwargs(path)) for path in (train, test))
    report = judge_generator(G, known, unseen, num_gen, seed, cache_dir, names, device)
    return dict(network=network, train=train, test=test, **report)
