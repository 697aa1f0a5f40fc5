"""training.loss: gradients against closed forms with linear networks, what each phase touches, style mixing, reports."""
import pytest
import torch
from torch import nn

from torch_utils import training_stats
from training.loss import PHASES, StyleGAN2Loss

N, NUM_WS, W_DIM = 4, 6, 3
SHAPE = (2, 4, 4)
CPU = torch.device('cpu')


class Mapping(nn.Module):
    """ws = NUM_WS copies of gain * z; remembers its calls."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(1.5))
        self.calls = []

    def forward(self, z, c, skip_w_avg_update=False):
        ws = (self.gain * z)[:, None].repeat(1, NUM_WS, 1)
        self.calls.append(dict(z=z, c=c, ws=ws.detach(), skip_w_avg_update=skip_w_avg_update))
        return ws


class Synthesis(nn.Module):
    """image = sum over copies k of A_k w_k."""

    def __init__(self):
        super().__init__()
        self.A = nn.Parameter(torch.randn(NUM_WS, *SHAPE, W_DIM))
        self.calls = []

    def forward(self, ws):
        self.calls.append(ws.detach())
        return torch.einsum('kchwj,nkj->nchw', self.A, ws)


class Critic(nn.Module):
    """logit = <w, image>."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(SHAPE) * 0.1)
        self.calls = []

    def forward(self, img, c):
        self.calls.append(dict(img=img.detach(), c=c))
        return (img * self.w).sum(dim=(1, 2, 3))[:, None]


class Case:
    """Linear networks, a loss and one batch in float64."""

    def __init__(self, **kwargs):
        self.mapping, self.synthesis, self.critic = Mapping().double(), Synthesis().double(), Critic().double()
        self.loss = StyleGAN2Loss(CPU, self.mapping, self.synthesis, self.critic, **{'style_mixing_prob': 0, **kwargs})
        self.loss.pl_mean = self.loss.pl_mean.double()
        self.real, self.real_c = torch.randn(N, *SHAPE).double(), torch.randn(N, 2)
        self.z, self.z_c = torch.randn(N, W_DIM).double(), torch.randn(N, 2)

    def run(self, phase, gain=1.0):
        """One phase as the training loop runs it: only its own network learns."""
        for name, network in (('G', self.mapping), ('G', self.synthesis), ('D', self.critic)):
            network.requires_grad_(phase.startswith(name))
        self.loss.accumulate_gradients(phase, self.real, self.real_c, self.z, self.z_c, sync=True, gain=gain)

    @property
    def fake(self):
        return self.synthesis(self.mapping(self.z, self.z_c)).detach()

    def logits(self, img):
        return (img * self.critic.w).sum(dim=(1, 2, 3)).detach()


def weighted_mean(weights, images):
    return (weights[:, None, None, None] * images).mean(dim=0)


# Closed forms. The derivative of softplus is the sigmoid.

@pytest.mark.parametrize('gain', [4])
def test_logistic_loss_of_the_discriminator(gain):
    case = Case()
    case.run('Dmain', gain)
    fake, real = case.fake, case.real
    want = weighted_mean(case.logits(fake).sigmoid(), fake) - weighted_mean((-case.logits(real)).sigmoid(), real)
    torch.testing.assert_close(case.critic.w.grad, gain * want)


@pytest.mark.parametrize('gain', [4])
def test_logistic_loss_of_the_generator(gain):
    case = Case()
    case.run('Gmain', gain)
    slope = -(-case.logits(case.fake)).sigmoid()  # of the loss of each image
    want = torch.einsum('n,chw,nkj->kchwj', slope, case.critic.w, case.mapping.calls[0]['ws']) / N
    torch.testing.assert_close(case.synthesis.A.grad, gain * want)


@pytest.mark.parametrize('gain', [16])
def test_r1_of_a_linear_discriminator_is_half_gamma_times_its_squared_norm(gain):
    case, collector = Case(r1_gamma=3), training_stats.Collector()
    case.run('Dreg', gain)
    torch.testing.assert_close(case.critic.w.grad, gain * 3 * case.critic.w.detach())
    collector.update()
    square = case.critic.w.square().sum().item()
    assert collector['Loss/r1_penalty'] == pytest.approx(square) and collector['Loss/D/reg'] == pytest.approx(1.5 * square)


def test_path_length_of_a_linear_generator():
    """lengths = sqrt(mean over copies of |A_k^T y|^2), for each image its own y, and a' = 0.99 a + 0.01 mean(lengths)."""
    case = Case(pl_batch_shrink=2)
    pl_mean = 0.0
    for step in range(2):
        case.synthesis.A.grad = None
        torch.manual_seed(step)
        case.run('Greg', gain=4)
        torch.manual_seed(step)
        y = torch.randn(N // 2, *SHAPE, dtype=torch.float64) / 4  # sqrt(4 * 4) pixels
        A = case.synthesis.A.detach()
        J = torch.einsum('kchwj,nchw->nkj', A, y)
        lengths = J.square().sum(dim=2).mean(dim=1).sqrt()
        pl_mean = 0.99 * pl_mean + 0.01 * lengths.mean()
        assert case.loss.pl_mean.item() == pytest.approx(pl_mean.item())
        # d lengths / d A = y J^T / (copies * length); the mean depends on all lengths by 0.01 / M each.
        dlen = torch.einsum('nchw,nkj->nkchwj', y, J) / (NUM_WS * lengths[:, None, None, None, None, None])
        slope = 2 * 2 * (lengths - pl_mean)
        want = torch.einsum('n,nkchwj->kchwj', slope, dlen - 0.01 * dlen.mean(dim=0)) / (N // 2)
        torch.testing.assert_close(case.synthesis.A.grad, 4 * want)
    assert case.synthesis.calls[0].shape[0] == N // 2


@pytest.mark.parametrize('network', ['G', 'D'])
def test_both_is_main_plus_regularisation(network):
    grads = []
    for phases in ([f'{network}main', f'{network}reg'], [f'{network}both']):
        torch.manual_seed(0)
        case = Case()
        torch.manual_seed(1)
        for phase in phases:
            case.run(phase, gain=2)
        grads.append((case.synthesis.A if network == 'G' else case.critic.w).grad)
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize('phase', ['Dreg', 'Greg'])
def test_parameters_outside_a_penalty_get_a_zero_gradient(phase):
    """A bias after the last layer changes neither slopes nor path lengths."""
    case = Case()
    network = case.synthesis if phase == 'Greg' else case.critic
    bias = network.bias = nn.Parameter(torch.zeros([], dtype=torch.float64))
    network.register_forward_hook(lambda _module, _inputs, output: output + bias)
    case.run(phase)
    assert bias.grad is not None and bias.grad == 0


# What the phases touch.

@pytest.mark.parametrize('phase', sorted(PHASES))
def test_a_phase_uses_and_changes_only_its_own_part(phase):
    case = Case()
    case.run(phase)
    learns = dict(G=case.synthesis.A.grad is not None and case.mapping.gain.grad is not None, D=case.critic.w.grad is not None)
    assert learns == dict(G=phase[0] == 'G', D=phase[0] == 'D')
    assert case.real.grad is None and not case.real.requires_grad
    assert bool(case.synthesis.calls) == (phase != 'Dreg')
    assert bool(case.critic.calls) == (phase != 'Greg')
    assert (case.loss.pl_mean != 0) == (phase in ('Greg', 'Gboth'))


@pytest.mark.parametrize('phase, off', [('Dreg', dict(r1_gamma=0)), ('Greg', dict(pl_weight=0))])
def test_regularisation_without_weight_does_nothing(phase, off):
    case = Case(**off)
    case.run(phase)
    assert not case.critic.calls and not case.synthesis.calls


@pytest.mark.parametrize('phase', ['main', 'G'])
def test_unknown_phase(phase):
    with pytest.raises(ValueError, match=f"phase is '{phase}'; expected one of Dboth, Dmain, Dreg, Gboth, Gmain, Greg"):
        Case().loss.accumulate_gradients(phase, *[torch.zeros(1)] * 4, sync=True, gain=1)


# Augmentation.

def test_both_kinds_of_images_are_augmented():
    case = Case(augment_pipe=nn.Threshold(0, 0))
    case.run('Dmain')
    for call, img in zip(case.critic.calls, (case.fake, case.real), strict=True):
        assert torch.equal(call['img'], img.clamp(min=0))


def test_r1_is_taken_before_augmentation():
    """With images halved by the pipe, the gradient of <w, x / 2> is w / 2."""
    class Halve(nn.Module):
        def forward(self, img):
            return img / 2

    case = Case(augment_pipe=Halve(), r1_gamma=8)
    case.run('Dreg')
    torch.testing.assert_close(case.critic.w.grad, 8 * case.critic.w.detach() / 4)


# Style mixing.

def test_mixed_styles_come_from_a_second_latent_with_the_same_label():
    case = Case(style_mixing_prob=1)
    case.run('Gmain')
    first, second = case.mapping.calls
    assert not first['skip_w_avg_update'] and second['skip_w_avg_update']
    assert torch.equal(first['z'], case.z) and second['c'] is first['c']
    assert not torch.isclose(first['z'], second['z']).any()
    from_first = (case.synthesis.calls[0] == first['ws']).all(dim=2)
    from_second = (case.synthesis.calls[0] == second['ws']).all(dim=2)
    crossover = int(from_first[0].sum())
    assert 1 <= crossover < NUM_WS
    assert from_first[:, :crossover].all() and from_second[:, crossover:].all()


# Reports.

def test_reported_losses_are_of_both_halves():
    case, collector = Case(), training_stats.Collector(keep_previous=False)
    case.run('Dmain')
    collector.update()
    fake, real = case.logits(case.fake), case.logits(case.real)
    want = nn.functional.softplus(fake).mean() + nn.functional.softplus(-real).mean()
    assert collector['Loss/D/loss'] == pytest.approx(want.item())
    assert collector['Loss/scores/fake'] == pytest.approx(fake.mean().item())
    assert collector['Loss/scores/real'] == pytest.approx(real.mean().item())
    assert collector['Loss/signs/real'] == pytest.approx(real.sign().mean().item())
    case.run('Gmain')
    collector.update()
    assert collector['Loss/G/loss'] == pytest.approx(nn.functional.softplus(-fake).mean().item())
    case.run('Dreg')
    collector.update()
    assert collector.num('Loss/D/loss') == 0, 'regularisation alone has no logistic loss'
    assert collector.num('Loss/signs/real') == N
