"""training.parallel.watch: processes that a launcher started end together, with the error shown, however one of them ends."""

import itertools
import os
import re
import signal
import socket
import sys
import time
import warnings

import pytest
import torch

from tests.support.commands import forking
from torch_utils.collectives import any_process
from training.parallel import watch
from training.parallel.environment import Member, to_environment
from training.parallel.processes import join, share_plan, watched_member

CASES = ('well', 'nothing to do', 'input', 'plan', 'error', 'hang', 'lost', 'exchange')


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def play(what, member, out, err):
    """One of two processes, whose output goes to files. It ends as a command does: an error is printed, the exit code is 1."""
    for path, stream in ((out, sys.stdout), (err, sys.stderr)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream.fileno())
    warnings.simplefilter('error')
    torch.set_num_threads(1)
    os.environ.update(to_environment(member))
    silence = 6 if what == 'hang' else 20
    with watched_member() if what == 'nothing to do' else watch.watching(member, beat_sec=0.25, silence_sec=silence):
        take_part(what, member)
    print('done', member.rank, flush=True)


def take_part(what, member):
    def die_in(rank, place):
        if member.rank == rank and what == place:
            os.kill(os.getpid(), signal.SIGKILL)

    if what == 'nothing to do' and member.rank == 0:
        return
    if member.rank == 0:
        if what == 'input':
            raise ValueError('--batch is\nwrong')
        time.sleep(1)
        die_in(0, 'plan')
        share_plan(member, dict(numbers=[1, 2.5], name='run'))
    else:
        plan = share_plan(member, None)
        assert plan == (None if what == 'nothing to do' else dict(numbers=[1, 2.5], name='run'))
        if plan is None:
            return
    with join(member, member.device('cpu')):
        for _step in range(4):
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


@pytest.fixture(scope='module')
def ends(tmp_path_factory):
    """{case: [(exit code, stdout, stderr) of both processes]}; all run at the same time."""
    folder = tmp_path_factory.mktemp('output')
    running = {}
    for what in CASES:
        port = free_port()
        for rank in range(2):
            paths = [folder / f'{what} {rank}.{name}' for name in ('out', 'err')]
            process = forking.Process(target=play, args=(what, Member(rank, 2, rank, '127.0.0.1', port), *paths))
            process.start()
            running.setdefault(what, []).append((process, *paths))
    for process, *_paths in itertools.chain(*running.values()):
        process.join(300)
        process.kill()  # if it has not ended
    return {what: [(process.exitcode, *(path.read_text() for path in paths)) for process, *paths in pair]
            for what, pair in running.items()}


@pytest.mark.parametrize('what', ['well', 'nothing to do'])
def test_a_good_end_is_no_death(what, ends):
    for rank, (code, out, err) in enumerate(ends[what]):
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
