"""A small convolutional classifier that judges to which class a generated image belongs.

It is trained on real labelled images only, in well under a minute for a few thousand 32x32 images on two CPU cores.
Trained weights are cached under a hash of everything that determines them.

Shapes: N images, C channels (1 or 3), H = W a power of two, K classes.
"""
import hashlib
import json
import math
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from tqdm import tqdm

from dnnlib.archives import check_archive, warn_made_anew
from dnnlib.files import whole_file

from .labelled_images import load_labelled

MAX_RESOLUTION = 64  # larger images are averaged down to this before they are judged
BATCH = 64
EPOCHS, MIN_STEPS = 20, 400  # 99 % on handwritten digits (1,400 training images) in some 12 s on one core


class JudgeNet(torch.nn.Module):
    """uint8 images [N, C, H, W] -> class logits [N, K]."""

    def __init__(self, num_channels: int, resolution: int, num_classes: int, width: int = 16):
        super().__init__()
        self.num_channels = num_channels
        self.resolution = min(resolution, MAX_RESOLUTION)
        layers, channels = [], num_channels
        for stage in range(int(math.log2(self.resolution)) - 2):  # halves the image down to 4x4
            grown = min(width * 2**stage, 8 * width)
            layers += [_conv(channels, grown), _conv(grown, grown), torch.nn.MaxPool2d(2)]
            channels = grown
        self.features = torch.nn.Sequential(*layers)
        self.out = torch.nn.Linear(channels * 16, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.judge(self.prepare(images))

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 images -> float32 [N, D]: the maps before the last layer, averaged over their 4x4 places (D = 64 at 32 pixels).

        The last layer sees the places apart; their mean is short enough for the covariance of a few hundred images.
        """
        return self.features(self.prepare(images)).mean(dim=(2, 3))

    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 [0, 255] -> float32 [-1, 1], on the network's device, at the resolution that is judged.

        Of grey images with three equal channels the first is taken.
        """
        x = images[:, :self.num_channels].to(self.out.weight.device, torch.float32) / 127.5 - 1
        return F.adaptive_avg_pool2d(x, self.resolution) if x.shape[-1] > self.resolution else x

    def judge(self, x: torch.Tensor) -> torch.Tensor:
        """What prepare() returns -> logits [N, K]."""
        return self.out(self.features(x).flatten(1))


def _conv(num_in: int, num_out: int) -> torch.nn.Module:
    conv = torch.nn.Conv2d(num_in, num_out, 3, padding=1, bias=False)
    return torch.nn.Sequential(conv, torch.nn.BatchNorm2d(num_out), torch.nn.ReLU())


def augment(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Small random rotation, scaling, shift and noise of float images [N, C, H, W]; drawn on the CPU from generator."""
    n = len(x)
    angle = 0.15 * torch.randn(n, generator=generator)  # radians: 9 degrees
    scale = torch.exp(0.08 * torch.randn(n, generator=generator))
    shift = 0.12 * torch.randn(n, 2, generator=generator)  # 0.12 of half the size: 2 pixels of 32
    cos, sin = scale * angle.cos(), scale * angle.sin()
    theta = torch.stack([torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1)  # [N, 2, 3]
    grid = F.affine_grid(theta.to(x.device), list(x.shape), align_corners=False)
    x = F.grid_sample(x, grid, padding_mode='border', align_corners=False)
    return x + 0.1 * torch.randn(x.shape, generator=generator).to(x.device)


def train_judge(
    images: torch.Tensor,
    labels: torch.Tensor,
    num_classes: int,
    generator: torch.Generator,
    num_steps: int | None = None,
    device: torch.device | str = 'cpu',
) -> JudgeNet:
    """Trains a JudgeNet on uint8 images [N, C, H, W] and int64 labels [N]; returned in evaluation mode, frozen.

    num_steps: optimiser steps of up to 64 images each; None means 20 epochs, and not less than 400 steps.
    The result depends on generator (on the CPU) and the arguments alone. Raises ValueError for images too small.
    """
    check_resolution(images)
    with torch.random.fork_rng(devices=[]):  # module constructors draw from the global generator
        torch.manual_seed(int(torch.randint(2**62, [], generator=generator)))
        net = JudgeNet(images.shape[1], images.shape[2], num_classes)
    net = net.to(device)
    num_batches = math.ceil(len(images) / BATCH)
    num_steps = num_steps or max(EPOCHS * num_batches, MIN_STEPS)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=num_steps)
    batches: list[torch.Tensor] = []
    for _ in tqdm(range(num_steps), desc='Training the judge', unit='step', delay=2, leave=False, disable=None):
        batches = batches or list(torch.randperm(len(images), generator=generator).tensor_split(num_batches))
        index = batches.pop()
        x = augment(net.prepare(images[index]), generator)
        loss = F.cross_entropy(net.judge(x), labels[index].to(device), label_smoothing=0.05)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return net.eval().requires_grad_(False)


def check_resolution(images: torch.Tensor) -> None:
    """Raises ValueError unless the images [N, C, H, W] are square, a power of two of at least 16, with 1 or 3 channels."""
    channels, height, width = images.shape[1:]
    if height != width or height < 16 or height & (height - 1) or channels not in (1, 3):
        raise ValueError(
            f'the judge takes square images of 1 or 3 channels, a power of two of at least 16 pixels; '
            f'found {channels} channels of {height}x{width}'
        )


def cached_judge(
    images: torch.Tensor,
    labels: torch.Tensor,
    num_classes: int,
    seed: int,
    cache_dir: str | os.PathLike | None,
    num_steps: int | None = None,
    device: torch.device | str = 'cpu',
) -> JudgeNet:
    """train_judge() with its weights kept in cache_dir, or nowhere if that is None. A damaged file is trained anew.

    Weights that cannot be kept, on a full disk above all, still count: a line on stderr says so.
    """
    if cache_dir is None:
        return train_judge(images, labels, num_classes, torch.Generator().manual_seed(seed), num_steps, device)
    path = Path(cache_dir) / f'judge-{_fingerprint(images, labels, num_classes, seed, num_steps)}.pt'
    net = _load_judge(path, images, num_classes)
    if net is None:
        net = train_judge(images, labels, num_classes, torch.Generator().manual_seed(seed), num_steps, device)
        try:
            save_judge(net, path)
        except OSError as error:
            print(f'Warning: the classifier was not kept for the next time: {error}', file=sys.stderr, flush=True)
    return net.to(device)


def dataset_judge(
    dataset_kwargs: dict[str, Any], device: torch.device | str, cache_dir: str | os.PathLike | None, seed: int = 0
) -> tuple[JudgeNet, str]:
    """The judge of all images of a labelled data set, and its judge_identity()."""
    data = load_labelled(dataset_kwargs, MAX_RESOLUTION)
    net = cached_judge(data.images, data.labels, data.num_classes, seed, cache_dir, device=device)
    return net, judge_identity(net)


def judge_identity(net: JudgeNet) -> str:
    """The name of a judge in results, with a hash of its weights and program text.

    What made it does not fix it: trained anew on another number of threads or another device, it has other weights.
    """
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for value in net.state_dict().values():
        digest.update(value.cpu().numpy().tobytes())
    return f'classifier-{digest.hexdigest()[:32]}'


def save_judge(net: JudgeNet, path: Path) -> None:
    """Keep the weights; OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part, open(part, 'wb') as file:  # torch tells a full disk only through an opened file
        torch.save({name: value.cpu() for name, value in net.state_dict().items()}, file)


def _load_judge(path: Path, images: torch.Tensor, num_classes: int) -> JudgeNet | None:
    """The judge from a file, frozen, for images of this shape; None if the file is missing, or cannot be used, which is said."""
    if not path.is_file():
        return None
    with torch.device('meta'):  # no random draws, no memory
        net = JudgeNet(images.shape[1], images.shape[2], num_classes)
    try:
        check_archive(path)
        weights = torch.load(path, weights_only=True)
        _check_weights(weights, net)
        net.load_state_dict(weights, assign=True)
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        warn_made_anew('the classifier', path, error)
        return None
    return net.eval().requires_grad_(False)


def _check_weights(weights: Any, net: JudgeNet) -> None:
    """ValueError unless the weights have the names, shapes and types of the network's, and are finite."""
    expected = {name: (value.shape, value.dtype) for name, value in net.state_dict().items()}
    found = {name: (value.shape, value.dtype) for name, value in weights.items() if isinstance(value, torch.Tensor)} \
        if isinstance(weights, dict) else {}
    if found != expected:
        raise ValueError('it holds the weights of another network')
    if not all(value.isfinite().all() for value in weights.values()):
        raise ValueError('it holds weights that are not finite')


def _fingerprint(images: torch.Tensor, labels: torch.Tensor, num_classes: int, seed: int, num_steps: int | None) -> str:
    """Hash of the data, the settings and this file, which fixes the network and its training."""
    settings = json.dumps([list(images.shape), num_classes, seed, num_steps])
    digest = hashlib.sha256(settings.encode())
    digest.update(Path(__file__).read_bytes())
    digest.update(images.cpu().contiguous().numpy().tobytes())
    digest.update(labels.cpu().numpy().tobytes())
    return digest.hexdigest()[:32]
