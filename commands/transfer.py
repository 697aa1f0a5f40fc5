"""The plan of a transfer: what train_hyper.py checks and decides before it builds anything."""

import contextlib
import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from hyper_plugin.class_growth import ClassGrowth, match_classes
from hyper_plugin.grown_networks import grow_source
from hyper_plugin.networks import host
from torch_utils.persistence import constructor_arguments
from training.config import TrainingConfig
from training.data.class_labels import split_names, unescape
from training.data.name_encoding import clean_name
from training.loop.preparation import open_dataset
from training.run.run_dir import Run
from training.snapshot.resume import check_images, check_source, load_source

from .config import build_config, run_description
from .data_facts import DataFacts, inspect_data
from .launch import Plan
from .options import option_name
from .source_sizes import network_kwargs, set_precision, set_training_options
from .transfer_options import TransferOptions
from .transfer_start import start_networks

COMMAND = 'train_hyper.py'
# Options that shape the networks, and whose constructor argument they are.
SHAPING = dict(hyper_rank=('G_ema', 'rank'), code_dim=('G_ema', 'code_dim'), finetune=('G_ema', 'finetune'),
               d_cond=('D', 'd_cond'))
# An output of an equalised linear layer moves about sqrt(code_dim) times as far in a step as a weight does. At the full rate of
# the preset classes have less variety; at half of this one --lr-decay gains nothing (docs/evidence.md).
HYPER_RATE = 0.4
# Rank 16 is nearly as good as full at 32x32 (docs/evidence.md), and at 512 channels has a sixteenth of the weights.
FULL_WEIGHTS, LOW_RANK = 30_000_000, 16
EMA_RAMPUP = 0.05  # at first the average must follow: classes start far from their end


def plan_transfer(options: TransferOptions, num_gpus: int, outdir: str, run: Run | None, given: Collection[str]) -> Plan:
    """The plan of a run whose training has not begun. ValueError or OSError if options, data and source do not match.

    num_gpus: processes. given: the options on the command line, by argument name.
    """
    resume = check_resume(options.resume)
    if options.data is None and not options.cond_transfer:
        source = load_hyper_source(resume)
        data = without_data(source['G_ema'], options.classes)
    else:
        data = inspect_data(options.data, True, options.subset, options.mirror, options.seed)
        if options.classes:
            raise ValueError(f'--classes={options.classes} found together with --data, whose labels define the classes: leave '
                             'out one')
        source = load_hyper_source(resume)  # after the data: it may be a long download
        check_images(resume, source['G_ema'], data.resolution, data.num_channels)
    starts_fresh = source['G_ema'].c_dim == 0
    planned = dataclasses.replace(options, gpus=num_gpus)
    config = hyper_config(build_config(planned, data), source, data, starts_fresh, options)
    check_views(config)
    growth = None
    if not starts_fresh:
        growth = check_goes_on(resume, source, data, options, given)
        data = dataclasses.replace(data, warnings=data.warnings + growth.notes(source['G_ema']))
        if growth.changes:
            config = dataclasses.replace(config, G_kwargs=config.G_kwargs | growth.generator_kwargs(source['G_ema']),
                                         ema_rampup=EMA_RAMPUP)
    elif options.freeze_old_classes:
        raise ValueError(f'--freeze-old-classes keeps the classes of a hyper-modulated snapshot, but {resume} is unconditional: '
                         'leave it out')
    elif data.has_label_vectors and options.d_cond == 'heads':
        data = dataclasses.replace(data, warnings=(*data.warnings, 'label vectors use --d-cond=projection instead of heads'))

    def prepare(run_dir: Path, config: TrainingConfig) -> TrainingConfig | None:
        start = source
        if growth is not None:
            with contextlib.closing(open_dataset(config.training_set_kwargs)) as dataset:
                start = grow_source(source, growth, dataset, options.new_class_init, config.random_seed,
                                    torch.device(config.device))
        return start_networks(run_dir, config, start, data, options)

    description = run_description(planned, data) + (f'-{options.selfinit}' if options.selfinit else '')
    return Plan(COMMAND, options, config, data, outdir, description, run,
                prepare if growth is None or growth.changes else None, 'train' if options.cond_transfer else 'end')


def check_resume(resume: str | None) -> str:
    """ValueError if no source is named, or an unknown one."""
    if not resume:
        raise ValueError('--resume is missing: give the snapshot of an unconditional StyleGAN2, its URL, or a name such as '
                         'ffhq256')
    check_source(resume)
    return resume


def load_hyper_source(resume: str) -> dict[str, Any]:
    """The source's networks. ValueError if it is a conditional StyleGAN2."""
    source = load_source(resume)
    G = source['G_ema']
    if G.c_dim != 0 and type(G).__name__ != 'HyperGenerator':
        raise ValueError(f'{resume} is already conditional, with {G.c_dim} label dimensions: expected an unconditional source; '
                         'continue conditional ones with train.py')
    return source


def without_data(G: Any, classes: str | None) -> DataFacts:
    """What self-initialisation without a data set needs to know."""
    if not classes:
        raise ValueError('--no-cond-transfer needs the number of classes: give --data or --classes')
    if classes.isdecimal():
        names = [str(index) for index in range(int(classes))]
    else:
        names = [clean_name(unescape(name.strip())) for name in split_names(classes)]
    if len(names) < 2 or len(set(names)) < len(names) or not all(names):
        raise ValueError(f'--classes={classes}: expected 2 or more classes, as a number or as different names separated by '
                         'commas')
    return DataFacts(name=f'{len(names)}classes', path='no data', resolution=G.img_resolution, num_channels=G.img_channels,
                     num_images=0, label_dim=len(names), class_names=tuple(names))


def check_goes_on(resume: str, source: dict[str, Any], data: DataFacts, options: TransferOptions,
                  given: Collection[str]) -> ClassGrowth:
    """What happens to the classes of a hyper-modulated snapshot. ValueError if the options ask for a fresh start or other
    sizes."""
    if options.selfinit or not options.cond_transfer:
        raise ValueError(f'{resume} is already hyper-modulated: leave out --selfinit and --no-cond-transfer to continue it, or '
                         'give an unconditional source')
    G = source['G_ema']
    growth = match_classes(resume, G, source['class_names'], data.class_names, data.label_dim, options.freeze_old_classes)
    for option, (network, name) in SHAPING.items():
        if network in source and option in given:
            has, asked = constructor_arguments(source[network], defaults=True)[name], getattr(options, option)
            if asked is not None and has != asked:
                raise ValueError(f'{option_name(option)}={asked} differs from the value {has} of {resume}: leave the option '
                                 'out, or start from the unconditional source')
    return growth


def check_views(config: TrainingConfig) -> None:
    """ValueError if the contrastive loss, which compares the images of a pass, gets one image at a time."""
    loss = config.loss_kwargs
    contrasts = loss.get('contrastive_loss') != 'none' and loss.get('contrastive_weight', 1) > 0
    if contrasts and config.batch_gpu * config.num_gpus < 2:
        raise ValueError('--contrastive=barlow compares the images of a pass, which has only 1: raise --batch-gpu or --batch, '
                         'or give --contrastive=none')


def choose_rank(options: TransferOptions, source_G: Any) -> int:
    """The rank that the options ask for; without one, 0 (full) where full hypernetworks have at most FULL_WEIGHTS weights."""
    if options.hyper_rank is not None:
        return options.hyper_rank
    pairs = sum(layer.weight.shape[0] * layer.weight.shape[1] for layer in source_G.synthesis.modules()
                if isinstance(layer, host.SynthesisLayer))
    return 0 if 2 * options.code_dim * pairs <= FULL_WEIGHTS else LOW_RANK


def hyper_config(config: TrainingConfig, source: dict[str, Any], data: DataFacts, starts_fresh: bool,
                 options: TransferOptions) -> TrainingConfig:
    """The training config with the source's networks, hyper-modulated, and the transfer loss. Pure."""
    own: dict[str, Any] = {}
    own_D: dict[str, Any] = {}
    if starts_fresh:  # else the networks are hyper-modulated already, and keep their own arguments
        own = dict(code_dim=options.code_dim, rank=choose_rank(options, source['G_ema']), init_scale=options.hyper_scale,
                   finetune=options.finetune)
        own_D = dict(d_cond='projection' if data.has_label_vectors else options.d_cond, finetune=options.finetune)
    G_kwargs = own | network_kwargs(source['G_ema'])
    G_kwargs['synthesis_kwargs'] = set_precision(G_kwargs.get('synthesis_kwargs', {}), config.G_kwargs['synthesis_kwargs'])
    sizes = {name: size for name, size in G_kwargs['synthesis_kwargs'].items() if name in ('channel_base', 'channel_max')}
    D_kwargs = own_D | (network_kwargs(source['D']) if 'D' in source else config.D_kwargs | sizes)
    D_kwargs = set_training_options(set_precision(D_kwargs, config.D_kwargs), config.D_kwargs)
    rate = config.G_opt_kwargs.lr * (HYPER_RATE if options.glr is None else 1)
    return dataclasses.replace(
        config,
        G_kwargs=G_kwargs | dict(class_name='hyper_plugin.networks.HyperGenerator'),
        D_kwargs=D_kwargs | dict(class_name='hyper_plugin.networks.HyperDiscriminator'),
        loss_kwargs=dict(
            class_name='hyper_plugin.loss.HyperTransferLoss', r1_gamma=config.loss_kwargs['r1_gamma'],
            style_mixing_prob=config.loss_kwargs['style_mixing_prob'], contrastive_loss=options.contrastive,
            contrastive_weight=options.contrastive_weight, share_fakes=options.share_fakes,
            spread_weight=options.spread_weight, mismatch_weight=options.mismatch_weight),
        G_opt_kwargs=dataclasses.replace(config.G_opt_kwargs, lr=rate),
        G_reg_interval=None,
        ema_rampup=EMA_RAMPUP if starts_fresh else None,
    )
