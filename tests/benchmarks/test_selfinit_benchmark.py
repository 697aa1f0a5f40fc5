"""The comparison of starts on stand-ins for the commands: what it runs, tabulates, keeps, and does when a run fails."""
import json
import os
import subprocess
import sys

import pytest
from PIL import Image

from tests.support.stand_ins import JUDGE, TRAIN_HYPER, write_repository

# Snapshots of seed 1 are recognised better; those of no self-initialisation are less varied.
GRADED_JUDGE = JUDGE.replace('.parent /', '.parents[2] /').replace(
    '0.97', "0.5 + 0.25 * ('seed1' in options['network'])").replace('0.8', "0.8 - 0.3 * ('none' in options['network'])")


@pytest.fixture
def repository(tmp_path):
    root = write_repository(tmp_path / 'repository')
    (root / 'metrics/classes/__main__.py').write_text(GRADED_JUDGE)
    return root


def run_benchmark(repository, *args):
    """Run from another folder, as users may."""
    return subprocess.run([sys.executable, '-m', 'benchmarks.transfer.selfinit', *args], capture_output=True, text=True,
                          cwd=repository.parent, env=os.environ | dict(PYTHONPATH=str(repository)), timeout=300)


def calls_of(repository, name):
    return [line.split() for line in (repository / 'calls.txt').read_text().splitlines() if line.split()[0] == name]


def results_of(repository):
    return json.loads((repository / 'benchmarks/results/selfinit/results.json').read_text())


def row(text, start):
    """Cells of the one table row whose first cell starts so."""
    (line,) = [line for line in text.splitlines() if line.startswith(f'| {start}')]
    return [cell.strip() for cell in line.strip('|').split('|')]


def test_compares_variants_over_seeds(repository):
    done = run_benchmark(repository, '--variants=none,exact', '--seeds=1,0', '--kimg=2', '--num-gen=7', '--jobs=1')
    assert done.returncode == 0, done.stderr
    trained = calls_of(repository, 'train_hyper')
    assert [[arg for arg in call if 'outdir' in arg or 'seed=' in arg] for call in trained] == [
        [f'--outdir=training-runs/selfinit-benchmark/{variant}-seed{seed}', f'--seed={seed}']
        for seed in (1, 0) for variant in ('none', 'exact')]
    assert all({'--kimg=2', '--threads=1', '--tick=4', '--snap=1', '--batch=16'} <= set(call) for call in trained)
    assert [('--selfinit=exact' in call, '--hyper-scale=0.1' in call) for call in trained] == [(False, True), (True, False)] * 2
    judged = calls_of(repository, 'judge')
    assert len(judged) == 8 and all({'--num-gen=7', '--seed=0'} <= set(call) for call in judged)

    runs = results_of(repository)['runs']
    assert [(run['settings']['variant'], run['settings']['seed']) for run in runs] == [
        ('exact', 0), ('none', 0), ('exact', 1), ('none', 1)]
    assert [snapshot['kimg'] for snapshot in runs[0]['snapshots']] == [0, 2]
    assert all(0 < run['start_minutes'] <= run['minutes'] < 1 for run in runs)

    text = (repository / 'benchmarks/results/selfinit/results.md').read_text()
    assert text in done.stdout
    starts, recognised, spread = (text.split('\n\n')[i] for i in (2, 3, 4))
    assert row(starts, 'exact: `--selfinit=exact`')[1:4] == ['-', '1.5e-07 (1.5e-07 to 1.5e-07)', '0 (0 to 0)']
    assert row(starts, 'none')[1:4] == ['-', '-', '-'] and row(starts, 'none')[-1] == '2'
    assert row(recognised, 'recognised') == ['recognised after', '0,000 images', '2,000 images']
    assert row(recognised, 'none')[1:] == ['62.5% (50.0% to 75.0%)'] * 2
    assert row(spread, 'exact')[1] == '0.80 (0.80 to 0.80)' and row(spread, 'none')[1] == '0.50 (0.50 to 0.50)'
    with Image.open(repository / 'benchmarks/results/selfinit/results.png') as picture:
        assert len(picture.convert('RGB').getcolors(2**20)) > 10
    assert not list(repository.parent.rglob('*.part'))


def test_error_of_the_random_start_is_the_first_of_a_curve(repository):
    curve = "'images': 2000, 'curve': [[0, 0.75], [1000, 0.2], [2000, 0.25]]"
    text = TRAIN_HYPER.replace("'images': 0, 'curve': []", curve).replace('1.5e-7', '0.2')
    (repository / 'train_hyper.py').write_text(text)
    assert run_benchmark(repository, '--variants=distill', '--seeds=0').returncode == 0
    text = (repository / 'benchmarks/results/selfinit/results.md').read_text()
    assert row(text, 'distill: ')[1:4] == ['0.75', '0.2', '2,000']
    assert results_of(repository)['runs'][0]['selfinit']['curve'][1] == [1000, 0.2]


def test_finished_runs_are_not_repeated(repository):
    assert run_benchmark(repository, '--variants=exact', '--seeds=0').returncode == 0
    done = run_benchmark(repository, '--variants=exact,none', '--seeds=0')
    assert '1 runs were finished before, 1 to do' in done.stderr
    assert len(calls_of(repository, 'train_hyper')) == 2 and len(results_of(repository)['runs']) == 2
    assert len(calls_of(repository, 'dataset_tool')) == 2


@pytest.mark.parametrize('change', ['--kimg=3', '--num-gen=5', 'another source'])
def test_other_settings_are_another_run(repository, change):
    (repository / 'train_hyper.py').write_text(TRAIN_HYPER.replace("'00000-digits'", "f'{os.getpid():09d}-digits'"))
    assert run_benchmark(repository, '--variants=exact', '--seeds=0').returncode == 0
    if change == 'another source':
        (repository / 'models/letters32.pkl').write_text(change)
    done = run_benchmark(repository, '--variants=exact', '--seeds=0', *([change] if change.startswith('--') else []))
    assert '0 runs were finished before, 1 to do' in done.stderr
    assert len(calls_of(repository, 'train_hyper')) == 2 and len(results_of(repository)['runs']) == 1


def test_a_failed_run_names_its_log_and_does_not_stop_the_others(repository):
    fails_for_none = TRAIN_HYPER + "if 'selfinit' not in options: sys.exit('Error: broken')"
    (repository / 'train_hyper.py').write_text(fails_for_none)
    done = run_benchmark(repository, '--variants=exact,none,rank16', '--seeds=0', '--jobs=1')
    assert done.returncode == 1
    log = repository.parent / 'training-runs/selfinit-benchmark/none-seed0/output.log'
    assert done.stderr.splitlines()[-1] == 'Error: 1 of 3 runs failed; the same command tries them again'
    assert f'train_hyper.py failed with exit code 1; what it said stands in {log.relative_to(repository.parent)}\n' in done.stderr
    assert log.read_text().splitlines()[-1] == 'Error: broken'
    assert [run['settings']['variant'] for run in results_of(repository)['runs']] == ['exact', 'rank16']


@pytest.mark.parametrize(('option', 'message'), [
    ('--variants=exact,exakt', "'exakt': expected names of exact, distill"), ('--variants=', "'': expected names"),
    ('--seeds=0,-1', "'0,-1': expected whole numbers"), ('--seeds=', "'': expected"), ('--seeds=2147483648', 'expected whole'),
    ('--kimg=0', '--kimg'), ('--jobs=0', '--jobs'), ('--num-gen=1', '--num-gen'), ('--resume=missing.pkl', 'missing.pkl')])
def test_wrong_options_start_nothing(repository, option, message):
    done = run_benchmark(repository, option)
    assert done.returncode == 2 and message in done.stderr.splitlines()[-1]
    assert not (repository.parent / 'training-runs').exists() and not (repository / 'calls.txt').exists()
