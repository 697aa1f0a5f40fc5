"""Whole trainings of two processes, started by --gpus and by torchrun: one set of files, exact stops, another number."""

import json
import signal
import socket

import pytest
import torch

import legacy
import train
import train_hyper
from tests.support.commands import COMMAND, finish, fork_command, invoke, only_run, start_torchrun, ticks_told, wait_for
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


def stop_after(ticks, process, outdir):
    """Ask a run to stop once it has told some ticks; its directory and state."""
    wait_for(lambda: ticks_told(outdir) >= ticks, process)
    process.send_signal(signal.SIGTERM)
    process.wait(300)
    run_dir = only_run(outdir)
    assert (run_dir / 'log.txt').read_text().rstrip().splitlines()[-1].startswith('Stopped; everything is saved')
    return run_dir, read_state(find_state(run_dir))


def test_processes_stop_and_go_on_exactly(tmp_path, rgb_zip, source_pkl):
    """Two of --gpus, two of torchrun, each told to stop, then two of --gpus end as two that never stopped. Then one goes on."""
    args = ['--data', rgb_zip, '--resume', source_pkl, '--selfinit', '--code-dim=4', '--batch=4', '--tick=0.012', '--snap=2',
            '--lr-decay=0', '--gamma=0.1', '--device=cpu', '--threads=1']
    parts, whole, console = tmp_path / 'parts', tmp_path / 'whole', tmp_path / 'console'
    process = fork_command(console, 'train_hyper.py', '--outdir', parts, *args, '--gpus=2', '--kimg=100')
    run_dir, state = stop_after(3, process, parts)
    assert f'To continue: python train_hyper.py --resume={run_dir}' in finish(process)
    first, second = state['random']
    assert not torch.equal(first['torch'], second['torch'])
    process = start_torchrun('train_hyper.py', '--resume', run_dir)
    _run_dir, state = stop_after(ticks_told(parts) + 2, process, parts)
    assert 'To continue' in process.communicate()[0] and len(state['random']) == 2
    images = state['images_done'] + 24
    for words in (['--resume', run_dir, '--gpus=2'], ['--outdir', whole, *args, '--gpus=2']):
        finish(fork_command(console, 'train_hyper.py', *words, f'--kimg={images / 1000}'))
    for outdir in (whole, parts):
        check_run(only_run(outdir), images)
    assert_same_end(only_run(whole), run_dir)

    result = invoke(train_hyper.main, '--resume', run_dir, '--gpus=1', f'--kimg={(images + 24) / 1000}')
    assert result.exit_code == 0, result.output
    check_run(run_dir, images + 24)
    assert len(read_state(find_state(run_dir))['random']) == 1


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
