"""Small source networks, and hyper-modulated ones that hold their weights."""

import torch

from hyper_plugin.networks import HyperDiscriminator, HyperGenerator
from torch_utils import misc
from training.networks import Discriminator, Generator

NUM_CLASSES = 3


def randomise_(module, seed=1):
    """Give every tensor that starts as a constant (biases, noise strengths, running mean) a value, as if trained."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in misc.named_params_and_buffers(module):
            if name.endswith(('bias', 'noise_strength', 'w_avg')):
                tensor.add_(torch.randn(tensor.shape, generator=generator) * 0.3)
    return module


def make_source(resolution=16, img_channels=3, z_dim=6, w_dim=5, **synthesis_kwargs):
    """An unconditional generator in evaluation mode."""
    channels = dict(channel_base=64, channel_max=6)
    G = Generator(z_dim, 0, w_dim, resolution, img_channels, mapping_kwargs=dict(num_layers=2),
                  synthesis_kwargs={**channels, **synthesis_kwargs})
    return randomise_(G).eval().requires_grad_(False)


def make_hyper(source, c_dim=NUM_CLASSES, **kwargs):
    """A hyper-modulated generator with the source's weights, in evaluation mode."""
    G = HyperGenerator(**{**source.init_kwargs, 'z_dim': source.z_dim, 'c_dim': c_dim, 'w_dim': source.w_dim,
                          'img_resolution': source.img_resolution, 'img_channels': source.img_channels},
                       **dict(dict(code_dim=4), **kwargs))
    misc.copy_params_and_buffers(source, G)
    return G.eval()


def make_varied_hyper():
    """As if trained: the classes of make_hyper() differ, and images lie between -1 and 1."""
    G = make_hyper(make_source()).requires_grad_(False)
    G.mapping.class_code.table.mul_(6)
    for name, buffer in G.synthesis.named_buffers():
        if name.endswith('torgb.weight'):
            buffer.mul_(0.1)
    return G


def make_source_D(resolution=16, img_channels=3, **kwargs):
    """An unconditional discriminator in evaluation mode."""
    D = Discriminator(0, resolution, img_channels, channel_base=64, channel_max=6, **kwargs)
    return randomise_(D).eval().requires_grad_(False)


def make_hyper_D(source, c_dim=NUM_CLASSES, **kwargs):
    """A class-conditional discriminator with the source's weights, in evaluation mode."""
    D = HyperDiscriminator(c_dim, source.img_resolution, source.img_channels, **{**source.init_kwargs, **kwargs})
    misc.copy_params_and_buffers(source, D)
    return D.eval()


def labels(*classes, c_dim=NUM_CLASSES):
    """One-hot float32 [N, c_dim]."""
    return torch.eye(c_dim)[torch.tensor(classes)]


def tensors(module):
    """Copies of all parameters and buffers by name."""
    return {name: tensor.detach().clone() for name, tensor in misc.named_params_and_buffers(module)}
