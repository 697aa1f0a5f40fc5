"""Whole trainings of two processes, started by --gpus and by torchrun: one set of files, exact stops, another number."""

import json
import os
import signal
import socket

import pytest
import torch

import legacy
import train
import train_hyper
from tests.support.commands import COMMAND, finish, invoke, only_run, start_command, start_torchrun, ticks_told, wait_for
from tests.whole_runs.test_exact_resume import assert_same_end
from training.loop.training_state import find_state, read_state

ARGS = ['--cond=1', '--tick=0.012', '--snap=2', *COMMAND]


def free_port():
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        return sock.getsockname()[1]


def check_run(run_dir, images):
    """One file of each kind, every tick told once, snapshot and state whole."""
    assert len(list(run_dir.parent.iterdir())) == 1
    stats = [json.loads(line) for line in (run_dir / 'stats.jsonl').read_text().splitlines()]
    assert [line['Progress/tick']['mean'] for line in stats] == list(range(len(stats)))
    assert all(line['Loss/scores/real']['num'] % 4 == 0 for line in stats)  # of both processes
    log = (run_dir / 'log.txt').read_text().splitlines()
    assert sum(line.startswith('tick 1 ') for line in log) == 1
    state = read_state(find_state(run_dir))
    assert state['images_done'] == images
    snapshot = legacy.load_network_pkl(max(run_dir.glob('network-snapshot-*.pkl')))
    for name in ('G', 'D', 'G_ema'):
        assert all(torch.equal(tensor, snapshot[name].state_dict()[key]) for key, tensor in state['networks'][name].items())


def test_two_processes_stop_and_go_on_exactly(tmp_path, rgb_zip):
    """Those of --gpus, as those of torchrun that never stopped."""
    args = ['--data', rgb_zip, *ARGS]
    process = start_command('train.py', '--outdir', tmp_path / 'parts', *args, '--gpus=2', '--kimg=100')
    wait_for(lambda: ticks_told(tmp_path / 'parts') >= 3, process)
    os.kill(process.pid, signal.SIGTERM)
    output = finish(process)
    run_dir = only_run(tmp_path / 'parts')
    assert f'To continue: python train.py --resume={run_dir}' in output
    state = read_state(find_state(run_dir))
    first, second = state['random']
    assert not torch.equal(first['torch'], second['torch'])
    images = state['images_done'] + 24
    finish(start_command('train.py', '--resume', run_dir, f'--kimg={images / 1000}'))
    finish(start_torchrun('train.py', '--outdir', tmp_path / 'whole', *args, f'--kimg={images / 1000}'))
    for outdir in ('whole', 'parts'):
        check_run(only_run(tmp_path / outdir), images)
    assert_same_end(only_run(tmp_path / 'whole'), run_dir)


def test_another_number_of_processes_goes_on(tmp_path, rgb_zip, source_pkl):
    """Two of --gpus, then one, then two of torchrun, which are told to stop."""
    args = ['--data', rgb_zip, '--resume', source_pkl, '--selfinit', '--code-dim=4', '--batch=4', '--kimg=0.024', '--tick=0.012',
            '--gamma=0.1', '--device=cpu', '--threads=1', '--gpus=2']
    finish(start_command('train_hyper.py', '--outdir', tmp_path, *args))
    run_dir = only_run(tmp_path)
    check_run(run_dir, 24)
    result = invoke(train_hyper.main, '--resume', run_dir, '--gpus=1', '--kimg=0.048')
    assert result.exit_code == 0, result.output
    check_run(run_dir, 48)
    assert len(read_state(find_state(run_dir))['random']) == 1
    ticks = ticks_told(tmp_path)
    process = start_torchrun('train_hyper.py', '--resume', run_dir, '--kimg=100')
    wait_for(lambda: ticks_told(tmp_path) >= ticks + 2, process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=300)
    last_line = (run_dir / 'log.txt').read_text().rstrip().splitlines()[-1]
    assert 'To continue' in output and last_line.startswith('Stopped; everything is saved')
    state = read_state(find_state(run_dir))
    check_run(run_dir, state['images_done'])
    assert len(state['random']) == 2


def test_two_machines(tmp_path, rgb_zip):
    """Two launchers with a process each, that share no directory but the first one's data path."""
    port, args = free_port(), ['--data', rgb_zip, '--kimg=0.024', *ARGS]
    nodes = [start_torchrun('train.py', '--outdir', tmp_path / str(node), *args, nodes=2, node=node, port=port, processes=1)
             for node in range(2)]
    for process in nodes:
        finish(process)
    check_run(only_run(tmp_path / '0'), 24)
    assert not (tmp_path / '1').exists()  # only the first process writes


def test_wrong_input_ends_every_process_with_one_line(tmp_path):
    process = start_torchrun('train.py', '--outdir', tmp_path / 'runs', '--data', tmp_path / 'missing.zip', *ARGS)
    output, _ = process.communicate(timeout=300)
    assert process.returncode != 0 and 'missing.zip' in output and not (tmp_path / 'runs').exists()


def test_gpus_and_the_launcher_must_agree(tmp_path, rgb_zip, monkeypatch):
    place = dict(WORLD_SIZE=1, RANK=0, LOCAL_RANK=0, MASTER_ADDR='127.0.0.1', MASTER_PORT=free_port())
    for name, value in place.items():
        monkeypatch.setenv(name, str(value))
    result = invoke(train.main, '--outdir', tmp_path / 'runs', '--data', rgb_zip, '--gpus=4', '--kimg=0.008', *ARGS)
    assert result.exit_code == 2 and 'the launcher started 1 processes' in result.stderr and not (tmp_path / 'runs').exists()


@pytest.mark.parametrize('main', [train.main, train_hyper.main])
def test_half_an_environment(main, tmp_path, monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '2')
    result = invoke(main, '--outdir', tmp_path)
    assert result.exit_code == 2 and 'RANK' in result.stderr and result.stderr.count('\n') == 1
