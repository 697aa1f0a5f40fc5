"""metrics/standard_metrics.py: what each of NVLabs' names computes."""
import pytest

from metrics import standard_metrics
from metrics.metric_main import calc_metric
from metrics.registry import find_metric
from tests.support.metric_scenes import Painter

TRAINING = dict(path='x', max_size=5, xflip=True)
NO_SUBSET, NO_SUBSET_NO_MIRROR = dict(path='x', max_size=None, xflip=True), dict(path='x', max_size=None, xflip=False)


@pytest.fixture
def calls(monkeypatch):
    """Records (data, arguments) of every computation."""
    found = []

    def record(value):
        def compute(opts, *args, **kwargs):
            found.append((opts.dataset_kwargs, args, kwargs))
            return value
        return compute

    for name, value in dict(compute_fid=1.5, compute_kid=0.5, compute_pr=(0.25, 0.75), compute_is=(9, 1), compute_ppl=33).items():
        monkeypatch.setattr(standard_metrics, name, record(value))
    return found


@pytest.mark.parametrize('metric, results, data, args', [
    ('fid50k_full', dict(fid50k_full=1.5), NO_SUBSET_NO_MIRROR, (None, 50_000)),
    ('fid50k', dict(fid50k=1.5), NO_SUBSET, (50_000, 50_000)),
    ('kid50k_full', dict(kid50k_full=0.5), NO_SUBSET_NO_MIRROR, (1_000_000, 50_000)),
    ('kid50k', dict(kid50k=0.5), NO_SUBSET, (50_000, 50_000)),
    ('pr50k3_full', dict(pr50k3_full_precision=0.25, pr50k3_full_recall=0.75), NO_SUBSET_NO_MIRROR, (200_000, 50_000)),
    ('pr50k3', dict(pr50k3_precision=0.25, pr50k3_recall=0.75), NO_SUBSET, (50_000, 50_000)),
    ('is50k', dict(is50k_mean=9, is50k_std=1), NO_SUBSET_NO_MIRROR, (50_000,)),
])
def test_counts_and_data(metric, results, data, args, calls):
    result = calc_metric(metric, device='cpu', dataset_kwargs=TRAINING, G=Painter())
    assert result.results == results and result.metric == metric
    assert calls[0][:2] == (data, args)


@pytest.mark.parametrize('metric, kwargs', [
    ('kid50k_full', dict(num_subsets=100, max_subset_size=1000)), ('pr50k3', dict(nhood_size=3)), ('is50k', dict(num_splits=10)),
])
def test_settings(metric, kwargs, calls):
    calc_metric(metric, device='cpu', dataset_kwargs=TRAINING)
    assert calls[0][2] == kwargs


@pytest.mark.parametrize('metric, kind', [
    ('ppl2_wend', ('w', 'end', False)), ('ppl_zfull', ('z', 'full', True)),
])
def test_path_lengths(metric, kind, calls):
    assert calc_metric(metric, device='cpu', G=Painter()).results == {metric: 33}
    assert calls[0][1][:2] == (50_000, 1e-4) and calls[0][1][2:5] == kind


def test_shortened(calls):
    result = calc_metric('pr50k3_full', device='cpu', dataset_kwargs=TRAINING, num_gen=3000, max_real=800)
    assert list(result.results) == ['pr3k3_full_real0.8k_precision', 'pr3k3_full_real0.8k_recall']
    assert calls[0][1] == (800, 3000)
    assert find_metric('pr50k3_full').num_gen == 50_000     # the standard stays
