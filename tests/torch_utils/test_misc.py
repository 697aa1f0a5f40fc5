"""torch_utils.misc: tensors by name, constants, checks, the sampler, several processes."""
import contextlib
import copy
import itertools
import warnings

import numpy as np
import pytest
import torch

from tests.support.two_processes import run_in_two
from torch_utils import misc
from torch_utils.misc import InfiniteSampler, constant, copy_params_and_buffers


class Net(torch.nn.Module):
    def __init__(self, width=3, extra=False, frozen=False):
        super().__init__()
        self.inner = torch.nn.Linear(2, width)
        if frozen:
            weight = self.inner.weight.detach()
            del self.inner.weight
            self.inner.register_buffer('weight', weight)
        self.register_buffer('mean', torch.randn([]))
        if extra:
            self.extra = torch.nn.Parameter(torch.full([4], 7.0))

    def forward(self, x):
        return self.inner(x) + self.mean


def tensors(module):
    return dict(misc.named_params_and_buffers(module))


# --- tensors of a module ---

def test_parameters_then_buffers():
    net = Net()
    assert [name for name, _ in misc.named_params_and_buffers(net)] == ['inner.weight', 'inner.bias', 'mean']
    assert [id(t) for t in misc.params_and_buffers(net)] == [id(net.inner.weight), id(net.inner.bias), id(net.mean)]


@pytest.mark.parametrize('src_kwargs, dst_kwargs', [({}, {}), ({}, dict(frozen=True)), (dict(frozen=True), {})])
def test_copy_fills_all(src_kwargs, dst_kwargs):
    src, dst = Net(**src_kwargs), Net(**dst_kwargs)
    flags = {name: t.requires_grad for name, t in tensors(dst).items()}
    copy_params_and_buffers(src, dst, require_all=True)
    assert all(torch.equal(t, tensors(src)[name]) for name, t in tensors(dst).items())
    assert {name: t.requires_grad for name, t in tensors(dst).items()} == flags
    with torch.no_grad():
        src.inner.bias.add_(1)      # a copy, not the same storage
    assert not torch.equal(src.inner.bias, dst.inner.bias)


def test_copy_of_what_both_have():
    src, dst = Net(), Net(extra=True)
    copy_params_and_buffers(src, dst)
    assert torch.equal(dst.inner.weight, src.inner.weight) and torch.equal(dst.extra, torch.full([4], 7.0))
    copy_params_and_buffers(dst, src)       # what only the source has is passed over
    with pytest.raises(ValueError, match=r'Net has no value for 1 of the 4 tensors of Net: extra;'):
        copy_params_and_buffers(Net(), dst, require_all=True)


def test_copy_refuses_other_shapes_and_names_them_all():
    src, dst = Net(width=5), Net(width=1)       # [1] could be broadcast; it must not be
    before = copy.deepcopy(tensors(dst))
    with pytest.raises(ValueError, match=r'2 tensors .*inner.bias \[5\] -> \[1\], inner.weight \[5, 2\] -> \[1, 2\]'):
        copy_params_and_buffers(src, dst)
    with pytest.raises(ValueError, match=r'inner.bias \[1\] -> \[5\]'):
        copy_params_and_buffers(dst, src)
    assert all(torch.equal(t, before[name]) for name, t in tensors(dst).items())       # nothing was copied


def test_copy_between_types():
    src, dst = Net().double(), Net()
    copy_params_and_buffers(src, dst)
    assert dst.inner.weight.dtype == torch.float32
    torch.testing.assert_close(dst.inner.weight, src.inner.weight.float())


# --- values ---

@pytest.mark.parametrize('value', [2, [[1.5, 2], [3, 4]], np.arange(3), [], True])
def test_constant_equals_tensor(value):
    got = constant(value)
    assert got.dtype == torch.float32
    np.testing.assert_array_equal(got.numpy(), np.asarray(value, dtype=np.float32))


def test_constant_is_made_once_and_told_apart():
    assert constant([1, 2]) is constant((1, 2), device='cpu')
    different = [constant(1), constant(1.0, dtype=torch.float64), constant([1]), constant(1, shape=[1, 1]), constant(0)]
    assert len({id(t) for t in different}) == 5
    assert constant([[1, 2]]).shape == (1, 2) and constant([1, 2]).shape == (2,)


def test_constant_made_without_gradients_serves_with_them():
    with torch.inference_mode():
        factor = constant(3.25)
    x = torch.ones([], requires_grad=True)
    (x * factor).backward()
    assert x.grad == 3.25


def test_nan_to_num():
    x = torch.tensor([float('nan'), float('inf'), -float('inf'), 1.5])
    assert misc.nan_to_num(x, nan=2.0, posinf=1e5, neginf=-1e5).tolist() == [2, 1e5, -1e5, 1.5]
    assert misc.nan_to_num(x).tolist() == [0, torch.finfo(x.dtype).max, torch.finfo(x.dtype).min, 1.5]
    assert misc.nan_to_num(x, posinf=0, neginf=0, out=x) is x and x.tolist() == [0, 0, 0, 1.5]


# --- checks, tracing, profiling ---

def test_assert_shape():
    x = torch.zeros([2, 3])
    misc.assert_shape(x, [2, 3])
    misc.assert_shape(x, [None, 3])
    for wrong in ([2], [2, 4], [None, None, None], [3, None]):
        with pytest.raises(AssertionError, match=r'has shape \[2, 3\], expected'):
            misc.assert_shape(x, wrong)


def test_symbolic_assert():
    misc.symbolic_assert(True, 'fine')
    with pytest.raises(AssertionError, match='not fine'):
        misc.symbolic_assert(False, 'not fine')


def test_tracer_warnings_only():
    with misc.suppress_tracer_warnings():
        warnings.warn('a value taken as constant', torch.jit.TracerWarning, stacklevel=1)
    with pytest.warns(UserWarning, match='another'), misc.suppress_tracer_warnings():
        warnings.warn('another', UserWarning, stacklevel=1)
    with pytest.raises(torch.jit.TracerWarning):
        warnings.warn('outside', torch.jit.TracerWarning, stacklevel=1)


def test_profiled_function():
    @misc.profiled_function
    def my_layer(a, *, b):
        """Doc."""
        return a + b
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        assert my_layer(1, b=2) == 3
    assert my_layer.__name__ == 'my_layer' and my_layer.__doc__ == 'Doc.'
    assert 'my_layer' in [event.key for event in profile.key_averages()]


# --- data order ---

def reference_stream(size, count, seed=0, window_size=0.5):
    """The rule as it is written down, by moving entries of a list."""
    rnd, order = np.random.RandomState(seed), np.arange(size)
    rnd.shuffle(order)
    order, window, stream = order.tolist(), int(np.rint(size * window_size)), []
    for i in range(count):
        stream.append(order[i % size])
        if window >= 2:
            a, b = i % size, (i - rnd.randint(window)) % size
            order[a], order[b] = order[b], order[a]
    return stream


def draw(count, size, **kwargs):
    return list(itertools.islice(InfiniteSampler(list(range(size)), **kwargs), count))


@pytest.mark.parametrize('size, kwargs', [
    (10, dict(seed=3)), (1, {}), (9, dict(window_size=0)),
])
def test_sampler_follows_the_rule(size, kwargs):
    assert draw(50, size, **kwargs) == reference_stream(size, 50, **kwargs)


def test_order_without_shuffling():
    assert draw(7, 3, shuffle=False) == [0, 1, 2, 0, 1, 2, 0]


def test_replicas_share_the_stream():
    whole = draw(60, 11, seed=1)
    parts = [draw(20, 11, seed=1, rank=rank, num_replicas=3) for rank in range(3)]
    assert [item for items in zip(*parts, strict=True) for item in items] == whole


@pytest.mark.parametrize('size, kwargs, message', [
    (0, {}, 'at least one item'), (3, dict(rank=2, num_replicas=2), 'rank'), (3, dict(window_size=1.5), 'window_size'),
])
def test_sampler_refuses_nonsense(size, kwargs, message):
    with pytest.raises(ValueError, match=message):
        InfiniteSampler(list(range(size)), **kwargs)


# --- summary ---

class Stack(torch.nn.Module):
    """Two layers in a block, one shared and run twice, a tensor of its own, one layer that never runs."""

    def __init__(self):
        super().__init__()
        self.block = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.BatchNorm1d(8))
        self.head = torch.nn.Linear(8, 8, bias=False)
        self.idle = torch.nn.Linear(1, 1)
        self.gain = torch.nn.Parameter(torch.ones([]))

    def forward(self, x, scale):
        y = self.head(self.head(self.block(x)))
        return dict(sum=y.sum() * scale, parts=[y, (y * self.gain).half()])


def rows_of(text):
    return {line.split()[0]: line.split()[1:] for line in text.splitlines() if line and not line.startswith('-')}


def test_summary_counts_every_tensor_once(capsys):
    net, x = Stack().eval(), torch.randn([3, 4])
    outputs = misc.print_module_summary(net, [x, 2])
    torch.testing.assert_close(outputs, net(x, 2))
    text = capsys.readouterr().out
    rows = rows_of(text)
    assert list(rows) == ['Stack', 'block.0', 'block.2', 'head', '<top-level>', 'Total']
    assert rows['block.0'] == ['40', '0', '[3,', '8]', 'float32']
    assert rows['block.2'][:2] == ['16', '17']          # scale and shift; mean, variance, count
    assert rows['head'][:2] == ['64', '0']              # once, though run twice
    assert rows['<top-level>'] == ['3', '0', '[]', '[3,', '8]', '[3,', '8]', 'float32', 'float32', 'float16']
    assert rows['Total'] == [str(sum(p.numel() for p in net.parameters())), str(sum(b.numel() for b in net.buffers()))]
    ends = [line.rindex(count) + len(count) for count, line in zip(['40', '16', '64'], text.splitlines()[2:5], strict=True)]
    assert len(set(ends)) == 1      # numbers end in one column


def test_summary_depth_and_redundant_rows(capsys):
    net, x = Stack().eval(), torch.randn([3, 4])
    misc.print_module_summary(net, [x, 1], max_nesting=1)
    rows = rows_of(capsys.readouterr().out)
    assert list(rows) == ['Stack', 'block', 'head', '<top-level>', 'Total'] and rows['block'][:2] == ['56', '17']
    misc.print_module_summary(net, [x, 1], skip_redundant=False)
    assert 'block.1' in rows_of(capsys.readouterr().out)        # the activation


def test_summary_leaves_no_hooks_behind():
    net = Stack()
    with pytest.raises(RuntimeError):
        misc.print_module_summary(net, [torch.randn([3, 5]), 1])
    assert all(not layer._forward_hooks and not layer._forward_pre_hooks for layer in net.modules())


# --- several processes ---

def test_without_processes():
    net = Net()
    for sync in (True, False):
        assert isinstance(misc.ddp_sync(net, sync), contextlib.nullcontext)
    misc.check_ddp_consistency(net)


def run_process(rank):
    torch.manual_seed(0)
    net = Net()
    net.mean.fill_(float('nan'))
    misc.check_ddp_consistency(net)                             # alike, NaN included

    with torch.no_grad():
        net.inner.bias[0] += rank
    for attempt in range(2):                                    # in both processes, also where nothing differs itself
        with pytest.raises(RuntimeError, match=r'rank 0 in rank 1: Net\.inner\.bias;'):
            misc.check_ddp_consistency(net, ignore_regex='inner.bias' if attempt else None)     # not the whole name
    misc.check_ddp_consistency(net, ignore_regex=r'.*\.bias')

    ddp = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(1, 1, bias=False))
    for sync, expected in [(False, rank + 1), (True, 1.5)]:     # own gradient; the mean of 1 and 2
        ddp.zero_grad(set_to_none=True)
        with misc.ddp_sync(ddp, sync):
            ddp(torch.full([1, 1], rank + 1.0)).sum().backward()
        assert ddp.module.weight.grad.item() == expected


def test_two_processes(tmp_path):
    run_in_two(run_process, tmp_path)
