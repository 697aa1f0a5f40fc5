"""Export a snapshot: one class as a plain network, weights without a pickle, ONNX, a web page, or a folder for the hub."""

from pathlib import Path

import click
from tqdm import tqdm

from commands.cli import UserPath, check_outdir, command_errors, named_or_newest, verbose_option
from exporting.targets import FOLDERS, SUFFIXES, Form, choose_format, files_of, find_targets, write_target
from training.data.class_labels import NetworkLabels
from training.run.run_dir import DEFAULT_RUNS_DIR
from training.snapshot.reading import open_snapshot

EXAMPLES = """\b
Examples:
  python export.py --class=cat --out=cat.pkl
  python export.py --network=animals.pkl --all --format=onnx --out=classes
  python export.py --network=animals.pkl --class=cat:0.5,dog:0.5 --out=mix.onnx
  python export.py --network=animals.pkl --out=animals.safetensors
  python export.py --network=animals.safetensors --out=animals.pkl
  python export.py --network=animals.pkl --format=hub --out=animals
  python export.py --network=animals.pkl --format=web --half --out=page
"""


def check_places(paths: list[Path], force: bool) -> None:
    """ValueError unless all files can be written; OSError if the disk is at fault."""
    for path in paths:
        if path.is_dir():
            raise ValueError(f'--out: {path} is a directory; expected a file, or --all to write one file per class into it')
        if path.exists() and not force:
            raise ValueError(f'--out: {path} exists; give another name, or --force to overwrite it')
    check_outdir(paths[0].parent, option='--out')
    paths[0].parent.mkdir(parents=True, exist_ok=True)


@click.command(epilog=EXAMPLES)
@click.option('--network', metavar='PATH|URL', type=UserPath(), help='Snapshot to export, .pkl or .safetensors.  '
              f'[default: the newest network-snapshot-*.pkl under {DEFAULT_RUNS_DIR}]')
@click.option('--class', 'class_text', metavar='NAME|INDEX|MIX', help='Bake this class into a plain unconditional network: a '
              'name, a number, or a mix of classes with their shares, as in cat:0.3,dog:0.7. In a mix, write a comma, colon or '
              'backslash in a name with a backslash before it.')
@click.option('--label', 'vector', metavar='NUMBERS', help='Bake this label, for networks trained on label vectors: as many '
              'numbers as in the training data, separated by commas, as in 0.2,1,0.')
@click.option('--all', 'every_class', is_flag=True, help='Bake every class, each into its own file.')
@click.option('--out', required=True, type=UserPath(path_type=Path),
              help='File to write, ending in .pkl, .safetensors or .onnx. With --all, --format=hub or --format=web, a '
                   'directory, created if missing.')
@click.option('--format', 'file_format', type=click.Choice([*SUFFIXES, *FOLDERS]), help='pkl: a snapshot, for every tool of this '
              'family. safetensors: weights and a description, no code. onnx: for programs without PyTorch; inputs z and '
              'truncation_psi, and label unless a class is baked in; constant noise. web: a page that draws in the browser, for '
              'any web server. hub: a folder for the Hugging Face hub.  [default: by the ending of --out; pkl with --all]')
@click.option('--half', is_flag=True, help='Store the weights of an ONNX file or web page as float16: half the size, and '
              'slightly other pictures.')
@click.option('--runtime', metavar='DIR', type=UserPath(file_okay=False, path_type=Path), help='With --format=web, copy '
              'onnxruntime-web from here, its npm package as npm unpacks it.  [default: visitors load it from '
              'cdn.jsdelivr.net]')
@click.option('--card/--no-card', default=True, show_default=True, help='Write a model card, OUT.md, beside each file.')
@click.option('--force', is_flag=True, help='Overwrite existing files.')
@verbose_option
def main(network: str | None, class_text: str | None, vector: str | None, every_class: bool, out: Path,
         file_format: str | None, half: bool, runtime: Path | None, card: bool, force: bool, verbose: bool) -> None:
    """Export a network: one class as a plain network, or another format.

    A baked class gives the same pictures at the source's speed, without the hypernetwork, and can be trained further.
    Without --class, --label or --all, the whole snapshot is written, in the format given by the ending of --out.
    """
    if sum([class_text is not None, vector is not None, every_class]) > 1:
        raise click.UsageError('--class, --label and --all exclude each other: give only one')
    with command_errors(verbose):
        form = Form(choose_format(file_format, out, every_class), card, half, runtime)
        network = named_or_newest(network)
        snapshot = open_snapshot(network)
        targets = find_targets(NetworkLabels.of(snapshot), class_text, vector, every_class, out, form.name)
        check_places([path for target in targets for path in files_of(target, form)], force)
        for target in tqdm(targets, unit='file', delay=2):
            write_target(target, form, snapshot, network)
        click.echo(f'Saved {targets[0].path}' if len(targets) == 1 else f'Saved {len(targets)} files in {out}')


if __name__ == '__main__':
    main()
