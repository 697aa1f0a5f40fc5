"""Make a training data set (zip or folder) from pictures in a folder, class folders or a zip, or from a built-in demo set."""

import os
import re
from collections import Counter
from pathlib import Path

import click

from commands.cli import command_errors, verbose_option
from training.data.dataset_maker import Pictures, Recipe, convert, is_resolution, load_pictures, plan
from training.data.dataset_writer import DatasetWriter, check_destination
from training.data.image_convert import RESIZE_FILTERS

MAX_CLASSES_SHOWN = 12
COLOR_MODES = {'gray': 'L', 'rgb': 'RGB'}
EXAMPLE = 'python dataset_tool.py --source=animals --dest=animals.zip --transform=center-crop --resolution=256'


class Resolution(click.ParamType):
    """'256' or '256x256' -> 256."""

    name = 'SIDE'

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r'(\d+)(?:x(\d+))?', str(value))
        if match is None or (match[2] or match[1]) != match[1]:
            self.fail(f'{value!r} is no size; write SIDE or SIDExSIDE, for example 256 or 256x256', param, ctx)
        if not is_resolution(int(match[1])):
            self.fail(f'{value} is not a power of two from 4 up; try 32, 64, 128, 256, 512 or 1024', param, ctx)
        return int(match[1])


@click.command(epilog=f'Example: {EXAMPLE}')
@click.option('--source', metavar='DIR|ZIP|NAME', required=True,
              help='Folder or zip of pictures, or builtin:letters (drawn letters, unlabelled), builtin:digits (handwritten '
                   'digits, 50 of each, to train on), builtin:digits-test (the other digits, to judge with), or of MNIST '
                   'builtin:mnist20, builtin:mnist50, builtin:mnist200 (so many of each) and builtin:mnist-test. Labels come '
                   "from the source's dataset.json, else from its class folders (two or more, every picture in one).")
@click.option('--dest', metavar='DIR|ZIP', required=True,
              help='Zip archive to write (an older one is replaced) or folder (empty or absent, outside of the source).')
@click.option('--max-images', type=click.IntRange(min=1),
              help='Keep this many, drawn at random. Default: all; 20000 of builtin:letters, which is without end.')
@click.option('--resize-filter', type=click.Choice(sorted(RESIZE_FILTERS)), default='lanczos', show_default=True,
              help='How sizes are changed.')
@click.option('--transform', type=click.Choice(['center-crop']),
              help='Cut the largest square out of the middle. Without it, a picture that is not square is squeezed.')
@click.option('--resolution', type=Resolution(),
              help='Width and height of the result in pixels, a power of two. Default: as they are.')
@click.option('--width', type=Resolution(), help='The same as --resolution.')
@click.option('--height', type=Resolution(), help='The same as --resolution.')
@click.option('--color', type=click.Choice(sorted(COLOR_MODES)),
              help='Channels of the result: gray has 1, rgb 3. Default: gray if all pictures are, else rgb.')
@click.option('--seed', type=click.IntRange(min=0), default=0, show_default=True,
              help='Draws the letters, and the images of --max-images.')
@verbose_option
def main(source: str, dest: str, max_images: int | None, resize_filter: str, transform: str | None, resolution: int | None,
         width: int | None, height: int | None, color: str | None, seed: int, verbose: bool) -> None:
    """Make a training data set: square images of one size as PNGs, with their labels in dataset.json.

    Pictures may have any format that Pillow reads. They are turned upright (EXIF), 16 bits are scaled to 8, transparent
    parts become black.
    """
    with command_errors(verbose):
        side = _one_side(resolution, width, height)
        _check_paths(source, dest)
        pictures = load_pictures(source, max_images, seed)
        recipe = plan(pictures, side, transform == 'center-crop', resize_filter, COLOR_MODES[color] if color else None)
        with DatasetWriter(dest, pictures.class_names) as writer:
            convert(pictures, recipe, writer)
        click.echo(_summary(dest, pictures, recipe))


def _one_side(*sides: int | None) -> int | None:
    given = {side for side in sides if side is not None}
    if len(given) > 1:
        raise ValueError(f'the sizes {" and ".join(str(side) for side in sorted(given))} are asked for at once; '
                         'images are square, so give --resolution alone')
    return given.pop() if given else None


def _check_paths(source: str, dest: str) -> None:
    if os.path.exists(source) and os.path.exists(dest) and os.path.samefile(source, dest):
        raise ValueError(f'--dest={dest} is the source itself; give another name')
    # An archive there is no picture, but a folder would be part of the source the next time.
    if Path(dest).suffix.lower() != '.zip' and Path(source).resolve() in Path(dest).resolve().parents:
        raise ValueError(f'--dest={dest} is a folder in --source={source}, and would be read with it the next time; '
                         'give one beside it')
    check_destination(dest)


def _summary(dest: str, pictures: Pictures, recipe: Recipe) -> str:
    kind = 'gray' if recipe.mode == 'L' else 'RGB'
    return f'{dest}: {len(pictures.names)} images, {recipe.side}x{recipe.side} {kind}, {_describe_labels(pictures)}'


def _describe_labels(pictures: Pictures) -> str:
    first = pictures.labels[0]
    if first is None:
        return 'unlabelled'
    if isinstance(first, list):
        return f'labels of {len(first)} numbers'
    counts = Counter(label for label in pictures.labels if isinstance(label, int))
    names = pictures.class_names or [str(index) for index in range(max(counts) + 1)]
    shown = [f'{name} {counts[index]}' for index, name in enumerate(names[:MAX_CLASSES_SHOWN])]
    more = [f'and {len(names) - MAX_CLASSES_SHOWN} more'] if len(names) > MAX_CLASSES_SHOWN else []
    return f'{len(names)} classes ({", ".join(shown + more)})'


if __name__ == '__main__':
    main()
