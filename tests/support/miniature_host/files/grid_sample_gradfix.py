"""Falls back to PyTorch's sampling, which is differentiable once only."""
import torch

enabled = False


def grid_sample(input, grid):
    return torch.nn.functional.grid_sample(input, grid, mode='bilinear', padding_mode='zeros', align_corners=False)
