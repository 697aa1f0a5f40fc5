"""Building blocks of the networks, differentiable twice, in plain PyTorch for any device."""
