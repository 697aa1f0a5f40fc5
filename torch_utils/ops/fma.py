"""Multiply and add: y = a * b + c."""

import torch


def fma(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    """Return a * b + c. The shapes broadcast; each gradient has its operand's shape."""
    return torch.addcmul(c, a, b)
