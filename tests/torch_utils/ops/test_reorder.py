"""Images of a batch in another order, against indexing."""

import pytest
import torch

from torch_utils.ops.reorder import reorder


@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('order', [[2, 0, 1], [1, 1, 0, 2]])
def test_as_indexing(memory_format, order):
    x = torch.randn(3, 4, 5, 6).contiguous(memory_format=memory_format).requires_grad_()
    order = torch.tensor(order)
    want, got = x[order], reorder(x, order)
    assert torch.equal(got, want) and got.stride() == want.stride()
    slope = torch.randn_like(want)
    assert torch.equal(*(torch.autograd.grad(y, x, slope)[0] for y in (got, want)))
    torch.autograd.gradgradcheck(lambda x: reorder(x, order), x.detach().double().requires_grad_())
