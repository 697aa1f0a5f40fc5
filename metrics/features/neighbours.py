"""Nearest neighbours among feature vectors, exactly, in blocks of a fixed size: 50,000 x 50,000 points need about a gigabyte.

    |x - y|^2 = |x|^2 + |y|^2 - 2 <x, y>

Everything is computed in float64, after the mean of y has been subtracted from both sides: neither a large mean nor
points that nearly coincide lose their digits in the difference.

Shapes: N points x, M points y, D features, k neighbours. Inputs may be of any real dtype, on any device with float64.
"""

from collections.abc import Iterator

import numpy as np
import torch

BLOCK = 4096  # rows and columns at a time: 128 MiB a block in float64
TIE = 1e-10  # squared distances that differ by less than this share are equal: rounding depends on the block


def nearest(x: torch.Tensor, y: torch.Tensor, k: int = 1, block: int = BLOCK) -> tuple[torch.Tensor, torch.Tensor]:
    """For each x its k nearest y: distances, float64 [N, k], nearest first, and their indices in y, int64 [N, k]."""
    check_points(x, y)
    if not 1 <= k <= len(y):
        raise ValueError(f'{k} nearest neighbours were asked for among {len(y)} points: give at least as many points')
    distances, indices = [], []
    mean = _mean(y, block)
    for rows in x.split(block):
        found, where = _nearest_rows(rows, y, mean, k, block)
        distances.append(found.sqrt())
        indices.append(where)
    return torch.cat(distances), torch.cat(indices)


def kth_neighbour_distances(x: torch.Tensor, k: int, block: int = BLOCK) -> torch.Tensor:
    """Distance of each x to its k-th nearest among the others, float64 [N]. Copies of a point are others: they count."""
    if len(x) <= k:
        raise ValueError(f'{k} neighbours of every point need {k + 1} points or more, found {len(x)}')
    return nearest(x, x, k + 1, block)[0][:, k]  # the nearest of all is the point itself, or its copy


def count_within(
    probes: torch.Tensor, centres: torch.Tensor, radii: torch.Tensor, block: int = BLOCK, closed: bool = False
) -> torch.Tensor:
    """In how many of the balls (centres [M, D], radii [M]) each probe [N, D] lies. int64 [N].

    Balls are open, a tie lies outside; with closed it lies inside.
    """
    check_points(probes, centres)
    if radii.shape != centres.shape[:1]:
        raise ValueError(f'expected one radius for each of {len(centres)} centres, found {list(radii.shape)}')
    limits = radii.double().square() * (1 + TIE if closed else 1 - TIE)
    counts = []
    mean = _mean(centres, block)
    for rows in probes.split(block):
        inside = torch.zeros(len(rows), dtype=torch.int64, device=rows.device)
        for columns, squared in _squared_blocks(rows, centres, mean, block):
            inside += (squared <= limits[columns] if closed else squared < limits[columns]).sum(dim=1)
        counts.append(inside)
    return torch.cat(counts)


def placed(features: np.ndarray, device: torch.device | str | None) -> torch.Tensor:
    """The features as a tensor on the device; on the CPU if that has no float64 (MPS)."""
    points = torch.from_numpy(features)
    return points.to(device) if device is not None and torch.device(device).type == 'cuda' else points


def check_points(x: torch.Tensor, y: torch.Tensor) -> None:
    """ValueError unless both are finite [N, D] and [M, D] with points in them."""
    for points in (x, y):
        if points.ndim != 2 or not len(points):
            raise ValueError(f'expected feature vectors [N, D], found {list(points.shape)}')
        if not torch.isfinite(points).all():
            bad = int((~torch.isfinite(points)).any(dim=1).sum())
            raise ValueError(f'{bad} of {len(points)} feature vectors hold NaN or infinity: look at the images or the detector')
    if x.shape[1] != y.shape[1]:
        raise ValueError(f'feature vectors of different lengths cannot be compared: {x.shape[1]} and {y.shape[1]}')


def _mean(y: torch.Tensor, block: int) -> torch.Tensor:
    """float64 [D]; in blocks, since torch would copy all of y to float64 at once."""
    return torch.stack([part.double().sum(dim=0) for part in y.split(block)]).sum(dim=0) / len(y)


def _nearest_rows(
    rows: torch.Tensor, y: torch.Tensor, mean: torch.Tensor, k: int, block: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Squared distances and indices [n, k] of the nearest y, ascending, for the rows [n, D] of one block."""
    best = torch.empty(len(rows), 0, dtype=torch.float64, device=rows.device)
    where = torch.empty(len(rows), 0, dtype=torch.int64, device=rows.device)
    for columns, squared in _squared_blocks(rows, y, mean, block):
        near, index = squared.topk(min(k, squared.shape[1]), dim=1, largest=False)
        best, where = torch.cat([best, near], dim=1), torch.cat([where, index + columns.start], dim=1)
        best, order = best.topk(min(k, best.shape[1]), dim=1, largest=False)
        where = where.gather(1, order)
    return best, where


def _squared_blocks(
    rows: torch.Tensor, y: torch.Tensor, mean: torch.Tensor, block: int
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Pairs of a slice of y and the squared distances [n, columns] of the rows to it, float64, never negative."""
    a = rows.double() - mean
    for start in range(0, len(y), block):
        columns = slice(start, min(start + block, len(y)))
        b = y[columns].double() - mean
        squared = torch.addmm(b.square().sum(dim=1), a, b.T, alpha=-2)  # [n, columns]
        yield columns, squared.add_(a.square().sum(dim=1, keepdim=True)).clamp_(min=0)
