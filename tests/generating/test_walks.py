"""Weights of curves through keys, against formulas and scipy."""

import sys

import numpy as np
import pytest
import scipy.interpolate
import scipy.spatial

from generating import walks

RNG = np.random.default_rng(0)
KEYS = RNG.normal(size=(4, 5))


def test_a_loop_stops_one_step_before_its_start():
    np.testing.assert_allclose(walks.positions(6, 3, loop=True), [0, 0.5, 1, 1.5, 2, 2.5])
    np.testing.assert_allclose(walks.positions(5, 3, loop=False), [0, 0.5, 1, 1.5, 2])


def test_arcs_are_scipy_s():
    t = np.linspace(0, 1, 7)
    unit = KEYS / np.linalg.norm(KEYS, axis=1, keepdims=True)
    for first in range(4):
        got = walks.spherical_weights(first + t, unit) @ unit
        np.testing.assert_allclose(got, scipy.spatial.geometric_slerp(unit[first], unit[(first + 1) % 4], t), atol=1e-12)


def test_cubic_curve_is_scipy_s_spline_of_the_keys():
    position = np.linspace(-1, 9, 41)
    closed = KEYS[[0, 1, 2, 3, 0]]
    spline = scipy.interpolate.make_interp_spline(np.arange(5), closed, k=3, bc_type='periodic')
    np.testing.assert_allclose(walks.cubic_weights(position, 4) @ KEYS, spline(position % 4), atol=1e-12)
    np.testing.assert_allclose(walks.cubic_weights(position, 4).sum(axis=1), 1)


@pytest.mark.parametrize('weights', [lambda p, k: walks.linear_weights(p, len(k)), walks.spherical_weights,
                                     lambda p, k: walks.cubic_weights(p, len(k))])
@pytest.mark.parametrize('num_keys', [1, 2, 4])
def test_curves_pass_their_keys_and_close(weights, num_keys):
    keys = KEYS[:num_keys]
    np.testing.assert_allclose(weights(np.arange(2 * num_keys), keys), np.tile(np.eye(num_keys), [2, 1]), atol=1e-12)
    near = weights(np.array([num_keys - 1e-7, 0]), keys) @ keys
    np.testing.assert_allclose(near[0], near[1], atol=1e-5)


@pytest.mark.parametrize('second, halfway', [([3, 0], [2, 0]), ([1, 1e-9], [1, 5e-10])])
def test_short_arcs(second, halfway):
    keys = np.array([[1, 0], second], dtype=np.float64)
    np.testing.assert_allclose(walks.spherical_weights(np.array([0.5]), keys) @ keys, [halfway], atol=1e-12)


def test_opposite_keys_give_numbers():
    weights = walks.spherical_weights(np.linspace(0, 2, 9), np.array([[1.0, 0], [-1, 0]]))
    assert np.isfinite(weights).all() and np.array_equal(weights[[0, 4]].round(9), np.eye(2))


def test_without_scipy(monkeypatch):
    monkeypatch.setitem(sys.modules, 'scipy.interpolate', None)
    with pytest.raises(ValueError, match='--curve=cubic needs scipy: pip install scipy, or take --curve=spherical'):
        walks.cubic_weights(np.zeros(1), 3)
