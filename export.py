"""Ways out: one class as a plain unconditional network, weights without a pickle, ONNX; each with a model card."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from tqdm import tqdm

import dnnlib
import legacy
from commands.cli import DEFAULT_RUNS_DIR, check_outdir, command_errors, newest_snapshot, verbose_option
from exporting import onnx_file
from exporting.baked import bake_snapshot, baked_in
from exporting.file_names import file_names
from exporting.model_card import card_path, last_part, write_card
from torch_utils.pickles import weights_file
from training.data.class_labels import NetworkLabels, list_names

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
    """A file to write. label: what to bake in, float32 [K], and what it is, as in bake_snapshot; None: the network as it is."""

    path: Path
    label: np.ndarray | None = None
    kind: str = ''
    text: str = ''


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


def find_targets(labels: NetworkLabels, class_text: str | None, vector: str | None, every_class: bool, out: Path,
                 file_format: str) -> list[Target]:
    """What is to be written of a network that takes these labels. ValueError for classes that it does not have."""
    names = labels.class_names
    if every_class:
        labels.check_classes('classes for --all')
        return [Target(out / f'{file}{SUFFIXES[file_format]}', one_hot, 'class', name)
                for file, name, one_hot in zip(file_names(names), names, np.eye(len(names), dtype=np.float32), strict=True)]
    if class_text is not None:
        label = labels.of_class(class_text)
        is_mix = np.count_nonzero(label) > 1
        return [Target(out, label, *(('mix', class_text) if is_mix else ('class', names[int(label.argmax())])))]
    if vector is not None:
        return [Target(out, labels.of_vector(vector), 'label', vector)]
    if file_format == 'onnx' and names:
        raise ValueError(f'an ONNX file holds one class: add --class=NAME ({list_names(names)}), or --all')
    if file_format == 'onnx' and labels.num_dims:
        raise ValueError(f'an ONNX file holds one label: add --label, {labels.num_dims} numbers with commas')
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


def write_target(target: Target, file_format: str, snapshot: dict[str, Any], network: str, card: bool) -> None:
    """Bake, write, describe."""
    if target.label is not None:
        snapshot = bake_snapshot(snapshot, target.label, target.kind, target.text)
    if file_format == 'onnx':
        difference = onnx_file.write_onnx(target.path, snapshot['G_ema'], baked_in(snapshot) | dict(made_from=last_part(network)))
        if difference is None:
            tqdm.write(f'{target.path} was not compared with PyTorch: pip install onnxruntime')
    elif file_format == 'safetensors':
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
@click.option('--label', 'vector', metavar='NUMBERS', help='Bake this label, for networks of label vectors: as many numbers as '
              'the labels of the training data have, with commas, as in 0.2,1,0.')
@click.option('--all', 'every_class', is_flag=True, help='Bake every class, each into a file of its own.')
@click.option('--out', required=True, type=click.Path(path_type=Path),
              help='File to write, which ends in .pkl, .safetensors or .onnx; with --all a directory, made if it is absent.')
@click.option('--format', 'file_format', type=click.Choice(list(SUFFIXES)), help='pkl: a snapshot, for every tool of this '
              'family. safetensors: weights and a description, no code. onnx: one class, for programs without PyTorch; inputs z '
              'and truncation_psi, constant noise.  [default: by the ending of --out; pkl with --all]')
@click.option('--card/--no-card', default=True, show_default=True, help='Write a model card, OUT.md, beside each file.')
@click.option('--force', is_flag=True, help='Overwrite files that are there.')
@verbose_option
def main(network: str | None, class_text: str | None, vector: str | None, every_class: bool, out: Path,
         file_format: str | None, card: bool, force: bool, verbose: bool) -> None:
    """Export a network: one class as a plain network, or another format.

    A baked class gives the same pictures at the source's speed, without the hypernetwork, and can be trained further.
    Without --class, --label and --all the whole snapshot is written, in the format that --out asks for.
    """
    if sum([class_text is not None, vector is not None, every_class]) > 1:
        raise click.UsageError('--class, --label and --all exclude each other: give one of them')
    with command_errors(verbose):
        file_format = choose_format(file_format, out, every_class)
        if network is None:
            network = str(newest_snapshot())
            click.echo(f'Network: {network}')
        snapshot = load_snapshot(network)
        targets = find_targets(NetworkLabels.of(snapshot), class_text, vector, every_class, out, file_format)
        paths = [target.path for target in targets]
        check_places(paths + [card_path(path) for path in paths if card], force)
        for target in tqdm(targets, unit='file', delay=2):
            write_target(target, file_format, snapshot, network, card)
        click.echo(f'Saved {paths[0]}' if len(paths) == 1 else f'Saved {len(paths)} files in {out}')


if __name__ == '__main__':
    main()
