"""The options of train_hyper.py: its own, and those of all training commands, some with other defaults."""

import dataclasses
from typing import Any

import click

from .cli import UserPath
from .options import COUNT, POSITIVE, WEIGHT, TrainingOptions, option, with_default


class Rank(click.IntRange):
    """A number, or auto: None."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """'auto' -> None; '16' -> 16."""
        return None if value == 'auto' else super().convert(value, param, ctx)


@dataclasses.dataclass(kw_only=True)
class TransferOptions(TrainingOptions):
    """What a user of train_hyper.py may choose. Network sizes and path lengths come from the source, so they are not options
    here."""

    cond: bool = True
    z_dim: int = TrainingOptions.z_dim
    w_dim: int = TrainingOptions.w_dim
    map_depth: int | None = None
    mapping_lr_mult: float = TrainingOptions.mapping_lr_mult
    cbase: int | None = None
    cmax: int = TrainingOptions.cmax
    pl_weight: float | None = None
    resume: str | None = option(
        UserPath(), 'Source: a snapshot of an unconditional StyleGAN2, as a path, a URL, or ffhq256, ffhq512, ffhq1024, '
        'celebahq256, lsundog256; or a snapshot of this command, to add to its classes. Or continue a stopped run exactly: its '
        'directory, or latest.  [required]')
    kimg: float = with_default('kimg', 200)
    snap: int = with_default('snap', 10)
    lr_decay: float = with_default('lr_decay', 0.5)
    glr: float | None = option(WEIGHT, "Learning rate of the hypernetwork and the class code.  [default: 0.4 times --cfg's]")
    selfinit: str | None = option(
        click.Choice(['exact', 'distill']), 'Make every class equal the source before training. exact (the bare option) sets '
        'the modulations to zero; distill trains a random hypernetwork to match the source.  [default: start from a random '
        'hypernetwork]',
        is_flag=False, flag_value='exact')
    selfinit_kimg: float = option(POSITIVE, 'Limit of --selfinit=distill, in thousands of generated images. It stops earlier '
                                            'when the error no longer falls.', 50)
    hyper_scale: float = option(WEIGHT, 'Scale of the random modulations at the start, without --selfinit or with '
                                        '--selfinit=distill.', 0.1)
    hyper_rank: int | None = option(
        Rank(0, 512), 'Rank of the hypernetworks; 0 is full: 2 * code-dim weights for each pair of channels, 272 million at '
        '256x256. auto is full up to 30 million weights, else 16.  [default: auto]', metavar='auto|INTEGER')
    code_dim: int = option(COUNT, 'Dimension of the class code.', 64)
    d_cond: str = option(click.Choice(['heads', 'projection']), 'How the discriminator sees the class: an output head per '
                         'class, or a projection of the mapped label. Label vectors always use projection.', 'heads')
    contrastive: str = option(click.Choice(['barlow', 'none']), "Contrastive loss on the discriminator's features: Barlow Twins, "
                                                                'or none.', 'none')
    contrastive_weight: float = option(WEIGHT, 'Weight of the contrastive loss; 0 turns it off.', 0.01)
    spread_weight: float = option(WEIGHT, 'Weight of the spread loss, which keeps generated images of one class as far apart as '
                                          'real ones; 0 turns it off.', 0.3)
    mismatch_weight: float = option(WEIGHT, 'Weight of real images with wrong labels, which the discriminator has to refuse; 0 '
                                            'turns it off.', 0.3)
    share_fakes: bool = option(None, "Train the discriminator on the images of the generator's step, or on new ones, which takes "
                                     'one pass more.', True, declaration='--share-fakes/--no-share-fakes')
    finetune: bool = option(None, 'Also train the mapping, styles, noise strengths, constant and image layers of the source; '
                                  'its convolution kernels stay frozen.', False, is_flag=True)
    new_class_init: str = option(click.Choice(['nearest', 'mean']), 'With a snapshot of this command as --resume: how unknown '
                                 'classes start, as the known class that looks most like them (nearest) or as the mean of all '
                                 '(mean).', 'nearest')
    freeze_old_classes: bool = option(None, 'Keep the pictures of known classes identical, bit for bit on a CPU; each new '
                                            'class learns an offset of its own.', False, is_flag=True)
    cond_transfer: bool = option(None, 'Train on the labelled images, or stop after self-initialisation.', True,
                                 declaration='--cond-transfer/--no-cond-transfer')
    classes: str | None = option(str, 'Number of classes, or their names separated by commas (write a comma in a name as \\,). '
                                      'Only for --no-cond-transfer without --data.', metavar='N|NAMES')
