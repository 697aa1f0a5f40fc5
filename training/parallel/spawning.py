"""Start the processes of a training on this machine, forward signals to them, and report how they ended.

This process is the launcher: its children find their place in environment variables, as from torchrun, and meet in a
store that it keeps. Ctrl-C in a terminal reaches it alone, so that each child gets one signal from it and not two.

torch's elastic_launch() does not tell processes that saved after a signal from ones that were killed, names the process that
missed another as the cause, and if it is killed its children do not end.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Any

import torch

from . import watch
from .environment import Member, to_environment

HOST = '127.0.0.1'
PATIENCE_SEC = 10  # for the others to end after a failure
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
END_SIGNAL = getattr(signal, 'SIGUSR1', signal.SIGTERM)  # to the others after a failure; nobody asked them to stop
INTERRUPTED = 128 + signal.SIGINT  # exit code of a process that Ctrl-C ended
ENDED_BY_STOP_SIGNAL = {INTERRUPTED, -signal.SIGINT, -signal.SIGTERM}


def start_processes(function: Callable[..., None], args: tuple[Any, ...], num_gpus: int) -> None:
    """Call function(rank, *args) in num_gpus new processes and wait; from_environment() tells each one its place.

    If one fails, the others are ended, and a RuntimeError (or its ValueError) says why. The first SIGINT or SIGTERM is forwarded,
    so that the processes stop in their own way; a second one kills them: KeyboardInterrupt.
    """
    store = torch.distributed.TCPStore(HOST, 0, is_master=True, wait_for_workers=False)
    context = multiprocessing.get_context('spawn')
    receivers, senders = zip(*(context.Pipe(duplex=False) for _rank in range(num_gpus)), strict=True)
    processes = [context.Process(target=_run_process, args=(receiver, Member(rank, num_gpus, rank, HOST, store.port)))
                 for rank, receiver in enumerate(receivers)]
    try:
        with _Signals(processes) as signals:
            _send((function, args), receivers, senders)
            _wait(processes)
            failed = {rank: process.exitcode for rank, process in enumerate(processes) if process.exitcode}
            _interrupt(processes)
    finally:
        _kill(processes)
    if failed:
        failure = watch.read_report(watch.connect(HOST, store.port))
        if signals.count > 1 or (signals.count == 1 and not ENDED_BY_STOP_SIGNAL.isdisjoint(failed.values())):
            raise KeyboardInterrupt  # the first signal met a process that could not yet stop in its own way
        kind = ValueError if failure is not None and failure.get('input_error') else RuntimeError
        raise kind(_describe_failure(failed, failure)) from _cause(failed, failure)


class _Signals:
    """Context that starts the processes and forwards the first SIGINT or SIGTERM to them; a second one kills them.

    Outside the main thread, where Python takes no signals, it only starts them.
    """

    def __init__(self, processes: list[SpawnProcess]) -> None:
        self.count = 0
        self._has_started = False
        self._processes = processes
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> _Signals:
        with _signals_held():  # by this thread; others may yet take one
            if threading.current_thread() is threading.main_thread():
                self._previous = {number: signal.signal(number, self._handle) for number in STOP_SIGNALS}
            for process in self._processes:
                process.start()
            self._has_started = True
            if self.count > 0:
                self._pass_on(signal.SIGTERM)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self._has_started:
            self._pass_on(number if self.count == 1 else signal.SIGKILL)

    def _pass_on(self, number: int) -> None:
        for process in self._processes:
            if process.exitcode is None and process.pid is not None:
                os.kill(process.pid, number)


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Signals during the block are delivered after it; children start with them blocked."""
    if hasattr(signal, 'pthread_sigmask'):  # not on Windows
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        _release_signals()


def _release_signals() -> None:
    if hasattr(signal, 'pthread_sigmask'):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def _send(work: tuple[Any, ...], receivers: Sequence[Connection], senders: Sequence[Connection]) -> None:
    """Send its work to every process. Only the process has the other end of its pipe open, so that its death ends the writing.

    Process.start() writes arguments to a pipe that it keeps open itself: more than the pipe holds would block for ever.
    """
    for receiver in receivers:
        receiver.close()
    for sender in senders:
        with sender, contextlib.suppress(BrokenPipeError):  # the exit code says why
            sender.send(work)


def _run_process(receiver: Connection, member: Member) -> None:
    """Run a child process from start to end."""
    os.environ.update(to_environment(member), TORCHELASTIC_USE_AGENT_STORE='True', TORCHELASTIC_RESTART_COUNT='0')
    if hasattr(os, 'setpgrp'):
        os.setpgrp()  # away from the terminal's Ctrl-C
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    try:
        signal.signal(END_SIGNAL, _end_with_another)
        _release_signals()
        with receiver:
            function, args = receiver.recv()
        function(member.rank, *args)
    except Exception as error:
        watch.report(watch.connect(member.address, member.port), member.rank, error)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _end_with_another(number: int, frame: FrameType | None) -> None:
    raise watch.AnotherEndedError


def _stop_with_parent() -> None:
    """If the parent dies, stop as on its signal: nobody else would forward one."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    with contextlib.suppress(OSError):
        os.write(2, b'\nThe process that started this one has ended\n')
    os.kill(os.getpid(), signal.SIGTERM)


def _wait(processes: list[SpawnProcess]) -> None:
    """Wait until all have ended, or one has failed."""
    running = processes
    while running and not any(process.exitcode for process in processes):
        connection.wait([process.sentinel for process in running])
        running = [process for process in running if process.exitcode is None]


def _interrupt(processes: list[SpawnProcess]) -> None:
    """Ask the remaining processes to end, so that they close their files."""
    for process in processes:
        if process.exitcode is None and process.pid is not None:
            os.kill(process.pid, END_SIGNAL)
    end = time.monotonic() + PATIENCE_SEC
    for process in processes:
        process.join(max(end - time.monotonic(), 0))


def _kill(processes: list[SpawnProcess]) -> None:
    for process in processes:
        if process.pid is not None and process.exitcode is None:
            process.kill()
            process.join()


def _describe_failure(failed: dict[int, int], failure: dict[str, Any] | None) -> str:
    """One line. failed: exit codes of the first to fail, by rank."""
    killed = _killed(failed)
    if killed is not None:
        name = signal.Signals(-failed[killed]).name
        return f'process {killed} was ended by {name}' + (', perhaps for lack of memory' if name == 'SIGKILL' else '')
    if failure is not None:
        return failure.get('input_error') or failure['text']  # of wrong input it does not matter which process met it
    rank, code = next(iter(failed.items()))
    return f'process {rank} ended with exit code {code}'


def _cause(failed: dict[int, int], failure: dict[str, Any] | None) -> Exception | None:
    """The traceback of the failed process, printed with that of this one."""
    return None if failure is None or _killed(failed) is not None else RuntimeError('\n' + failure['traceback'])


def _killed(failed: dict[int, int]) -> int | None:
    """The process that a signal ended: it could not report, and the others report only the effect."""
    return next((rank for rank, code in failed.items() if code < 0), None)
