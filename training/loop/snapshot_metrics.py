"""Metrics of snapshots during training, and network-best.pkl, the best snapshot by the first metric."""

import contextlib
import dataclasses
import fnmatch
import math
import os
import shutil
from pathlib import Path
from typing import Any

import torch

from dnnlib.files import whole_file
from dnnlib.schema import parse_json
from metrics.features.detectors import get_detector
from metrics.features.labelled_images import open_labelled
from metrics.metric_main import compute_metrics, find_metric
from metrics.metric_needs import check_metric
from training.config import TrainingConfig
from training.run.run_dir import BEST, SNAPSHOT_PATTERN

from .random_state import random_state, set_random_state


@dataclasses.dataclass(frozen=True)
class Measurement:
    """A line of metric-*.jsonl. value: the headline; timestamp: seconds since the epoch."""

    snapshot: str
    value: float
    timestamp: float
    detector: Any


def measure_snapshot(G_ema: Any, snapshot: Path, config: TrainingConfig, rank: int, device: torch.device) -> None:
    """Measure the averaged generator saved in `snapshot`. All processes call it; it leaves training's random numbers alone."""
    assert config.metrics is not None
    before, names = random_state(device), config.metrics.names
    results = compute_metrics(names, G_ema, vars(config.training_set_kwargs), num_gpus=config.num_gpus, rank=rank, device=device,
                              run_dir=snapshot.parent, snapshot_pkl=snapshot, **vars(config.metrics.options))
    set_random_state(before, device)
    if rank == 0:
        mark_best(snapshot.parent, results[0]['metric'], find_metric(names[0]).higher_is_better)


def check_metrics(config: TrainingConfig) -> None:
    """ValueError or OSError if the metrics of the config cannot be measured. Downloads the detector now, not after hours."""
    if config.metrics is None:
        return
    data, options = vars(config.training_set_kwargs), config.metrics.options
    wanted = [find_metric(name) for name in config.metrics.names]
    for metric in wanted:
        if 'classes' in metric.needs and not config.training_set_kwargs.use_labels:
            raise ValueError(f'--metrics={metric.name} needs classes, but this training has none: add --cond=1, or choose '
                             'another metric')
        if 'test_data' in metric.needs:
            raise ValueError(f'--metrics={metric.name} needs held-out real images: measure snapshots with calc_metrics.py '
                             '--test-data')
        check_metric(metric, data, detector=options.detector, num_gen=options.num_gen)
    if any('detector' in metric.needs for metric in wanted):
        if options.detector == 'classifier':
            open_labelled(data).close()
        else:
            get_detector(options.detector, 'cpu')


def mark_best(run_dir: Path, metric: str, higher_is_better: bool) -> None:
    """Make network-best.pkl the snapshot with the best value so far: a hard link, or a copy if the file system has none. So it
    stays when the snapshot is pruned or replaced. Values of another detector, which calc_metrics.py may have added, are not
    compared.
    """
    lines: list[Measurement] = []
    for line in (run_dir / f'metric-{metric}.jsonl').read_text(encoding='ascii', errors='replace').splitlines():
        with contextlib.suppress(ValueError):  # half a line, where a process died, or a damaged one
            lines.append(read_measurement(line))
    measured = [line for line in lines if fnmatch.fnmatchcase(line.snapshot, SNAPSHOT_PATTERN)
                and line.detector == lines[-1].detector and math.isfinite(line.value)]
    if measured:
        best = (max if higher_is_better else min)(measured, key=lambda line: line.value)
        snapshot = run_dir / best.snapshot
        if snapshot.is_file() and snapshot.stat().st_mtime <= best.timestamp:  # else it is network-best.pkl already
            try:
                with whole_file(run_dir / BEST) as part:
                    _link_or_copy(snapshot, part)
            except OSError as error:
                print(f'Warning: cannot make {BEST} from {snapshot.name}: {error}')


def read_measurement(line: str) -> Measurement:
    """ValueError if the line does not hold one."""
    result = parse_json(line)
    try:
        headline = next(iter(result['results'].values()))
        return Measurement(str(result['snapshot_pkl']), float(headline), float(result['timestamp']), result.get('detector'))
    except (ArithmeticError, AttributeError, LookupError, StopIteration, TypeError) as error:
        raise ValueError('no line of a metric') from error


def _link_or_copy(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
