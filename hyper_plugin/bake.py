"""One class of a hyper-modulated network as a plain unconditional one of the source's architecture.

For a fixed label c the class code v is a constant, and with it every kernel and bias, and the class term of the logit:

    W <- W + dg(v) (W - mu) + sigma db_w(v),   b <- b + db(v),   out(h) <- out(h) + <u, h> / sqrt(dim)

u [dim] is the label's head, or P^T map(c) with projection. All other tensors are the source's own. Images and logits are
those of the label, up to rounding; the cost is the source's.
"""
import inspect
from typing import Any

import numpy as np
import torch
from torch import nn

from torch_utils import misc

from .networks import HyperDiscriminator, HyperGenerator, HyperSynthesisLayer, host


@torch.no_grad()
def bake_generator(G: HyperGenerator, label: torch.Tensor) -> nn.Module:
    """The host's Generator, c_dim 0, with the label's kernels. label: [K] one-hot or soft."""
    plain = _unconditional(host.Generator, G)
    v = G.mapping.class_code(label[None])
    for name, layer in G.named_modules():
        if isinstance(layer, HyperSynthesisLayer):
            kernels, _power, offsets = layer.hyper(v, layer.weight)
            baked = plain.get_submodule(name)
            baked.weight.copy_(kernels[0])
            baked.bias.copy_(layer.bias + offsets[0])
    return plain


@torch.no_grad()
def bake_discriminator(D: HyperDiscriminator, label: torch.Tensor) -> nn.Module:
    """The host's Discriminator, c_dim 0, whose last layer holds the label's term. label: [K] one-hot or soft."""
    plain = _unconditional(host.Discriminator, D)
    if D.d_cond == 'heads':
        u = label @ D.heads
    else:
        u = D.mapping(None, label[None])[0] @ (D.project.weight * D.project.weight_gain)
    out = plain.b4.out
    out.weight.add_(u / np.sqrt(len(u)) / out.weight_gain)
    return plain


def _unconditional(host_class: type[nn.Module], network: Any) -> Any:
    """The host's network for the constructor arguments of `network`, without classes, filled with what both have."""
    given = inspect.signature(type(network)).bind(*network.init_args, **network.init_kwargs).arguments
    given.update(given.pop('kwargs', {}))
    known = inspect.signature(host_class).parameters
    with torch.random.fork_rng(devices=[]):  # the constructor's random weights are overwritten
        plain = host_class(**{**{name: value for name, value in given.items() if name in known}, 'c_dim': 0})
    misc.copy_params_and_buffers(network, plain)
    return plain.eval().requires_grad_(False)
