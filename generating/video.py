"""What generate.py --video draws: latents, classes or both that move from key to key, one picture or a grid of them per frame."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from training.data.class_labels import list_names, split_names, unescape
from training.data.image_grid import make_grid

from . import walks
from .curves import CURVES, Curve, fixed
from .pictures import as_square_as_possible, chosen_label
from .sampler import Sampler
from .video_file import check_video, video_file

SECONDS_PER_KEY = 2


@dataclass(frozen=True)
class VideoSettings:
    """walk: what moves, 'latent', 'class', 'both'; None: class with --interpolate, else latent. curve: of the latents,
    'spherical' in z or 'cubic' in w. seconds: None for SECONDS_PER_KEY for each seed or class. scale: pixels per pixel."""

    path: Path
    walk: str | None
    curve: str
    seconds: float | None
    fps: int
    scale: int
    loop: bool


@dataclass(frozen=True)
class Walk:
    """F frames of T tiles each; tile t of frame f is picture f * T + t.

    latent: [F], positions on the curve through the seeds. starts: [T], what each tile adds to them. label_weights: [F, M] of
    label_keys [M, K], or None: label_keys [T, K] are the tiles' own.
    """

    latent: np.ndarray
    starts: np.ndarray
    label_keys: np.ndarray
    label_weights: np.ndarray | None = None

    @property
    def num_pictures(self) -> int:
        return len(self.latent) * len(self.starts)

    def at(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of pictures, [N] -> positions among the seeds [N], labels float32 [N, K]."""
        frame, tile = np.divmod(pictures, len(self.starts))
        labels = self.label_keys[tile] if self.label_weights is None else self.label_weights[frame] @ self.label_keys
        return self.latent[frame] + self.starts[tile], labels.astype(np.float32)


def save_video(sampler: Sampler, seeds: list[int], class_text: str | None, vector: str | None, grid: bool,
               interpolate: str | None, settings: VideoSettings) -> str:
    """Write settings.path; the other arguments as for pictures. ValueError for a walk that has nothing to walk through."""
    check_video(settings.path, settings.fps)
    kind = settings.walk or ('latent' if interpolate is None else 'class')
    if kind == 'latent':
        if interpolate is not None:
            raise ValueError('--walk=latent stays in one class, and --interpolate names several: leave one of them out')
        walk, columns, names = _latent_walk(sampler, seeds, class_text, vector, grid, settings)
    else:
        if grid or class_text is not None or vector is not None:
            raise ValueError(f'--walk={kind} goes through classes: in place of --grid, --class and --label, name them with '
                             '--interpolate=A,B,C')
        walk, columns, names = _class_walk(sampler, seeds, interpolate, kind, settings)
    curve = fixed(sampler, seeds) if kind == 'class' else CURVES[settings.curve](sampler, seeds)
    pictures = sampler.images_of_ws(_ws_batches(walk, curve, sampler.batch), walk.num_pictures,
                                    lambda picture: f'frame {picture // len(walk.starts)}')
    with video_file(settings.path, settings.fps) as add_frame:
        for tiles in _stacked(pictures, len(walk.starts)):
            frame = make_grid(tiles.repeat(settings.scale, axis=1).repeat(settings.scale, axis=2), columns, names)
            add_frame(np.asarray(frame.convert('RGB')))
    return f'{settings.path}: {len(walk.latent)} frames of {frame.width}x{frame.height}, {settings.fps} per second'


def _stacked(pictures: Iterator[np.ndarray], count: int) -> Iterator[np.ndarray]:
    """Arrays of `count` pictures each."""
    waiting = []
    for picture in pictures:
        waiting.append(picture)
        if len(waiting) == count:
            yield np.stack(waiting)
            waiting = []


def _latent_walk(sampler: Sampler, seeds: list[int], class_text: str | None, vector: str | None, grid: bool,
                 settings: VideoSettings) -> tuple[Walk, int, list[str] | None]:
    """The walk, the columns of its grid, the names of the rows. In a grid each column starts at a seed of its own."""
    if len(seeds) < 2:
        raise ValueError('a video that walks through latents needs two seeds at least, as in --seeds=0-7')
    latent = walks.positions(_num_frames(settings, len(seeds)), len(seeds), settings.loop)
    if not grid:
        return Walk(latent, np.zeros(1), chosen_label(sampler, class_text, vector)[None]), 1, None
    starts, names = np.arange(len(seeds)), sampler.labels.class_names
    if not sampler.labels.num_dims:
        return Walk(latent, starts, np.zeros([len(seeds), 0])), as_square_as_possible(len(seeds)), None
    sampler.labels.check_classes('rows for --grid')
    return Walk(latent, np.tile(starts, len(names)), np.repeat(np.eye(len(names)), len(seeds), axis=0)), len(seeds), names


def _class_walk(sampler: Sampler, seeds: list[int], interpolate: str | None, kind: str,
                settings: VideoSettings) -> tuple[Walk, int, list[str] | None]:
    """The same, through the classes that --interpolate names, else through all: a tile for each seed, or one for kind 'both'."""
    labels = sampler.labels
    labels.check_classes(f'classes for --walk={kind}')
    if interpolate is None:
        keys = np.eye(len(labels.class_names))
    else:
        keys = np.stack([labels.of_class(unescape(part)) for part in split_names(interpolate)])
    if len(keys) < 2:
        raise ValueError(f'a video that walks through classes needs two at least: give --interpolate=A,B '
                         f'({list_names(labels.class_names)})')
    is_fixed = kind == 'class'
    num_frames = _num_frames(settings, len(keys) if is_fixed else max(len(keys), len(seeds)))
    weights = walks.linear_weights(walks.positions(num_frames, len(keys), settings.loop), len(keys))
    latent = np.zeros(num_frames) if is_fixed else walks.positions(num_frames, len(seeds), settings.loop)
    starts = np.arange(len(seeds)) if is_fixed else np.zeros(1)
    return Walk(latent, starts, keys, weights), as_square_as_possible(len(starts)), None


def _num_frames(settings: VideoSettings, num_keys: int) -> int:
    seconds = num_keys * SECONDS_PER_KEY if settings.seconds is None else settings.seconds
    count = round(seconds * settings.fps)
    if count < 2:
        raise ValueError(f'--seconds={seconds:g} at --fps={settings.fps} is no video: give time for two frames at least')
    return count


def _ws_batches(walk: Walk, curve: Curve, batch: int) -> Iterator[torch.Tensor]:
    """ws of all pictures, [batch, num_ws, w_dim] at a time."""
    for start in range(0, walk.num_pictures, batch):
        yield curve(*walk.at(np.arange(start, min(start + batch, walk.num_pictures))))
