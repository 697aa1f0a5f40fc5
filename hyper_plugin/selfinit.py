"""Self-initialisation (Laria et al. 2022, section 3.2): make the hyper-modulated generator equal its source for every
class, before training on real images.

Both ways minimise the distance between the features f_b of the frozen source and of the hyper-modulated generator,
for the same z, the same noise and a random class, after every block b and for the image:

    L = sum_b  mean |f_b(z) - f_b(z, c)| / mean |f_b(z)|

exact    the minimum, zero, in closed form: all modulations are zero. No training.
distill  the paper's way: gradient descent from a random hypernetwork.
"""
import dataclasses
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.functional import one_hot

EVALUATION_IMAGES = 256
EVALUATION_BATCH = 32
PATIENCE = 5  # measurements without improvement after which the learning rate is halved
SMALLEST_RATE = 1 / 256  # of the initial learning rate; below it, training ends


@dataclasses.dataclass
class SelfInitResult:
    """curve: (images seen, relative error). relative_error: mean over blocks, measured on fixed z and classes."""

    method: str
    relative_error: float
    images: int
    curve: list[tuple[int, float]]


def block_features(synthesis: nn.Module, ws: torch.Tensor, **code: torch.Tensor) -> list[torch.Tensor]:
    """The output of every block of a synthesis network, [N, C, H, W], and finally the image; with constant noise. code: as in
    HyperSynthesis."""
    features: list[torch.Tensor] = []

    def keep(_block: nn.Module, _inputs: Any, keywords: dict[str, Any], outputs: Any) -> None:
        code = keywords.get('code')  # hyper-modulated blocks get the batch sorted by it
        features.append(outputs[0] if code is None else code.restore(outputs[0]))

    blocks = [getattr(synthesis, f'b{resolution}') for resolution in synthesis.block_resolutions]
    handles = [block.register_forward_hook(keep, with_kwargs=True) for block in blocks]
    try:
        image = synthesis(ws, noise_mode='const', **code)
    finally:
        for handle in handles:
            handle.remove()
    return [*features, image]


def feature_errors(source: nn.Module, hyper: nn.Module, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    """Relative L1 distance of every block's features and of the image: [blocks + 1], with gradients of `hyper`."""
    with torch.no_grad():
        wanted = block_features(source.synthesis, source.mapping(z, None))
    ws, code = hyper.mapping(z, c, code_apart=True)
    found = block_features(hyper.synthesis, ws, code=code)
    return torch.stack([(f - w).abs().mean() / w.abs().mean() for f, w in zip(found, wanted, strict=True)])


def draw(count: int, G: nn.Module, generator: torch.Generator, device: torch.device,
         labels: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """z [count, z_dim] and labels [count, K], from a CPU generator. labels: rows to draw from; by default one-hot labels."""
    z = torch.randn([count, G.z_dim], generator=generator)
    rows = torch.randint(G.c_dim if labels is None else len(labels), [count], generator=generator)
    c = one_hot(rows, G.c_dim).to(torch.float32) if labels is None else labels[rows]
    return z.to(device), c.to(device)


@torch.no_grad()
def relative_error(source: nn.Module, hyper: nn.Module, device: torch.device, labels: torch.Tensor | None = None) -> float:
    """Mean feature error over blocks and image. Every call uses the same z and classes (or rows of `labels`)."""
    generator = torch.Generator().manual_seed(0)
    rounds = EVALUATION_IMAGES // EVALUATION_BATCH
    errors = [feature_errors(source, hyper, *draw(EVALUATION_BATCH, hyper, generator, device, labels)) for _ in range(rounds)]
    return float(torch.stack(errors).double().mean())


def exact(source: nn.Module, hyper: nn.Module, device: torch.device, labels: torch.Tensor | None = None) -> SelfInitResult:
    """Set every modulation of `hyper`, which holds the source's weights, to zero. Both are in evaluation mode. labels: as in
    distill(), for the error."""
    hyper.scale_modulation_(0)
    error = relative_error(source, hyper, device, labels)
    return SelfInitResult('exact', error, 0, [(0, error)])


def distill(source: nn.Module, hyper: nn.Module, device: torch.device, kimg: float, generator: torch.Generator, batch: int = 16,
            rate: float = 0.0025, report: Callable[[int, float], None] = lambda images, error: None,
            saved: dict[str, Any] | None = None, save: Callable[[dict[str, Any]], None] = lambda state: None,
            stop: Callable[[], bool] = lambda: False, labels: torch.Tensor | None = None) -> SelfInitResult | None:
    """Train the hypernetwork of `hyper`, which holds the source's weights. Both are in evaluation mode.

    Training ends after `kimg` thousand images, or when the error no longer improves: the learning rate is halved after PATIENCE
    measurements (one every thousand images) without improvement, and training ends at SMALLEST_RATE. The best state is kept.
    After every measurement, report(images, error) and save(state) are called; `saved` takes such a state and continues from it
    exactly. If stop() is true, the state is saved and None returned. labels: [M, K] to draw label vectors from; by default labels
    are one-hot.
    """
    work = Distillation(source, hyper, device, generator, batch, rate, labels)
    if saved is None:
        report(*work.measure())
    else:
        work.load_state_dict(saved)
    total_images = math.ceil(kimg * 1000 / batch) * batch
    while work.images < total_images and work.rate >= rate * SMALLEST_RATE:
        if stop():
            save(work.state_dict())
            return None
        work.step()
        if work.images // 1000 > (work.images - batch) // 1000 or work.images >= kimg * 1000:
            report(*work.measure())
            save(work.state_dict())
    return work.finish()


class Distillation:
    """The state of a distillation. source, hyper: as in distill()."""

    def __init__(self, source: nn.Module, hyper: nn.Module, device: torch.device, generator: torch.Generator, batch: int,
                 rate: float, labels: torch.Tensor | None = None):
        self.source, self.hyper, self.device, self.labels = source, hyper, device, labels
        self.generator, self.batch = generator, batch
        of_source = dict(source.named_parameters())  # with finetune, some of these are parameters of hyper too
        hyper.requires_grad_(False)
        self.learned = {name: parameter.requires_grad_(True) for name, parameter in hyper.named_parameters()
                        if name not in of_source}
        self.optimizer = torch.optim.Adam(self.learned.values(), lr=rate, betas=(0.9, 0.99), eps=1e-8)
        self.schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(self.optimizer, factor=0.5, patience=PATIENCE - 1,
                                                                   threshold=0.01)
        self.images = 0
        self.curve: list[tuple[int, float]] = []
        self.best_error = math.inf
        self.best = self._copy_learned()

    @property
    def rate(self) -> float:
        """The current learning rate."""
        return self.optimizer.param_groups[0]['lr']

    def step(self) -> None:
        """One batch."""
        z, c = draw(self.batch, self.hyper, self.generator, self.device, self.labels)
        loss = feature_errors(self.source, self.hyper, z, c).sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.images += self.batch

    def measure(self) -> tuple[int, float]:
        """Measure the error, update schedule and best state, and return images so far and the error. FloatingPointError if it
        is not finite."""
        error = relative_error(self.source, self.hyper, self.device, self.labels)
        if not math.isfinite(error):
            raise FloatingPointError(f'self-initialisation diverged: error {error} after {self.images} images; '
                                     'lower --hyper-scale')
        if self.curve:  # the first error says nothing about the learning rate
            self.schedule.step(error)
        self.curve.append((self.images, error))
        if error < self.best_error:
            self.best_error, self.best = error, self._copy_learned()
        return self.curve[-1]

    def finish(self) -> SelfInitResult:
        """Put the best state into the network."""
        self._set_learned(self.best)
        return SelfInitResult('distill', self.best_error, self.curve[-1][0], self.curve)

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values."""
        return dict(
            learned=self._copy_learned(),
            best=self.best,
            best_error=self.best_error,
            images=self.images,
            curve=self.curve,
            optimizer=self.optimizer.state_dict(),
            schedule=self.schedule.state_dict(),
            generator=self.generator.get_state(),
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state of the same networks."""
        self._set_learned(state['learned'])
        self.best = {name: tensor.to(self.device) for name, tensor in state['best'].items()}
        self.best_error, self.images = state['best_error'], state['images']
        self.curve = [(images, error) for images, error in state['curve']]
        self.optimizer.load_state_dict(state['optimizer'])
        self.schedule.load_state_dict(state['schedule'])
        self.generator.set_state(state['generator'])

    @torch.no_grad()
    def _set_learned(self, values: dict[str, torch.Tensor]) -> None:
        for name, parameter in self.learned.items():  # not by torch_utils.named_tensors, which host codebases lack
            parameter.copy_(values[name])

    def _copy_learned(self) -> dict[str, torch.Tensor]:
        return {name: parameter.detach().clone() for name, parameter in self.learned.items()}
