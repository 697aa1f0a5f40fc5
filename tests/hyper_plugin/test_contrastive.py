"""Barlow Twins against numpy, closed forms and two processes; the random views."""

import warnings

import numpy as np
import pytest
import torch

from hyper_plugin.contrastive import barlow_twins, make_views
from tests.support.two_processes import run_in_two


def barlow_in_numpy(a, b, off_diagonal=0.005):
    """The formula of the paper by loops over features, in float64."""
    a, b = ((z - z.mean(axis=0)) / np.sqrt(z.var(axis=0) + 1e-5) for z in (a, b))
    loss = 0.0
    for i in range(a.shape[1]):
        for j in range(a.shape[1]):
            x = np.mean(a[:, i] * b[:, j])
            loss += (1 - x) ** 2 if i == j else off_diagonal * x ** 2
    return loss


@pytest.mark.parametrize('count, dim', [(8, 5), (3, 7), (2, 1)])
@pytest.mark.parametrize('off_diagonal', [0.005])
def test_equals_the_formula(count, dim, off_diagonal):
    rng = np.random.default_rng(count)
    a = rng.normal(3, 2, [count, dim])
    b = 0.5 * a + rng.normal(size=[count, dim])
    want = barlow_in_numpy(a, b, off_diagonal)
    assert barlow_twins(torch.from_numpy(a), torch.from_numpy(b), off_diagonal).item() == pytest.approx(want, rel=1e-10)
    single = [torch.from_numpy(z).float() for z in (a, b)]
    assert barlow_twins(*single, off_diagonal).item() == pytest.approx(want, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize('count', [1, 4])
def test_features_without_spread_stay_finite(count):
    a = torch.ones(count, 3, requires_grad=True)
    loss = barlow_twins(a, a * 2)
    loss.backward()
    assert loss.item() == pytest.approx(3) and a.grad.isfinite().all()  # X is 0


# --- the whole batch of all processes ---

def features():
    generator = torch.Generator().manual_seed(3)
    return torch.randn(2, 8, 4, generator=generator), torch.randn(4, 5, generator=generator)


def run_process(rank, outdir):
    warnings.simplefilter('error')
    (a, b), weight = features()
    weight.requires_grad_(True)
    own = slice(rank * 4, rank * 4 + 4)
    loss = barlow_twins(a[own] @ weight, b[own] @ weight)
    loss.backward()
    torch.save((loss.detach(), weight.grad), outdir / f'{rank}.pt')


def test_two_processes_have_the_loss_of_the_whole_batch(tmp_path):
    run_in_two(run_process, tmp_path, tmp_path)
    (a, b), weight = features()
    weight.requires_grad_(True)
    want = barlow_twins(a @ weight, b @ weight)
    want.backward()
    found = [torch.load(tmp_path / f'{rank}.pt', weights_only=True) for rank in range(2)]
    for loss, _gradient in found:
        torch.testing.assert_close(loss, want.detach())
    averaged = (found[0][1] + found[1][1]) / 2  # what the training loop makes of the processes' gradients
    torch.testing.assert_close(averaged, weight.grad, rtol=1e-4, atol=1e-5)


# --- views ---

@pytest.mark.parametrize('channels', [1, 3])
def test_views_are_random_images_of_the_same_shape(channels):
    views = make_views(torch.device('cpu'))
    assert not any(parameter.requires_grad for parameter in views.parameters())
    x = torch.rand(16, channels, 16, 16) * 2 - 1
    first, second = views(x), views(x)
    assert first.shape == x.shape and first.isfinite().all()
    changed = [(view - other).abs().amax(dim=(1, 2, 3)) > 1e-3 for view, other in ((first, x), (first, second))]
    assert all(row.float().mean() > 0.8 for row in changed)


def test_views_keep_what_tells_classes_apart():
    """No flips and no quarter turns: a view of a gradient still brightens towards the same side."""
    views = make_views(torch.device('cpu'))
    ramp = torch.linspace(-1, 1, 32)
    for image in (ramp.expand(32, 32), ramp[:, None].expand(32, 32)):
        x = image.expand(64, 1, 32, 32)
        likeness = (views(x) * x).mean(dim=(1, 2, 3))
        turned = (views(x) * x.transpose(2, 3)).mean(dim=(1, 2, 3))
        assert (likeness > 0).all() and (likeness > turned.abs()).float().mean() > 0.9
