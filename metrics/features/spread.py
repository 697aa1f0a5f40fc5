"""How varied images are, as one sees them from afar: the mean distance between two of them.

    spread(x) = mean over pairs i < j of |a(x_i) - a(x_j)|

a averages an image down to 8x8, so that neither noise nor fine texture passes for variety; |.| is the Euclidean norm. Compared
as a ratio, generated over real: 1 is as varied as real images, 0 one picture for all.

Shapes: N images, C channels, H x W pixels.
"""
import torch

SIDE = 8  # pixels that images are reduced to
BLOCK = 1024  # images whose distances to all others are computed at a time


def reduce_images(images: torch.Tensor) -> torch.Tensor:
    """[N, C, H, W] -> float32 [N, C, <= 8, <= 8] on the CPU, by averaging."""
    height, width = images.shape[2:]
    return torch.nn.functional.adaptive_avg_pool2d(images.float(), (min(height, SIDE), min(width, SIDE))).cpu()


def spread(images: torch.Tensor) -> float:
    """images: [N, C, H, W] of any scale, N >= 2; reduced ones stay as they are."""
    points = reduce_images(images).flatten(1).double()
    exact = 'donot_use_mm_for_euclid_dist'  # the other way, equal images are not at distance zero
    total = sum(float(torch.cdist(rows, points, compute_mode=exact).sum()) for rows in points.split(BLOCK))
    return total / (len(points) * (len(points) - 1))
