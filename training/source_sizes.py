"""Network sizes of a run that starts from a snapshot: those of the snapshot, in place of the preset's."""

import inspect
import json
from typing import Any

from .config import TrainingOptions
from .data_facts import DataFacts
from .resume import check_images, load_source

SIZE_OPTIONS = ('z_dim', 'w_dim', 'map_depth', 'mapping_lr_mult', 'cbase', 'cmax')
FROM_DATA = ('c_dim', 'img_resolution', 'img_channels')


def use_source_sizes(config: dict[str, Any], options: TrainingOptions, data: DataFacts) -> dict[str, Any]:
    """The config with the network arguments of its resume_pkl, so that the weights fit.

    ValueError, one line, if the source is for other images or labels, or if the options ask for other sizes.
    """
    given = [f'--{name.replace("_", "-")}' for name in SIZE_OPTIONS if getattr(options, name) != getattr(TrainingOptions, name)]
    if given:
        raise ValueError(f'{", ".join(given)} found beside --resume, which takes the network sizes from the source: leave it out')
    resume_pkl = config['resume_pkl']
    source = load_source(resume_pkl)
    if type(source['G_ema']).__name__ != 'Generator':
        raise ValueError(f'{resume_pkl} holds a {type(source["G_ema"]).__name__}, this command trains a plain StyleGAN2 '
                         'Generator: train_hyper.py goes on with hyper-modulated ones')
    check_images(resume_pkl, source['G_ema'], data.resolution, data.num_channels)
    check_labels(resume_pkl, source['G_ema'].c_dim, data.label_dim)

    half_precision = config['G_kwargs']['synthesis_kwargs']['num_fp16_res'] > 0
    G_kwargs = dict(class_name=config['G_kwargs']['class_name'], **network_kwargs(source['G_ema']))
    G_kwargs['synthesis_kwargs'] = set_precision(G_kwargs.get('synthesis_kwargs', {}), half_precision)
    D_kwargs = dict(config['D_kwargs'])
    if 'D' in source:
        D_kwargs = dict(class_name=D_kwargs['class_name'], **set_precision(network_kwargs(source['D']), half_precision))
        for name in ('block_kwargs', 'epilogue_kwargs'):  # --freezed and --mbstd-group hold no weights
            D_kwargs[name] = {**D_kwargs.get(name, {}), **config['D_kwargs'][name]}
    else:
        channels = G_kwargs['synthesis_kwargs']
        D_kwargs |= {name: channels[name] for name in ('channel_base', 'channel_max') if name in channels}
    return {**config, 'G_kwargs': G_kwargs, 'D_kwargs': D_kwargs}


def network_kwargs(network: Any) -> dict[str, Any]:
    """The arguments that built a network, as plain values, without those that follow from the data."""
    given = dict(zip(inspect.signature(type(network)).parameters, network.init_args, strict=False)) | network.init_kwargs
    kwargs = {name: value for name, value in given.items() if name not in FROM_DATA}
    return json.loads(json.dumps(kwargs, default=lambda number: number.item()))


def set_precision(kwargs: dict[str, Any], half_precision: bool) -> dict[str, Any]:
    """Half precision in the 4 largest resolutions, or none; a limit of activations that the source has is kept."""
    return {**kwargs, **(dict(num_fp16_res=4, conv_clamp=256) if half_precision else dict(num_fp16_res=0))}


def check_labels(resume_pkl: str, source_dim: int, label_dim: int) -> None:
    """ValueError, with what to do, if the source takes other labels than the data has."""
    if source_dim == label_dim:
        return
    if source_dim == 0:
        raise ValueError(f'{resume_pkl} is unconditional, the data has {label_dim} classes: '
                         'use train_hyper.py, which makes it conditional, or --cond=0')
    if label_dim == 0:
        raise ValueError(f'{resume_pkl} has {source_dim} classes, the data is used without labels: add --cond=1, and data with '
                         'the classes of the source')
    raise ValueError(f'{resume_pkl} has {source_dim} classes, the data has {label_dim}: '
                     'give data with the classes of the source, or an unconditional source to train_hyper.py')
