"""Self-initialisation (Laria et al. 2022, section 3.2): the hyper-modulated generator equals its source for every
class before any real image is seen.

Both ways minimise the distance between the features f_b of the frozen source and those of the hyper-modulated
generator, for the same z, the same noise and a random class, after every block b and for the image:

    L = sum_b  mean |f_b(z) - f_b(z, c)| / mean |f_b(z)|

exact    the minimum, zero, in closed form: all modulations are zero. No training.
distill  the paper's: from a random hypernetwork by gradient descent.
"""
import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.functional import one_hot

EVALUATION_IMAGES = 256
EVALUATION_BATCH = 32
PATIENCE = 5  # measurements without a better one before the rate is halved
SMALLEST_RATE = 1 / 256  # of the first; the error has then stopped improving


@dataclasses.dataclass
class SelfInitResult:
    """curve: (images seen, relative error). relative_error: mean over blocks, measured on fixed z and classes."""

    method: str
    relative_error: float
    images: int
    curve: list[tuple[int, float]]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for selfinit.json."""
        return dataclasses.asdict(self)


def block_features(synthesis: nn.Module, ws: torch.Tensor) -> list[torch.Tensor]:
    """What every block of a synthesis network puts out, [N, C, H, W], and the image last; with constant noise."""
    features: list[torch.Tensor] = []
    blocks = [getattr(synthesis, f'b{resolution}') for resolution in synthesis.block_resolutions]
    handles = [block.register_forward_hook(lambda _block, _inputs, outputs: features.append(outputs[0])) for block in blocks]
    try:
        image = synthesis(ws, noise_mode='const')
    finally:
        for handle in handles:
            handle.remove()
    return [*features, image]


def feature_errors(source: nn.Module, hyper: nn.Module, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    """Relative L1 distance of every block's features and of the image: [blocks + 1], with gradients of `hyper`."""
    with torch.no_grad():
        wanted = block_features(source.synthesis, source.mapping(z, None))
    found = block_features(hyper.synthesis, hyper.mapping(z, c))
    return torch.stack([(f - w).abs().mean() / w.abs().mean() for f, w in zip(found, wanted, strict=True)])


def draw(count: int, G: nn.Module, generator: torch.Generator, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """z [count, z_dim] and uniform one-hot labels [count, K], from a CPU generator."""
    z = torch.randn([count, G.z_dim], generator=generator)
    c = one_hot(torch.randint(G.c_dim, [count], generator=generator), G.c_dim)
    return z.to(device), c.to(torch.float32).to(device)


@torch.no_grad()
def relative_error(source: nn.Module, hyper: nn.Module, device: torch.device) -> float:
    """Feature error, mean over blocks and image, on z and classes that are the same in every call."""
    generator = torch.Generator().manual_seed(0)
    rounds = EVALUATION_IMAGES // EVALUATION_BATCH
    errors = [feature_errors(source, hyper, *draw(EVALUATION_BATCH, hyper, generator, device)) for _ in range(rounds)]
    return float(torch.stack(errors).double().mean())


def exact(source: nn.Module, hyper: nn.Module, device: torch.device) -> SelfInitResult:
    """Set every modulation of `hyper`, which holds the source's weights, to zero. Both in evaluation mode."""
    hyper.scale_modulation_(0)
    error = relative_error(source, hyper, device)
    return SelfInitResult('exact', error, 0, [(0, error)])


def distill(source: nn.Module, hyper: nn.Module, device: torch.device, kimg: float, generator: torch.Generator, batch: int = 16,
            rate: float = 0.0025, report: Callable[[int, float], None] = lambda images, error: None) -> SelfInitResult:
    """Train the hypernetwork of `hyper`, which holds the source's weights, from where it is. Both in evaluation mode.

    Ends after `kimg` thousand images, or when the error has stopped improving: the rate is halved after PATIENCE
    measurements (one every thousand images) without a better one, and the end is SMALLEST_RATE. The best state is kept.
    report(images, error) is called after every measurement.
    """
    of_source = dict(source.named_parameters())  # with finetune, some of these are parameters of hyper too
    hyper.requires_grad_(False)
    learned = [parameter.requires_grad_(True) for name, parameter in hyper.named_parameters() if name not in of_source]
    optimizer = torch.optim.Adam(learned, lr=rate, betas=(0.9, 0.99), eps=1e-8)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=PATIENCE - 1, threshold=0.01)
    curve = [(0, relative_error(source, hyper, device))]
    report(*curve[0])
    best_error, best = curve[0][1], [parameter.detach().clone() for parameter in learned]
    for images in _batches(kimg, batch):
        loss = feature_errors(source, hyper, *draw(batch, hyper, generator, device)).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if images // 1000 > (images - batch) // 1000 or images >= kimg * 1000:
            error = relative_error(source, hyper, device)
            curve.append((images, error))
            report(images, error)
            schedule.step(error)
            if error < best_error:
                best_error, best = error, [parameter.detach().clone() for parameter in learned]
            if not math.isfinite(error):
                raise FloatingPointError(f'self-initialisation diverged: error {error} after {images} images; '
                                         'lower --hyper-scale')
            if optimizer.param_groups[0]['lr'] < rate * SMALLEST_RATE:
                break
    with torch.no_grad():
        for parameter, value in zip(learned, best, strict=True):
            parameter.copy_(value)
    return SelfInitResult('distill', best_error, curve[-1][0], curve)


def _batches(kimg: float, batch: int) -> Iterator[int]:
    """Images seen after each batch, until there are kimg thousand."""
    return iter(range(batch, math.ceil(kimg * 1000 / batch) * batch + 1, batch))
