"""The classes that a file may name: networks in snapshots, and classes built by a configuration. Others are refused."""

import re
import typing
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import dnnlib
from dnnlib.schema import Range, check, show
from torch_utils.pickles import pickle_reader, safe_values, saved_module

from .soundness import SETTINGS

PERSISTENT = 'torch_utils.persistence._reconstruct_persistent_obj'

# Classes that are built at the root of a field; the classes of their parts follow from these.
KNOWN_CLASSES = {
    **{name: f'training.networks.{name}' for name in (
        'Generator', 'MappingNetwork', 'SynthesisNetwork', 'SynthesisBlock', 'SynthesisLayer', 'ToRGBLayer',
        'FullyConnectedLayer', 'Conv2dLayer', 'Discriminator', 'DiscriminatorBlock', 'DiscriminatorEpilogue',
        'MinibatchStdLayer')},
    'AugmentPipe': 'training.augment.AugmentPipe',
    'HyperGenerator': 'hyper_plugin.networks.HyperGenerator',
    'HyperDiscriminator': 'hyper_plugin.networks.HyperDiscriminator',
}
# Classes that a configuration may have built, by its key.
CONFIGURED = {
    'training_set_kwargs': ('training.dataset.ImageFolderDataset',),
    'G_kwargs': (KNOWN_CLASSES['Generator'], KNOWN_CLASSES['HyperGenerator']),
    'D_kwargs': (KNOWN_CLASSES['Discriminator'], KNOWN_CLASSES['HyperDiscriminator']),
    'G_opt_kwargs': ('torch.optim.Adam',),
    'D_opt_kwargs': ('torch.optim.Adam',),
    'loss_kwargs': ('training.loss.StyleGAN2Loss', 'hyper_plugin.loss.HyperTransferLoss'),
    'augment_kwargs': (KNOWN_CLASSES['AugmentPipe'],),
}
# Limits of arguments whose annotations have none.
SIZE = Annotated[int, Range(0, saved_module.MAX_ARGUMENT)]
LIMITS = dict(num_layers=Annotated[int, Range(1, 100)], rank=Annotated[int, Range(0, 4096)], own_classes=list[SIZE],
              resample_filter=Sequence[float], pl_batch_shrink=Annotated[int, Range(1, 2**20)],
              mbstd_group_size=Annotated[int, Range(1, 2**20)] | None,
              activation=SETTINGS['activation'])
NOT_CONFIGURED = {'args', 'kwargs', 'return', 'c_dim', 'img_resolution', 'img_channels',  # the data says these,
                  'device', 'G_mapping', 'G_synthesis', 'D', 'augment_pipe'}  # the training these
MAX_NETWORKS = 8  # in a file; tensors of one may stand in others too


def handler_of(name: str) -> pickle_reader.Handler | None:
    """What may stand in a snapshot. Modules of torch.nn are only described: our own classes say what they really are."""
    if name == PERSISTENT:
        return saved_module.from_persistent
    if re.fullmatch(r'torch\.nn\.modules\.\w+\.\w+', name):
        return saved_module.from_plain
    return safe_values.HANDLERS.get(name)


def check_construction(key: str, arguments: dict[str, Any]) -> None:
    """ValueError, one line, unless `key` of a configuration may have a class built with these arguments.

    The class is a known one. Every argument is one of its constructor, or of a layer of the networks, of the annotated type,
    and no number is negative or huge. If a dataclass lists the arguments, only the class is checked.
    """
    class_name = arguments.get('class_name')
    if class_name not in CONFIGURED[key]:
        raise ValueError(f'{key}.class_name is {show(class_name)}, expected {" or ".join(CONFIGURED[key])}')
    if key in ('G_kwargs', 'D_kwargs'):
        _check_arguments(key, arguments, _annotations([class_name, *KNOWN_CLASSES.values()]))
    elif key in ('loss_kwargs', 'augment_kwargs'):
        _check_arguments(key, arguments, _annotations([class_name]))


def _check_arguments(place: str, arguments: dict[str, Any], annotations: dict[str, Any]) -> None:
    for name, value in arguments.items():
        if name == 'class_name' and '.' not in place:
            continue
        if name not in annotations:
            raise ValueError(f'{place} has the unknown argument {show(name)}')
        check(value, LIMITS.get(name, annotations[name]), f'{place}.{name}')
        if isinstance(value, dict):
            _check_arguments(f'{place}.{name}', value, annotations)
        elif isinstance(value, (int, float)):
            kind = SIZE if isinstance(value, int) and not isinstance(value, bool) else Annotated[Any, Range(0)]
            check(value, kind, f'{place}.{name}')


def _annotations(class_names: list[str]) -> dict[str, Any]:
    """The types of all arguments of the constructors."""
    return {name: kind for class_name in class_names for init in _constructors(dnnlib.util.get_obj_by_name(class_name))
            for name, kind in typing.get_type_hints(init).items() if name not in NOT_CONFIGURED}


def _constructors(cls: type) -> Iterator[Any]:
    return (vars(base)['__init__'] for base in reversed(cls.__mro__[:-1]) if '__init__' in vars(base))
