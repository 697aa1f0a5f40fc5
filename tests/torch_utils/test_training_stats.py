"""torch_utils.training_stats against numpy over the same numbers."""
import json
import math
import weakref

import numpy as np
import pytest
import torch

from tests.support.two_processes import run_in_two
from torch_utils import training_stats
from torch_utils.training_stats import Collector, report, report0


@pytest.fixture(autouse=True)
def fresh_state(monkeypatch):
    """Counters of this test alone."""
    monkeypatch.setattr(training_stats, '_counters', {})
    monkeypatch.setattr(training_stats, '_rank', 0)
    monkeypatch.setattr(training_stats, '_sync_device', None)


def moments(collector, name):
    return collector.num(name), collector.mean(name), collector.std(name)


@pytest.mark.parametrize('value', [
    -2.5, (0.5, -0.5), np.arange(6).reshape(2, 3), torch.tensor([1.0, 2.0], dtype=torch.float16),
    torch.nn.Parameter(torch.tensor(4.0)), torch.tensor([[True, False]]),
], ids=lambda value: type(value).__name__)
def test_every_form_of_value(value):
    collector = Collector()
    assert report('x', value) is value
    collector.update()
    want = np.asarray(value.detach() if isinstance(value, torch.Tensor) else value, dtype=np.float64)
    assert collector.num('x') == want.size
    assert collector.mean('x') == pytest.approx(want.mean(), rel=1e-6)      # float32
    assert collector.std('x') == pytest.approx(want.std(), rel=1e-5, abs=1e-4)      # root of a float32 rounding error


def test_sums_of_many_reports_are_kept_in_float64():
    collector = Collector()
    report('x', 2.0 ** 25)
    for _ in range(10):
        report('x', 1.0)        # each lost if added in float32
    collector.update()
    assert collector.mean('x') * collector.num('x') == pytest.approx(2.0 ** 25 + 10, abs=1e-6)


def test_only_what_came_since_the_last_update():
    collector = Collector()
    report('x', 1)
    assert collector.num('x') == 0      # not before an update
    collector.update()
    report('x', [2, 4])
    assert moments(collector, 'x') == (1, 1, 0)
    collector.update()
    assert moments(collector, 'x') == (2, 3, 1)


@pytest.mark.parametrize('keep, expected', [(True, (1, 7, 0)), (False, (0, math.nan, math.nan))])
def test_update_without_news(keep, expected):
    collector = Collector(keep_previous=keep)
    report('x', 7)
    collector.update()
    report('x', [])
    collector.update()
    np.testing.assert_equal(moments(collector, 'x'), expected)


def test_collectors_are_independent_and_start_at_construction():
    report('x', 100)
    first = Collector()
    report('x', 1)
    second = Collector()
    report('x', 3)
    second.update()
    assert moments(second, 'x') == (1, 3, 0)
    first.update()
    assert moments(first, 'x') == (2, 2, 1)
    first.update()
    second.update()
    assert moments(second, 'x') == (1, 3, 0)


def test_an_infinite_value_spoils_its_own_update_only():
    collector = Collector(keep_previous=False)
    report('x', [1, math.inf])
    collector.update()
    assert collector.mean('x') == math.inf and math.isnan(collector.std('x'))
    report('x', [1, 3])
    collector.update()
    assert moments(collector, 'x') == (2, 2, 1)


def test_names_and_patterns():
    collector, losses = Collector(), Collector(regex='Loss/.*')
    report('Loss/G', 1)
    report('Progress/kimg', 2)
    report('Loss/empty', [])
    for c in (collector, losses):
        c.update()
    assert collector.names() == ['Loss/G', 'Progress/kimg', 'Loss/empty'] and losses.names() == ['Loss/G', 'Loss/empty']
    assert Collector(regex='Loss').names() == []        # the whole name must match
    assert losses.num('Progress/kimg') == 0 and math.isnan(losses['never reported'])


def test_as_dict():
    collector = Collector()
    report('a', [1, 3])
    report('b', [])
    collector.update()
    stats = collector.as_dict()
    assert list(stats) == ['a', 'b'] and stats['a'] == dict(num=2, mean=2, std=1)
    assert stats.a.mean == 2 and stats.b.num == 0 and math.isnan(stats.b.std)


def test_equal_values_have_no_spread():
    collector = Collector()
    report('x', torch.full([1000], 0.1))    # the difference of the moments may come out below zero
    collector.update()
    assert 0 <= collector.std('x') < 1e-3


def test_report0_counts_in_the_first_process_only():
    collector = Collector()
    assert report0('x', 1) == 1
    training_stats.init_multiprocessing(rank=1, sync_device=None)
    assert report0('x', 2) == 2 and report0('y', 2) == 2
    collector.update()
    assert moments(collector, 'x') == (1, 1, 0) and collector.num('y') == 0 and collector.names() == ['x', 'y']


# --- going on ---

def reports(seed):
    """Three rounds of reports; the values of 'signs' are whole numbers."""
    rng = np.random.default_rng(seed)
    for _ in range(3):
        report('loss', torch.from_numpy(rng.normal(size=5)))
        report('signs', np.sign(rng.normal(size=8)))
        report('empty', [])


def test_going_on_from_a_state_gives_the_same_numbers(monkeypatch):
    whole, parts = Collector(), Collector()
    reports(0)
    whole.update()
    parts.update()
    report('early', 3)      # pending when the state is taken
    reports(1)
    state = json.loads(json.dumps(parts.state_dict()))      # plain values

    monkeypatch.setattr(training_stats, '_counters', {})      # as in a new process
    monkeypatch.setattr(training_stats, '_collectors', weakref.WeakSet())
    parts = Collector()
    report('loss', 10**6)       # before the state is loaded: forgotten
    parts.load_state_dict(state)
    assert sorted(parts.names()) == ['early', 'empty', 'loss', 'signs']
    assert moments(parts, 'loss') == moments(whole, 'loss')     # shown now
    reports(2)
    parts.update()

    monkeypatch.setattr(training_stats, '_collectors', weakref.WeakSet([whole]))
    reports(2)
    whole.update()
    for name in ('early', 'empty', 'loss', 'signs'):
        np.testing.assert_allclose(moments(parts, name), moments(whole, name), rtol=1e-12)
    assert moments(parts, 'signs') == moments(whole, 'signs')   # sums of whole numbers are exact
    assert parts.num('loss') == 30 and parts.num('early') == 1


def test_taking_a_state_loses_nothing():
    collector, other = Collector(), Collector()
    report('x', [1, 2])
    assert collector.state_dict() == dict(pending=dict(x=[2, 3, 5]), visible={})
    assert collector.num('x') == 0      # not visible before an update
    report('x', 3)
    for c in (collector, other):
        c.update()
        assert moments(c, 'x')[:2] == (3, 2)
    assert collector.state_dict() == dict(pending=dict(x=[0, 0, 0]), visible=dict(x=[3, 6, 14]))


@pytest.mark.parametrize('keep, expected', [(True, (1, 7, 0)), (False, (0, math.nan, math.nan))])
def test_a_name_without_news_before_and_after_a_state(keep, expected):
    collector, later = Collector(keep_previous=keep), Collector(keep_previous=keep)
    report('x', 7)
    collector.update()
    later.load_state_dict(collector.state_dict())
    assert moments(later, 'x') == (1, 7, 0)
    later.update()
    np.testing.assert_equal(moments(later, 'x'), expected)


def test_states_of_numbers_that_are_not_finite():
    collector, later = Collector(), Collector()
    report('x', [1, math.inf])
    report('y', math.nan)
    collector.update()
    later.load_state_dict(collector.state_dict())
    for name in 'xy':
        np.testing.assert_equal(moments(later, name), moments(collector, name))


# --- several processes ---

def run_process(rank, outdir):
    training_stats.init_multiprocessing(rank=rank, sync_device='cpu')
    collector = Collector()
    names = ['x', 'y'] if rank == 0 else ['y', 'x', 'only here']    # another order, another name
    for name in names:
        report(name, torch.arange(3) + 10 * rank)
    report0('first', rank + 1)
    state = collector.state_dict()
    collector = Collector()
    collector.load_state_dict(state)        # pending is what both processes reported, in each of them once
    collector.update()
    torch.save({name: moments(collector, name) for name in collector.names()}, outdir / f'{rank}.pt')


def test_sums_over_processes(tmp_path):
    run_in_two(run_process, tmp_path, tmp_path)
    both = np.asarray([0, 1, 2, 10, 11, 12])
    for rank in range(2):
        stats = torch.load(tmp_path / f'{rank}.pt', weights_only=True)
        assert sorted(stats) == ['first', 'only here', 'x', 'y']
        np.testing.assert_allclose([stats['x'], stats['y']], [(6, both.mean(), both.std())] * 2)
        assert stats['only here'][:2] == (3, 11) and stats['first'] == (1, 1, 0)
