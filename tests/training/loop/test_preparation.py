"""training.loop.preparation: seeds of the processes."""

from types import SimpleNamespace

import numpy as np
import torch

from training.loop.preparation import set_up_torch


def test_the_largest_seed_serves_many_processes():
    drawn = []
    for rank in range(3):
        config = SimpleNamespace(random_seed=2**31 - 1, num_gpus=3, num_threads=1, allow_tf32=False, cudnn_benchmark=False)
        set_up_torch(config, torch.device('cpu'), rank)
        drawn.append((torch.rand(1).item(), np.random.rand()))
    assert len(set(drawn)) == 3
