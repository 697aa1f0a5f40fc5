"""What project.py does with a picture: the search with its progress bar, and the files that it leaves."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from metrics.features.perceptual import Embedding
from training.data.class_labels import NetworkLabels
from training.data.image_grid import make_grid, save_image, to_picture, to_pixels

from .projected_w import save_projection
from .projection import Projection, Projector
from .video_file import video_file

AUTO = 'auto'
Watch = Callable[[torch.Tensor], None]  # gets the image of a step, float [1, C, H, W] in [-1, 1]
VIDEO_FPS, VIDEO_SIDE = 30, 256  # frames, one for each step, per second; pixels that smaller images are enlarged to
MAX_SHARES, LEAST_SHARE = 3, 0.01  # of a mix, in a message


def label_to_project(labels: NetworkLabels, class_text: str, vector: str | None) -> np.ndarray | None:
    """float32 [K] of --label or --class; None for a class to be found. ValueError if the network takes no such label."""
    if vector is not None:
        return labels.of_vector(vector)
    if class_text != AUTO or AUTO in labels.class_names:
        return labels.of_class(class_text)
    if labels.num_dims and not labels.class_names:
        raise ValueError(f'the network takes label vectors: add --label, {labels.num_dims} numbers separated by commas, like its '
                         'training labels')
    return None


def project_target(G: Any, pixels: np.ndarray, embed: Embedding, label: np.ndarray | None, layerwise: bool, num_steps: int,
                   seed: int, device: torch.device, watch: Watch | None = None) -> Projection:
    """pixels: uint8 [C, H, W]. label: [K] or None. Errors as of Projector."""
    target = torch.from_numpy(pixels.astype(np.float32) / 127.5 - 1)[None].to(device)
    known = None if label is None else torch.from_numpy(label).to(device)
    search = Projector(G, embed, target, known, layerwise, torch.Generator().manual_seed(seed))
    with tqdm(range(num_steps), unit='step', delay=2) as progress:
        for step in progress:
            distance, image = search.step(step / num_steps)
            if watch is not None:
                watch(image)
            progress.set_postfix(distance=f'{distance:.3g}', refresh=False)
    return search.result()


@contextlib.contextmanager
def search_video(path: Path | None, pixels: np.ndarray) -> Iterator[Watch | None]:
    """Gives what draws each step on the right of the target, pixels: uint8 [C, H, W]; None without a path. Errors as of
    video_file."""
    if path is None:
        yield None
        return
    target = pixels.transpose(1, 2, 0)
    scale = max(VIDEO_SIDE // len(target), 1)
    with video_file(path, VIDEO_FPS) as add_frame:
        def watch(image: torch.Tensor) -> None:
            pair = np.stack([target, to_pixels(image)[0]]).repeat(scale, axis=1).repeat(scale, axis=2)
            add_frame(np.asarray(make_grid(pair, 2).convert('RGB')))

        yield watch


def save_found(folder: Path, pixels: np.ndarray, found: Projection, class_names: list[str]) -> str:
    """Write target.png, projected.png and projected_w.npz -> one line about them."""
    folder.mkdir(parents=True, exist_ok=True)
    save_image(to_picture(pixels.transpose(1, 2, 0)), folder / 'target.png')
    save_image(to_picture(found.image.permute(1, 2, 0).cpu().numpy()), folder / 'projected.png')
    save_projection(folder / 'projected_w.npz', found.ws, found.maps, label=found.label)
    classes = f'class {describe_mix(found.label.tolist(), class_names)}, ' if class_names else ''
    return f'{folder}: {classes}distance {found.distance:.3g}, at the mean w {found.start_distance:.3g}'


def describe_mix(shares: list[float], class_names: list[str]) -> str:
    """'dog 0.93, cat 0.06': the largest shares first."""
    order = sorted(range(len(shares)), key=lambda index: -shares[index])
    shown = [index for index in order[:MAX_SHARES] if shares[index] >= LEAST_SHARE] or order[:1]
    return ', '.join(f'{class_names[index]} {shares[index]:.2f}' for index in shown)
