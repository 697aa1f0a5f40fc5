"""One training run of the study: the command that makes it, and what is kept of it.

A run that ended left run.json in its folder, with its settings. Equal settings, equal run: it is not repeated. A run that was
cut off starts anew.
"""
import contextlib
import dataclasses
import hashlib
import json
import os
import platform
import shutil
import threading
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.digits_task import run_command
from benchmarks.transfer.methods import COMMON, METHODS, OF_COMMAND
from benchmarks.transfer.transfers import TRANSFERS, Files
from dnnlib.files import write_whole

SNAPSHOTS = 4  # of a run, at equal distances of 1,000 images or more
RECORD = 'run.json'
SAMPLE_SEC = 1


@dataclasses.dataclass(frozen=True)
class Cell:
    """A run that is wanted."""

    transfer: str
    method: str
    seed: int
    kimg: int

    def folder(self, workdir: Path) -> Path:
        """Where the run lies."""
        return workdir / self.transfer / f'{self.method}-seed{self.seed}-{self.kimg}kimg'


def settings_of(cell: Cell, files: Files) -> dict[str, Any]:
    """What a run depends on besides the program, JSON-ready."""
    transfer, method = TRANSFERS[cell.transfer], METHODS[cell.method]
    start = () if method.from_source else transfer.network
    return dict(**dataclasses.asdict(cell), command=method.command,
                options=[*COMMON, *OF_COMMAND[method.command], *transfer.options, *start, *method.options],
                sha256={name: _digest(path) for name, path in dataclasses.asdict(files).items()})


def finished_run(folder: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """What train() left in the folder, if it was run with these settings."""
    path = folder / RECORD
    record = json.loads(path.read_text()) if path.is_file() else None
    return record if record and record['settings'] == settings else None


def train(folder: Path, settings: dict[str, Any], files: Files) -> dict[str, Any]:
    """Trains in the folder, which is emptied first, and writes its run.json. ClickException if the command fails.

    CPU time is that of the children of this process, all of them: one run at a time in a process.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    method, kimg = METHODS[settings['method']], settings['kimg']
    resume = [f'--resume={files.source}'] if method.from_source else []
    started = time.time()
    with sampled_cpu() as samples:
        run_command(method.command, f'--outdir={folder}', f'--data={files.train}', *resume, f'--kimg={kimg}',
                    f'--seed={settings["seed"]}', *settings['options'], f'--tick={max(kimg / SNAPSHOTS, 1):g}', '--snap=1',
                    log=folder / 'output.log', threads=1)
    minutes = (time.time() - started) / 60
    (run_dir,) = (path for path in folder.iterdir() if path.is_dir())
    for state in run_dir.glob('*state*.pt'):
        state.unlink()  # twice as large as a snapshot, and the run has ended
    record = dict(settings=settings, minutes=minutes, cpu_minutes=samples[-1][1] / 60, versions=_versions(),
                  selfinit=_selfinit(run_dir), snapshots=_snapshots(run_dir, started, samples))
    write_whole(folder / RECORD, json.dumps(record, indent=1) + '\n')
    return record


@contextlib.contextmanager
def sampled_cpu() -> Iterator[list[tuple[float, float]]]:
    """Fills a list with (time, CPU seconds so far of the child processes that began in the block and run then).

    Wall-clock time says little on a machine that others use too.
    """
    samples, ended = [(time.time(), 0.0)], threading.Event()
    before = psutil.Process().children(recursive=True)

    def sample() -> None:
        while not ended.wait(SAMPLE_SEC):
            with contextlib.suppress(psutil.Error):  # one has just ended
                times = [child.cpu_times() for child in psutil.Process().children(recursive=True) if child not in before]
                samples.append((time.time(), max(sum(spent.user + spent.system for spent in times), samples[-1][1])))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()


def _snapshots(run_dir: Path, started: float, samples: list[tuple[float, float]]) -> list[dict[str, Any]]:
    """File, thousands of images and minutes since the start of each snapshot; the first is of before training."""
    ticks = [json.loads(line) for line in (run_dir / 'stats.jsonl').read_text().splitlines()]
    found = []
    for path in sorted(run_dir.glob('network-snapshot-*.pkl')):
        kimg = int(path.stem.rpartition('-')[2])
        tick = min(ticks, key=lambda tick: abs(tick['Progress/kimg']['mean'] - kimg))
        cpu_seconds = np.interp(tick['timestamp'], *np.transpose(samples))
        found.append(dict(path=f'{run_dir.name}/{path.name}', kimg=kimg, minutes=(tick['timestamp'] - started) / 60,
                          cpu_minutes=float(cpu_seconds) / 60, images_per_sec=tick['Timing/images_per_sec']['mean'],
                          augment=tick['Progress/augment']['mean']))
    return found


def _selfinit(run_dir: Path) -> dict[str, Any] | None:
    path = run_dir / 'selfinit.json'
    return json.loads(path.read_text()) if path.is_file() else None


def _versions() -> dict[str, Any]:
    return dict(python=platform.python_version(), torch=version('torch'), numpy=version('numpy'), machine=platform.machine(),
                cores=os.cpu_count())


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
