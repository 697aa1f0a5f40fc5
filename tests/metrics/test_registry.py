"""metrics/registry.py: metrics by name, and names with counts."""
import pytest

from metrics import registry
from metrics.registry import Metric, add_metric, find_metric, metric_names, register_metric


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch):
    monkeypatch.setattr(registry, '_metrics', {})


def test_registering_by_decorator():
    @register_metric
    def plain(opts):
        return {}

    @register_metric(num_gen=100, uses_reals=False)
    def counted(opts):
        return {}

    assert metric_names() == ['plain', 'counted'] and callable(plain) and callable(counted)
    assert find_metric('plain') == Metric('plain', plain)
    assert find_metric('counted') == Metric('counted', counted, 100, False)


def test_the_last_of_a_name_counts():
    add_metric(Metric('one', print))
    add_metric(Metric('one', repr))
    assert find_metric('one').compute is repr and metric_names() == ['one']


@pytest.mark.parametrize('name, suggestion', [
    ('fid50k_ful', 'did you mean fid50k_full or'), ('kid50k-full', 'kid50k_full'),
    ('zzz', 'choose from fid50k_full, kid50k_full'),
])
def test_unknown_names_get_the_nearest(name, suggestion):
    for known in ('fid50k_full', 'kid50k_full', 'fid50k'):
        add_metric(Metric(known, print))
    with pytest.raises(ValueError, match='is unknown') as error:
        find_metric(name)
    assert suggestion in str(error.value) and '\n' not in str(error.value)


FID = Metric('fid50k_full', print, 50_000)
FID50K = Metric('fid50k', print, 50_000, max_real=50_000)
PPL = Metric('ppl2_wend', print, 50_000, uses_reals=False)


@pytest.mark.parametrize('metric, counts, name', [
    (FID, (50_000, None, 700), 'fid50k_full'),
    (FID, (123, None, 700), 'fid0.123k_full'),
    (FID, (50_000, 1000, 1000), 'fid50k_full_real1k'),
    (FID, (50_000, 1000, 700), 'fid50k_full'),          # the limit had no effect
    (FID50K, (50_000, 60_000, 40_000), 'fid50k'),
    (FID50K, (50_000, 60_000, 60_000), 'fid50k_real60k'),
    (PPL, (2000, 100, None), 'ppl2_wend_2k'),           # has no real images to limit
    (Metric('judge', print), (None, None, None), 'judge'),
    (Metric('judge', print), (100, None, None), 'judge'),       # generates what it likes
])
def test_names_with_counts(metric, counts, name):
    assert metric.name_with_counts(*counts) == name
