"""The output of a running training: a bar, one status line per tick, stats.jsonl, and TensorBoard if installed."""

import contextlib
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

import dnnlib
from dnnlib.files import PatientFile, write_whole
from dnnlib.schema import parse_json
from torch_utils import training_stats

from .board import Board
from .terminal_bar import open_bar

COLUMNS = {'G': 'Loss/G/loss', 'D': 'Loss/D/loss', 'r1': 'Loss/r1_penalty', 'sign': 'Loss/signs/real',
           'diversity': 'Diversity/min'}  # of the status line, where something was reported
NONFINITE = 'Gradients/nonfinite/'  # and the phase: elements of the gradient that were no finite numbers


class Progress:
    """Every process has one, since the statistics are summed over all; only the first process shows and writes.

    images_done: where a run continues; statistics that an earlier process reported beyond it are dropped.
    """

    def __init__(self, run_dir: Path, total_images: int, device: torch.device, rank: int = 0, images_done: int = 0):
        self.device = device
        self.is_first = rank == 0
        self.images_done = self.tick_start_images = images_done
        self.tick = 0
        self.start_time = self.tick_start_time = time.monotonic()
        self.collector = training_stats.Collector(regex='.*')
        if self.is_first:
            drop_later_stats(run_dir / 'stats.jsonl', images_done)
            self.bar = open_bar(total_images, images_done)
            self.stats_file = PatientFile(run_dir / 'stats.jsonl', 'a', self.say)
            self.board = self._open_board(run_dir)

    def state_dict(self) -> dict[str, Any]:
        """Plain values from which another Progress continues. Every process calls it: the statistics are summed first."""
        now = time.monotonic()
        return dict(tick=self.tick, tick_start_images=self.tick_start_images, tick_seconds=now - self.tick_start_time,
                    total_seconds=now - self.start_time, collector=self.collector.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue the tick of a `state_dict`, with its times and statistics. Every process calls it."""
        now = time.monotonic()
        self.tick, self.tick_start_images = state['tick'], state['tick_start_images']
        self.tick_start_time, self.start_time = now - state['tick_seconds'], now - state['total_seconds']
        self.collector.load_state_dict(state['collector'])

    def advance(self, num_images: int) -> None:
        """Count the images of a finished batch."""
        self.images_done += num_images
        if self.is_first:
            self.bar.update(num_images)

    def say(self, text: str) -> None:
        """A line for the log that leaves the bar whole."""
        if self.is_first:
            self.bar.clear()
            print(text, flush=True)
            self.bar.refresh()

    def tick_is_over(self, images_done: int, kimg_per_tick: float) -> bool:
        """The first tick is one batch long, so that the first numbers come at once."""
        return self.tick == 0 or images_done >= self.tick_start_images + kimg_per_tick * 1000

    def end_tick(self, images_done: int, augment_p: float) -> dict[str, float]:
        """Report the tick that ends with image number images_done, and start the next; returns the means by name."""
        now = time.monotonic()
        num_images, seconds = images_done - self.tick_start_images, now - self.tick_start_time
        self._report(dict(
            progress=dict(tick=self.tick, kimg=images_done / 1e3, augment=augment_p),
            timing=dict(sec_per_tick=seconds, sec_per_kimg=seconds / num_images * 1e3, images_per_sec=num_images / seconds,
                        total_hours=(now - self.start_time) / 3600),
            resources=dict(cpu_mem_gb=psutil.Process().memory_info().rss / 2**30, peak_gpu_mem_gb=self._peak_gpu_gib()),
        ))
        self.collector.update()
        stats = self.collector.as_dict()
        if self.is_first:
            self._write(stats, images_done)
            self.say(self._status_line(stats, now - self.start_time))
        self.tick += 1
        self.tick_start_time, self.tick_start_images = time.monotonic(), images_done
        return {name: value['mean'] for name, value in stats.items()}

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """The time of the block, for saving or measuring, is not training time of the tick."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.tick_start_time += time.monotonic() - start

    def images(self, name: str, path: Path) -> None:
        """Show the picture in a file, such as a grid of images, on TensorBoard too."""
        if self.is_first:
            with self._board_may_fail():
                if self.board is not None:
                    self.board.add_picture(name, path, self.images_done)

    def close(self) -> None:
        """End the bar and the files."""
        if self.is_first:
            self.bar.close()
            self.stats_file.close()
            if self.board is not None:
                self.board.close()

    def _report(self, groups: dict[str, dict[str, float]]) -> None:
        for group, values in groups.items():
            for name, value in values.items():
                training_stats.report0(f'{group.capitalize()}/{name}', value)

    def _peak_gpu_gib(self) -> float:
        if self.device.type != 'cuda':
            return 0.0
        peak = torch.cuda.max_memory_allocated(self.device) / 2**30
        torch.cuda.reset_peak_memory_stats(self.device)
        return peak

    def _write(self, stats: dict[str, Any], images_done: int) -> None:
        """One line of JSON, in which a statistic without a finite value is null, and the same means for TensorBoard."""
        line = {name: {key: _finite(number) for key, number in value.items()} for name, value in stats.items()}
        self.stats_file.write(json.dumps({**line, 'timestamp': time.time()}) + '\n')
        with self._board_may_fail():
            if self.board is not None:
                self.board.add_scalars({name: value['mean'] for name, value in stats.items() if value['num']}, images_done)

    def _open_board(self, run_dir: Path) -> Board | None:
        try:
            return Board(run_dir, self.images_done + 1, self.say)
        except ImportError:
            return None

    @contextlib.contextmanager
    def _board_may_fail(self) -> Iterator[None]:
        """TensorBoard is a second copy: if it cannot be written, the run continues without it."""
        try:
            yield
        except OSError as error:
            self.board = None
            self.say(f'TensorBoard: {error}; the run continues without it')

    def _status_line(self, stats: dict[str, Any], seconds: float) -> str:
        mean = {name: value['mean'] for name, value in stats.items()}
        known = {label: mean[name] for label, name in COLUMNS.items() if not math.isnan(mean.get(name, math.nan))}
        nonfinite = sum(mean[name] * value['num'] for name, value in stats.items() if name.startswith(NONFINITE) and value['num'])
        return '  '.join([
            f'tick {self.tick:<4d}',
            f'kimg {mean["Progress/kimg"]:<8.1f}',
            f'time {dnnlib.util.format_time(seconds):<11s}',
            f'img/s {mean["Timing/images_per_sec"]:<7.1f}',
            f'sec/kimg {mean["Timing/sec_per_kimg"]:<7.2f}',
            f'mem {mean["Resources/cpu_mem_gb"]:.2f}+{mean["Resources/peak_gpu_mem_gb"]:.2f} GiB',
            f'augment {mean["Progress/augment"]:.3f}',
            *(f'{label} {value:.3f}' for label, value in known.items()),
            *([f'nonfinite gradients {nonfinite:.0f}'] if nonfinite else []),
        ])


def drop_later_stats(path: Path, images_done: int) -> None:
    """Remove lines of ticks that end beyond images_done, and incomplete lines, from stats.jsonl. OSError."""
    if not path.exists():
        return
    lines = path.read_bytes().splitlines(keepends=True)
    limit = float(np.float32(images_done / 1e3))  # statistics are kept as float32
    kept = [line for line in lines if line.endswith(b'\n') and _kimg(line) <= limit]
    if kept != lines:
        write_whole(path, b''.join(kept))


def _kimg(line: bytes) -> float:
    """Thousands of images at the end of a tick; infinity if that cannot be read."""
    try:
        return float(parse_json(line)['Progress/kimg']['mean'])
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return math.inf


def _finite(number: float) -> float | int | None:
    return number if math.isfinite(number) else None
