"""Ctrl-C and SIGTERM as a request to stop, so that a run can finish its step and save first."""

import contextlib
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class StopSignals:
    """Context in which the first SIGINT or SIGTERM sets `asked`, and a second one ends the process at once.

    The previous handlers are restored at the end. Does nothing outside the main thread, where Python handles no signals.
    is_quiet: another process prints what happens.
    """

    def __init__(self, is_quiet: bool = False) -> None:
        self.asked = False
        self._is_quiet = is_quiet
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> 'StopSignals':
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self.asked:
            self._tell(f'{name} again: stopped at once, without saving')
            os._exit(128 + number)
        self.asked = True
        self._tell(f'{name}: finishing the step, then saving; a second signal stops at once, without saving')

    def _tell(self, text: str) -> None:
        """Write without print(), which a handler may interrupt and must not re-enter."""
        if not self._is_quiet:
            with contextlib.suppress(OSError):
                os.write(2, f'\n{text}\n'.encode())
