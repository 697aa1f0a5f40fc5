"""A snapshot for one label: plain unconditional networks that give the label's images and logits.

In a hyper-modulated network the class code v of a fixed label c is a constant, and with it every kernel, every bias, and the
class term of the logit:

    W <- W + dg(v) (W - mu) + sigma db_w(v),   b <- b + db(v),   out(h) <- out(h) + <u, h> / sqrt(dim)

u [dim] is the label's head, or P^T map(c) with projection. All other tensors are the source's own. In a plain conditional
network the label enters in two places. Generator: its code e joins the normalised latent x in the first mapping layer,

    W [x, e] = W_x x + (W_e e)     which is a bias.

Discriminator: logit = <out(h), m> / sqrt(d) with the mapped label m [d] is again linear in the features h.
The stored weights carry gains (equalised learning rate), which follow the number of inputs. Images and logits are those of the
label, up to rounding, at the cost of a plain network.
"""
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from hyper_plugin.networks import HyperDiscriminator, HyperGenerator, HyperSynthesisLayer
from torch_utils.persistence import constructor_arguments
from training.networks import Discriminator, Generator, normalize_2nd_moment
from training.snapshot.resume import copy_weights

KINDS = ('class', 'mix', 'label')  # baked_class, baked_mix or baked_label: the snapshot's key of what is baked in


def bake_snapshot(snapshot: dict[str, Any], label: np.ndarray, kind: str, text: str) -> dict[str, Any]:
    """Snapshot of the unconditional networks for `label`, float32 [K]: G, D (None if absent) and G_ema.

    kind, text: what the label is, for the record; a 'class' by name, a 'mix' of classes or another 'label' as it was written.
    The result names no training data: those of one class are not the whole set. ValueError for networks of other kinds.
    """
    c = torch.from_numpy(label)
    networks = {name: None if snapshot[name] is None else bake_network(snapshot[name], c) for name in ('G', 'D', 'G_ema')}
    if networks['G'] is None:  # those who train further expect all three
        networks['G'] = networks['G_ema']
    return {**networks, 'augment_pipe': snapshot['augment_pipe'], 'training_set_kwargs': None, 'class_names': [],
            f'baked_{kind}': text}


def baked_in(snapshot: dict[str, Any]) -> dict[str, str]:
    """{kind: text} of what is baked into a snapshot's networks, as in bake_snapshot; {} for others."""
    told = {kind: snapshot.get(f'baked_{kind}') for kind in KINDS}
    return {kind: text for kind, text in told.items() if isinstance(text, str)}


def bake_network(network: Any, label: torch.Tensor) -> torch.nn.Module:
    """The unconditional network for a label, float32 [K]; on the CPU, in evaluation mode, without gradients."""
    if type(network) in _BAKERS:
        return _BAKERS[type(network)](network, label).eval().requires_grad_(False)
    raise ValueError(f'cannot bake a class into a {type(network).__name__}: expected a generator or discriminator of StyleGAN2')


def frozen_source(G: HyperGenerator) -> Generator:
    """The unconditional source inside a hyper-modulated generator: the same weights without any modulation; on the CPU, in
    evaluation mode, without gradients. What --finetune trained is as it is now."""
    return _without_classes(G, Generator).eval().requires_grad_(False)


@torch.no_grad()
def _bake_generator(G: HyperGenerator, label: torch.Tensor) -> Any:
    plain = _without_classes(G, Generator)
    v = G.mapping.class_code(label[None])
    for name, layer in G.named_modules():
        if isinstance(layer, HyperSynthesisLayer):
            kernels, _power, offsets = layer.hyper(v, layer.weight)
            baked = plain.get_submodule(name)
            baked.weight.copy_(kernels[0])
            baked.bias.copy_(layer.bias + offsets[0])
    return plain


@torch.no_grad()
def _bake_discriminator(D: HyperDiscriminator, label: torch.Tensor) -> Any:
    plain = _without_classes(D, Discriminator)
    if D.d_cond == 'heads':
        u = label @ D.heads
    else:
        u = D.mapping(None, label[None])[0] @ (D.project.weight * D.project.weight_gain)
    out = plain.b4.out
    out.weight.add_(u / np.sqrt(len(u)) / out.weight_gain)
    return plain


@torch.no_grad()
def _bake_plain_generator(G: Any, label: torch.Tensor) -> Any:
    plain = _without_classes(G, Generator)
    theirs, ours = G.mapping.fc0, plain.mapping.fc0
    latent_part, code_part = (theirs.weight * theirs.weight_gain).split([G.z_dim, theirs.weight.shape[1] - G.z_dim], dim=1)
    code = normalize_2nd_moment(G.mapping.embed(label[None]))[0]
    ours.weight.copy_(latent_part / ours.weight_gain)
    ours.bias.copy_(theirs.bias + code_part @ code / ours.bias_gain)
    return plain


@torch.no_grad()
def _bake_plain_discriminator(D: Any, label: torch.Tensor) -> Any:
    plain = _without_classes(D, Discriminator)
    theirs, ours = D.b4.out, plain.b4.out
    m = D.mapping(None, label[None])[0] / np.sqrt(D.b4.cmap_dim)
    ours.weight.copy_(m @ theirs.weight)  # same number of inputs, so the same gain
    ours.bias.copy_(m @ theirs.bias)
    return plain


def _without_classes(network: Any, kind: type[torch.nn.Module]) -> Any:
    """A network of this class, with the constructor arguments of `network` that it takes, c_dim 0, and the tensors that do not
    depend on the labels."""
    known = inspect.signature(kind).parameters
    arguments = {name: value for name, value in constructor_arguments(network).items() if name in known}
    with torch.random.fork_rng(devices=[]):  # the constructor's random weights are overwritten
        plain = kind(**{**arguments, 'c_dim': 0})
    copy_weights(network, plain)
    return plain


_BAKERS: dict[type, Callable[[Any, torch.Tensor], Any]] = {
    HyperGenerator: _bake_generator, HyperDiscriminator: _bake_discriminator,
    Generator: _bake_plain_generator, Discriminator: _bake_plain_discriminator,
}
