"""The command that judges the classes of a snapshot: python -m metrics.classes"""

import json

import click

from commands.cli import command_errors, device_option, resolve_device, verbose_option
from dnnlib.files import write_whole

from .class_recognition import judge_snapshot, markdown_table


@click.command()
@click.option('--network', required=True, metavar='PATH|URL', help='Snapshot whose class-conditional G_ema is judged.')
@click.option('--train', required=True, metavar='PATH', help='Labelled data set (folder or zip) that the network was trained on.')
@click.option('--test', required=True, metavar='PATH', help='Labelled data set of other images of the same classes.')
@click.option('--num-gen', type=click.IntRange(min=2), default=200, show_default=True, help='Images to generate per class.')
@click.option('--seed', type=click.IntRange(0, 2**32 - 1), default=0, show_default=True,
              help='Random seed of the latents, the held-out images and the training of the classifier.')
@click.option('--json', 'json_path', metavar='FILE', help='Also write the numbers to this file.')
@click.option('--cache/--no-cache', default=True, show_default=True, help='Keep the trained classifier for the next call.')
@device_option
@click.option('--trust-pickle', is_flag=True, help='Run the program text inside the snapshot. Only for files that you trust.')
@verbose_option
def main(json_path: str | None, device: str, trust_pickle: bool, verbose: bool, **options: object) -> None:
    """Judge a class-conditional generator: share of recognised images and spread of each class.

    Example: python -m metrics.classes --network=network-snapshot-000200.pkl --train=train.zip --test=test.zip
    """
    with command_errors(verbose):
        report = judge_snapshot(**options, device=resolve_device(device), trust=trust_pickle)  # type: ignore[arg-type]
        if json_path:
            write_whole(json_path, json.dumps(report, indent=1) + '\n')
        click.echo(markdown_table(report), nl=False)


if __name__ == '__main__':
    main(prog_name='python -m metrics.classes')
