"""Networks that turn images into features, by name, URL or file.

    inception    the metric's own network as NVLabs publish it: Inception V3 of 2015-12-05, or VGG16; TorchScript
    dinov2       DINOv2 ViT-L/14 (Oquab et al. 2023, arXiv:2304.07193), for Frechet and kernel distances in its space
                 (Stein et al. 2023, arXiv:2306.04675); dinov2:FILE takes the weights from a file, also of ViT-S and ViT-B
    imagenet     EfficientNet-Lite0, trained on ImageNet; its weights are an installed package (extra 'imagenet'), no download
    classifier   a small network trained on the labelled real data itself: needs no download
    PATH or URL  any TorchScript file that takes uint8 images [N, 3, H, W]

A detector has an identity, which changes with its weights, and is called with uint8 images [N, C, H, W] and keywords that say
what is wanted: return_features=True for features, no_output_bias=True for class probabilities, return_lpips=True with
resize_images=False for embeddings whose squared distance is perceptual. One-channel images are repeated to three.
"""
import functools
import hashlib
import json
import warnings
from collections.abc import Callable, Collection
from typing import Any, Protocol

import torch

import dnnlib

from . import efficientnet_lite
from .class_judge import dataset_judge
from .vision_transformer import load_vision_transformer

_NVLABS, _FOLDER = 'https://nvlabs-fi-cdn.nvidia.com', 'stylegan2-ada-pytorch/pretrained/metrics'
INCEPTION_URL, VGG16_URL = (f'{_NVLABS}/{_FOLDER}/{file}' for file in ('inception-2015-12-05.pt', 'vgg16.pt'))
DINOV2_URL = 'https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth'

NUM_ATTEMPTS = 3  # to download
DIGEST_CHARS = 16  # of SHA-256, in identities
NAMES = ('inception', 'dinov2', 'imagenet', 'classifier')
IMAGENET_SIDE = 128  # pixels that images are resized to: benchmarks/transfer/enlargement.py
CACHED_IMAGES = 8  # whose activations stay in a processor's cache: up to twice as fast as 64 at a time


class Detector(Protocol):
    """What metrics ask of a detector."""

    identity: str

    def __call__(self, images: torch.Tensor, **wanted: bool) -> torch.Tensor:
        """uint8 [N, C, H, W] -> float32 [N, D]."""


def get_detector(
    spec: str, device: torch.device | str, dataset_kwargs: dict[str, Any] | None = None, cache: bool = True
) -> Detector:
    """The detector that spec names: 'inception', 'dinov2', 'dinov2:FILE', 'imagenet', 'classifier', or TorchScript's path or URL.

    dataset_kwargs: the real data that the classifier learns from; cache: keep it on disk. Raises OSError, ValueError in one line.
    """
    if spec == 'classifier':
        if not dataset_kwargs:
            raise ValueError('--detector=classifier learns from the real images, and there are none: give --data')
        whole = {**dataset_kwargs, 'max_size': None, 'xflip': False, 'use_labels': True}
        return _classifier(json.dumps(whole, sort_keys=True), str(device), cache)
    name, _, file = spec.partition(':')
    if name == 'dinov2':
        return _from_file(DinoDetector, file or DINOV2_URL, str(device))
    if spec == 'imagenet':
        return _from_file(ImageNetDetector, efficientnet_lite.find_weights(), str(device))
    return _from_file(ScriptDetector, INCEPTION_URL if spec == 'inception' else spec, str(device))


def check_detector(spec: str, wanted: Collection[str]) -> None:
    """ValueError, before a detector learns, unless that of this name takes the keywords wanted. A file is opened to see."""
    if spec == 'imagenet':
        efficientnet_lite.find_weights()
    if spec.partition(':')[0] == 'dinov2' or spec == 'imagenet' or (spec == 'classifier' and set(wanted) != {'no_output_bias'}):
        _only_features(spec, wanted)
    elif spec not in NAMES and set(wanted) != {'return_features'}:
        script = get_detector(spec, 'cpu')
        assert isinstance(script, ScriptDetector), 'all that have no name are'
        script.check(wanted)


# The last few stay loaded: several metrics, or repetitions of one, use the same.

@functools.lru_cache(maxsize=2)
def _classifier(dataset_kwargs: str, device: str, cache: bool) -> Detector:
    return ClassifierDetector(json.loads(dataset_kwargs), device, cache)


@functools.lru_cache(maxsize=4)
def _from_file(kind: Callable[[str, str, str], Detector], url: str, device: str) -> Detector:
    """A detector from a file or URL; its identity is the file's name and the hash of its bytes."""
    try:
        path = dnnlib.util.open_url(url, num_attempts=NUM_ATTEMPTS, return_filename=True)
    except OSError as error:
        advice = '; --detector=imagenet needs no download' if dnnlib.util.is_url(url) else ''
        raise OSError(f'{error}{advice}') from error
    digest = hashlib.sha256()
    try:
        with open(path, 'rb') as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    except FileNotFoundError as error:
        raise FileNotFoundError(f'--detector: {url!r} is neither a file nor one of {", ".join(NAMES)}') from error
    return kind(path, f'{url.replace(chr(92), "/").rpartition("/")[2]} sha256:{digest.hexdigest()[:DIGEST_CHARS]}', device)


class ScriptDetector:
    """A TorchScript file. Keywords that its forward() lacks are an error, save for return_features: the rest is features."""

    def __init__(self, path: str, identity: str, device: str):
        self.identity, self.device = identity, device
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore', DeprecationWarning)  # of TorchScript, in which these networks are published
                self.script = torch.jit.load(path, map_location=device).eval()
        except RuntimeError as error:
            reason = ' '.join(str(error).split()).partition('. ')[0]
            raise ValueError(f'{path} is not a TorchScript file ({reason}): '
                             'make one with torch.jit.script(network).save(path)') from error
        self.arguments = {argument.name for argument in self.script.forward.schema.arguments}

    @torch.no_grad()
    def __call__(self, images: torch.Tensor, **wanted: bool) -> torch.Tensor:
        self.check(wanted)
        options = {name: value for name, value in wanted.items() if name in self.arguments}
        return self.script(three_channels(images.to(self.device)), **options).to(torch.float32)

    def check(self, wanted: Collection[str]) -> None:
        """ValueError if a keyword is missing."""
        missing = sorted(set(wanted) - self.arguments - {'return_features'})
        if missing:
            raise ValueError(f'detector {self.identity} takes no {", ".join(missing)}, which this metric needs: use inception')


class DinoDetector:
    """The class token of DINOv2. path: the published weights."""

    def __init__(self, path: str, identity: str, device: str):
        self.identity, self.device = identity, device
        self.network = load_vision_transformer(path).to(device)

    @torch.no_grad()
    def __call__(self, images: torch.Tensor, **wanted: bool) -> torch.Tensor:
        _only_features(self.identity, wanted)
        return self.network.embed(three_channels(images.to(self.device)))


class ImageNetDetector:
    """EfficientNet-Lite0 on images resized to IMAGENET_SIDE, which is part of its identity. path: the published weights."""

    def __init__(self, path: str, identity: str, device: str):
        self.identity, self.device = f'{identity} {IMAGENET_SIDE}px', device
        self.network = efficientnet_lite.load_efficientnet_lite(path).to(device)

    @torch.no_grad()
    def __call__(self, images: torch.Tensor, **wanted: bool) -> torch.Tensor:
        _only_features(self.identity, wanted)
        images = three_channels(images.to(self.device))
        pieces = images.split(CACHED_IMAGES if images.device.type == 'cpu' else len(images))
        return torch.cat([self.network.embed(efficientnet_lite.resize(piece, IMAGENET_SIDE)) for piece in pieces])


class ClassifierDetector:
    """A classifier of the real images: features from before its last layer, and class probabilities."""

    def __init__(self, dataset_kwargs: dict[str, Any], device: str, cache: bool):
        cache_dir = dnnlib.make_cache_dir_path('judges') if cache else None
        self.network, self.identity = dataset_judge(dataset_kwargs, device, cache_dir)

    @torch.no_grad()
    def __call__(self, images: torch.Tensor, **wanted: bool) -> torch.Tensor:
        if wanted == dict(no_output_bias=True):
            return self.network(images).softmax(dim=1)
        _only_features(self.identity, wanted)
        return self.network.embed(images)


def three_channels(images: torch.Tensor) -> torch.Tensor:
    """[N, 1 or 3, H, W] -> [N, 3, H, W]."""
    return images.repeat(1, 3, 1, 1) if images.shape[1] == 1 else images


def _only_features(name: str, wanted: Collection[str]) -> None:
    if set(wanted) != {'return_features'}:
        raise ValueError(f'detector {name} has features alone, this metric asks for {", ".join(sorted(wanted))}: use inception')
