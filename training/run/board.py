"""Scalars and pictures for TensorBoard, written as its event files without its writer thread.

That thread (torch's SummaryWriter) dies on a full disk and keeps raising even after space returns; here events wait for space
(dnnlib.files).
"""

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dnnlib.files import PatientFile


class Board:
    """An event file in run_dir. Steps are images. ImportError if TensorBoard is not installed, OSError.

    first_step: earlier runs' events from this step on are not shown. on_full: see PatientFile.
    """

    def __init__(self, run_dir: Path, first_step: int, on_full: Callable[[str], None]):
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter
        from torch.utils.tensorboard import summary
        self._event, self._summary = Event, summary
        now = time.time_ns()  # with nanoseconds, a second file of the same second has another name and the later place
        name = f'events.out.tfevents.{now // 10**9:010d}.{now % 10**9:09d}.{socket.gethostname()}'
        self._file = PatientFile(run_dir / name, 'w', on_full)
        self._records = RecordWriter(self._file)
        self._write(file_version='brain.Event:2')
        self._write(step=first_step, session_log=SessionLog(status=SessionLog.START))

    def add_scalars(self, values: dict[str, float], step: int) -> None:
        """One number for each name."""
        for name, value in values.items():
            self._write(step=step, summary=self._summary.scalar(name, value))

    def add_picture(self, name: str, path: Path, step: int) -> None:
        """The picture in a file. Left out while the disk is full, since pictures would fill the memory."""
        if self._file.num_waiting:
            return
        with Image.open(path) as image:
            pixels = np.asarray(image.convert('RGB'))  # [H, W, 3]
        self._write(step=step, summary=self._summary.image(name, pixels, dataformats='HWC'))

    def close(self) -> None:
        self._file.close()

    def _write(self, **fields: Any) -> None:
        self._records.write(self._event(wall_time=time.time(), **fields).SerializeToString())
