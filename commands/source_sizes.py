"""Network sizes of a run that starts from a snapshot: the snapshot's replace the preset's."""

import dataclasses
import json
from typing import Any

from torch_utils.persistence import constructor_arguments
from training.config import TrainingConfig
from training.data.class_labels import list_names
from training.snapshot.resume import check_images, load_source

from .data_facts import DataFacts
from .options import TrainingOptions, option_name

SIZE_OPTIONS = ('z_dim', 'w_dim', 'map_depth', 'mapping_lr_mult', 'cbase', 'cmax')
FROM_DATA = ('c_dim', 'img_resolution', 'img_channels')


def use_source_sizes(config: TrainingConfig, options: TrainingOptions, data: DataFacts) -> tuple[TrainingConfig, DataFacts]:
    """The config with the network arguments of its resume_pkl, so that the weights fit; the data's labels may differ.

    If they do, the returned data has a warning. ValueError, one line, if the source makes other images, or if the options set
    other sizes.
    """
    given = [option_name(name) for name in SIZE_OPTIONS if getattr(options, name) != getattr(TrainingOptions, name)]
    if given:
        raise ValueError(f'{", ".join(given)} found together with --resume, which takes the network sizes from the source: '
                         'leave it out')
    resume_pkl = config.resume_pkl
    assert resume_pkl is not None
    source = load_source(resume_pkl)
    if type(source['G_ema']).__name__ != 'Generator':
        raise ValueError(f'{resume_pkl} holds a {type(source["G_ema"]).__name__}, this command trains a plain StyleGAN2 '
                         'Generator: continue hyper-modulated networks with train_hyper.py')
    check_images(resume_pkl, source['G_ema'], data.resolution, data.num_channels)
    notes = compare_labels(resume_pkl, source['G_ema'].c_dim, source['class_names'], data)

    G_kwargs = dict(class_name=config.G_kwargs['class_name'], **network_kwargs(source['G_ema']))
    G_kwargs['synthesis_kwargs'] = set_precision(G_kwargs.get('synthesis_kwargs', {}), config.G_kwargs['synthesis_kwargs'])
    D_kwargs = config.D_kwargs
    if 'D' in source:
        D_kwargs = dict(class_name=D_kwargs['class_name'], **set_precision(network_kwargs(source['D']), D_kwargs))
        D_kwargs = set_training_options(D_kwargs, config.D_kwargs)
    else:
        channels = G_kwargs['synthesis_kwargs']
        D_kwargs = D_kwargs | {name: channels[name] for name in ('channel_base', 'channel_max') if name in channels}
    config = dataclasses.replace(config, G_kwargs=G_kwargs, D_kwargs=D_kwargs)
    return config, dataclasses.replace(data, warnings=data.warnings + notes)


def network_kwargs(network: Any) -> dict[str, Any]:
    """The arguments that built a network, as plain values, without those that follow from the data."""
    kwargs = {name: value for name, value in constructor_arguments(network).items() if name not in FROM_DATA}
    return json.loads(json.dumps(kwargs, default=lambda number: number.item()))


def set_precision(kwargs: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """kwargs with the half precision of `wanted`, the config's arguments; without one, the source's limit of activations
    stays."""
    names = ('num_fp16_res', 'conv_clamp', 'half_type') if wanted['num_fp16_res'] > 0 else ('num_fp16_res',)
    kept = {name: value for name, value in kwargs.items() if name != 'half_type'}
    return kept | {name: wanted[name] for name in names if name in wanted}


def set_training_options(D_kwargs: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """The discriminator's arguments with --freezed, --half and --mbstd-group, which hold no weights, as `wanted` has them."""
    block_kwargs = {name: value for name, value in D_kwargs.get('block_kwargs', {}).items()
                    if name not in ('freeze_layers', 'half_type')}
    return {**D_kwargs, 'block_kwargs': {**block_kwargs, **wanted['block_kwargs']},
            'epilogue_kwargs': {**D_kwargs.get('epilogue_kwargs', {}), **wanted['epilogue_kwargs']}}


def compare_labels(resume_pkl: str, source_dim: int, source_names: list[str], data: DataFacts) -> tuple[str, ...]:
    """At most one warning, if the source takes other labels than the data has."""
    there, here = _describe_labels(source_dim, source_names), _describe_labels(data.label_dim, list(data.class_names))
    if source_dim == data.label_dim:
        names, unnamed = list(data.class_names), [str(index) for index in range(source_dim)]
        if names == source_names or any(side in (names, source_names) for side in ([], unnamed)):
            return ()
        return (f'{resume_pkl} has {there} ({list_names(source_names)}), the data has as many, with other names: each starts as '
                "the source's class with the same number",)
    if source_dim == 0:
        return (f'{resume_pkl} is unconditional, the data has {here}: layers that read labels start from random weights, all '
                'others are copied; train_hyper.py keeps the source and learns what each class changes',)
    if data.label_dim == 0:
        return (f'{resume_pkl} has {there}, the data is used without labels: layers that read labels are dropped or start from '
                'random weights; --cond=1 trains with the labels of the data',)
    return (f'{resume_pkl} has {there}, the data has {here}: layers that read labels start from random weights; from an '
            'unconditional source, train_hyper.py keeps the source and learns what each class changes',)


def _describe_labels(label_dim: int, class_names: list[str]) -> str:
    return f'{label_dim} classes' if class_names else f'labels of {label_dim} dimensions'


def in_full_precision(config: TrainingConfig) -> TrainingConfig:
    """The config with float32 instead of half precision, which is used only on CUDA."""
    full = dict(num_fp16_res=0)
    G_kwargs = config.G_kwargs | dict(synthesis_kwargs=set_precision(config.G_kwargs.get('synthesis_kwargs', {}), full))
    return dataclasses.replace(config, G_kwargs=G_kwargs, D_kwargs=set_precision(config.D_kwargs, full))
