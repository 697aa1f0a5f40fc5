"""The networks of a hyper-modulated snapshot, resized for other classes (`class_growth`).

Each class k of the new model starts as a mix of the K old classes, row k of M [K', K]: a known class as itself, a new one as
the nearest old class (`nearest_class`) or as the mean of all.

    table <- M table,   heads <- M heads,   W <- W M^T sqrt(K' / K)  (the embedding W c / sqrt(K) of --d-cond=projection)

A new class with parts of its own starts with a copy of those of its old class, or with zeros if that has none. Labels multiply
these parts, so images of old classes do not change, bit for bit.
"""
import copy
import math
from typing import Any

import torch
from torch import nn

from .class_growth import ClassGrowth
from .nearest_class import nearest_classes
from .networks import HyperModulation


def grow_source(source: dict[str, Any], growth: ClassGrowth, dataset: Any, init: str, seed: int,
                device: torch.device) -> dict[str, Any]:
    """G_ema and D (if present) of the snapshot, with the tensors of the grown networks; prints how new classes start.

    dataset: the training images and labels. init: 'nearest' or 'mean'.
    """
    G, D = (source[name].to(device) if name in source else None for name in ('G_ema', 'D'))
    nearest = nearest_classes(growth, G, D, dataset, seed, device) if init == 'nearest' else None
    for place in growth.new:
        start = 'the mean of all known ones' if nearest is None else growth.known[nearest[place]]
        print(f'Class {growth.names[place]} starts as {start}')
    mix = starting_mix(growth, nearest)
    grown = dict(G_ema=grown_generator(G, growth, mix))
    return grown if D is None else dict(grown, D=grown_discriminator(D, mix))


def starting_mix(growth: ClassGrowth, nearest: dict[int, int] | None) -> torch.Tensor:
    """M, float32 [K', K]. nearest: the old class of each new one; None: the mean of all."""
    mix = torch.full([len(growth.names), len(growth.known)], 1 / len(growth.known))
    for place, known in enumerate(growth.old):
        start = known if known is not None or nearest is None else nearest[place]
        if start is not None:
            mix[place] = torch.eye(len(growth.known))[start]
    return mix


@torch.no_grad()
def grown_generator(G: Any, growth: ClassGrowth, mix: torch.Tensor) -> nn.Module:
    """A copy of G with the tensors of the grown generator, under the same names."""
    G = copy.deepcopy(G)
    code = G.mapping.class_code
    own = list(G.init_kwargs.get('own_classes', ()))
    places, numbers = growth.own_parts(G)
    for new, place in enumerate(places):
        start = int(mix[place].argmax())
        if numbers[new] is None and mix[place, start] == 1 and start in own:
            numbers[new] = own.index(start)  # its old class has parts of its own
    for module in (code, *(module for module in G.modules() if isinstance(module, HyperModulation))):
        parts = [getattr(module, f'own{number}') for number in range(len(own))]
        for number in range(len(own)):
            delattr(module, f'own{number}')
        for new, origin in enumerate(numbers):
            if origin is not None:
                _put(module, f'own{new}', parts[origin])
    _put(code, 'table', mix.to(code.table.device) @ code.table)
    return G


@torch.no_grad()
def grown_discriminator(D: Any, mix: torch.Tensor) -> nn.Module:
    """A copy of D with the tensors of the grown discriminator, under the same names."""
    D = copy.deepcopy(D)
    if D.d_cond == 'heads':
        _put(D, 'heads', mix.to(D.heads.device) @ D.heads)
    else:
        embed = D.mapping.embed
        _put(embed, 'weight', embed.weight @ mix.to(embed.weight.device).T * math.sqrt(len(mix) / mix.shape[1]))
    return D


def _put(module: nn.Module, name: str, value: torch.Tensor | nn.Module) -> None:
    """Set a part of a module; it replaces a parameter or buffer of that name."""
    if hasattr(module, name):
        delattr(module, name)
    if isinstance(value, nn.Module):
        module.add_module(name, copy.deepcopy(value))
    else:
        module.register_buffer(name, value.detach().clone())
