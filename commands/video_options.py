"""The options of generate.py --video."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from generating.curves import CURVES
from generating.video import SECONDS_PER_KEY, VideoSettings

from .cli import UserPath, given_options
from .options import option_name

OPTIONS = (
    click.option('--video', metavar='FILE', type=UserPath(dir_okay=False, path_type=Path),
                 help='Write a video in place of pictures: a walk from seed to seed, of one picture or, with --grid, of a row '
                      'for each class; with --interpolate=A,B,C from class to class, a tile for each seed. The ending chooses '
                      'the format: .mp4, .gif or .webp.'),
    click.option('--walk', type=click.Choice(['latent', 'class', 'both']),
                 help='What moves in a video: the latents, the class (of all classes without --interpolate), or both.  '
                      '[default: class with --interpolate, else latent]'),
    click.option('--curve', type=click.Choice(list(CURVES)), default='spherical', show_default=True,
                 help="The latents' way in a video: arcs between the seeds' z, or a smooth cubic curve through their w."),
    click.option('--seconds', type=click.FloatRange(min=0, min_open=True, max=86400),
                 help=f'Length of a video.  [default: {SECONDS_PER_KEY} for each seed or class on the way]'),
    click.option('--fps', type=click.IntRange(1, 120), default=30, show_default=True, help='Frames per second of a video.'),
    click.option('--scale', type=click.IntRange(1, 32), default=1, show_default=True,
                 help='Pixels of a video per pixel of an image and axis, for small images.'),
    click.option('--loop/--no-loop', default=True, show_default=True,
                 help='Let a video return to its start, without a jump, or stop at the last seed or class.'),
)
NAMES = ('walk', 'curve', 'seconds', 'fps', 'scale', 'loop')


def video_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: the options, as keywords of the function."""
    for decorate in reversed(OPTIONS):
        function = decorate(function)
    return function


def video_settings(video: Path | None, noise_mode: str, cuda_graph: bool, **values: Any) -> VideoSettings | None:
    """The settings of the current command's video, None without one. UsageError for options that do not fit."""
    given = given_options()
    if video is None:
        stray = [option_name(name) for name in NAMES if name in given]
        if stray:
            raise click.UsageError(f'{stray[0]} belongs to --video: add --video=FILE, or leave it out')
        return None
    stray = [option_name(name) for name in ('steps', 'outdir') if name in given]
    if stray:
        raise click.UsageError(f'{stray[0]} is for pictures: leave it out, or leave out --video')
    if noise_mode == 'random':
        raise click.UsageError('--noise-mode=random would let a video flicker: choose const or none')
    if cuda_graph:
        raise click.UsageError('--cuda-graph draws pictures only: leave it out, or leave out --video')
    return VideoSettings(video, **values)
