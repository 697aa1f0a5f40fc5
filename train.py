"""Train a StyleGAN2-ADA model from scratch or from a snapshot: source models for train_hyper.py, and baselines."""

import dataclasses
from typing import Any

import click

from commands.cli import check_precision, command_errors
from commands.config import build_config, run_description
from commands.data_facts import inspect_data
from commands.going_on import plan_to_go_on, run_and_options
from commands.launch import Plan, follow, launch, process_count
from commands.options import TrainingOptions, training_options
from commands.source_sizes import use_source_sizes
from training.parallel.processes import watched_member
from training.snapshot.resume import check_source

COMMAND = 'train.py'
EPILOG = """\b
Examples:
  python train.py --data=images.zip --gpus=2
  python train.py --data=letters.zip --kimg=200 --device=cpu --batch=32 --gamma=1 --aug=noaug
      --z-dim=128 --w-dim=128 --cbase=1024 --cmax=64 --mapping-lr-mult=0.1
  python train.py --resume=latest
"""


@click.command(epilog=EPILOG, context_settings=dict(help_option_names=['-h', '--help'], show_default=False))
@training_options(TrainingOptions)
def main(outdir: str, dry_run: bool, verbose: bool, **values: Any) -> None:
    """Train a StyleGAN2-ADA generator on a folder or zip of images.

    Writes pictures, statistics and network-snapshot-*.pkl into a new directory under --outdir. A stopped run continues exactly
    where it was: --resume=latest, --resume=RUNDIR, or the same command with --outdir=RUNDIR.
    """
    with command_errors(verbose), watched_member() as member:
        if member is not None and member.rank > 0:
            return follow(member)
        run, options = run_and_options(COMMAND, outdir, TrainingOptions(**values))
        planned = dataclasses.replace(options, gpus=process_count(options.gpus, member))
        check_precision(options.device)
        goes_on = run is not None and run.has_begun
        if not goes_on:
            check_source(options.resume)
        data = inspect_data(options.data, options.cond, options.subset, options.mirror, options.seed)
        if run is not None and goes_on:
            plan = plan_to_go_on(run, data, options, planned.gpus)
        else:
            config = build_config(planned, data)
            if options.resume:
                config, data = use_source_sizes(config, options, data)
            plan = Plan(COMMAND, options, config, data, outdir, run_description(planned, data), run)
        launch(plan, dry_run, member)


if __name__ == '__main__':
    main()
