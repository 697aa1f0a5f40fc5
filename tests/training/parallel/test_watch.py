"""training.parallel.watch: processes that a launcher started end together, with the error shown, however one of them ends."""

import itertools
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from torch_utils.collectives import any_process
from training.parallel import watch
from training.parallel.environment import Member, to_environment
from training.parallel.processes import join, share_plan, watched_member

REPO = Path(__file__).resolve().parents[3]
PROCESS = """
import os, signal, sys, time, warnings
warnings.simplefilter('error')
import torch
from torch_utils.collectives import any_process
from training.parallel import processes, watch

torch.set_num_threads(1)
what = sys.argv[1]
member = processes.from_environment()

def die_in(rank, place):
    if member.rank == rank and what == place:
        os.kill(os.getpid(), signal.SIGKILL)

with watch.watching(member, beat_sec=0.25, silence_sec=6 if what == 'hang' else 20):
    if member.rank == 0:
        if what == 'input':
            raise ValueError('--batch is\\nwrong')
        time.sleep(1)
        die_in(0, 'plan')
        processes.share_plan(member, dict(numbers=[1, 2.5], name='run'))
    else:
        assert processes.share_plan(member, None) == dict(numbers=[1, 2.5], name='run')
    with processes.join(member, member.device('cpu')):
        for step in range(4):
            any_process(False, torch.device('cpu'))
        if what == 'error' and member.rank == 1:
            raise ArithmeticError('no number')
        die_in(1, 'hang')
        if what == 'hang':
            time.sleep(300)  # as in a collective that does not notice
        die_in(0, 'lost')
        die_in(1, 'exchange')
        any_process(False, torch.device('cpu'))
    if member.rank == 1:
        time.sleep(1)
print('done', member.rank)
"""
pytestmark = pytest.mark.xdist_group(__name__)  # one worker makes the fixture of all
CASES = ('well', 'input', 'plan', 'error', 'hang', 'lost', 'exchange')


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def start(what, rank, port):
    environ = {**os.environ, **to_environment(Member(rank, 2, rank, '127.0.0.1', port))}
    return subprocess.Popen([sys.executable, '-c', PROCESS, what], cwd=REPO, env=environ, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.fixture(scope='module')
def ends():
    """{case: [(exit code, stdout, stderr) of both processes]}; all run at the same time."""
    running = {}
    for what in CASES:
        port = free_port()
        running[what] = [start(what, rank, port) for rank in range(2)]
    try:
        said = {what: [process.communicate(timeout=300) for process in pair] for what, pair in running.items()}
    finally:
        for process in itertools.chain(*running.values()):
            process.kill()
    codes = {what: [process.returncode for process in pair] for what, pair in running.items()}
    return {what: [(code, *texts) for code, texts in zip(codes[what], said[what], strict=True)] for what in CASES}


def test_a_good_end_is_no_death(ends):
    for rank, (code, out, err) in enumerate(ends['well']):
        assert code == 0 and out.endswith(f'done {rank}\n') and 'ends because' not in err


@pytest.mark.parametrize('what, failing, error', [('input', 0, 'ValueError: --batch is wrong'),
                                                  ('error', 1, 'ArithmeticError: no number')])
def test_an_error_ends_the_other_process_with_one_line(what, failing, error, ends):
    code, _out, err = ends[what][1 - failing]
    assert (code, err.strip()) == (1, f'Process {1 - failing} ends because process {failing} failed: {error}')
    code, _out, err = ends[what][failing]
    assert code == 1 and error.partition(':')[0] in err  # its own traceback


@pytest.mark.parametrize('what', ['hang', 'exchange'])
def test_a_killed_process_is_named(what, ends):
    assert ends[what][1][0] == -signal.SIGKILL
    code, _out, err = ends[what][0]
    assert code == 1
    line = r'Process 0 ends because process 1 is gone: no heartbeat for \d+ seconds'
    assert re.fullmatch(line, err.strip())


@pytest.mark.parametrize('what', ['plan', 'lost'])
def test_the_death_of_the_first_process_takes_the_store_with_it(what, ends):
    assert ends[what][0][0] == -signal.SIGKILL
    code, _out, err = ends[what][1]
    assert code == 1
    assert 'Process 1 ends because process 0 is gone, and with it the store of all processes' in err


# --- one process ---

@pytest.fixture
def store():
    server = torch.distributed.TCPStore('127.0.0.1', 0, is_master=True, wait_for_workers=False)
    yield watch.connect('127.0.0.1', server.port)
    del server


def test_the_first_report_counts(store):
    assert watch.read_report(store) is None
    for rank, error in ((2, ArithmeticError('no\nnumber')), (0, ValueError('late'))):
        try:
            raise error
        except Exception as caught:
            watch.report(store, rank, caught)
    found = watch.read_report(store)
    assert found['rank'] == 2 and found['text'] == 'process 2 failed: ArithmeticError: no number'
    assert found['input_error'] is None and found['traceback'].startswith('Traceback') and 'raise error' in found['traceback']


def test_errors_of_communication():
    with pytest.raises(ValueError, match='process group') as outside:
        torch.distributed.all_reduce(torch.zeros(1))  # without a group
    assert watch.is_of_communication(outside.value)
    x = torch.zeros(1, requires_grad=True)
    y = x * 1
    y.register_hook(torch.distributed.all_reduce)
    with pytest.raises(ValueError, match='process group') as within_backward:
        y.backward()
    assert watch.is_of_communication(within_backward.value)
    assert watch.is_of_communication(torch.distributed.DistNetworkError('Connection reset'))
    for error in (ValueError('Connection reset'), torch.cuda.OutOfMemoryError('CUDA')):
        try:
            raise error
        except Exception as caught:
            assert not watch.is_of_communication(caught)


def test_one_process_of_one(monkeypatch):
    """As under torchrun --nproc-per-node=1."""
    port = free_port()
    for name, value in to_environment(Member(0, 1, 0, '127.0.0.1', port)).items():
        monkeypatch.setenv(name, value)
    with watched_member() as member:
        assert share_plan(member, dict(a=[1])) == dict(a=[1])
        with join(member, torch.device('cpu')):
            assert any_process(True, torch.device('cpu')) and not any_process(False, torch.device('cpu'))
    assert not torch.distributed.is_initialized()


def test_a_failing_block_passes_its_error_on(monkeypatch):
    monkeypatch.setattr(os, '_exit', lambda code: pytest.fail('ended the process'))
    member = Member(0, 1, 0, '127.0.0.1', free_port())
    for name, value in to_environment(member).items():
        monkeypatch.setenv(name, value)
    for error in (SystemExit(2), KeyboardInterrupt(), ValueError('wrong')):
        with pytest.raises(type(error)), watch.watching(member, beat_sec=0.1):
            raise error
