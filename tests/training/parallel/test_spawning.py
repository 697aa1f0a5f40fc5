"""training.parallel.spawning: errors of the processes, signals passed on to them, and processes that die."""

import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing import resource_tracker, spawn
from pathlib import Path

import pytest
import torch

from tests.support.commands import forking
from torch_utils.collectives import any_process
from training.parallel import spawning
from training.parallel.processes import from_environment, join
from training.parallel.spawning import start_processes

REPO = Path(__file__).resolve().parents[3]
CPU = torch.device('cpu')


@pytest.fixture
def _forked(monkeypatch):
    """The processes come from a server that has imported torch: much faster, and all else is as with spawned ones."""
    monkeypatch.setattr(spawning.multiprocessing, 'get_context', lambda _method: forking)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f'/proc/{pid}/stat')
    return not state.exists() or state.read_text().rpartition(')')[2].split()[0] != 'Z'  # dead, but not asked after by its parent


def wait_for(condition, seconds=180):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def read_pids(outdir):
    return [int(path.name) for path in outdir.glob('ready/*')]


def note(outdir, name):
    path = outdir / name
    path.parent.mkdir(exist_ok=True)
    path.touch()


# --- a process that fails ---

def fail_while_the_other_hangs(rank, outdir):
    note(outdir, f'ready/{os.getpid()}')
    if rank == 0:
        signal.signal(spawning.END_SIGNAL, signal.SIG_IGN)
        note(outdir, 'hangs')
        time.sleep(600)
    wait_for((outdir / 'hangs').exists)
    raise ValueError('the numbers\nare wrong')


@pytest.mark.usefixtures('_forked')
def test_an_error_ends_all_and_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(spawning, 'PATIENCE_SEC', 1)
    handlers = [signal.getsignal(number) for number in spawning.STOP_SIGNALS]
    with pytest.raises(ValueError, match=r'^the numbers are wrong$') as error:
        start_processes(fail_while_the_other_hangs, (tmp_path,), 2)
    assert "raise ValueError('the numbers\\nare wrong')" in str(error.value.__cause__)  # the traceback
    assert len(read_pids(tmp_path)) == 2 and not any(alive(pid) for pid in read_pids(tmp_path))
    assert [signal.getsignal(number) for number in spawning.STOP_SIGNALS] == handlers


def exchange(rank, outdir, what):
    note(outdir, f'ready/{os.getpid()}')
    assert os.getpgrp() == os.getpid()  # Ctrl-C in a terminal reaches the parent alone
    with join(from_environment(), CPU):
        for i in range(1000):
            if rank == 1 and i == 3:
                note(outdir, 'ends')
            if rank == 1 and i == 3 and what == 'die':
                os.kill(os.getpid(), signal.SIGKILL)
            if rank == 1 and i == 3 and what == 'fail':
                raise ArithmeticError('no number')
            any_process(False, CPU)


@pytest.mark.usefixtures('_forked')
@pytest.mark.parametrize('what, message', [('die', 'process 1 was ended by SIGKILL, perhaps for lack of memory'),
                                           ('fail', 'process 1 failed: ArithmeticError: no number')])
def test_a_process_is_missed_by_the_others_in_an_exchange(tmp_path, what, message):
    """They fail too: the message names the cause, not its effect."""
    with pytest.raises(RuntimeError, match=f'^{message}$'):
        start_processes(exchange, (tmp_path, what), 2)
    assert time.time() - (tmp_path / 'ends').stat().st_mtime < 30
    assert not any(alive(pid) for pid in read_pids(tmp_path))


def test_processes_that_die_before_they_read_their_work(tmp_path, monkeypatch):
    """The work is more than a pipe holds; whoever writes it must not wait for a reader that is dead."""
    dies = tmp_path / 'dies'
    dies.write_text('#!/bin/sh\nkill -9 $$\n')
    dies.chmod(0o700)
    resource_tracker.ensure_running()   # it is started as the processes are
    monkeypatch.setattr(spawn, '_python_exe', os.fsencode(dies))

    def too_late(number, frame):
        raise TimeoutError

    previous = signal.signal(signal.SIGALRM, too_late)
    signal.alarm(30)
    try:
        with pytest.raises(RuntimeError, match='process 0 was ended by SIGKILL'):
            start_processes(note, (tmp_path, 'x' * (1 << 20)), 2)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


# --- signals ---

def work_until_asked(rank, outdir):
    """As a training: after the first signal it finishes; saving takes its time."""
    asked = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: asked.append(number))
    note(outdir, f'ready/{os.getpid()}')
    wait_for(lambda: asked)
    time.sleep(1 if rank == 0 else 0)
    while len(asked) == 1 and (outdir / 'patient').exists():
        time.sleep(0.05)
    (outdir / f'saved{rank}').write_text(str(asked))


def signal_when_ready(outdir, *numbers):
    """A thread that sends this process signals."""
    def send():
        wait_for(lambda: len(read_pids(outdir)) == 2)
        for number in numbers:
            os.kill(os.getpid(), number)
            time.sleep(0.5)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def test_a_signal_reaches_every_process_once(tmp_path):
    thread = signal_when_ready(tmp_path, signal.SIGINT)
    start_processes(work_until_asked, (tmp_path,), 2)
    thread.join()
    assert [(tmp_path / f'saved{rank}').read_text() for rank in range(2)] == [f'[{int(signal.SIGINT)}]'] * 2


@pytest.mark.usefixtures('_forked')
def test_a_second_signal_kills(tmp_path):
    (tmp_path / 'patient').touch()
    thread = signal_when_ready(tmp_path, signal.SIGTERM, signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        start_processes(work_until_asked, (tmp_path,), 2)
    thread.join()
    assert not any(alive(pid) for pid in read_pids(tmp_path)) and not list(tmp_path.glob('saved*'))


def join_without_handlers(rank, outdir):
    with join(from_environment(), CPU):
        note(outdir, f'ready/{os.getpid()}')
        time.sleep(600 if rank == 1 else 0)
        any_process(False, CPU)  # process 0 misses process 1 here, and reports that


@pytest.mark.usefixtures('_forked')
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_processes_that_cannot_stop_yet(tmp_path, number):
    thread = signal_when_ready(tmp_path, number)
    with pytest.raises(KeyboardInterrupt):
        start_processes(join_without_handlers, (tmp_path,), 2)
    thread.join()
    assert not any(alive(pid) for pid in read_pids(tmp_path))


def test_processes_stop_when_their_parent_dies(tmp_path):
    code = 'from tests.training.parallel.test_spawning import *\n'
    code += f'start_processes(work_until_asked, (Path({str(tmp_path)!r}),), 2)'
    parent = subprocess.Popen([sys.executable, '-c', code], cwd=REPO)
    try:
        wait_for(lambda: len(read_pids(tmp_path)) == 2)
        pids = read_pids(tmp_path)
    finally:
        parent.kill()
        parent.wait()
    wait_for(lambda: not any(alive(pid) for pid in pids))
    assert (tmp_path / 'saved0').exists() and (tmp_path / 'saved1').exists()
