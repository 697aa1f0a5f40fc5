"""Metrics as a training goes: reported, the best snapshot marked and kept, and nothing that is learnt is touched."""

import json
import os
import time

import pytest

import legacy
import train
import train_hyper
from dnnlib.files import whole_file
from metrics.metric_main import report_metric
from tests.support.class_metric_stand_ins import save_bars
from tests.support.commands import COMMAND, invoke, only_run
from tests.whole_runs.test_exact_resume import differences
from training.loop.snapshot_metrics import mark_best
from training.loop.training_state import find_state, read_state
from training.run.run_dir import BEST, prune_snapshots, read_json

TINY = ['--cond=1', '--tick=0.5', '--snap=4', '--kimg=2', '--aug=noaug', *COMMAND, '--batch=100', '--mbstd-group=4']
MEASURE = ['--metrics=kid_per_class,gan_test', '--metrics-ticks=1', '--metrics-detector=classifier', '--metrics-num-gen=30']


def call(*args, main=train.main):
    return invoke(main, *args)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path / 'cache'))


def lines_of(run_dir, metric):
    return [json.loads(line) for line in (run_dir / f'metric-{metric}.jsonl').read_text().splitlines()]


def test_training_measures_and_marks_the_best(tmp_path, rgb_zip):
    """And learns the same as without."""
    result = call('--outdir', tmp_path / 'runs', '--data', rgb_zip, *TINY, *MEASURE, '--keep-snapshots=1')
    assert result.exit_code == 0, result.output
    run_dir = only_run(tmp_path / 'runs')
    kid, judged = lines_of(run_dir, 'kid_per_class_0.03k'), lines_of(run_dir, 'gan_test_0.03k')
    assert len(kid) == len(judged) == 4  # ticks 1 to 4, the first one being a batch long
    values = {line['snapshot_pkl']: line['results']['kid_per_class_0.03k'] for line in kid}
    assert {'kid_per_class_0.03k/cat', 'kid_per_class_0.03k/dog', 'kid_per_class_0.03k/owl'} <= kid[0]['results'].keys()
    last, = run_dir.glob('network-snapshot-*.pkl')
    is_last = min(values, key=values.get) == last.name
    assert (run_dir / BEST).samefile(last) == is_last
    assert legacy.load_network_pkl(run_dir / BEST)['class_names'] == ['cat', 'dog', 'owl']
    assert 'kid_per_class' in (run_dir / 'report.html').read_text() and 'kid_per_class' in (run_dir / 'log.txt').read_text()
    assert call('--outdir', tmp_path / 'plain', '--data', rgb_zip, *TINY).exit_code == 0
    ends = [read_state(find_state(path)) for path in (run_dir, only_run(tmp_path / 'plain'))]
    assert differences(ends[0]['networks'], ends[1]['networks']) == []
    assert differences(ends[0]['random'], ends[1]['random']) == []


def test_a_run_that_goes_on_may_measure(tmp_path, rgb_zip, source_pkl):
    args = ['--data', rgb_zip, '--resume', source_pkl, '--selfinit', '--code-dim=4', '--batch=8', '--kimg=0.04', '--tick=0.02',
            '--device=cpu']
    assert call('--outdir', tmp_path / 'runs', *args, main=train_hyper.main).exit_code == 0
    result = call('--resume=latest', '--outdir', tmp_path / 'runs', '--kimg=0.08', *MEASURE, main=train_hyper.main)
    assert result.exit_code == 0, result.output
    run_dir = only_run(tmp_path / 'runs')
    assert read_json(run_dir / 'training_options.json')['metrics']['names'] == ['kid_per_class', 'gan_test']
    assert (run_dir / BEST).samefile(max(run_dir.glob('network-snapshot-*'))) and lines_of(run_dir, 'kid_per_class_0.03k')
    measured = lines_of(run_dir, 'kid_per_class_0.03k')
    result = call('--resume=latest', '--outdir', tmp_path / 'runs', '--kimg=0.12', '--metrics=none', main=train_hyper.main)
    assert result.exit_code == 0 and lines_of(run_dir, 'kid_per_class_0.03k') == measured
    assert read_json(run_dir / 'training_options.json')['metrics'] is None


@pytest.mark.parametrize('options, text', [
    (['--metrics=kid_per_clas'], "metric 'kid_per_clas' is unknown: did you mean kid_per_class"),
    (['--metrics=kid50k,,'], "metric '' is unknown"),
    (['--metrics=kid_per_class', '--cond=0'], '--metrics=kid_per_class needs classes'),
    (['--metrics=kid50k,memorization'], '--metrics=memorization needs held-out real images'),
    (['--metrics=kid50k', '--metrics-detector=missing.pt'], 'missing.pt'),
])
def test_wrong_metrics_are_said_before_training(tmp_path, rgb_zip, options, text):
    result = call('--outdir', tmp_path / 'runs', '--data', rgb_zip, *TINY, *options)
    assert result.exit_code == 2 and text in result.stderr and result.stderr.count('\n') == 1, result.output
    assert not (tmp_path / 'runs').exists()


def test_data_that_the_metrics_cannot_take_are_said_before_training(tmp_path):
    one = save_bars(tmp_path / 'one.zip', 1, seed=0)['path']
    few = save_bars(tmp_path / 'few.zip', 5, seed=0)['path']
    bare = save_bars(tmp_path / 'bare.zip', 5, seed=0, labelled=False)['path']
    for data, cond, metric, text in [
        (few, 1, 'dc_per_class', 'dc_per_class needs 6 real images of every class or more, few has 5 of class top'),
        (bare, 0, 'kid50k', 'bare.zip has no class labels'),
        (one, 1, 'gan_test', 'gan_test needs 2 real images of every class or more, one has 1 of class top'),
        (one, 1, 'dc5k5_full', 'dc5k5_full needs 6 real images or more, one has 3'),
        (few, 1, 'gan_test,ppl2_wend', 'ppl2_wend: detector classifier has features alone'),
    ]:
        result = call('--outdir', tmp_path / 'runs', '--data', data, *TINY, f'--cond={cond}', f'--metrics={metric}', *MEASURE[1:])
        assert result.exit_code == 2 and text in result.stderr and result.stderr.count('\n') == 1, result.output
        assert not (tmp_path / 'runs').exists()


@pytest.mark.parametrize('metric, num_gen, text', [
    ('kid_per_class', 5, 'kid_per_class needs 6 generated images or more (2 of each of 3 classes), found 5'),
    ('is50k', 9, 'is50k needs 10 generated images or more, found 9'),
])
def test_too_few_images_to_generate_are_said_before_training(metric, num_gen, text, tmp_path, rgb_zip):
    options = [*TINY, *MEASURE[1:], f'--metrics=kid50k,{metric}', f'--metrics-num-gen={num_gen}']
    result = call('--outdir', tmp_path / 'runs', '--data', rgb_zip, *options)
    assert result.exit_code == 2 and text in result.stderr and result.stderr.count('\n') == 1, result.output
    assert not (tmp_path / 'runs').exists()


def write_values(run_dir, values, snapshots):
    for name in snapshots:
        (run_dir / name).write_text(name)
    lines = [json.dumps(dict(results={'m': value, 'm/cat': 0}, snapshot_pkl=name, timestamp=time.time() + 1))
             for name, value in values]
    (run_dir / 'metric-m.jsonl').write_text('\n'.join(lines) + '\n')


A, B, C = (f'network-snapshot-00000{i}.pkl' for i in range(3))


@pytest.mark.parametrize('values, higher, want', [
    ([(A, 3.0), (B, 1.0), (C, 2.0)], False, B),
    ([(A, 3.0), (B, 1.0), (C, 2.0)], True, A),
    ([(A, 3.0), (A, 0.5), (C, 2.0)], False, A),  # measured again
    ([(A, float('nan')), (C, 2.0)], False, C),
    ([(A, 3.0), (None, 0.0), ('../network-snapshot-000000.pkl', 0.0), (BEST, 0.0)], False, A),  # no snapshots of the run
])
def test_the_best(tmp_path, values, higher, want):
    write_values(tmp_path, values, [A, B, C])
    mark_best(tmp_path, 'm', higher)
    assert (tmp_path / BEST).samefile(tmp_path / want)
    mark_best(tmp_path, 'm', higher)
    prune_snapshots(tmp_path, 1)
    assert [path.name for path in tmp_path.glob('network-snapshot-*')] == [C]
    assert (tmp_path / BEST).read_text() == want
    mark_best(tmp_path, 'm', higher)  # the best one has gone, but for this
    assert (tmp_path / BEST).read_text() == want
    assert not list(tmp_path.glob('.*'))


def test_the_best_outlives_its_name(tmp_path):
    """Snapshots count thousands of images, so that a run that stops soon after has another one of the same name."""
    write_values(tmp_path, [(A, 1.0)], [A])
    mark_best(tmp_path, 'm', False)
    with whole_file(tmp_path / A) as part:
        part.write_text('later')
    os.utime(tmp_path / A, (time.time() + 60,) * 2)
    mark_best(tmp_path, 'm', False)
    assert (tmp_path / BEST).read_text() == A
    report_metric(dict(metric='m', results={'m': 2.0}), tmp_path, tmp_path / A)  # and is worse
    mark_best(tmp_path, 'm', False)
    assert (tmp_path / BEST).read_text() == A


def test_without_links_the_best_is_copied(tmp_path, monkeypatch):
    def fail(*_paths):
        raise OSError('no links here')

    monkeypatch.setattr(os, 'link', fail)
    write_values(tmp_path, [(A, 1.0)], [A])
    mark_best(tmp_path, 'm', False)
    assert (tmp_path / BEST).read_text() == A and not (tmp_path / BEST).samefile(tmp_path / A)


def test_values_by_another_detector_do_not_count(tmp_path):
    found = [(A, 0.08, 'classifier'), (B, 0.05, 'classifier'), (A, 0.001, 'inception'), (C, 0.06, 'classifier')]
    for snapshot, value, detector in found:
        (tmp_path / snapshot).touch()
        report_metric(dict(metric='m', results={'m': value}, detector=detector), tmp_path, tmp_path / snapshot)
    mark_best(tmp_path, 'm', False)
    assert (tmp_path / BEST).samefile(tmp_path / B)


@pytest.mark.parametrize('line', [
    '{"results": {"m": 0.5}, "snapsh', '[]', '{"results": [0.5]}', '[' * 100_000,
    json.dumps(dict(results={'m': None}, snapshot_pkl=B, timestamp=3e9)),
    json.dumps(dict(results={'m': 10**400}, snapshot_pkl=B, timestamp=3e9)),
    json.dumps(dict(results={'m': 0.01}, snapshot_pkl=B)),
], ids=lambda line: line[:20])
def test_lines_that_are_damaged_are_passed_over(tmp_path, line):
    write_values(tmp_path, [(A, 3.0), (B, 1.0)], [A, B])
    with open(tmp_path / 'metric-m.jsonl', 'a') as file:
        file.write(line)
    report_metric(dict(metric='m', results={'m': 0.1}), tmp_path, tmp_path / A)
    mark_best(tmp_path, 'm', False)
    assert (tmp_path / BEST).samefile(tmp_path / A)  # 0.1: the new line is whole, the half one is not taken


def test_nothing_measured_nothing_marked(tmp_path):
    write_values(tmp_path, [(A, float('nan'))], [A])
    mark_best(tmp_path, 'm', False)
    assert not os.path.lexists(tmp_path / BEST)
