"""Loss of the transfer (Laria et al. 2022, section 3.3): adversarial, R1, and contrastive in the discriminator.

Two terms are ours: the spread of generated images, and real images with wrong labels.

    generator      mean softplus(-D(G(z, c), c)) + spread_weight max(0, log(real spread / spread))
    discriminator  mean softplus(D(G(z, c), c)) + softplus(-D(x, c)) + weight (L_views(x) + L_views(G(z, c)))
                   + mismatch_weight mean softplus(D(x, c')), c' the label of another image of the batch, where it differs
    R1             gamma / 2 |grad_x D(x, c)|^2, a phase of its own (lazy regularisation)

L_views is Barlow Twins on the discriminator's features of two views of each image, for real and generated images apart. Spread
is the mean distance of images of one class (spread.py). A real image with a wrong label counts as generated, so that the
discriminator has to use the label (matching-aware discriminator, Reed et al. 2016, arXiv:1605.05396, section 4.2).
"""
import torch
from torch import nn
from torch.nn.functional import softplus

from torch_utils import misc, training_stats
from torch_utils.ops import conv2d_gradfix

from . import contrastive, spread

SPREAD_DECAY = 0.02  # of the running mean, per pass


class HyperTransferLoss:
    """The training loop's loss. Images [N, C, H, W] in [-1, 1], one-hot labels [N, K], latents [N, z_dim].

    D must have features(img, c) and logits(h, c). contrastive: 'barlow' or 'none'. share_fakes: the discriminator's step uses
    the images of the preceding generator's step instead of new ones, which saves a pass through the generator. spread_weight
    and mismatch_weight: 0 turns the term off.

    Several processes with averaged gradients equal one process with all their images: the contrastive loss computes its
    statistics over all processes. Four things are computed within one process and one call: the groups by class of the minibatch
    deviation in HyperDiscriminator, the distances of the spread loss, the wrong labels, and, for a batch in parts, the
    correlation of each part.
    """

    def __init__(self, device: torch.device, G_mapping: nn.Module, G_synthesis: nn.Module, D: nn.Module,
                 augment_pipe: nn.Module | None = None, style_mixing_prob: float = 0.9, r1_gamma: float = 10,
                 contrastive_loss: str = 'barlow', contrastive_weight: float = 0.01, share_fakes: bool = False,
                 spread_weight: float = 0, mismatch_weight: float = 0):
        if contrastive_loss not in ('barlow', 'none'):
            raise ValueError(f"contrastive_loss is {contrastive_loss!r}; expected 'barlow' or 'none'")
        self.G_mapping = G_mapping
        self.G_synthesis = G_synthesis
        self.D = D
        self.augment_pipe = augment_pipe
        self.style_mixing_prob = style_mixing_prob
        self.r1_gamma = r1_gamma
        self.contrastive_weight = contrastive_weight
        self.spread_weight = spread_weight
        self.mismatch_weight = mismatch_weight
        if spread_weight > 0:
            self.real_spread = torch.zeros([], device=device)  # running mean; 0 before the first pair
        use_views = contrastive_loss == 'barlow' and contrastive_weight > 0
        self.views = contrastive.make_views(device) if use_views else None
        self.shared: list[tuple[torch.Tensor, torch.Tensor]] | None = [] if share_fakes else None  # images and labels, by part

    def generate(self, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        """Images of z and c; with probability style_mixing_prob the upper layers take the styles of another z."""
        ws, code = self.G_mapping(z, c, code_apart=True)
        if torch.rand([]) < self.style_mixing_prob:
            crossover = int(torch.randint(1, ws.shape[1], []))
            others, _code = self.G_mapping(torch.randn_like(z), c, skip_w_avg_update=True, code_apart=True)
            ws[:, crossover:] = others[:, crossover:]
        return self.G_synthesis(ws, code=code)

    def judge(self, img: torch.Tensor, c: torch.Tensor, kind: str) -> torch.Tensor:
        """Logits [N, 1] of the augmented images; kind 'real' or 'fake' names the statistics."""
        return self.logits(self.features(img, c), c, kind)

    def features(self, img: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        """The discriminator's features [N, dim] of the augmented images."""
        return self.D.features(img if self.augment_pipe is None else self.augment_pipe(img), c)

    def logits(self, h: torch.Tensor, c: torch.Tensor, kind: str) -> torch.Tensor:
        """Logits [N, 1] of features."""
        logits = self.D.logits(h, c)
        training_stats.report(f'Loss/scores/{kind}', logits)
        training_stats.report(f'Loss/signs/{kind}', logits.sign())
        return logits

    def compare_labels(self, h: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        """Weighted loss of real images, by their features, with the labels of other images of the batch; a scalar."""
        other = c.roll(1, dims=0)
        differs = (other != c).any(dim=1, keepdim=True)
        return (softplus(self.logits(h, other, 'mismatched')) * differs).mean() * self.mismatch_weight

    def compare_views(self, img: torch.Tensor, c: torch.Tensor, kind: str) -> torch.Tensor:
        """Weighted Barlow Twins loss of two views of img, a scalar."""
        loss = contrastive.barlow_twins(self.D.features(self.views(img), c), self.D.features(self.views(img), c))
        training_stats.report(f'Loss/contrastive/{kind}', loss)
        return loss * self.contrastive_weight

    def compare_spread(self, fake_img: torch.Tensor, gen_c: torch.Tensor, real_img: torch.Tensor, real_c: torch.Tensor,
                       ) -> torch.Tensor:
        """Weighted shortfall of the generated images' spread, a scalar; 0 if no two of them are of one class."""
        real = spread.distances(real_img, real_c)
        total, count = contrastive.sum_over_processes(torch.stack([real.sum(), real.new_tensor(len(real))]))
        if count > 0:
            seen = self.real_spread > 0
            self.real_spread.copy_(torch.where(seen, self.real_spread.lerp(total / count, SPREAD_DECAY), total / count))
        distances = spread.distances(fake_img, gen_c)
        if len(distances) == 0 or self.real_spread == 0:
            return self.real_spread * 0
        training_stats.report('Loss/spread', distances.detach().mean() / self.real_spread)
        return spread.shortfall(distances.mean(), self.real_spread) * self.spread_weight

    def accumulate_gradients(self, phase: str, real_img: torch.Tensor, real_c: torch.Tensor, gen_z: torch.Tensor,
                             gen_c: torch.Tensor, sync: bool, gain: float) -> None:
        """Phases as in StyleGAN2-ADA; there is no generator regularisation. The loop decides which network learns."""
        if phase in ('Gmain', 'Gboth'):
            with misc.ddp_sync(self.G_synthesis, sync):
                fake_img = self.generate(gen_z, gen_c)
                if self.shared is not None:
                    self.shared.append((fake_img.detach(), gen_c))
                loss = softplus(-self.judge(fake_img, gen_c, 'fake')).mean()
            training_stats.report('Loss/G/loss', loss)
            if self.spread_weight > 0:
                loss = loss + self.compare_spread(fake_img, gen_c, real_img, real_c)
            (loss * gain).backward()
        with misc.ddp_sync(self.D, sync):
            if phase in ('Dmain', 'Dboth'):
                self._discriminate(real_img, real_c, gen_z, gen_c, gain)
            if phase in ('Dreg', 'Dboth') and self.r1_gamma > 0:
                self._regularise(real_img, real_c, gain)

    def _discriminate(self, real_img: torch.Tensor, real_c: torch.Tensor, gen_z: torch.Tensor, gen_c: torch.Tensor,
                      gain: float) -> None:
        if self.shared:
            fake_img, gen_c = self.shared.pop(0)
        else:
            with torch.no_grad():
                fake_img = self.generate(gen_z, gen_c)
        losses = []
        for kind, sign, img, c in (('fake', 1, fake_img, gen_c), ('real', -1, real_img, real_c)):
            h = self.features(img, c)
            loss = softplus(sign * self.logits(h, c, kind)).mean()
            losses.append(loss.detach())
            if kind == 'real' and self.mismatch_weight > 0:
                loss = loss + self.compare_labels(h, c)
            if self.views is not None:
                loss = loss + self.compare_views(img, c, kind)
            (loss * gain).backward()  # one kind at a time halves the memory
        training_stats.report('Loss/D/loss', sum(losses))

    def _regularise(self, real_img: torch.Tensor, real_c: torch.Tensor, gain: float) -> None:
        img = real_img.detach().requires_grad_(True)
        logits = self.judge(img, real_c, 'real')
        with conv2d_gradfix.no_weight_gradients():
            slope, = torch.autograd.grad(logits.sum(), img, create_graph=True)
        norms = slope.square().sum(dim=(1, 2, 3))  # [N]
        training_stats.report('Loss/r1_penalty', norms)
        penalty = norms.mean() * (self.r1_gamma / 2)
        training_stats.report('Loss/D/reg', penalty)
        # Logits belong to the graph for parameters that the penalty does not reach (a zero gradient, not none).
        ((penalty + logits.mean() * 0) * gain).backward()
