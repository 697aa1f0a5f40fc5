"""Constructor arguments in files of other codebases, translated for our own classes.

stylegan2-ada-pytorch gives a generator `mapping_kwargs` and `synthesis_kwargs`, as we do. stylegan3 gives the latter one by
one, and lets constructors choose half precision, the limit of activations and the pace of the running mean where the
arguments say nothing. What the constructor chose stands in the attributes of the parts, so it is read there.
"""

import copy
import inspect
from collections.abc import Iterable
from typing import Any

from torch_utils.pickles.saved_module import SavedModule
from training.networks import MappingNetwork

FP16_KWARGS = dict(num_fp16_res=4, conv_clamp=256)
GENERATOR_ARGUMENTS = {'z_dim', 'c_dim', 'w_dim', 'img_resolution', 'img_channels', 'mapping_kwargs', 'synthesis_kwargs'}
SPEED_ARGUMENTS = {'fused_modconv_default'}     # which of two equal computations runs
MAX_POSITIONAL = dict(Generator=5, Discriminator=6)     # arguments before those that are looked up here


def our_arguments(saved: SavedModule, args: tuple[Any, ...], kwargs: dict[str, Any], force_fp16: bool = False) -> dict[str, Any]:
    """Keyword arguments that, beside args, make our class of the same name what the file describes.

    args, kwargs: the arguments in the file.
    """
    kwargs = copy.deepcopy(kwargs)
    if is_flat(saved.class_name, kwargs):
        flat = {key: kwargs.pop(key) for key in sorted(set(kwargs) - GENERATOR_ARGUMENTS)}
        own = {key: value for key, value in flat.items() if key not in SPEED_ARGUMENTS}
        kwargs['synthesis_kwargs'] = {**kwargs.get('synthesis_kwargs', {}), **own}
    parts, kind = saved.state['_modules'], saved.class_name.removeprefix('Hyper')
    if len(args) > MAX_POSITIONAL.get(kind, 0):
        return with_fp16_kwargs(saved.class_name, kwargs) if force_fp16 else kwargs
    if kind == 'Generator' and all(parts.get(name) is not None for name in ('mapping', 'synthesis')):
        _complete(kwargs, 'mapping_kwargs', _pace(parts['mapping']))
        _complete(kwargs, 'synthesis_kwargs', _precision(parts['synthesis'].state['_modules'].values()))
    elif kind == 'Discriminator':
        kwargs = {**_precision(parts.values()), **kwargs}
    return with_fp16_kwargs(saved.class_name, kwargs) if force_fp16 else kwargs


def with_fp16_kwargs(class_name: str, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments with half precision at the four highest resolutions, in the dialect that they are in."""
    if class_name.endswith('Generator') and not is_flat(class_name, kwargs):
        return {**kwargs, 'synthesis_kwargs': {**kwargs.get('synthesis_kwargs', {}), **FP16_KWARGS}}
    return {**kwargs, **FP16_KWARGS}


def is_flat(class_name: str, kwargs: dict[str, Any]) -> bool:
    """Whether these are the arguments of a generator of stylegan3."""
    return class_name == 'Generator' and bool(set(kwargs) - GENERATOR_ARGUMENTS)


def check_kind(saved: SavedModule) -> None:
    """ValueError for the alias-free generators of stylegan3, whose class has the same name as StyleGAN2's."""
    if any(part.class_name == 'SynthesisInput' for part in saved.modules().values()):
        raise ValueError('an alias-free generator (StyleGAN3-T or -R), expected a StyleGAN2 one; '
                         'take a pickle whose name says stylegan2')


def _complete(kwargs: dict[str, Any], name: str, found: dict[str, Any]) -> None:
    """Add what the argument `name`, a dict, leaves open."""
    if found:
        kwargs[name] = {**found, **kwargs.get(name, {})}


def _precision(blocks: Iterable[SavedModule | None]) -> dict[str, Any]:
    """num_fp16_res and conv_clamp as the blocks have them; left out where they have none, which is our classes' default."""
    halving = [block for block in blocks if block is not None and 'use_fp16' in block.state]
    found: dict[str, Any] = {}
    num_half = sum(block.state['use_fp16'] is True for block in halving)
    if num_half > 0:
        found['num_fp16_res'] = num_half
    layers = [block.state['_modules'].get('conv1') for block in halving]
    clamps = [layer.state.get('conv_clamp') for layer in layers if layer is not None]
    if clamps and clamps[0] is not None:
        found['conv_clamp'] = clamps[0]
    return found


def _pace(mapping: SavedModule) -> dict[str, Any]:
    """w_avg_beta of the mapping network where it is not our default."""
    pace = mapping.state.get('w_avg_beta')
    usual = inspect.signature(MappingNetwork).parameters['w_avg_beta'].default
    return {} if pace in (None, usual) else dict(w_avg_beta=pace)
