"""metrics/metric_options.py: the options that metrics are given, and progress."""
import sys

import pytest
import torch

from metrics.metric_options import MetricOptions, ProgressMonitor


def test_metrics_change_their_own_copies():
    dataset_kwargs, G_kwargs = dict(path='x', max_size=5, xflip=True), dict(a=1)
    opts = MetricOptions(dataset_kwargs=dataset_kwargs, G_kwargs=G_kwargs, device='cpu')
    opts.ignore_training_subset()
    opts.G_kwargs['a'] = 2
    assert opts.dataset_kwargs == dict(path='x', max_size=None, xflip=False)
    assert dataset_kwargs == dict(path='x', max_size=5, xflip=True) and G_kwargs == dict(a=1)


def test_mirrored_copies_can_stay():
    opts = MetricOptions(dataset_kwargs=dict(path='x', max_size=5, xflip=True), device='cpu')
    opts.ignore_training_subset(keep_mirror=True)
    assert opts.dataset_kwargs == dict(path='x', max_size=None, xflip=True)


def test_device_by_default(monkeypatch):
    assert MetricOptions(device='cpu').device == torch.device('cpu')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    assert MetricOptions(num_gpus=3, rank=2).device == torch.device('cuda', 2)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert MetricOptions().device == torch.device('cpu')


@pytest.mark.parametrize('rank', [-1, 2])
def test_wrong_rank(rank):
    with pytest.raises(ValueError, match='expected 0 to 1'):
        MetricOptions(num_gpus=2, rank=rank)


@pytest.mark.parametrize('rank', [0, 1])
def test_only_the_first_process_shows_a_bar(rank, monkeypatch, capsys):
    monkeypatch.setattr('metrics.metric_options.BAR_DELAY_SEC', 0)
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True)
    opts = MetricOptions(num_gpus=2, rank=rank, progress=ProgressMonitor(verbose=True), device='cpu')
    opts.progress.sub('Reading', num_items=1).update(1)
    assert ('Reading' in capsys.readouterr().err) == (rank == 0)


@pytest.mark.parametrize('verbose, terminal', [(False, True), (True, True), (True, False)])
def test_a_bar_only_where_it_is_wanted(verbose, terminal, monkeypatch, capsys):
    monkeypatch.setattr('metrics.metric_options.BAR_DELAY_SEC', 0)
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: terminal)
    bar = ProgressMonitor(verbose=verbose).sub('Reading', num_items=10)
    bar.update(5)
    bar.update(10)
    out, err = capsys.readouterr()
    assert ('Reading' in err) == (verbose and terminal) and not out
