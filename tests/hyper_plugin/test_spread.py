"""The spread loss against scipy's distances, closed forms and finite differences."""
import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist

from hyper_plugin import spread
from hyper_plugin.loss import SPREAD_DECAY, HyperTransferLoss
from tests.hyper_plugin.test_loss import LinearD, LinearG

CPU = torch.device('cpu')
LABELS = [0, 1, 0, 0, 2, 1]


def onehot(labels, classes=3):
    return torch.eye(classes)[labels]


def reduced(images):
    """[N, C, 32, 32] -> [N, C * 64], by a plain loop over 4x4 blocks."""
    blocks = images.numpy().astype(np.float64)
    return np.stack([[image[k, y:y + 4, x:x + 4].mean() for k in range(image.shape[0]) for y in range(0, 32, 4)
                      for x in range(0, 32, 4)] for image in blocks])


def test_distances_are_those_of_equal_labels():
    images, labels = torch.randn(6, 2, 32, 32, generator=torch.Generator().manual_seed(0)), np.array(LABELS)
    expected = np.concatenate([pdist(reduced(images)[labels == label]) for label in range(3)])
    assert np.allclose(sorted(spread.distances(images, onehot(LABELS)).tolist()), sorted(expected), rtol=1e-5)
    assert len(spread.distances(images[:3], torch.eye(3))) == 0
    vectors = torch.tensor([[0.5, 1.0], [0.5, 1.0], [0.5, 2.0]])
    assert len(spread.distances(images[:3], vectors)) == 1


def test_enough_spread_costs_nothing():
    assert spread.shortfall(torch.tensor(2.0), torch.tensor(2.0)) == 0 == spread.shortfall(torch.tensor(3.0), torch.tensor(2.0))
    assert float(spread.shortfall(torch.tensor(1.0), torch.tensor(np.e))) == pytest.approx(1)
    images = torch.randn(4, 1, 8, 8)
    near, far = (spread.distances(images * factor, onehot([0, 0, 1, 1])).mean() for factor in (1, 3))
    assert float(far / near) == pytest.approx(3, rel=1e-4)


def step(loss, real, real_c, z, gen_c):
    loss.accumulate_gradients('Gmain', real, real_c, z, gen_c, sync=True, gain=1)


def make(**kwargs):
    G, D = LinearG(), LinearD()
    return G, HyperTransferLoss(CPU, G.mapping, G.synthesis, D, style_mixing_prob=0, contrastive_loss='none', **kwargs)


def test_the_generator_feels_it_only_when_real_images_lie_farther_apart():
    z, c = torch.randn(6, 4), onehot(LABELS)
    near, far = torch.randn(6, 1, 2, 2) * 0.01, torch.randn(6, 1, 2, 2) * 100
    grads = {}
    for name, real, weight in (('off', far, 0), ('near', near, 0.5), ('far', far, 0.5)):
        G, loss = make(spread_weight=weight)
        step(loss, real, c, z, c)
        grads[name] = G.theta.grad
    assert torch.equal(grads['off'], grads['near']) and not torch.allclose(grads['off'], grads['far'])
    # Pulled apart: a larger image is a farther one.
    pull = (grads['far'] - grads['off']) * G.theta.detach()
    assert float(pull.sum()) == pytest.approx(-0.5, rel=1e-4)  # d log(r / |theta|) = -1 along theta


def test_the_real_spread_is_a_running_mean_over_pairs():
    _G, loss = make(spread_weight=1)
    first, second = torch.randn(6, 1, 2, 2), torch.randn(6, 1, 2, 2)
    z, c = torch.randn(6, 4), onehot(LABELS)
    means = [float(spread.distances(real, c).mean()) for real in (first, second)]
    step(loss, first, c, z, c)
    assert float(loss.real_spread) == pytest.approx(means[0])
    step(loss, second, c, z, c)
    assert float(loss.real_spread) == pytest.approx(means[0] + SPREAD_DECAY * (means[1] - means[0]))
    step(loss, second[:2], onehot([0, 1]), z, c)  # no pair, nothing new
    assert float(loss.real_spread) == pytest.approx(means[0] + SPREAD_DECAY * (means[1] - means[0]))
    assert not hasattr(make()[1], 'real_spread')


def test_no_pair_at_all():
    G, loss = make(spread_weight=1)
    without = make()
    for part in (loss, without[1]):
        step(part, torch.ones(2, 1, 2, 2), onehot([0, 1]), torch.ones(2, 4), onehot([1, 2]))
    assert torch.equal(G.theta.grad, without[0].theta.grad)
