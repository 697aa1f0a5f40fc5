"""Make a training data set (zip or folder) from pictures in a folder, class folders or a zip, from MNIST, CIFAR-10 or LSUN as
published, or from a built-in demo set."""

import os
import re
from collections import Counter
from pathlib import Path

import click

from commands.cli import UserPath, command_errors, verbose_option
from dnnlib.errors import printable
from training.data.dataset_maker import Pictures, Recipe, convert, is_resolution, plan
from training.data.dataset_writer import DatasetWriter, check_destination
from training.data.flat_pictures import FlatPictures
from training.data.image_convert import RESIZE_FILTERS
from training.data.left_out import NO_CLASS, left_out_table, rows_by_class, show_name, vanished_classes
from training.data.sources import load_pictures

MAX_CLASSES_SHOWN = 12
COLOR_MODES = {'gray': 'L', 'rgb': 'RGB'}
EXAMPLE = 'python dataset_tool.py --source=animals --dest=animals.zip --transform=center-crop --resolution=256'


class Resolution(click.ParamType):
    """'256' or '256x256' -> 256."""

    name = 'SIDE'

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r'(\d+)(?:x(\d+))?', str(value))
        if match is None or (match[2] or match[1]) != match[1]:
            self.fail(f'{value!r} is not a size; write SIDE or SIDExSIDE, for example 256 or 256x256', param, ctx)
        if not is_resolution(int(match[1])):
            self.fail(f'{value} is not a power of two from 4 up; try 32, 64, 128, 256, 512 or 1024', param, ctx)
        return int(match[1])


@click.command(epilog=f'Example: {EXAMPLE}')
@click.option('--source', metavar='DIR|ZIP|ARCHIVE|NAME', required=True, type=UserPath(),
              help='Folder or zip of pictures; or CIFAR-10 (cifar-10-python.tar.gz), MNIST (train-images-idx3-ubyte.gz, with its '
                   'labels beside it) or LSUN (a folder NAME_lmdb) as published; or builtin:letters (drawn letters, unlabelled), '
                   'builtin:digits (handwritten digits, 50 of each, to train on), builtin:digits-test (the other digits, for '
                   'testing), or of MNIST builtin:mnist20, builtin:mnist50, builtin:mnist200 (that many of each) and '
                   "builtin:mnist-test. Labels come from the source's dataset.json, else from its class folders (at least two; "
                   'they may lie in a common folder).')
@click.option('--dest', metavar='DIR|ZIP', required=True, type=UserPath(),
              help='Zip archive to write (an existing one is replaced), or a folder (empty or absent, outside the source).')
@click.option('--split', 'part', metavar='NAME|all', help='For a source whose top folders are train, val, ...: the one to use, '
              'or all of them together. For CIFAR-10 train (default), test or all.')
@click.option('--skip-broken', is_flag=True, help='Skip pictures that cannot be read instead of stopping with an error.')
@click.option('--name-encoding', metavar='NAME', help='Encoding of names that are not UTF-8, such as gbk or cp932 in old '
              'zips. Default: cp437 in zips, latin-1 in folders, with a note.')
@click.option('--max-images', type=click.IntRange(min=1),
              help='Keep this many, drawn at random. Default: all; 20000 of builtin:letters, which has no end.')
@click.option('--resize-filter', type=click.Choice(sorted(RESIZE_FILTERS)), default='lanczos', show_default=True,
              help='Filter for resizing.')
@click.option('--transform', type=click.Choice(['center-crop']),
              help='Crop the largest centred square. Without it, pictures that are not square are squeezed.')
@click.option('--resolution', type=Resolution(),
              help='Width and height of the result in pixels, a power of two. Default: unchanged.')
@click.option('--width', type=Resolution(), help='The same as --resolution.')
@click.option('--height', type=Resolution(), help='The same as --resolution.')
@click.option('--color', type=click.Choice(sorted(COLOR_MODES)),
              help='Colour mode of the result: gray (1 channel) or rgb (3). Default: gray if all pictures are gray, else rgb.')
@click.option('--seed', type=click.IntRange(min=0), default=0, show_default=True,
              help='Random seed of the letters and of --max-images.')
@verbose_option
def main(source: str, dest: str, part: str | None, skip_broken: bool, name_encoding: str | None, max_images: int | None,
         resize_filter: str, transform: str | None, resolution: int | None, width: int | None, height: int | None,
         color: str | None, seed: int, verbose: bool) -> None:
    """Make a training data set: square images of one size as PNGs, with their labels in dataset.json.

    Pictures are JPEG, PNG, WebP, TIFF and other raster files, recognised by content if the name has no ending. They are turned
    upright (EXIF), 16 bits are scaled to 8, and transparent parts become black. A table shows what was found and what was left
    out, with the reasons.
    """
    with command_errors(verbose):
        side = _one_side(resolution, width, height)
        _check_paths(source, dest)
        pictures = load_pictures(source, max_images, seed, part, name_encoding)
        pictures, recipe = plan(pictures, side, transform == 'center-crop', resize_filter,
                                COLOR_MODES[color] if color else None, skip_broken)
        with DatasetWriter(dest, pictures.class_names, pictures.why_none) as writer:
            flat = convert(pictures, recipe, writer)
        _report(dest, pictures, recipe, flat)


def _one_side(*sides: int | None) -> int | None:
    given = {side for side in sides if side is not None}
    if len(given) > 1:
        raise ValueError(f'found the sizes {" and ".join(str(side) for side in sorted(given))}; images are square: give '
                         '--resolution alone')
    return given.pop() if given else None


def _check_paths(source: str, dest: str) -> None:
    if os.path.exists(source) and os.path.exists(dest) and os.path.samefile(source, dest):
        raise ValueError(f'--dest={dest} is the source itself; give another name')
    # An archive there is no picture, but a folder would be part of the source the next time.
    if Path(dest).suffix.lower() != '.zip' and Path(source).resolve() in Path(dest).resolve().parents:
        raise ValueError(f'--dest={dest} lies inside --source={source} and would be read as part of it next time; choose a '
                         'folder outside')
    check_destination(dest)


def _report(dest: str, pictures: Pictures, recipe: Recipe, flat: FlatPictures) -> None:
    """Print the table, the notes, and a last line that says what was made."""
    kept = _kept(pictures)
    rows = rows_by_class(kept, pictures.around, pictures.depth, pictures.left_out)
    if pictures.files is not None:
        click.echo('\n'.join(left_out_table(kept, rows)))
    notes = [*pictures.notes, *flat.notes(len(pictures.names))]
    if pictures.class_names:
        notes += vanished_classes(kept, rows)
    if pictures.why_none:
        notes.append(f'the set has no labels: {pictures.why_none}')
    for note in notes:
        click.echo(f'Note: {printable(note)}', err=True)
    kind = 'gray' if recipe.mode == 'L' else 'RGB'
    size = f'{recipe.side}x{recipe.side} {kind}'
    click.echo(printable(f'{dest}: {len(pictures.names)} images, {size}, {_describe_labels(pictures)}'))


def _kept(pictures: Pictures) -> dict[str, int]:
    """Pictures by class; all of them under one name if there are no classes."""
    counts = Counter(label for label in pictures.labels if isinstance(label, int))
    if not counts:
        return {NO_CLASS: len(pictures.labels)}
    names = pictures.class_names or [str(index) for index in range(max(counts) + 1)]
    return {name: counts[index] for index, name in enumerate(names)}


def _describe_labels(pictures: Pictures) -> str:
    first = pictures.labels[0]
    if first is None:
        return 'unlabelled'
    if isinstance(first, list):
        return f'labels of {len(first)} numbers'
    kept = _kept(pictures)
    shown = [f'{show_name(name)} {count}' for name, count in list(kept.items())[:MAX_CLASSES_SHOWN]]
    more = [f'and {len(kept) - MAX_CLASSES_SHOWN} more'] if len(kept) > MAX_CLASSES_SHOWN else []
    return f'{len(kept)} classes ({", ".join(shown + more)})'


if __name__ == '__main__':
    main()
