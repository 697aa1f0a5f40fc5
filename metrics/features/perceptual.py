"""Perceptual embeddings with gradients: the squared distance of two is small where images look alike.

    vgg16      NVLabs' VGG16 with the layers and weights of LPIPS (Zhang et al. 2018, arXiv:1801.03924); TorchScript
    imagenet   the same form on EfficientNet-Lite0, without learnt weights (its Eq. 1, w = 1):
               d = sum over layers of the mean over pixels of |f / |f| - g / |g||^2, f and g the features of a pixel

Shapes: N images, C channels, H x W pixels, D numbers.
"""
from collections.abc import Callable

import torch

from dnnlib.urls import find_download
from metrics.perceptual_path_length import LPIPS, to_levels

from . import efficientnet_lite
from .detectors import VGG16_URL, ImageNetDetector, ScriptDetector, get_detector, three_channels

Embedding = Callable[[torch.Tensor], torch.Tensor]  # float [N, 1 or 3, H, W] in [-1, 1] -> [N, D]
NORM_EPSILON = 1e-8  # of the squared norm of a pixel's features, which may be zero
MIN_SIDE, MAX_SIDE = 128, 256  # pixels that images are resized to; smaller ones would have few left in the deep layers


def default_embedding() -> str:
    """'vgg16' if it has been downloaded, else 'imagenet'."""
    return 'imagenet' if find_download(VGG16_URL) is None else 'vgg16'


def get_embedding(spec: str, device: torch.device) -> Embedding:
    """spec: 'vgg16', 'imagenet', or the path or URL of a TorchScript file with VGG16's keywords. Raises OSError, ValueError."""
    detector = get_detector(VGG16_URL if spec == 'vgg16' else spec, device)
    if isinstance(detector, ImageNetDetector):
        return _imagenet_embedding(detector)
    if not isinstance(detector, ScriptDetector):
        raise ValueError(f'--detector={spec} has no perceptual embeddings: choose vgg16, imagenet, or a TorchScript file like '
                         'vgg16')
    detector.check(LPIPS)
    script = detector.script
    for parameter in script.parameters():
        parameter.requires_grad_(False)
    return lambda images: script(three_channels(to_levels(images, crop=False)), **LPIPS).to(torch.float32)


def _imagenet_embedding(detector: ImageNetDetector) -> Embedding:
    def embed(images: torch.Tensor) -> torch.Tensor:
        side = min(max(images.shape[2], MIN_SIDE), MAX_SIDE)
        levels = efficientnet_lite.resize(three_channels(to_levels(images, crop=False)), side)
        return torch.cat([_unit_pixels(features) for features in detector.network.maps(levels)], dim=1)

    return embed


def _unit_pixels(features: torch.Tensor) -> torch.Tensor:
    """[N, C, H, W] -> [N, C H W], each pixel's features of length 1, over the root of the number of pixels."""
    norm = (features.square().sum(dim=1, keepdim=True) + NORM_EPSILON).sqrt()
    return (features / norm).flatten(1) / (features.shape[2] * features.shape[3]) ** 0.5
