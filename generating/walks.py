"""Curves through latents and labels, for videos: each point is a weighted sum of keys.

K keys lie on a closed curve, key k at position k, and position K is key 0 again. Weights: float64 [N, K] for N positions.

    spherical  sin((1 - t) a) / sin(a) and sin(t a) / sin(a) of two neighbours, a the angle between them (Shoemake 1985)
    cubic      a periodic cubic spline: no corners at the keys
    linear     1 - t and t of two neighbours
"""

import numpy as np

SMALL_ANGLE = 1e-6  # in radians; along shorter arcs the chord is exact enough


def positions(num_frames: int, num_keys: int, loop: bool) -> np.ndarray:
    """float64 [num_frames], at equal steps from key 0. A loop stops one step before it is there again, else the last key ends."""
    if loop:
        return np.arange(num_frames) * num_keys / num_frames
    return np.linspace(0, num_keys - 1, num_frames)


def linear_weights(position: np.ndarray, num_keys: int) -> np.ndarray:
    """position: [N], any real number -> [N, num_keys]."""
    first, second, t = _neighbours(position, num_keys)
    return _two_weights(first, second, 1 - t, t, num_keys)


def spherical_weights(position: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """position: [N]; keys: [K, D] -> [N, K]."""
    first, second, t = _neighbours(position, len(keys))
    directions = keys / np.linalg.norm(keys, axis=1, keepdims=True)
    cosine = (directions[first] * directions[second]).sum(axis=1)
    angle = np.arccos(cosine.clip(-1, 1))
    angle = np.where(np.pi - angle < SMALL_ANGLE, np.pi - SMALL_ANGLE, angle)  # between opposite keys no arc is the shortest
    is_small = angle < SMALL_ANGLE
    sine = np.where(is_small, 1, np.sin(angle))
    before = np.where(is_small, 1 - t, np.sin((1 - t) * angle) / sine)
    after = np.where(is_small, t, np.sin(t * angle) / sine)
    return _two_weights(first, second, before, after, len(keys))


def cubic_weights(position: np.ndarray, num_keys: int) -> np.ndarray:
    """position: [N] -> [N, num_keys], rows that add up to 1. ValueError without scipy."""
    try:
        from scipy.interpolate import CubicSpline
    except ImportError as error:
        raise ValueError('--curve=cubic needs scipy: pip install scipy, or take --curve=spherical') from error
    ends = np.eye(num_keys)[[*range(num_keys), 0]]
    return CubicSpline(np.arange(num_keys + 1), ends, bc_type='periodic')(position % num_keys)


def _neighbours(position: np.ndarray, num_keys: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The keys before and after each position, and how far it is from the one to the other, 0 to 1."""
    whole = np.floor(position)
    first = whole.astype(np.int64) % num_keys
    return first, (first + 1) % num_keys, position - whole


def _two_weights(first: np.ndarray, second: np.ndarray, before: np.ndarray, after: np.ndarray, num_keys: int) -> np.ndarray:
    weights = np.zeros([len(first), num_keys])
    rows = np.arange(len(first))
    np.add.at(weights, (rows, first), before)
    np.add.at(weights, (rows, second), after)
    return weights
