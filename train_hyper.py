"""Turn an unconditional StyleGAN2 into a class-conditional one: self-initialise, then transfer to labelled images."""

from typing import Any

import click

from commands.cli import check_precision, command_errors, given_options
from commands.data_facts import inspect_data
from commands.going_on import plan_to_go_on, run_and_options
from commands.launch import follow, launch, process_count
from commands.options import training_options
from commands.transfer import COMMAND, check_views, plan_transfer
from commands.transfer_options import TransferOptions
from training.parallel.processes import watched_member

EPILOG = """\b
Examples:
  python train_hyper.py --data=animals.zip --resume=ffhq256 --selfinit
  python train_hyper.py --resume=ffhq.pkl --selfinit=distill --no-cond-transfer --classes=cat,dog,wild
  python train_hyper.py --data=more-animals.zip --resume=network-snapshot-000200.pkl --freeze-old-classes
  python train_hyper.py --resume=latest
"""


@click.command(epilog=EPILOG, context_settings=dict(help_option_names=['-h', '--help']))
@training_options(TransferOptions)
def main(outdir: str, dry_run: bool, verbose: bool, **values: Any) -> None:
    """Turn an unconditional StyleGAN2 (--resume) into a class-conditional one for labelled images (--data).

    The source's weights stay frozen; a hypernetwork learns how each class changes its convolution kernels. Writes pictures,
    statistics, selfinit.pkl and network-snapshot-*.pkl into a new directory under --outdir. A stopped run continues exactly where
    it was: --resume=latest, --resume=RUNDIR, or the same command with --outdir=RUNDIR.
    """
    with command_errors(verbose), watched_member() as member:
        if member is not None and member.rank > 0:
            return follow(member)
        run, options = run_and_options(COMMAND, outdir, TransferOptions(**values))
        num_gpus = process_count(options.gpus, member)
        check_precision(options.device)
        if run is None or not run.has_begun:
            launch(plan_transfer(options, num_gpus, outdir, run, given_options()), dry_run, member)
        elif options.cond_transfer:
            data = inspect_data(options.data, True, options.subset, options.mirror, options.seed)
            plan = plan_to_go_on(run, data, options, num_gpus)
            check_views(plan.config)
            launch(plan, dry_run, member)
        else:
            click.echo(f'Done: {run.path} is already self-initialised, and --no-cond-transfer ends there')


if __name__ == '__main__':
    main()
