"""Self-initialisation: the error measure against numpy, exact equality with the source, distillation of a random hypernetwork."""

import dataclasses
import json

import numpy as np
import pytest
import torch

import legacy
from hyper_plugin import selfinit
from hyper_plugin.networks import BatchCodes
from tests.support.hyper_sources import labels, make_hyper, make_source, tensors

CPU = torch.device('cpu')


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# --- the measure ---

def features_by_hand(G, ws):
    """Outputs of the blocks, called one after the other, and the image, in float64 numpy."""
    found, x, img, start = [], None, None, 0
    codes, restore = {}, torch.clone
    if ws.shape[2] > G.synthesis.w_dim:
        codes = dict(code=BatchCodes(ws[:, :1, G.synthesis.w_dim:]))
        ws, restore = codes['code'].sort(ws), codes['code'].restore
    for res in G.synthesis.block_resolutions:
        block = getattr(G.synthesis, f'b{res}')
        own = ws[:, start:start + block.num_conv + block.num_torgb, :G.synthesis.w_dim]
        x, img = block(x, img, own, noise_mode='const', **codes)
        start += block.num_conv
        found.append(x)
    return [restore(part).detach().double().numpy() for part in (*found, img)]


def test_feature_errors_equal_numpy():
    source = make_source()
    G = make_hyper(source)
    z, c = torch.randn(4, source.z_dim), labels(0, 2, 1, 2)
    want = [np.abs(f - w).sum() / np.abs(w).sum() for f, w in zip(
        features_by_hand(G, G.mapping(z, c)), features_by_hand(source, source.mapping(z, None)), strict=True)]
    found = selfinit.feature_errors(source, G, z, c)
    assert found.shape == (4,)  # blocks 4, 8, 16 and the image
    np.testing.assert_allclose(found.detach().numpy(), want, rtol=1e-4)
    found.sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in G.parameters())


def test_relative_error_is_the_mean_over_blocks_on_fixed_images(monkeypatch):
    source = make_source(resolution=8)
    G = make_hyper(source)
    seen = []
    measure = selfinit.feature_errors
    monkeypatch.setattr(selfinit, 'feature_errors', lambda *args: seen.append(args) or measure(*args))
    error = selfinit.relative_error(source, G, CPU)
    num_calls = len(seen)
    want = np.mean([measure(*args).detach().numpy() for args in seen])
    assert error == pytest.approx(want, rel=1e-5)
    z, c = (torch.cat(parts) for parts in zip(*(args[2:] for args in seen), strict=True))
    assert len(z) >= 100 and (c.sum(dim=1) == 1).all() and (c.mean(dim=0) > 0.2).all()  # every class has its part
    torch.rand(7)  # the global random state has no say
    assert selfinit.relative_error(source, G, CPU) == error
    assert all(torch.equal(a, b) for old, new in zip(seen[:num_calls], seen[num_calls:], strict=True)
               for a, b in zip(old[2:], new[2:], strict=True))


# --- exact ---

def assert_equal_to_source(source, G, classes):
    """Largest difference of any pixel under 1e-4, for every class, in mixed batches."""
    z = torch.randn(len(classes), source.z_dim)
    c = labels(*classes, c_dim=G.c_dim)
    for options in (dict(noise_mode='const'), dict(noise_mode='none'), dict(noise_mode='const', truncation_psi=0.6)):
        with torch.no_grad():
            assert (G(z, c, **options) - source(z, None, **options)).abs().max() < 1e-4


@pytest.mark.parametrize('rank', [0, 2])
def test_exact_makes_every_class_the_source(rank):
    source = make_source()
    G = make_hyper(source, rank=rank)
    before = tensors(G)
    result = selfinit.exact(source, G, CPU)
    assert (result.method, result.images, result.curve) == ('exact', 0, [(0, result.relative_error)])
    assert result.relative_error < 1e-5
    assert_equal_to_source(source, G, [0, 1, 2, 2, 1])
    for name, tensor in tensors(G).items():
        assert '.hyper.' in name or torch.equal(tensor, before[name])


@pytest.mark.parametrize('rank', [0, 4])
def test_exact_on_a_source_that_another_code_base_trained(shared, rank, monkeypatch):
    path = shared / 'pickles' / 'omniglot32.pkl'
    if not path.is_file():
        pytest.skip(f'needs {path}')
    monkeypatch.setattr(selfinit, 'EVALUATION_IMAGES', 64)
    source = legacy.load_network_pkl(path)['G_ema']
    G = make_hyper(source, c_dim=10, rank=rank, code_dim=8)
    assert selfinit.relative_error(source, G, CPU) > 0.5  # random: nothing like the source
    assert selfinit.exact(source, G, CPU).relative_error < 1e-4
    assert_equal_to_source(source, G, [*range(10), 3, 3])


# --- distill ---

@pytest.mark.parametrize('kwargs', [dict(), dict(rank=2), dict(finetune=True)])
def test_distill_turns_a_random_hypernetwork_into_the_source(kwargs):
    source = make_source(resolution=8)
    G = make_hyper(source, **kwargs)
    before = tensors(G)
    reports = []
    result = selfinit.distill(source, G, CPU, kimg=2, generator=seeded(), rate=0.01, report=lambda *row: reports.append(row))
    errors = [error for _images, error in result.curve]
    assert errors[0] > 0.2 and result.relative_error < 0.15 * errors[0] and errors == sorted(errors, reverse=True)
    assert [images for images, _error in result.curve] == [0, 1008, 2000]  # every thousand, in batches of 16
    assert reports == result.curve and result.images == 2000 and result.method == 'distill'
    assert selfinit.relative_error(source, G, CPU) == result.relative_error == min(errors)
    for name, tensor in tensors(G).items():  # hypernetworks and class code, and nothing else
        changed = '.hyper.' in name or '.class_code.' in name
        assert torch.equal(tensor, before[name]) != changed, name
    assert json.loads(json.dumps(dataclasses.asdict(result)))['curve'][-1] == [2000, errors[-1]]


def test_distill_draws_from_its_generator_alone():
    found = []
    for seed, noise in ((0, 0), (0, 1), (1, 0)):
        torch.manual_seed(0)
        source = make_source(resolution=8)
        G = make_hyper(source)
        torch.manual_seed(noise)
        found.append(selfinit.distill(source, G, CPU, kimg=0.1, generator=seeded(seed)).relative_error)
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize('errors, best', [([0.1, 0.5, 0.9], 0), ([1.0, 0.5, 0.9], 1)])
def test_distill_keeps_the_best_state(errors, best, monkeypatch):
    states = []

    def measure(source, hyper, device, labels):
        states.append(tensors(hyper))
        return errors[len(states) - 1]

    monkeypatch.setattr(selfinit, 'relative_error', measure)
    source = make_source(resolution=4)
    G = make_hyper(source)
    result = selfinit.distill(source, G, CPU, kimg=2, generator=seeded(), batch=500, rate=0.01)
    assert (result.relative_error, len(states)) == (errors[best], 3)
    for i, state in enumerate(states):
        assert all(torch.equal(tensor, state[name]) for name, tensor in tensors(G).items()) == (i == best)


def test_distill_ends_when_the_error_has_stopped_falling(monkeypatch):
    monkeypatch.setattr(selfinit, 'EVALUATION_IMAGES', 32)
    source = make_source(resolution=4)
    result = selfinit.distill(source, make_hyper(source), CPU, kimg=1000, generator=seeded(), batch=1000, rate=1e-5)
    # Nine halvings go below a 256th of the rate, each after PATIENCE thousand images that are not better.
    assert 9000 * selfinit.PATIENCE <= result.images <= 10_000 * selfinit.PATIENCE
    assert len(result.curve) == 1 + result.images // 1000


def test_distill_that_diverges_says_so():
    source = make_source(resolution=8)
    with pytest.raises(FloatingPointError, match=r'diverged: error (nan|inf) after 112 images; lower --hyper-scale'):
        selfinit.distill(source, make_hyper(source), CPU, kimg=0.1, generator=seeded(), rate=1e30)
