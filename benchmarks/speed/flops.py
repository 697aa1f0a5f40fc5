"""How much arithmetic images and training iterations need, from the networks' shapes.

A multiplication and an addition are two operations (FLOP). Counted are convolutions and matrix products; filters, activations
and the optimiser are not, and neither is work that a way of computing adds.
"""
from torch import nn

from hyper_plugin.networks import HyperModulation, Hypernetwork
from training.networks import Conv2dLayer, FullyConnectedLayer, SynthesisLayer, ToRGBLayer

# In passes through the generator and the discriminator, a backward pass counting twice (inputs and weights):
#   Gmain  G forward 1, D forward 1, D backward to the images 1, G backward 2
#   Greg   half a batch: G forward 1, gradient of the styles 1, their derivative 2, back through the forward pass 2
#   Dmain  G forward 1; real and generated images: D forward 1, backward 2
#   Dreg   D forward 1, gradient of the images 1, its derivative 2, back through the forward pass 2
PASSES = {'Gmain': (3, 2), 'Greg': (3, 0), 'Dmain': (1, 6), 'Dreg': (0, 6), 'average': (0, 0)}


def flop_per_image(net: nn.Module) -> int:
    """Of a forward pass of G or D, without what is done once per class."""
    total = 0
    once = {id(layer) for module in net.modules() if isinstance(module, HyperModulation) for layer in module.modules()}
    size: dict[int, int] = {}  # by layer: pixels along a side at which its kernel is applied
    for name, module in net.named_modules():
        res = _resolution(name)
        if isinstance(module, SynthesisLayer):
            size[id(module)] = module.resolution // module.up
        elif isinstance(module, ToRGBLayer):
            size[id(module)] = res
        elif isinstance(module, Conv2dLayer):
            size[id(module)] = res // module.down // (module.up if module.padding == 0 else 1)
        if id(module) in size:
            total += 2 * module.weight.numel() * size[id(module)] ** 2
        elif isinstance(module, FullyConnectedLayer) and id(module) not in once:
            total += 2 * module.weight.numel()
    return total


def flop_per_class(net: nn.Module) -> int:
    """Of the hypernetworks, for one class code."""
    total = 0
    for module in net.modules():
        if isinstance(module, HyperModulation):
            total += sum(2 * layer.weight.numel() for layer in module.modules() if isinstance(layer, FullyConnectedLayer))
        if isinstance(module, Hypernetwork):
            total += 2 * module.shape[0] * module.shape[1] * module.rank
    return total


def iteration_gflop(G: nn.Module, D: nn.Module, batch: int, classes: float, shares: dict[str, float]) -> float:
    """Of a training iteration whose phases come with these shares; `classes` in a batch."""
    g = batch * flop_per_image(G) + classes * flop_per_class(G)
    d = batch * flop_per_image(D)
    return sum(share * (PASSES[part][0] * g + PASSES[part][1] * d) for part, share in shares.items()) / 1e9


def expected_classes(batch: int, classes: int) -> float:
    """How many classes a batch has on average."""
    return classes * (1 - (1 - 1 / classes) ** batch)


def _resolution(name: str) -> int:
    """synthesis.b32.conv0 -> 32; 0 outside of blocks."""
    found = [part[1:] for part in name.split('.') if part[:1] == 'b' and part[1:].isdecimal()]
    return int(found[0]) if found else 0
