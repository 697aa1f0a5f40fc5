"""Contrastive loss in the discriminator: Barlow Twins (Zbontar et al. 2021, arXiv:2103.03230, Eqs. 1-2) on its features.

    X = z_a^T z_b / N,   L = sum_i (1 - X_ii)^2 + lambda sum_{i != j} X_ij^2

z_a, z_b [N, D]: features of two random views of the same images, mean 0 and variance 1 over the batch of all
processes. The host's AugmentPipe makes the views, so no other library is needed.
"""
from typing import Any

import torch
from torch import nn

import dnnlib

# Random views: all transforms that keep the class recognisable, at a fixed strength. Cutout replaces cropping. Flips and
# quarter turns, which may change the class, and noise are left out.
VIEW_TRANSFORMS = dict(scale=1, rotate=1, aniso=1, xfrac=1, brightness=1, contrast=1, hue=1, saturation=1, imgfilter=1, cutout=1,
                       scale_std=0.1, rotate_max=0.05, aniso_std=0.1, xfrac_std=0.05)
VIEW_PROBABILITY = 0.5


def make_views(device: torch.device) -> nn.Module:
    """The random views: images [N, C, H, W] -> images of the same shape."""
    pipe = dnnlib.util.construct_class_by_name(class_name='training.augment.AugmentPipe', **VIEW_TRANSFORMS)
    pipe.p.fill_(VIEW_PROBABILITY)
    return pipe.train().requires_grad_(False).to(device)


class _AllReduce(torch.autograd.Function):
    """Sum over processes. The loss of each process depends on the inputs of all, so gradients are summed too.

    Not torch_utils.collectives, which host codebases lack.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return _AllReduce.forward(ctx, gradient)


def sum_over_processes(x: torch.Tensor) -> torch.Tensor:
    """The sum of x over all processes, with gradients; x itself when there is one process."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return x
    return _AllReduce.apply(x)


def batch_normalise(z: torch.Tensor, count: torch.Tensor, eps: float = 1e-5) -> torch.Tensor:
    """z [N, D] to mean 0 and variance 1 per dimension over all processes' `count` images."""
    centred = z - sum_over_processes(z.sum(dim=0)) / count
    variance = sum_over_processes(centred.square().sum(dim=0)) / count
    return centred * torch.rsqrt(variance + eps)


def barlow_twins(h_a: torch.Tensor, h_b: torch.Tensor, off_diagonal: float = 0.005) -> torch.Tensor:
    """h_a, h_b: [N, D], features of two views of the same N images (any mean and scale). Returns a scalar."""
    count = sum_over_processes(h_a.new_tensor(float(len(h_a))))
    z_a, z_b = batch_normalise(h_a, count), batch_normalise(h_b, count)
    x = sum_over_processes(z_a.T @ z_b) / count  # [D, D]
    diagonal = x.diagonal()
    others = x.square().sum() - diagonal.square().sum()
    return (1 - diagonal).square().sum() + off_diagonal * others
