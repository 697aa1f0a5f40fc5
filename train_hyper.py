"""Turn an unconditional StyleGAN2 into a class-conditional one: self-initialise, then transfer to labelled images."""

import contextlib
import dataclasses
import inspect
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

import dnnlib
import legacy
from commands.cli import check_precision, command_errors
from commands.config import TrainingOptions, build_config, check_finite, run_description
from commands.data_facts import DataFacts, inspect_data
from commands.going_on import plan_to_go_on, run_and_options
from commands.launch import Plan, follow, launch, process_count
from commands.options import options_of, training_options
from commands.source_sizes import network_kwargs, set_precision, set_training_options
from dnnlib.files import is_disk_full
from hyper_plugin import selfinit, transfer
from hyper_plugin.class_growth import ClassGrowth, match_classes
from hyper_plugin.grown_networks import grow_source
from training.loop.training_state import read_state, write_state
from training.parallel.processes import watched_member
from training.parallel.stop_signals import StopSignals
from training.run.run_dir import Run, save_json
from training.run.terminal_bar import open_bar
from training.snapshot.resume import check_images, check_source, load_source

COMMAND = 'train_hyper.py'
SELFINIT_STATE = 'selfinit-state.pt'
FROM_SOURCE = ('--cond', '--z-dim', '--w-dim', '--map-depth', '--mapping-lr-mult', '--cbase', '--cmax', '--pl-weight')
OWN_OPTIONS = ('--resume', '--kimg', '--glr', '--snap')
# Options that shape the networks, and whose constructor argument they are.
SHAPING = dict(hyper_rank=('G_ema', 'rank'), code_dim=('G_ema', 'code_dim'), finetune=('G_ema', 'finetune'),
               d_cond=('D', 'd_cond'))
# An output of an equalised linear layer moves about sqrt(code_dim) times as far in a step as a weight does. At the full
# rate of the preset classes are recognised sooner, but have less variety on the way (benchmarks/transfer/selfinit.py, full-rate).
HYPER_RATE = 0.2
EMA_RAMPUP = 0.05  # at first the average must follow: classes start far from their end
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
            launch(plan_transfer(options, values, outdir, run), dry_run, member)
        elif values['cond_transfer']:
            data = inspect_data(options.data, True, options.subset, options.mirror, options.seed)
            plan = plan_to_go_on(run, run.config, data, values, options.gpus, options.device)
            check_views(plan.config)
            launch(plan, dry_run, member)
        else:
            click.echo(f'Done: {run.path} is self-initialised, and --no-cond-transfer asks for no more')


def plan_transfer(options: TrainingOptions, values: dict[str, Any], outdir: str, run: Run | None) -> Plan:
    """The plan of a run whose training has not begun. ValueError or OSError if options, data and source do not fit."""
    resume = check_resume(options.resume)
    if options.data is None and not values['cond_transfer']:
        source = load_hyper_source(resume)
        data = without_data(source['G_ema'], values['classes'])
    else:
        data = inspect_data(options.data, True, options.subset, options.mirror, options.seed)
        check_no_classes(values['classes'])
        source = load_hyper_source(resume)  # after the data: it may be a long download
        check_images(resume, source['G_ema'], data.resolution, data.num_channels)
    starts_fresh = source['G_ema'].c_dim == 0
    config = hyper_config(build_config(options, data), source, data, starts_fresh, values)
    check_views(config)
    growth = None
    if not starts_fresh:
        growth = check_goes_on(resume, source, data, values)
        data = dataclasses.replace(data, warnings=data.warnings + growth.notes(source['G_ema']))
        if growth.changes:
            config['G_kwargs'] |= growth.generator_kwargs(source['G_ema'])
            config['ema_rampup'] = EMA_RAMPUP
    elif values.get('freeze_old_classes'):
        raise ValueError(f'--freeze-old-classes keeps classes of a hyper-modulated snapshot, and {resume} is unconditional: '
                         'leave it out')
    elif data.has_label_vectors and values['d_cond'] == 'heads':
        data = dataclasses.replace(data, warnings=(*data.warnings, 'label vectors take --d-cond=projection in place of heads'))

    def prepare(run_dir: Path, config: dict[str, Any]) -> dict[str, Any] | None:
        start = source
        if growth is not None:
            with contextlib.closing(dnnlib.util.construct_class_by_name(**config['training_set_kwargs'])) as dataset:
                start = grow_source(source, growth, dataset, values['new_class_init'], config['random_seed'],
                                    torch.device(config['device']))
        return start_networks(run_dir, config, start, data, values)

    description = run_description(options, data) + (f'-{values["selfinit"]}' if values['selfinit'] else '')
    return Plan(COMMAND, values, config, data, outdir, description, run,
                prepare if growth is None or growth.changes else None, 'train' if values['cond_transfer'] else 'end')


def check_resume(resume: str | None) -> str:
    """ValueError if no source is named, or none that can be."""
    if not resume:
        raise ValueError('--resume is missing: give the snapshot of an unconditional StyleGAN2, its URL, or a name as ffhq256')
    check_source(resume)
    return resume


def load_hyper_source(resume: str) -> dict[str, Any]:
    """The source's networks. ValueError if it already is a conditional StyleGAN2."""
    source = load_source(resume)
    G = source['G_ema']
    if G.c_dim != 0 and type(G).__name__ != 'HyperGenerator':
        raise ValueError(f'{resume} is conditional already, with {G.c_dim} label dimensions: expected an unconditional source; '
                         'train.py goes on with conditional ones')
    return source


def without_data(G: Any, classes: str | None) -> DataFacts:
    """What self-initialisation alone needs to know in place of a data set."""
    if not classes:
        raise ValueError('--no-cond-transfer found neither --data nor --classes: give one, for the number of classes')
    names = [str(i) for i in range(int(classes))] if classes.isdecimal() else [name.strip() for name in classes.split(',')]
    if len(names) < 2 or len(set(names)) < len(names) or not all(names):
        raise ValueError(f'--classes={classes}: expected 2 or more classes, as a number or as different names with commas')
    return DataFacts(name=f'{len(names)}classes', path='no data', resolution=G.img_resolution, num_channels=G.img_channels,
                     num_images=0, label_dim=len(names), class_names=tuple(names))


def check_no_classes(classes: str | None) -> None:
    """ValueError if classes are named beside data that has its own."""
    if classes:
        raise ValueError(f'--classes={classes} found beside --data, whose labels say what the classes are: leave out one')


def check_goes_on(resume: str, source: dict[str, Any], data: DataFacts, values: dict[str, Any]) -> ClassGrowth:
    """What becomes of a hyper-modulated snapshot's classes. ValueError if a fresh start or other sizes are asked for."""
    if values['selfinit'] or not values['cond_transfer']:
        raise ValueError(f'{resume} is hyper-modulated already: leave out --selfinit and --no-cond-transfer to go on with it, '
                         'or give an unconditional source')
    G = source['G_ema']
    if 'D' in source and source['D'].c_dim != G.c_dim:
        raise ValueError(f'{resume} has a discriminator of {source["D"].c_dim} classes beside a generator of {G.c_dim}: give the '
                         'snapshot as a run wrote it, or leave its D out, to train a new one')
    growth = match_classes(resume, G, source['class_names'], data.class_names, data.label_dim, values['freeze_old_classes'])
    context = click.get_current_context()
    for option, (network, name) in SHAPING.items():
        if network in source and context.get_parameter_source(option) == click.core.ParameterSource.COMMANDLINE:
            has = argument_of(source[network], name)
            if has != values[option]:
                raise ValueError(f'--{option.replace("_", "-")}={values[option]} found, {resume} has {has}: leave the option '
                                 'out, or start from the unconditional source')
    return growth


def argument_of(network: Any, name: str) -> Any:
    """What the constructor argument `name` was when network was built."""
    return network.init_kwargs.get(name, inspect.signature(type(network)).parameters[name].default)


def check_views(config: dict[str, Any]) -> None:
    """ValueError if the contrastive loss, which compares the images of a pass, gets one image at a time."""
    loss = config['loss_kwargs']
    if loss['contrastive_loss'] != 'none' and loss['contrastive_weight'] > 0 and config['batch_gpu'] * config['num_gpus'] < 2:
        raise ValueError('--contrastive=barlow compares the images of a pass, found passes of 1: give a larger --batch-gpu or '
                         '--batch, or --contrastive=none')


def hyper_config(config: dict[str, Any], source: dict[str, Any], data: DataFacts, starts_fresh: bool,
                 values: dict[str, Any]) -> dict[str, Any]:
    """The training config with the source's networks, hyper-modulated, and the transfer loss. Pure, JSON-ready."""
    own: dict[str, Any] = {}
    own_D: dict[str, Any] = {}
    if starts_fresh:  # else the networks are hyper-modulated already, and keep their own arguments
        own = dict(code_dim=values['code_dim'], rank=values['hyper_rank'], init_scale=values['hyper_scale'],
                   finetune=values['finetune'])
        own_D = dict(d_cond='projection' if data.has_label_vectors else values['d_cond'], finetune=values['finetune'])
    G_kwargs = own | network_kwargs(source['G_ema'])
    G_kwargs['synthesis_kwargs'] = set_precision(G_kwargs.get('synthesis_kwargs', {}), config['G_kwargs']['synthesis_kwargs'])
    sizes = {name: size for name, size in G_kwargs['synthesis_kwargs'].items() if name in ('channel_base', 'channel_max')}
    D_kwargs = own_D | (network_kwargs(source['D']) if 'D' in source else config['D_kwargs'] | sizes)
    D_kwargs = set_training_options(set_precision(D_kwargs, config['D_kwargs']), config['D_kwargs'])
    loss = config['loss_kwargs']
    rate = config['G_opt_kwargs']['lr'] * (HYPER_RATE if values['glr'] is None else 1)
    return config | dict(
        G_kwargs=G_kwargs | dict(class_name='hyper_plugin.networks.HyperGenerator'),
        D_kwargs=D_kwargs | dict(class_name='hyper_plugin.networks.HyperDiscriminator'),
        loss_kwargs=dict(class_name='hyper_plugin.loss.HyperTransferLoss', r1_gamma=loss['r1_gamma'],
                         style_mixing_prob=loss['style_mixing_prob'], contrastive_loss=values['contrastive'],
                         contrastive_weight=values['contrastive_weight'], share_fakes=values['share_fakes']),
        G_opt_kwargs=config['G_opt_kwargs'] | dict(lr=rate),
        G_reg_interval=None,
        ema_rampup=EMA_RAMPUP if starts_fresh else None,
    )


def start_networks(run_dir: Path, config: dict[str, Any], source: dict[str, Any], data: DataFacts,
                   values: dict[str, Any]) -> dict[str, Any] | None:
    """Build the networks, transfer the source, self-initialise, save; returns the config that trains from there.

    A self-initialisation that was stopped goes on. None: it was stopped again.
    """
    path = run_dir / ('selfinit.pkl' if values['selfinit'] else 'transfer.pkl')
    trains_from_there = config | dict(resume_pkl=str(path.absolute()))
    if path.is_file():  # it was written last, so that all of this is done
        return trains_from_there
    torch.manual_seed(config['random_seed'])
    device = torch.device(config['device'])
    sizes: dict[str, Any] = dict(c_dim=data.label_dim, img_resolution=data.resolution, img_channels=data.num_channels)
    G = dnnlib.util.construct_class_by_name(**config['G_kwargs'], **sizes).eval().to(device)
    D = dnnlib.util.construct_class_by_name(**config['D_kwargs'], **sizes).eval().to(device)
    if data.has_label_vectors:
        D.keep_label_scale_()
    reports = {name: transfer.transfer(source[origin], network)
               for name, origin, network in (('G', 'G_ema', G), ('D', 'D', D)) if origin in source}
    for name in ('G', 'D'):
        print('\n'.join(reports[name].lines(name) if name in reports else [f'{name}   not in the source, starts anew']))
    found = {name: dataclasses.asdict(report) for name, report in reports.items()}
    save_json(run_dir / 'transfer.json', dict(options=values, **found))
    method = values['selfinit']
    if method:
        result = self_initialise(method, source['G_ema'].to(device), G, device, values['selfinit_kimg'], config['random_seed'],
                                 run_dir, label_vectors(data) if data.has_label_vectors else None)
        if result is None:
            return None
        print(f'Self-initialisation ({method}): relative feature error {result.relative_error:.3g} after {result.images} images')
        save_json(run_dir / 'selfinit.json', result.as_dict())
    legacy.save_network_pkl(path, dict(G=G, D=D, G_ema=G, augment_pipe=None, training_set_kwargs=config['training_set_kwargs'],
                                       class_names=list(data.class_names)))
    (run_dir / SELFINIT_STATE).unlink(missing_ok=True)
    return trains_from_there


def save_if_space(path: Path, state: dict[str, Any]) -> None:
    """Write the state of a self-initialisation; a full disk does not end it."""
    try:
        write_state(path, state)
    except OSError as error:
        if not is_disk_full(error):
            raise
        print(f'Warning: no space left to save in {path.parent}: it goes on, and saving is tried again; make space')


def label_vectors(data: DataFacts) -> torch.Tensor:
    """The labels of all images of the data, float32 [N, K]."""
    with contextlib.closing(dnnlib.util.construct_class_by_name(**data.dataset_kwargs())) as dataset:
        return torch.from_numpy(np.stack([dataset.get_label(index) for index in range(len(dataset))]))


def self_initialise(method: str, source: torch.nn.Module, G: torch.nn.Module, device: torch.device, kimg: float,
                    seed: int, run_dir: Path, labels: torch.Tensor | None = None) -> selfinit.SelfInitResult | None:
    """Exact, or distilled with a progress bar, a line per measurement, and a state to go on from; None if it was stopped.

    labels: [M, K] to draw from, where they are vectors.
    """
    if method == 'exact':
        return selfinit.exact(source, G, device, labels)
    path = run_dir / SELFINIT_STATE
    saved = read_state(path) if path.is_file() else None
    with StopSignals() as stop, open_bar(round(kimg * 1000), saved['images'] if saved else 0) as bar:
        def report(images: int, error: float) -> None:
            bar.update(images - bar.n)
            bar.clear()
            print(f'selfinit   kimg {images / 1000:<8.1f} relative error {error:.4f}')

        return selfinit.distill(source, G, device, kimg, torch.Generator().manual_seed(seed), report=report, saved=saved,
                                save=lambda state: (write_state if stop.asked else save_if_space)(path, state),
                                stop=lambda: stop.asked, labels=labels)


if __name__ == '__main__':
    main()
