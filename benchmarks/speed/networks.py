"""The networks that the benchmark trains and samples: a class-conditional StyleGAN2 and its hyper-modulated counterpart."""
import copy
import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import nn

import legacy
from benchmarks.speed import reference
from hyper_plugin.loss import HyperTransferLoss
from hyper_plugin.networks import HyperDiscriminator, HyperGenerator
from training.loop.averaging import update_ema
from training.loop.optimizer_phases import Phase, make_phases
from training.loss import StyleGAN2Loss
from training.networks import Discriminator, Generator
from training.training_loop import run_phase

OPTIMIZER = dict(class_name='torch.optim.Adam', lr=0.002, betas=[0.0, 0.99], eps=1e-8)
G_INTERVAL, D_INTERVAL = 4, 16  # batches between steps of path length and of R1 regularisation
EMA_BETA = 0.99
# The published sizes for 256x256, and the rank that train_hyper.py chooses there.
PAPER256: dict[str, Any] = dict(resolution=256, channel_base=16384, channel_max=512, map_depth=8, rank=16)
# Seconds of a training iteration are those of its parts, each by its share.
ITERATION = {'Gmain': 1, 'Greg': 1 / G_INTERVAL, 'Dmain': 1, 'Dreg': 1 / D_INTERVAL, 'average': 1}


@dataclasses.dataclass(frozen=True)
class Setup:
    """What a case trains or samples. kind 'plain' or 'hyper'; rank: of the hypernetworks, 0 is full; a plain one ignores it."""

    kind: str
    resolution: int
    classes: int = 10
    rank: int = 0
    device: str = 'cpu'
    channel_base: int = 8192
    channel_max: int = 128
    half: bool = False
    map_depth: int = 2
    code: int = 512  # z_dim and w_dim

    @property
    def network(self) -> str:
        """plain-10, hyper-10, hyper-100-rank8, ..."""
        return f'{self.kind}-{self.classes}' + (f'-rank{self.rank}' if self.rank and self.kind == 'hyper' else '')


def build(setup: Setup, seed: int = 0) -> tuple[Any, Any]:
    """-> G and D with random weights, in training mode."""
    torch.manual_seed(seed)
    half = dict(num_fp16_res=4, conv_clamp=256) if setup.half else {}
    sizes: dict[str, Any] = dict(channel_base=setup.channel_base, channel_max=setup.channel_max, **half)
    g_sizes: dict[str, Any] = dict(z_dim=setup.code, c_dim=setup.classes, w_dim=setup.code, img_resolution=setup.resolution,
                                   img_channels=3, mapping_kwargs=dict(num_layers=setup.map_depth), synthesis_kwargs=sizes)
    G: nn.Module
    D: nn.Module
    if setup.kind == 'hyper':
        G = HyperGenerator(**g_sizes, rank=setup.rank, init_scale=0.1)
        D = HyperDiscriminator(setup.classes, setup.resolution, 3, **sizes)
    else:
        G = Generator(**g_sizes)
        D = Discriminator(setup.classes, setup.resolution, 3, **sizes)
    return G.to(setup.device).train(), D.to(setup.device).train()


def random_snapshots(folder: Path) -> dict[str, Path]:
    """Files of random hyper-modulated networks with ten named classes, by image size: the demo's and the published sizes."""
    found = {}
    for setup in (Setup('hyper', 32, channel_base=1024, channel_max=64, code=128), Setup('hyper', **PAPER256)):
        name = f'{setup.resolution}x{setup.resolution}'
        found[name] = folder / f'random-{name}.pkl'
        G, _D = build(setup)
        names = [f'class {number}' for number in range(setup.classes)]
        legacy.save_network_pkl(found[name], dict(G=G, D=None, G_ema=G, class_names=names))
    return found


def draw_labels(count: int, classes: int, device: str) -> torch.Tensor:
    """One-hot labels [count, classes] of random classes."""
    return torch.nn.functional.one_hot(torch.randint(classes, [count]), classes).float().to(device)


def labels_in_turn(count: int, classes: int, device: str) -> torch.Tensor:
    """One-hot labels [count, classes], class after class: as many different ones as there can be, whatever is drawn."""
    return torch.eye(classes, device=device)[torch.arange(count) % classes]


class Training:
    """One training set-up, of which single steps can be run: with the repository's loop, or by the plainest one."""

    def __init__(self, setup: Setup, batch: int, is_reference: bool = False, loss_class: Any = StyleGAN2Loss, **loss_kwargs: Any):
        self.setup, self.batch, self.is_reference = setup, batch, is_reference
        self.G, self.D = build(setup)
        if is_reference:
            reference.store_plane_by_plane(self.G)
            reference.store_plane_by_plane(self.D)
        self.average = copy.deepcopy(self.G).eval().requires_grad_(False)
        device = torch.device(setup.device)
        self.loss = loss_class(device=device, G_mapping=self.G.mapping, G_synthesis=self.G.synthesis, D=self.D, **loss_kwargs)
        self.phases = {}
        for phases in (make_phases('G', self.G, OPTIMIZER, G_INTERVAL), make_phases('D', self.D, OPTIMIZER, D_INTERVAL)):
            if is_reference:
                settings = {name: phases[0].opt.defaults[name] for name in ('lr', 'betas', 'eps')}
                phases[0].opt = phases[1].opt = torch.optim.Adam(phases[0].params, **settings)
            self.phases.update({phase.name: phase for phase in phases})
        if loss_class is HyperTransferLoss:
            del self.phases['Greg']  # a phase without a loss
        self.images = torch.randn(batch, 3, setup.resolution, setup.resolution, device=setup.device)

    def shares(self) -> dict[str, float]:
        """The parts of an iteration and how often each comes."""
        return {name: share for name, share in ITERATION.items() if name in self.phases or name == 'average'}

    def run(self, part: str) -> None:
        """One optimiser step of a phase, or one step of the averaged generator."""
        if part == 'average':
            average = reference.update_average if self.is_reference else update_ema
            average(self.average, self.G, EMA_BETA)
            return
        c = draw_labels(2 * self.batch, self.setup.classes, self.setup.device)
        z = torch.randn(self.batch, self.setup.code, device=self.setup.device)
        batch = dict(real_img=self.images, real_c=c[:self.batch], gen_z=z, gen_c=c[self.batch:])
        if self.is_reference:
            self._plain_step(self.phases[part], batch)
        else:
            run_phase(self.phases[part], self.loss, **batch, batch_gpu=self.batch)

    def _plain_step(self, phase: Phase, batch: dict[str, torch.Tensor]) -> None:
        phase.opt.zero_grad(set_to_none=True)
        for param in phase.params:
            param.requires_grad_(True)
        self.loss.accumulate_gradients(phase=phase.name, **batch, sync=True, gain=phase.interval)
        for param in phase.params:
            param.requires_grad_(False)
            if param.grad is not None:
                torch.nan_to_num(param.grad, nan=0, posinf=1e5, neginf=-1e5, out=param.grad)
        phase.opt.step()
