"""Train a StyleGAN2-ADA model from scratch or from a snapshot: source models for train_hyper.py, and baselines."""

from typing import Any

import click

from training.cli import command_errors, resolve_device
from training.config import build_config, run_description
from training.data_facts import inspect_data
from training.launch import launch
from training.source_sizes import use_source_sizes
from training.train_options import options_of, training_options

EPILOG = """\b
Examples:
  python train.py --data=images.zip --gpus=2
  python train.py --data=letters.zip --kimg=200 --device=cpu --batch=32 --gamma=1 --aug=noaug
      --z-dim=128 --w-dim=128 --cbase=1024 --cmax=64 --mapping-lr-mult=0.1
"""


@click.command(epilog=EPILOG, context_settings=dict(help_option_names=['-h', '--help'], show_default=False))
@training_options()
def main(outdir: str, device: str, dry_run: bool, verbose: bool, **values: Any) -> None:
    """Train a StyleGAN2-ADA generator on a folder or zip of images.

    Writes pictures, statistics and network-snapshot-*.pkl into a new directory under --outdir.
    """
    with command_errors(verbose):
        options = options_of(values, device=resolve_device(device).type)
        data = inspect_data(options.data, options.cond, options.subset, options.mirror, options.seed)
        config = build_config(options, data)
        if options.resume:
            config = use_source_sizes(config, options, data)
        launch(config, data, outdir, run_description(options, data), dry_run)


if __name__ == '__main__':
    main()
