"""The demo run on stand-ins for the commands: what it calls, in which order, and what it leaves, also when one fails."""
import json
import os
import subprocess

import pytest

from tests.support.stand_ins import REPO, TRAIN_HYPER, write_repository
from tests.support.warm_python import warm_python


@pytest.fixture
def repository(tmp_path):
    return write_repository(tmp_path / 'repository')


def run_demo(repository, *args):
    """Run from another folder, as make and users may."""
    return subprocess.run([warm_python(), '-m', 'benchmarks.demo', *args], capture_output=True, text=True,
                          cwd=repository.parent, env=os.environ | dict(PYTHONPATH=f'{repository}{os.pathsep}{REPO}'), timeout=300)


def rows_of(table):
    """The cells of a markdown table's lines below its head."""
    lines = [line for line in table.splitlines() if line.startswith('|')]
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in lines[2:]]


def test_runs_the_main_job_and_leaves_the_results(repository):
    done = run_demo(repository, '--kimg=2', '--seed=5', '--num-gen=7', '--', '--hyper-rank=4')
    assert done.returncode == 0, done.stderr
    calls = (repository / 'calls.txt').read_text().splitlines()
    assert [call.split()[0] for call in calls] == [
        'dataset_tool', 'dataset_tool', 'train_hyper', 'generate', 'calc_metrics', 'calc_metrics']
    assert '--source=builtin:digits-test' in calls[1]
    assert '--kimg=2 --seed=5' in calls[2] and calls[2].endswith('--hyper-rank=4') and '--selfinit' in calls[2].split()
    assert all('network-snapshot-000002.pkl' in call and '--seed=5' in call for call in calls[4:])
    assert all(word in calls[4] for word in ('digits-train.zip', '--test-data=', 'digits-test.zip', '--detector=imagenet'))
    assert '--detector=classifier' in calls[5] and '--num-gen=70' in calls[5]  # 7 of each digit

    out = repository.parent / 'training-runs' / 'demo'
    results = json.loads((out / 'results.json').read_text())
    assert (results['num_gen_per_class'], results['seed'], results['images']) == (7, 5, 2000)
    assert results['selfinit']['relative_error'] == 1.5e-7
    assert results['metrics']['memorization']['results']['memorization_short/dog'] == 1.3
    assert 0 < results['train_minutes'] + results['judge_minutes'] <= results['total_minutes'] < 1
    table = (out / 'results.md').read_text()
    assert table in done.stdout
    assert rows_of(table) == [
        ['cat', '96.0%', '0.70', '0.041', '0.20', '1.10', '92.0%', '99.0%', '1.10', '-0.001', '0.83'],
        ['dog', '98.0%', '0.90', '0.059', '0.30', '1.30', '94.0%', '99.0%', '0.90', '0.005', '0.85'],
        ['**all**', '97.0%', '0.80', '0.050', '0.25', '1.20', '93.0%', '99.0%', '1.00', '0.002', '0.84'],
    ]
    words = ' '.join(table.split())
    assert 'GAN-train 93.0% (97.5%), density 0.71 (0.97), coverage 0.87 (1.00)' in words
    assert 'nearly copied 0.2% (1.0%)' in words
    assert '`classifier-123`' in words and '`imagenet-123`' in words and '7 images of each class (seed 5)' in words
    assert 'exact, relative error 1.5e-07' in table and '2,000 images' in table
    assert (out / 'grid.png').read_text().endswith('network-snapshot-000002.pkl')
    assert not list(out.glob('*.part'))


def test_data_is_made_once(repository):
    assert run_demo(repository, '--kimg=1').returncode == 0
    (repository / 'train_hyper.py').write_text('')
    assert run_demo(repository, '--kimg=1').returncode == 0
    assert (repository / 'calls.txt').read_text().count('dataset_tool') == 2


def test_without_self_initialisation(repository):
    (repository / 'train_hyper.py').write_text(TRAIN_HYPER.replace("(run / 'selfinit.json')", "(run / 'other.json')"))
    assert run_demo(repository).returncode == 0
    out = repository.parent / 'training-runs' / 'demo'
    assert json.loads((out / 'results.json').read_text())['selfinit'] is None
    assert 'Self-initialisation: none' in (out / 'results.md').read_text()


@pytest.mark.parametrize('script', ['dataset_tool.py', 'calc_metrics.py'])
def test_stops_at_a_command_that_fails(repository, script):
    (repository / script).write_text("import sys; sys.exit('Error: broken')")
    done = run_demo(repository)
    assert done.returncode == 1
    want = ['Error: broken', f'Error: {script} failed with exit code 1; what it said stands above']
    assert done.stderr.splitlines()[-2:] == want
    assert not (repository.parent / 'training-runs' / 'demo' / 'results.json').exists()


def test_says_when_no_snapshot_was_left(repository):
    (repository / 'train_hyper.py').write_text('')
    done = run_demo(repository)
    assert done.returncode == 1 and 'left no network-snapshot' in done.stderr


@pytest.mark.parametrize('args', [['--kimg=0'], ['--resume=missing.pkl'], ['--num-gen=1'], ['--unknown']])
def test_wrong_options_start_nothing(repository, args):
    done = run_demo(repository, *args)
    assert done.returncode == 2 and 'Error: ' in done.stderr
    assert not (repository.parent / 'training-runs').exists()
