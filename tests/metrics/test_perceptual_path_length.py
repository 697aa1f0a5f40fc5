"""metrics/perceptual_path_length.py against closed forms: generators whose images move by known amounts."""

import numpy as np
import pytest
import torch

from metrics.perceptual_path_length import compute_ppl, path_ends, redraw_noise, spherical, to_levels, trimmed_mean
from tests.support.metric_scenes import Everything, data_kwargs, options, save_script, write_data

SEEN: list[torch.Tensor] = []   # noise buffers; the network itself is copied


class Mapping(torch.nn.Module):
    def forward(self, z, c):
        return (z * 3).unsqueeze(1).repeat(1, 2, 1)


class Synthesis(torch.nn.Module):
    """Images that are flat, with the level of the first number of w / 100. Notes its noise."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Module()
        self.layer.register_buffer('noise_const', torch.zeros(16, 16))

    def forward(self, ws, noise_mode, force_fp32):
        assert noise_mode == 'const' and force_fp32
        SEEN.append(self.layer.noise_const.clone())
        return (ws[:, 0, :1] / 100)[:, :, None, None].expand(-1, 3, 16, 16)


class Network(torch.nn.Module):
    z_dim, c_dim, img_resolution, img_channels = 4, 0, 16, 3

    def __init__(self):
        super().__init__()
        self.mapping, self.synthesis = Mapping(), Synthesis()


@pytest.fixture
def detector(tmp_path):
    return save_script(tmp_path / 'everything.pt', Everything())


def ppl(detector, num_samples=40, epsilon=0.25, space='w', sampling='end', crop=False, batch_size=8, **kwargs):
    opts = options(G=Network(), detector=detector, **kwargs)
    return compute_ppl(opts, num_samples, epsilon, space, sampling, crop, batch_size)


@pytest.mark.parametrize('epsilon', [0.125])
@pytest.mark.parametrize('sampling', ['end', 'full'])
def test_straight_paths_in_w(epsilon, sampling, detector):
    """The level moves by 3 (z1 - z0) / 100 * 127.5 / 255 per unit of t, in all 48 numbers of the embedding."""
    rng = np.random.default_rng(np.random.SeedSequence(0).spawn(3)[0])
    pairs = rng.standard_normal([40, 2, 4], dtype=np.float32)
    steps = (pairs[:, 1, 0] - pairs[:, 0, 0]).astype(np.float64)
    want = trimmed_mean(48 * (3 * steps / 100 / 2) ** 2)
    assert ppl(detector, epsilon=epsilon, sampling=sampling) == pytest.approx(want, rel=1e-3)   # levels are float32


@pytest.mark.parametrize('batch_size', [7])
def test_the_batch_size_changes_nothing(batch_size, detector):
    opts = options(G=Network(), detector=detector)
    got = compute_ppl(opts, 10, 0.25, 'w', 'full', False, batch_size)
    assert got == pytest.approx(ppl(detector, num_samples=10, sampling='full', batch_size=10), rel=1e-6)
    assert opts.facts['num_gen'] == 10


def test_noise_is_redrawn_for_each_batch_and_the_network_is_left_alone(detector):
    SEEN.clear()
    G = Network()
    state = torch.random.get_rng_state()
    compute_ppl(options(G=G, detector=detector), 16, 0.25, 'z', 'full', True, 8)
    assert len(SEEN) == 2 and not torch.equal(SEEN[0], SEEN[1]) and abs(float(SEEN[0].std()) - 1) < 0.2
    assert not G.synthesis.layer.noise_const.any() and torch.equal(torch.random.get_rng_state(), state)


def test_spherical_interpolation():
    a, b = torch.tensor([[3.0, 0, 0], [1.0, 0, 0]]), torch.tensor([[0, 0.5, 0], [1.0, 1.0, 0]])
    half, full = spherical(a, b, torch.tensor([[0.5], [0.5]])), spherical(a, b, torch.ones(2, 1))
    turn = np.pi / 8
    np.testing.assert_allclose(half, [[0.5**0.5, 0.5**0.5, 0], [np.cos(turn), np.sin(turn), 0]], atol=1e-6)
    np.testing.assert_allclose(full, [[0, 1, 0], [0.5**0.5, 0.5**0.5, 0]], atol=1e-6)
    np.testing.assert_allclose(spherical(a, b, torch.zeros(2, 1)), [[1, 0, 0], [1, 0, 0]], atol=1e-6)


@pytest.mark.parametrize('space', ['z', 'w'])
def test_ends_of_paths(space):
    z0, z1, t = torch.randn(3, 4), torch.randn(3, 4), torch.rand(3, 1)
    first, second = path_ends(Network(), z0, z1, torch.zeros(3, 0), t, 0.5, space).chunk(2)
    if space == 'w':
        torch.testing.assert_close(first[:, 1], 3 * (z0 + (z1 - z0) * t))
        torch.testing.assert_close(second - first, (3 * 0.5 * (z1 - z0))[:, None].expand(-1, 2, -1))
    else:
        torch.testing.assert_close(first[:, 0], 3 * spherical(z0, z1, t))
        torch.testing.assert_close(second[:, 1], 3 * spherical(z0, z1, t + 0.5))


def test_levels_crop_and_size():
    images = torch.rand(2, 1, 1024, 1024) * 2 - 1
    small = to_levels(images, crop=False)
    want = ((images.double() + 1) * 127.5).reshape(2, 1, 256, 4, 256, 4).mean(dim=(3, 5))
    torch.testing.assert_close(small.double(), want, rtol=1e-5, atol=1e-3)
    cropped = to_levels(images, crop=True)
    want = ((images[:, :, 384:896, 256:768].double() + 1) * 127.5).reshape(2, 1, 256, 2, 256, 2).mean(dim=(3, 5))
    torch.testing.assert_close(cropped.double(), want, rtol=1e-5, atol=1e-3)
    assert to_levels(images[:, :, :256, :256], crop=True).shape == (2, 1, 128, 128)


def test_extremes_are_left_out():
    values = np.random.default_rng(0).permutation(np.arange(1000.0))
    assert trimmed_mean(values) == np.arange(9.0, 991.0).mean()     # 9 <= 0.01 * 999 and 0.99 * 999 <= 990
    assert trimmed_mean(np.array([5.0])) == 5


def test_redrawing_touches_noise_alone():
    synthesis = Synthesis()
    synthesis.register_buffer('other', torch.zeros(3))
    redraw_noise(synthesis)
    assert synthesis.layer.noise_const.std() > 0.5 and not synthesis.other.any()


@pytest.mark.parametrize('wrong', [dict(space='x'), dict(sampling='middle')])
def test_unknown_kinds(wrong, detector):
    with pytest.raises(ValueError, match="expected space 'z' or 'w'"):
        ppl(detector, **wrong)


def test_broken_images():
    with pytest.raises(ValueError, match='NaN'):
        to_levels(torch.full([1, 3, 8, 8], float('nan')), crop=False)


def test_conditional_networks_take_labels_of_the_data(tmp_path, detector):
    seen = []

    class Conditional(Network):
        c_dim = 3

        def __init__(self):
            super().__init__()
            self.mapping.forward = lambda z, c: seen.append(c) or z.unsqueeze(1)

    data = data_kwargs(write_data(tmp_path / 'data.zip', labels=[2] * 12))
    opts = options(G=Conditional(), detector=detector, dataset_kwargs=data)
    compute_ppl(opts, 4, 0.25, 'w', 'end', False, 4)
    assert [c.tolist() for c in seen] == [[[0, 0, 1]] * 8]
