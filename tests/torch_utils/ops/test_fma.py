"""Multiply-add against numpy and finite differences."""

import numpy as np
import pytest
import torch

from torch_utils.ops.fma import fma


@pytest.mark.parametrize('shapes', [((2, 3, 4),) * 3, ((2, 5, 4, 6), (2, 5, 1, 1), (4, 6)), ((4,), (3, 1), (2, 1, 1))])
def test_value_and_derivatives_with_broadcasting(shapes):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape) for shape in shapes]
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    np.testing.assert_allclose(fma(*tensors).detach().numpy(), arrays[0] * arrays[1] + arrays[2], rtol=1e-14, atol=1e-14)
    assert torch.autograd.gradcheck(fma, tensors)
    assert torch.autograd.gradgradcheck(fma, tensors)
