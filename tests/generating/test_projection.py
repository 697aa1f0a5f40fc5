"""The search behind project.py: its formulas by hand, and generated pictures that are found again."""

import numpy as np
import pytest
import torch

from generating import projection
from generating.projection import Projector, map_roughness, w_statistics, with_code
from tests.support.hyper_sources import labels, make_source, make_varied_hyper, tensors
from training.networks import Generator


@pytest.fixture(autouse=True)
def _few_samples(monkeypatch):
    monkeypatch.setattr(projection, 'NUM_MEAN_SAMPLES', 500)


def embed(images):
    """Means of squares of 2 x 2 pixels."""
    return torch.nn.functional.avg_pool2d(images, 2).flatten(1) / 5


def plain_conditional():
    return Generator(6, 3, 5, 16, 3, mapping_kwargs=dict(num_layers=2),
                     synthesis_kwargs=dict(channel_base=64, channel_max=6)).eval().requires_grad_(False)


def picture(G, seed, label):
    z = torch.randn(1, G.z_dim, generator=torch.Generator().manual_seed(seed))
    return G(z, label[None], truncation_psi=0.5, noise_mode='const').clamp(-1, 1)


def search(G, target, label, num_steps, layerwise=False, seed=0):
    found = Projector(G, embed, target, label, layerwise, torch.Generator().manual_seed(seed))
    for step in range(num_steps):
        found.step(step / num_steps)
    return found.result()


# --- formulas ---

@pytest.mark.parametrize('side', [8, 32])
def test_roughness_equals_a_loop(side):
    noise = torch.randn(side, side)
    level, want = noise.double().numpy(), 0.0
    while True:
        side = len(level)
        for shift in ((0, 1), (1, 0)):
            want += np.mean([level[y, x] * level[y - shift[0], x - shift[1]] for y in range(side) for x in range(side)]) ** 2
        if side <= 8:
            break
        level = level.reshape(side // 2, 2, side // 2, 2).mean(axis=(1, 3)) * 2
    assert float(map_roughness(noise)) == pytest.approx(want, rel=1e-4)


def test_w_statistics_are_those_of_the_seeded_latents():
    for G in (make_source(), make_varied_hyper(), plain_conditional()):
        label = torch.eye(G.c_dim)[1] if G.c_dim else torch.zeros(0)
        z = torch.from_numpy(np.random.RandomState(123).randn(500, G.z_dim)).float()
        w = G.mapping(z, label.repeat(500, 1))[:, 0, :5].double().numpy()
        mean, deviation = w_statistics(G, label)
        np.testing.assert_allclose(mean[0, 0], w.mean(axis=0), atol=1e-5)
        assert float(deviation) == pytest.approx(np.sqrt(((w - w.mean(axis=0)) ** 2).sum() / 500), rel=1e-4)


# --- the search ---

@pytest.mark.parametrize('k', [0, 2])
def test_the_class_is_found_and_the_picture_comes_near(k):
    G = make_varied_hyper()
    found = search(G, picture(G, k, torch.eye(3)[k]), None, 25)
    assert found.label.argmax() == k and found.label[k] > 0.5 and float(found.label.sum()) == pytest.approx(1)
    assert found.distance < 0.65 * found.start_distance
    assert found.ws.shape == (1, G.num_ws, G.w_dim)
    torch.testing.assert_close(found.ws[:, 0, 5:], G.mapping.class_code(found.label[None]))


def test_a_known_class_stays_and_the_network_too():
    G = make_varied_hyper()
    before = tensors(G)
    found = search(G, picture(G, 5, torch.eye(3)[2]), torch.eye(3)[0], 5)
    assert torch.equal(found.label, torch.eye(3)[0])
    torch.testing.assert_close(found.ws[:, :, 5:], G.mapping.class_code(labels(0))[:, None].expand(-1, G.num_ws, -1))
    assert all(torch.equal(tensor, before[name]) for name, tensor in tensors(G).items())
    assert not any(buffer.requires_grad for buffer in G.buffers())


def test_one_w_or_one_for_each_layer():
    G = make_source()
    target = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    one, many = (search(G, target, torch.zeros(0), 30, layerwise) for layerwise in (False, True))
    assert torch.equal(one.ws, one.ws[:, :1].expand(-1, G.num_ws, -1)) and not torch.equal(many.ws[:, 0], many.ws[:, 1])
    assert many.distance < one.distance < one.start_distance


def test_plain_conditional_networks_take_the_class_that_starts_nearest():
    G = plain_conditional()
    for k in range(3):
        mean, _deviation = w_statistics(G, torch.eye(3)[k])
        target = G.synthesis(mean.expand(-1, G.num_ws, -1), noise_mode='const')
        found = search(G, target, None, 1)
        assert torch.equal(found.label, torch.eye(3)[k]) and found.start_distance < 1e-6
        assert found.ws.shape == (1, G.num_ws, G.w_dim)


def test_noise_maps_draw_the_result_and_stay_standard():
    G = make_varied_hyper()
    for name, noise in G.synthesis.named_buffers():
        if name.endswith('noise_strength'):
            noise.fill_(0.3)
    found = search(G, picture(G, 1, torch.eye(3)[1]), None, 20)
    for noise in found.maps.values():
        assert abs(float(noise.mean())) < 1e-5 and float(noise.square().mean()) == pytest.approx(1, abs=1e-4)
    buffers = dict(G.synthesis.named_buffers())
    for name, noise in found.maps.items():
        buffers[name].copy_(noise)
    image = G.synthesis(found.ws, noise_mode='const')
    np.testing.assert_allclose((image[0] * 127.5 + 128).clamp(0, 255), found.image, atol=1.01)


def test_seeds_decide():
    G = make_varied_hyper()
    target = picture(G, 1, torch.eye(3)[1])
    first, again, other = (search(G, target, None, 3, seed=seed).ws for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_numbers_that_are_not_finite():
    G = make_source()
    target = torch.full([1, 3, 16, 16], float('nan'))
    with pytest.raises(RuntimeError, match='not finite'):
        search(G, target, torch.zeros(0), 1)


def test_another_code_for_the_same_w():
    G = make_varied_hyper()
    z = torch.randn(2, G.z_dim)
    ws = G.mapping(z, labels(0, 1))
    torch.testing.assert_close(with_code(G, ws, labels(2, 2)), G.mapping(z, labels(2, 2)))
