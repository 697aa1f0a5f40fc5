"""fill_tensors: every name is in one place of the report, what fits is copied, and a check that raises leaves all as it was."""

import pytest
import torch

from torch_utils.named_tensors import fill_tensors


def example():
    """-> target, source: one parameter and one buffer that fit, one of another shape, one of each alone."""
    target = dict(b=torch.nn.Parameter(torch.zeros(2)), a=torch.zeros(3), odd=torch.zeros(1), new=torch.zeros(4))
    source = dict(a=torch.ones(3), b=torch.full([2], 2.0), odd=torch.ones(5), old=torch.ones(1))
    return target, source


def test_every_name_is_in_one_place():
    target, source = example()
    report = fill_tensors(target, source)
    assert (report.copied, report.frozen, report.new, report.unused) == (('b',), ('a',), ('new',), ('old',))
    assert report.misfits == dict(odd=([5], [1])) and report.describe_misfits() == 'odd [5] -> [1]'
    assert {name: tensor.tolist() for name, tensor in target.items()} == dict(b=[2, 2], a=[1, 1, 1], odd=[0], new=[0] * 4)
    assert target['b'].requires_grad and not target['a'].requires_grad


def test_a_check_that_raises_leaves_the_target_alone():
    def check(report):
        raise ValueError(report.describe_misfits(['odd']))

    target, source = example()
    with pytest.raises(ValueError, match=r'^odd \[5\] -> \[1\]$'):
        fill_tensors(target, source, check)
    assert not any(tensor.any() for tensor in target.values())


def test_the_line_for_the_log():
    text = str(fill_tensors(*example()))
    assert text == ('2 tensors copied, 1 new, 1 not used; new: new; not used: old; '
                    '1 of another shape start from random weights: odd [5] -> [1]')
    assert str(fill_tensors({}, {f't{i}': torch.zeros(1) for i in range(7)})).endswith('not used: t0, t1, t2, t3, t4, t5 ...')
