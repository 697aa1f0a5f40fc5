"""Losses of StyleGAN2-ADA: non-saturating logistic loss (Goodfellow et al. 2014), R1 (Mescheder et al. 2018, Eq. 9)
and path length regularisation (Karras et al. 2020, arXiv:1912.04958, Eq. 4), each for a phase of its own.

    generator      mean softplus(-D(G(z)))
    discriminator  mean softplus(D(G(z))) + softplus(-D(x))
    R1             gamma / 2 * |grad_x D(x)|^2
    path length    weight * (|J_w^T y| - a)^2, y ~ N(0, 1) / sqrt(H W), a the running mean of |J_w^T y|
"""
import numpy as np
import torch
from torch import nn
from torch.nn.functional import softplus

from torch_utils import collectives, misc, training_stats
from torch_utils.ops import conv2d_gradfix

PHASES = {'Gmain', 'Greg', 'Gboth', 'Dmain', 'Dreg', 'Dboth'}


class Loss:
    """What the training loop calls: one phase on one (part of a) batch, gradients added to .grad."""

    def accumulate_gradients(self, phase: str, real_img: torch.Tensor, real_c: torch.Tensor, gen_z: torch.Tensor,
                             gen_c: torch.Tensor, sync: bool, gain: float) -> None:
        raise NotImplementedError


class StyleGAN2Loss(Loss):
    """Real and generated images [N, C, H, W] in [-1, 1]; labels [N, c_dim]; latents [N, z_dim].

    Lazy regularisation passes its interval as `gain`. `sync` says whether this is the last part of a batch.

    Several processes whose gradients are averaged do as one process with all their images, if what a process has per call is
    a multiple of pl_batch_shrink and of the discriminator's minibatch deviation groups. A batch in parts (of batch_gpu
    images) is another thing in one process too: each part has its own deviation groups, and moves pl_mean.
    """

    def __init__(self, device: torch.device, G_mapping: nn.Module, G_synthesis: nn.Module, D: nn.Module,
                 augment_pipe: nn.Module | None = None, style_mixing_prob: float = 0.9, r1_gamma: float = 10,
                 pl_batch_shrink: int = 2, pl_decay: float = 0.01, pl_weight: float = 2):
        self.device = device
        self.G_mapping = G_mapping
        self.style_mixing_prob = style_mixing_prob
        self.G_synthesis = G_synthesis
        self.augment_pipe = augment_pipe
        self.D = D
        self.r1_gamma = r1_gamma
        self.pl_weight = pl_weight
        self.pl_batch_shrink = pl_batch_shrink
        self.pl_mean = torch.zeros([], device=device)
        self.pl_decay = pl_decay

    def run_G(self, z: torch.Tensor, c: torch.Tensor, sync: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """-> images [N, C, H, W] and the (mixed) ws [N, num_ws, w_dim] they were made from."""
        with misc.ddp_sync(self.G_mapping, sync):
            ws = self.G_mapping(z, c)
            if self.style_mixing_prob > 0 and float(torch.rand([])) < self.style_mixing_prob and ws.shape[1] > 1:
                first = int(torch.randint(1, ws.shape[1], []))
                other = self.G_mapping(torch.randn_like(z), c, skip_w_avg_update=True)
                ws = torch.cat([ws[:, :first], other[:, first:]], dim=1)
        with misc.ddp_sync(self.G_synthesis, sync):
            return self.G_synthesis(ws), ws

    def run_D(self, img: torch.Tensor, c: torch.Tensor, sync: bool) -> torch.Tensor:
        """Logits [N, 1] of the augmented images."""
        if self.augment_pipe is not None:
            img = self.augment_pipe(img)
        with misc.ddp_sync(self.D, sync):
            return self.D(img, c)

    def accumulate_gradients(self, phase: str, real_img: torch.Tensor, real_c: torch.Tensor, gen_z: torch.Tensor,
                             gen_c: torch.Tensor, sync: bool, gain: float) -> None:
        if phase not in PHASES:
            raise ValueError(f'phase is {phase!r}; expected one of {", ".join(sorted(PHASES))}')
        network, step = phase[0], phase[1:]
        main = step in ('main', 'both')
        if network == 'G':
            path_length = step in ('reg', 'both') and self.pl_weight != 0
            if main:
                self._step_generator(gen_z, gen_c, sync and not path_length, gain)
            if path_length:
                self._step_path_length(gen_z, gen_c, sync, gain)
            return
        r1 = step in ('reg', 'both') and self.r1_gamma != 0
        fake_loss = self._step_fake(gen_z, gen_c, gain) if main else None
        if main or r1:
            self._step_real(real_img, real_c, sync, gain, fake_loss, r1)

    def _step_generator(self, z: torch.Tensor, c: torch.Tensor, sync: bool, gain: float) -> None:
        img, _ws = self.run_G(z, c, sync)
        logits = self.run_D(img, c, sync=False)
        report_logits('fake', logits)
        loss = softplus(-logits)
        training_stats.report('Loss/G/loss', loss)
        backward(loss, gain)

    def _step_path_length(self, z: torch.Tensor, c: torch.Tensor, sync: bool, gain: float) -> None:
        count = max(z.shape[0] // self.pl_batch_shrink, 1)
        img, ws = self.run_G(z[:count], c[:count], sync)
        direction = torch.randn_like(img) / np.sqrt(img.shape[2] * img.shape[3])
        with conv2d_gradfix.no_weight_gradients():
            grad, = torch.autograd.grad([(img * direction).sum()], [ws], create_graph=True)
        lengths = grad.square().sum(dim=2).mean(dim=1).sqrt()  # [M]
        mean = self.pl_mean.lerp(collectives.mean_over_processes(lengths.mean()), self.pl_decay)
        self.pl_mean.copy_(mean.detach())
        penalty = (lengths - mean).square()
        training_stats.report('Loss/pl_penalty', penalty)
        loss = penalty * self.pl_weight
        training_stats.report('Loss/G/reg', loss)
        backward(loss + reach_all(img), gain)

    def _step_fake(self, z: torch.Tensor, c: torch.Tensor, gain: float) -> torch.Tensor:
        """-> the loss of each generated image, [N, 1], for the report."""
        with torch.no_grad():
            img, _ws = self.run_G(z, c, sync=False)
        logits = self.run_D(img, c, sync=False)
        report_logits('fake', logits)
        loss = softplus(logits)
        backward(loss, gain)
        return loss.detach()

    def _step_real(self, img: torch.Tensor, c: torch.Tensor, sync: bool, gain: float, fake_loss: torch.Tensor | None,
                   r1: bool) -> None:
        """fake_loss: what the main phase's generated images added, or None in a phase of regularisation alone."""
        img = img.detach().requires_grad_(r1)
        logits = self.run_D(img, c, sync)
        report_logits('real', logits)
        losses = []
        if fake_loss is not None:
            losses.append(softplus(-logits))
            training_stats.report('Loss/D/loss', fake_loss.mean() + losses[0])
        if r1:
            losses.append(self._r1_penalty(img, logits))
        backward(sum(losses), gain)

    def _r1_penalty(self, img: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        with conv2d_gradfix.no_weight_gradients():
            grad, = torch.autograd.grad([logits.sum()], [img], create_graph=True)
        penalty = grad.square().sum(dim=(1, 2, 3))  # [N]
        training_stats.report('Loss/r1_penalty', penalty)
        loss = penalty * (self.r1_gamma / 2)
        training_stats.report('Loss/D/reg', loss)
        return loss[:, None] + reach_all(logits)


def report_logits(kind: str, logits: torch.Tensor) -> None:
    """kind: 'real' or 'fake'. The ADA heuristic reads Loss/signs/real."""
    training_stats.report(f'Loss/scores/{kind}', logits)
    training_stats.report(f'Loss/signs/{kind}', logits.sign())


def reach_all(output: torch.Tensor) -> torch.Tensor:
    """Zero, with a graph: parameters that a penalty does not depend on get a zero gradient instead of none.

    So Adam's moments decay alike for all parameters, and DistributedDataParallel does not wait for missing ones.
    """
    return output.mean() * 0


def backward(loss: torch.Tensor, gain: float) -> None:
    """Add the gradient of gain * mean(loss) to .grad of whatever requires it."""
    loss.mean().mul(gain).backward()
