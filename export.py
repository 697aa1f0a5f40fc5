"""Ways out: one class as a plain unconditional network, weights without a pickle, ONNX; each with a model card."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from tqdm import tqdm

import dnnlib
import legacy
from exporting import onnx_file
from exporting.baked import bake_snapshot, baked_class
from exporting.file_names import file_names
from exporting.model_card import card_path, write_card
from generate import names_of_classes
from torch_utils import weights_file
from training.class_labels import class_label, list_names
from training.cli import DEFAULT_RUNS_DIR, check_outdir, command_errors, newest_snapshot, verbose_option

SUFFIXES = {'pkl': '.pkl', 'safetensors': weights_file.SUFFIX, 'onnx': onnx_file.SUFFIX}

EXAMPLES = """\b
Examples:
  python export.py --class=cat --out=cat.pkl
  python export.py --network=animals.pkl --all --format=onnx --out=classes
  python export.py --network=animals.pkl --class=cat:0.5,dog:0.5 --out=mix.onnx
  python export.py --network=animals.pkl --out=animals.safetensors
  python export.py --network=animals.safetensors --out=animals.pkl
"""


@dataclass
class Target:
    """A file to write. class_text: the class to bake, or None for the network as it is, with label float32 [K] or None."""

    path: Path
    class_text: str | None = None
    label: np.ndarray | None = None


def load_snapshot(network: str) -> dict[str, Any]:
    """The snapshot at a path or URL. Errors: OSError, ValueError."""
    with dnnlib.util.open_url(network) as file:
        return legacy.load_network_pkl(file)


def choose_format(name: str | None, out: Path, is_directory: bool) -> str:
    """The format that is asked for, else the one that the ending of `out` says. ValueError if the two differ."""
    by_ending = {suffix: known for known, suffix in SUFFIXES.items()}.get(out.suffix.lower())
    if is_directory:
        return name or 'pkl'
    if by_ending is None:
        raise ValueError(f'--out={out}: expected a file that ends in {", ".join(SUFFIXES.values())}; --all takes a directory')
    if name is not None and name != by_ending:
        raise ValueError(f'--out={out} ends as {by_ending} files do, --format={name} asks for another: write '
                         f'--out={out.with_suffix(SUFFIXES[name])}')
    return by_ending


def find_targets(names: list[str], class_text: str | None, every_class: bool, out: Path, kind: str) -> list[Target]:
    """What is to be written of a network with these classes. ValueError for classes that it does not have."""
    if (class_text is not None or every_class) and not names:
        raise ValueError('the network is unconditional and has no classes: leave out --class and --all')
    if every_class:
        return [Target(out / f'{file}{SUFFIXES[kind]}', name, one_hot)
                for file, name, one_hot in zip(file_names(names), names, np.eye(len(names), dtype=np.float32), strict=True)]
    if class_text is not None:
        label = class_label(class_text, names)
        is_mix = np.count_nonzero(label) > 1
        return [Target(out, class_text if is_mix else names[int(label.argmax())], label)]
    if kind == 'onnx' and names:
        raise ValueError(f'an ONNX file holds one class: add --class=NAME ({list_names(names)}), or --all')
    return [Target(out)]


def check_places(paths: list[Path], force: bool) -> None:
    """ValueError unless all the files can be written; OSError if that is the disk's fault."""
    for path in paths:
        if path.is_dir():
            raise ValueError(f'--out: {path} is a directory; expected a file, or --all to write one file per class into it')
        if path.exists() and not force:
            raise ValueError(f'--out: {path} exists; give another name, or --force to overwrite it')
    check_outdir(paths[0].parent, option='--out')
    paths[0].parent.mkdir(parents=True, exist_ok=True)


def write_target(target: Target, kind: str, snapshot: dict[str, Any], network: str, card: bool) -> None:
    """Bake, write, describe."""
    if target.class_text is not None and target.label is not None:
        snapshot = bake_snapshot(snapshot, target.label, target.class_text)
    if kind == 'onnx':
        facts = {'class': baked_class(snapshot), 'made_from': Path(network).name}
        difference = onnx_file.write_onnx(target.path, snapshot['G_ema'], {key: text for key, text in facts.items() if text})
        if difference is None:
            tqdm.write(f'{target.path} was not compared with PyTorch: pip install onnxruntime')
    elif kind == 'safetensors':
        weights_file.write_fields(target.path, snapshot)
    else:
        legacy.save_network_pkl(target.path, snapshot)
    if card:
        write_card(target.path, snapshot, network)


@click.command(epilog=EXAMPLES)
@click.option('--network', metavar='PATH|URL', help='Snapshot to export, .pkl or .safetensors.  '
              f'[default: the newest network-snapshot-*.pkl under {DEFAULT_RUNS_DIR}]')
@click.option('--class', 'class_text', metavar='NAME|INDEX|MIX', help='Bake this class into a plain unconditional network: a '
              'name, a number, or a mix of classes with their shares, as in cat:0.3,dog:0.7.')
@click.option('--all', 'every_class', is_flag=True, help='Bake every class, each into a file of its own.')
@click.option('--out', required=True, type=click.Path(path_type=Path),
              help='File to write, which ends in .pkl, .safetensors or .onnx; with --all a directory, made if it is absent.')
@click.option('--format', 'kind', type=click.Choice(list(SUFFIXES)), help='pkl: a snapshot, for every tool of this family. '
              'safetensors: weights and a description, no code. onnx: one class, for programs without PyTorch; inputs z and '
              'truncation_psi, constant noise.  [default: by the ending of --out; pkl with --all]')
@click.option('--card/--no-card', default=True, show_default=True, help='Write a model card, OUT.md, beside each file.')
@click.option('--force', is_flag=True, help='Overwrite files that are there.')
@verbose_option
def main(network: str | None, class_text: str | None, every_class: bool, out: Path, kind: str | None, card: bool, force: bool,
         verbose: bool) -> None:
    """Export a network: one class as a plain network, or another format.

    A baked class gives the same pictures at the source's speed, without the hypernetwork, and can be trained further.
    Without --class and --all the whole snapshot is written, in the format that --out asks for.
    """
    if class_text is not None and every_class:
        raise click.UsageError('--class and --all exclude each other: give one of them')
    with command_errors(verbose):
        kind = choose_format(kind, out, every_class)
        if network is None:
            network = str(newest_snapshot())
            click.echo(f'Network: {network}')
        snapshot = load_snapshot(network)
        targets = find_targets(names_of_classes(snapshot, snapshot['G_ema'].c_dim), class_text, every_class, out, kind)
        paths = [target.path for target in targets]
        check_places(paths + [card_path(path) for path in paths if card], force)
        for target in tqdm(targets, unit='file', delay=2):
            write_target(target, kind, snapshot, network, card)
        click.echo(f'Saved {paths[0]}' if len(paths) == 1 else f'Saved {len(paths)} files in {out}')


if __name__ == '__main__':
    main()
