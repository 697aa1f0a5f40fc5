"""Turn an unconditional StyleGAN2 into a class-conditional one: self-initialise, then transfer to labelled images."""

from typing import Any

import click

from commands.cli import check_precision, command_errors, given_options
from commands.config import check_finite
from commands.data_facts import inspect_data
from commands.going_on import plan_to_go_on, run_and_options
from commands.launch import follow, launch, process_count
from commands.options import options_of, training_options
from commands.transfer import COMMAND, check_views, plan_transfer
from training.parallel.processes import watched_member

FROM_SOURCE = ('--cond', '--z-dim', '--w-dim', '--map-depth', '--mapping-lr-mult', '--cbase', '--cmax', '--pl-weight')
OWN_OPTIONS = ('--resume', '--kimg', '--glr', '--snap')
EPILOG = """\b
Examples:
  python train_hyper.py --data=animals.zip --resume=ffhq256 --selfinit
  python train_hyper.py --resume=ffhq.pkl --selfinit=distill --no-cond-transfer --classes=cat,dog,wild
  python train_hyper.py --data=more-animals.zip --resume=network-snapshot-000200.pkl --freeze-old-classes
  python train_hyper.py --resume=latest
"""


@click.command(epilog=EPILOG, context_settings=dict(help_option_names=['-h', '--help']))
@training_options(without=FROM_SOURCE + OWN_OPTIONS)
@click.option('--resume', help='Source: a snapshot of an unconditional StyleGAN2, as path or URL, or ffhq256, ffhq512, ffhq1024, '
                                'celebahq256, lsundog256; or a snapshot of this command, to start from its classes. Or go on '
                                'exactly with a run that stopped: its directory, or latest.  [required]')
@click.option('--kimg', type=click.FloatRange(min=0, min_open=True), default=200, show_default=True,
              help='Training length in thousands of real images.')
@click.option('--snap', type=click.IntRange(min=1), default=10, show_default=True,
              help='Ticks between pictures and snapshots; the last state is always saved.')
@click.option('--glr', type=click.FloatRange(min=0),
              help='Learning rate of the hypernetwork and the class code.  [default: a fifth of '
                   "--cfg's]")
@click.option('--selfinit', type=click.Choice(['exact', 'distill']), is_flag=False, flag_value='exact', default=None,
              help='Make every class equal the source before training: exact (the default of the bare option) sets the '
                   'modulations to zero, distill trains a random hypernetwork to that end.  [default: start random]')
@click.option('--selfinit-kimg', type=click.FloatRange(min=0, min_open=True), default=50, show_default=True,
              help='Longest --selfinit=distill, in thousands of generated images; it stops when the error does not fall.')
@click.option('--hyper-scale', type=click.FloatRange(min=0), default=0.1, show_default=True,
              help='Spread of the modulations of a random hypernetwork, without --selfinit and before distill.')
@click.option('--hyper-rank', type=click.IntRange(0, 512), default=0, show_default=True,
              help="Rank of the hypernetworks' modulations; 0: full, with code-dim times more weights than the generator's "
                   'convolutions have kernels.')
@click.option('--code-dim', type=click.IntRange(min=1), default=64, show_default=True, help='Dimensions of the class code.')
@click.option('--d-cond', type=click.Choice(['heads', 'projection']), default='heads', show_default=True,
              help='How the discriminator knows the class: one vector per class, or a mapping network of the label. Label '
                   'vectors always take projection.')
@click.option('--contrastive', type=click.Choice(['barlow', 'none']), default='barlow', show_default=True,
              help="Contrastive loss on the discriminator's features: Barlow Twins, or none.")
@click.option('--contrastive-weight', type=click.FloatRange(min=0), default=0.01, show_default=True,
              help='Weight of the contrastive loss; 0 turns it off.')
@click.option('--share-fakes', is_flag=True, help="Let the discriminator's step take the images of the generator's step in place "
                                                  'of new ones.')
@click.option('--finetune', is_flag=True, help='Let the mapping, styles, noise strengths, constant and image layers of the '
                                               'source learn too; its convolution kernels stay frozen.')
@click.option('--new-class-init', type=click.Choice(['nearest', 'mean']), default='nearest', show_default=True,
              help='Where --resume is a snapshot of this command: how classes start that it does not know by name, as the known '
                   'class whose images look most like theirs, or as the mean of all.')
@click.option('--freeze-old-classes', is_flag=True, help='Keep the pictures of the classes that the snapshot knows as they are, '
                                                         'to the bit; each new class learns an offset of its own.')
@click.option('--cond-transfer/--no-cond-transfer', default=True, show_default=True,
              help='Train on the labelled images, or stop after the self-initialisation.')
@click.option('--classes', metavar='N|NAMES', help='Number of classes, or their names with commas, where --no-cond-transfer has '
                                                   'no --data.')
def main(outdir: str, dry_run: bool, verbose: bool, **values: Any) -> None:
    """Turn an unconditional StyleGAN2 (--resume) into a class-conditional one for labelled images (--data).

    The source's weights stay frozen; a hypernetwork learns how each class changes its convolution kernels. Writes
    pictures, statistics, selfinit.pkl and network-snapshot-*.pkl into a new directory under --outdir. A run that stopped
    goes on exactly where it was with --resume=latest, --resume=RUNDIR, or the same command with --outdir=RUNDIR.
    """
    with command_errors(verbose), watched_member() as member:
        if member is not None and member.rank > 0:
            return follow(member)
        check_finite(values)
        run, values = run_and_options(COMMAND, outdir, values)
        options = options_of(values, cond=True, gpus=process_count(values['gpus'], member))
        check_precision(options.device)
        if run is None or run.config is None:
            launch(plan_transfer(options, values, outdir, run, given_options()), dry_run, member)
        elif values['cond_transfer']:
            data = inspect_data(options.data, True, options.subset, options.mirror, options.seed)
            plan = plan_to_go_on(run, run.config, data, values, options.gpus, options.device)
            check_views(plan.config)
            launch(plan, dry_run, member)
        else:
            click.echo(f'Done: {run.path} is self-initialised, and --no-cond-transfer asks for no more')


if __name__ == '__main__':
    main()
