"""Processes that train together end together: if one fails or dies, the others say so and end within half a minute.

A process that waits for a dead one in a collective may wait for ever. So two threads of every process use the store in
which the processes met: one counts up a heartbeat there and looks for an error of another process, the other ends this
process when nothing new was heard for too long. Process 0 listens to all others, and they listen to process 0.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any

import torch

from dnnlib.errors import input_message

from .environment import Member

BEAT_SEC = 2.0
SILENCE_SEC = 20.0  # of a dead process; a living one may hold the interpreter for seconds, to write a large pickle
SUSPECT_SEC = 8.0  # the same, once communication has failed
FAREWELL_SEC = 5.0  # that process 0, which may hold the store, leaves the others to read an error
MAX_ERROR_LENGTH = 1000  # characters
STORE_GONE = 'process 0 is gone, and with it the store of all processes'
ANSWER_TIME = datetime.timedelta(seconds=20)


class AnotherEndedError(KeyboardInterrupt):
    """Raised in a process that must end because another one failed or was killed."""


def connect(address: str, port: int) -> torch.distributed.Store:
    """A connection of its own to the store of the processes: one that waits for a value blocks all who share it."""
    store = torch.distributed.TCPStore(address, port, is_master=False, timeout=ANSWER_TIME, wait_for_workers=False)
    # A launcher that starts failed processes again may keep its store.
    return torch.distributed.PrefixStore(f'watch/{os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")}', store)


def report(store: torch.distributed.Store, rank: int, error: BaseException) -> None:
    """Tell the other processes why this one ends. Only the first report counts."""
    text = ''.join(traceback.format_exception(type(error), error, error.__traceback__))
    message = input_message(error)
    _report(store, dict(rank=rank, text=f'process {rank} failed: {_one_line(f"{type(error).__name__}: {error}")}', traceback=text,
                        input_error=None if message is None else _one_line(message)))


def read_report(store: torch.distributed.Store) -> dict[str, Any] | None:
    """The first failure as rank, text (one line) and traceback, or None. input_error: what is wrong with the input, if it is."""
    return json.loads(store.get('error')) if store.check(['error']) else None


def is_of_communication(error: BaseException) -> bool:
    """Whether it arose in an exchange with other processes, and so may be the effect of another's end."""
    if isinstance(error, (torch.distributed.DistError, AnotherEndedError)):
        return True
    modules = [frame.f_globals.get('__name__', '') for frame, _line in traceback.walk_tb(error.__traceback__)]
    return any(f'{name}.'.startswith('torch.distributed.') for name in modules)


@contextlib.contextmanager
def watching(member: Member, beat_sec: float = BEAT_SEC, silence_sec: float = SILENCE_SEC) -> Iterator[None]:
    """End this process, with a line on stderr and exit code 1, if another one fails; tell the others if the block raises.

    At the end of the block process 0 waits for the others, since it may hold the store.
    """
    member.store.add('came', 1)  # the first use waits for all
    watch = _Watch(connect(member.address, member.port), member, beat_sec, silence_sec)
    watch.start()
    try:
        yield
    except BaseException as error:
        if isinstance(error, SystemExit) and error.code in (None, 0):
            watch.finish()
        else:
            watch.fail(error)
        raise
    watch.finish()


class _Watch:
    """The two threads of one process, and their knowledge of the others."""

    def __init__(self, store: torch.distributed.Store, member: Member, beat_sec: float, silence_sec: float) -> None:
        self.store = store
        self.rank, self.world_size = member.rank, member.world_size
        self.beat_sec, self.silence_sec = beat_sec, silence_sec
        self.counts = dict.fromkeys(range(1, member.world_size) if member.rank == 0 else [0], 0)
        self.heard: dict[int, float] = {}  # when a rank's count was new; a rank that has not begun cannot have died
        self.finished: set[int] = set()
        self.ended = threading.Event()
        self.lock = threading.Lock()  # held by whichever thread ends the process
        self.threads = [threading.Thread(target=target, daemon=True) for target in (self._beat, self._listen)]

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def finish(self) -> None:
        """This process has done its part. RuntimeError if process 0 is gone."""
        if self.rank == 0:
            while len(self.finished) < self.world_size - 1:
                time.sleep(self.beat_sec / 10)  # the threads go on: the others may yet fail
        self._stop()
        try:
            self.store.add(f'finished/{self.rank}', 1)
        except RuntimeError as error:
            raise RuntimeError(STORE_GONE) from error

    def fail(self, error: BaseException) -> None:
        """This process ends with an error. If that is the effect of another's, the threads find it out and end the process."""
        if is_of_communication(error):
            patience = self.silence_sec + 2 * self.beat_sec
            self.silence_sec = min(SUSPECT_SEC, self.silence_sec)
            time.sleep(patience)
        self._stop()
        with contextlib.suppress(RuntimeError):  # without a store there is nobody to tell
            report(self.store, self.rank, error)
            self._take_leave()

    def _stop(self) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join(FAREWELL_SEC)  # one that hangs in the store is left behind

    def _beat(self) -> None:
        while True:
            try:
                failure = self._exchange()
            except RuntimeError:
                failure = STORE_GONE
            if self.ended.wait(0 if failure else self.beat_sec):
                return
            if failure:
                self._end_process(failure)

    def _exchange(self) -> str | None:
        """Beat, and note who else has; returns another process's failure. Adding 0 reads without waiting."""
        self.store.add(f'beats/{self.rank}', 1)
        for rank in self.counts.keys() - self.finished:
            count = self.store.add(f'beats/{rank}', 0)
            if count != self.counts[rank]:
                self.counts[rank], self.heard[rank] = count, time.monotonic()
            if self.store.add(f'finished/{rank}', 0) > 0:
                self.finished.add(rank)
        failure = read_report(self.store)
        return None if failure is None or failure['rank'] == self.rank else failure['text']

    def _listen(self) -> None:
        last = time.monotonic()
        while not self.ended.wait(self.beat_sec / 2):
            now = time.monotonic()
            if now - last > 2 * self.beat_sec:  # this process itself was stopped, and heard nobody
                self.heard = dict.fromkeys(self.heard, now)
            last = now
            for rank, heard in list(self.heard.items()):
                silence = time.monotonic() - heard
                if rank not in self.finished and silence > self.silence_sec:
                    text = f'process {rank} is gone: no heartbeat for {silence:.0f} seconds'
                    if self.rank == 0:
                        _report(self.store, dict(rank=rank, text=text, traceback=''))
                    self._end_process(text, absent=1)

    def _end_process(self, text: str, absent: int = 0) -> None:
        with self.lock:
            print(f'\nProcess {self.rank} ends because {text}', file=sys.stderr, flush=True)
            sys.stdout.flush()
            if text != STORE_GONE:
                with contextlib.suppress(RuntimeError):
                    self._take_leave(absent)
            os._exit(1)  # the main thread may hang in a collective

    def _take_leave(self, absent: int = 0) -> None:
        """Note that this process knows of the error; process 0 gives the others a while to learn of it too."""
        known = self.store.add('known', 1)
        patience = time.monotonic() + FAREWELL_SEC
        while self.rank == 0 and known < self.world_size - len(self.finished) - absent and time.monotonic() < patience:
            time.sleep(0.1)
            known = self.store.add('known', 0)


def _report(store: torch.distributed.Store, failure: dict[str, Any]) -> None:
    store.compare_set('error', '', json.dumps(failure))


def _one_line(text: str) -> str:
    text = ' '.join(text.split()).rstrip(': ')
    return text if len(text) <= MAX_ERROR_LENGTH else f'{text[:MAX_ERROR_LENGTH]} ...'
