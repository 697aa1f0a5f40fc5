"""What a run tells while it goes: a bar, one status line per tick, stats.jsonl, and TensorBoard where it is installed."""

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import torch
import tqdm

import dnnlib
from torch_utils import training_stats

LOSS_COLUMNS = {'G': 'Loss/G/loss', 'D': 'Loss/D/loss', 'r1': 'Loss/r1_penalty', 'sign': 'Loss/signs/real'}


class Progress:
    """Every process has one, since the statistics are summed over all; only the first process shows and writes."""

    def __init__(self, run_dir: Path, total_images: int, device: torch.device, rank: int = 0):
        self.device = device
        self.is_first = rank == 0
        self.tick = 0
        self.start_time = self.tick_start_time = time.time()
        self.tick_start_images = 0
        self.collector = training_stats.Collector(regex='.*')
        if self.is_first:
            self.stats_file = open(run_dir / 'stats.jsonl', 'a')  # noqa: SIM115 (close() ends it)
            self.board = _open_board(run_dir)
            self.bar = _open_bar(total_images)

    def advance(self, num_images: int) -> None:
        """Count the images of a finished batch."""
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

    def end_tick(self, images_done: int, augment_p: float) -> None:
        """Report the tick that ends with image number images_done, and start the next."""
        now = time.time()
        num_images, seconds = images_done - self.tick_start_images, now - self.tick_start_time
        self._report(dict(
            progress=dict(tick=self.tick, kimg=images_done / 1e3, augment=augment_p),
            timing=dict(sec_per_tick=seconds, sec_per_kimg=seconds / num_images * 1e3, images_per_sec=num_images / seconds,
                        total_hours=(now - self.start_time) / 3600),
            resources=dict(cpu_mem_gb=psutil.Process().memory_info().rss / 2**30, peak_gpu_mem_gb=self._peak_gpu_gib()),
        ))
        self.collector.update()
        if self.is_first:
            stats = self.collector.as_dict()
            self._write(stats, images_done, now)
            self.say(self._status_line(stats, now))
        self.tick += 1
        self.tick_start_time, self.tick_start_images = time.time(), images_done

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

    def _write(self, stats: dict[str, Any], images_done: int, now: float) -> None:
        """One line of JSON, in which a statistic without a finite value is null, and the same means for TensorBoard."""
        line = {name: {key: _finite(number) for key, number in value.items()} for name, value in stats.items()}
        self.stats_file.write(json.dumps({**line, 'timestamp': now}) + '\n')
        self.stats_file.flush()
        if self.board is not None:
            for name, value in stats.items():
                self.board.add_scalar(name, value['mean'], global_step=images_done, walltime=now)
            self.board.flush()

    def _status_line(self, stats: dict[str, Any], now: float) -> str:
        mean = {name: value['mean'] for name, value in stats.items()}
        losses = [f'{label} {mean[name]:.3f}' for label, name in LOSS_COLUMNS.items() if not math.isnan(mean.get(name, math.nan))]
        return '  '.join([
            f'tick {self.tick:<4d}',
            f'kimg {mean["Progress/kimg"]:<8.1f}',
            f'time {dnnlib.util.format_time(now - self.start_time):<11s}',
            f'img/s {mean["Timing/images_per_sec"]:<7.1f}',
            f'sec/kimg {mean["Timing/sec_per_kimg"]:<7.2f}',
            f'mem {mean["Resources/cpu_mem_gb"]:.2f}+{mean["Resources/peak_gpu_mem_gb"]:.2f} GiB',
            f'augment {mean["Progress/augment"]:.3f}',
            *losses,
        ])


def _open_bar(total_images: int) -> tqdm.tqdm:
    """On the terminal itself, past the log file; nothing where there is no terminal."""
    terminal = sys.__stderr__
    hidden = terminal is None or not terminal.isatty()
    return tqdm.tqdm(total=total_images, unit='img', unit_scale=True, dynamic_ncols=True, file=terminal, disable=hidden)


def _open_board(run_dir: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(run_dir)


def _finite(number: float) -> float | int | None:
    return number if math.isfinite(number) else None
