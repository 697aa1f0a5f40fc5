"""The options of train_hyper.py: its own, and those of every training that it shares, some with other defaults."""

import dataclasses

import click

from .cli import UserPath
from .options import COUNT, POSITIVE, WEIGHT, TrainingOptions, option


@dataclasses.dataclass(kw_only=True)
class TransferOptions(TrainingOptions):
    """What a user of train_hyper.py may choose. Network sizes and path lengths are the source's: no options here."""

    cond: bool = True
    z_dim: int = TrainingOptions.z_dim
    w_dim: int = TrainingOptions.w_dim
    map_depth: int | None = None
    mapping_lr_mult: float = TrainingOptions.mapping_lr_mult
    cbase: int | None = None
    cmax: int = TrainingOptions.cmax
    pl_weight: float | None = None
    resume: str | None = option(
        UserPath(), 'Source: a snapshot of an unconditional StyleGAN2, as path or URL, or ffhq256, ffhq512, ffhq1024, '
        'celebahq256, lsundog256; or a snapshot of this command, to start from its classes. Or continue a stopped run exactly: '
        'its directory, or latest.  [required]')
    kimg: float = option(POSITIVE, 'Training length in thousands of real images.', 200)
    snap: int = option(COUNT, 'Ticks between pictures and snapshots; the last state is always saved.', 10)
    glr: float | None = option(WEIGHT, "Learning rate of the hypernetwork and the class code.  [default: a fifth of --cfg's]")
    selfinit: str | None = option(
        click.Choice(['exact', 'distill']), 'Make every class equal the source before training: exact (the default of the bare '
        'option) sets the modulations to zero, distill trains a random hypernetwork to that end.  [default: start random]',
        is_flag=False, flag_value='exact')
    selfinit_kimg: float = option(POSITIVE, 'Longest --selfinit=distill, in thousands of generated images; it stops when the '
                                            'error does not fall.', 50)
    hyper_scale: float = option(WEIGHT, 'Spread of the modulations of a random hypernetwork, without --selfinit and before '
                                        'distill.', 0.1)
    hyper_rank: int = option(click.IntRange(0, 512), "Rank of the hypernetworks' modulations; 0: full, with code-dim times more "
                                                     "weights than the generator's convolutions have kernels.", 0)
    code_dim: int = option(COUNT, 'Dimensions of the class code.', 64)
    d_cond: str = option(click.Choice(['heads', 'projection']), 'How the discriminator knows the class: one vector per class, or '
                         'a mapping network of the label. Label vectors always take projection.', 'heads')
    contrastive: str = option(click.Choice(['barlow', 'none']), "Contrastive loss on the discriminator's features: Barlow Twins, "
                                                                'or none.', 'barlow')
    contrastive_weight: float = option(WEIGHT, 'Weight of the contrastive loss; 0 turns it off.', 0.01)
    share_fakes: bool = option(None, "Let the discriminator's step take the images of the generator's step in place of new ones.",
                               False, is_flag=True)
    finetune: bool = option(None, 'Let the mapping, styles, noise strengths, constant and image layers of the source learn too; '
                                  'its convolution kernels stay frozen.', False, is_flag=True)
    new_class_init: str = option(click.Choice(['nearest', 'mean']), 'Where --resume is a snapshot of this command: how classes '
                                 'start that it does not know by name, as the known class whose images look most like theirs, or '
                                 'as the mean of all.', 'nearest')
    freeze_old_classes: bool = option(None, 'Keep the pictures of the classes that the snapshot knows as they are, to the bit; '
                                            'each new class learns an offset of its own.', False, is_flag=True)
    cond_transfer: bool = option(None, 'Train on the labelled images, or stop after the self-initialisation.', True,
                                 declaration='--cond-transfer/--no-cond-transfer')
    classes: str | None = option(str, 'Number of classes, or their names separated by commas; a comma in a name is written \\,. '
                                      'Only for --no-cond-transfer without --data.', metavar='N|NAMES')
