"""metrics/metric_main.py: computing by name, means over repetitions, and report files."""
import json
import math

import numpy as np
import pytest
import torch

import dnnlib
from metrics import registry
from metrics.metric_main import calc_metric, combine_repeats, compute_metrics, is_valid_metric, list_valid_metrics, report_metric
from metrics.registry import register_metric

NVLABS = ['fid50k_full', 'kid50k_full', 'pr50k3_full', 'ppl2_wend', 'is50k', 'fid50k', 'kid50k', 'pr50k3', 'ppl_zfull',
          'ppl_wfull', 'ppl_zend', 'ppl_wend']
OF_CLASSES = ['fid_per_class', 'kid_per_class', 'pr_per_class', 'dc5k5_full', 'dc_per_class', 'gan_test', 'gan_train',
              'memorization', 'spread_per_class']


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch):
    monkeypatch.setattr(registry, '_metrics', dict(registry._metrics))


@pytest.fixture
def noisy50k():
    @register_metric(num_gen=50_000)
    def noisy50k(opts):
        opts.facts.update(num_real=30, detector='some')
        opts.warn(f'seed {opts.seed}')
        return {'noisy50k': np.float64(opts.seed), 'noisy50k/cat': torch.tensor(2.0 * opts.seed)}


def test_all_names_are_there():
    assert set(NVLABS + OF_CLASSES) <= set(list_valid_metrics())
    assert all(map(is_valid_metric, NVLABS)) and not is_valid_metric('fid')


def test_a_result(noisy50k):
    result = calc_metric('noisy50k', device='cpu', seed=3)
    assert result.results == {'noisy50k': 3, 'noisy50k/cat': 6} and all(type(v) is float for v in result.results.values())
    assert result.total_time >= 0 and result.total_time_str == dnnlib.util.format_time(result.total_time)
    assert {key: result[key] for key in ('metric', 'num_gpus', 'seed', 'detector', 'num_real', 'num_gen')} == dict(
        metric='noisy50k', num_gpus=1, seed=3, detector='some', num_real=30, num_gen=50_000)


def test_other_counts_are_in_the_name_and_the_result(noisy50k):
    result = calc_metric('noisy50k', device='cpu', num_gen=500, max_real=30)
    assert result.metric == 'noisy0.5k_real0.03k' and list(result.results) == ['noisy0.5k_real0.03k', 'noisy0.5k_real0.03k/cat']
    assert (result.num_gen, result.num_real) == (500, 30)


def test_unknown_metrics():
    with pytest.raises(ValueError, match='did you mean fid50k'):
        calc_metric('fid50kk')


def test_repetitions_give_mean_and_spread(noisy50k):
    runs = [calc_metric('noisy50k', device='cpu', seed=seed) for seed in (1, 2, 6)]
    result = combine_repeats(runs)
    assert result.results == {'noisy50k': 3, 'noisy50k/cat': 6} and result.repeats == 3 and result.seed == 1
    assert result.std == {'noisy50k': pytest.approx(math.sqrt(7)), 'noisy50k/cat': pytest.approx(2 * math.sqrt(7))}
    assert result.runs == {'noisy50k': [1, 2, 6], 'noisy50k/cat': [2, 4, 12]}
    assert combine_repeats(runs[:1]) is runs[0]


def test_report_is_a_line_of_json_in_a_file_and_on_the_console(tmp_path, capsys, noisy50k):
    run_dir = tmp_path / 'new' / 'run'
    result = calc_metric('noisy50k', device='cpu')
    result.tables = ['| a table |']
    for _ in range(2):
        report_metric(result, run_dir, run_dir / 'network-snapshot-000200.pkl')
    out, err = capsys.readouterr()
    lines = (run_dir / 'metric-noisy50k.jsonl').read_text().splitlines()
    assert lines == out.splitlines() and len(lines) == 2
    entry = json.loads(lines[0])
    assert entry['results'] == {'noisy50k': 0, 'noisy50k/cat': 0} and entry['snapshot_pkl'] == 'network-snapshot-000200.pkl'
    assert {'metric', 'total_time', 'total_time_str', 'num_gpus', 'timestamp', 'warnings'} <= set(entry) and 'tables' not in entry
    assert err == '| a table |\nWarning: seed 0\n' * 2


@pytest.mark.parametrize('snapshot', [None, 'https://host/net.pkl'])
def test_report_without_a_directory(snapshot, capsys, tmp_path, noisy50k):
    report_metric(calc_metric('noisy50k', device='cpu'), None, snapshot)
    report_metric(calc_metric('noisy50k', device='cpu'), tmp_path, snapshot)
    assert all(json.loads(line)['snapshot_pkl'] == snapshot for line in capsys.readouterr().out.splitlines())


def test_several_metrics_several_times(noisy50k, tmp_path, capsys):
    shared = []

    @register_metric
    def other(opts):
        shared.append(opts.shared)
        return dict(other=opts.seed**2)

    @register_metric
    def first(opts):
        opts.shared['seed'] = opts.seed
        return dict(first=1)

    results = compute_metrics(['first', 'other', 'noisy50k'], None, {}, device=torch.device('cpu'), run_dir=tmp_path, seed=2,
                              repeats=2, num_gen=1000)
    assert [result.metric for result in results] == ['first', 'other', 'noisy1k']
    assert results[1].results == dict(other=(4 + 9) / 2) and results[2].runs['noisy1k'] == [2, 3]
    assert [s['seed'] for s in shared] == [2, 3]     # kept from metric to metric, not from seed to seed
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'metric-first.jsonl', 'metric-noisy1k.jsonl', 'metric-other.jsonl']
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 3 and 'other: 6.5 +- 3.5 over 2 runs' in err


def test_only_the_first_process_reports(noisy50k, tmp_path, capsys):
    compute_metrics(['noisy50k'], None, {}, device=torch.device('cpu'), run_dir=tmp_path, num_gpus=2, rank=1)
    assert capsys.readouterr() == ('', '') and not list(tmp_path.iterdir())
