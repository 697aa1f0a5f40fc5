"""Metrics of snapshots as training goes, and network-best.pkl, a link to the best snapshot by the first metric."""

import contextlib
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import torch

from metrics.class_features import check_class_sizes
from metrics.detectors import get_detector
from metrics.labelled_images import open_labelled
from metrics.metric_main import compute_metrics, find_metric

from .random_state import random_state, set_random_state

BEST = 'network-best.pkl'


@dataclasses.dataclass(frozen=True)
class SnapshotMetrics:
    """names: metrics, the first of which says what is best. ticks: between two measurements. options: for compute_metrics()."""

    names: list[str]
    ticks: int | None
    options: dict[str, Any]

    def measure(self, G_ema: Any, snapshot: Path, training_set_kwargs: dict[str, Any], num_gpus: int, rank: int,
                device: torch.device) -> None:
        """Measure the averaged generator, which `snapshot` holds. All processes call it; training's random numbers are kept."""
        before = random_state(device)
        results = compute_metrics(self.names, G_ema, training_set_kwargs, num_gpus=num_gpus, rank=rank, device=device,
                                  run_dir=snapshot.parent, snapshot_pkl=snapshot, **self.options)
        set_random_state(before, device)
        if rank == 0:
            mark_best(snapshot.parent, results[0]['metric'], find_metric(self.names[0]).higher_is_better)


def check_metrics(config: dict[str, Any]) -> None:
    """ValueError or OSError if a training cannot have the metrics of its config. A detector is fetched now, not after hours."""
    if config['metrics'] is None:
        return
    wanted = [find_metric(name) for name in config['metrics']['names']]
    for metric in wanted:
        if 'classes' in metric.needs and not config['training_set_kwargs']['use_labels']:
            raise ValueError(f'--metrics={metric.name} looks at classes, which this training leaves out: add --cond=1, or choose '
                             'another metric')
        if 'test_data' in metric.needs:
            raise ValueError(f'--metrics={metric.name} needs real images that are held out: measure snapshots with '
                             'calc_metrics.py --test-data')
        if 'classes' in metric.needs:
            check_class_sizes(metric, config['training_set_kwargs'])
    detector = config['metrics']['options']['detector']
    if any('detector' in metric.needs for metric in wanted):
        if detector == 'classifier':
            open_labelled(config['training_set_kwargs']).close()
        else:
            get_detector(detector, 'cpu')


def mark_best(run_dir: Path, metric: str, higher_is_better: bool) -> None:
    """Let network-best.pkl lead to the snapshot with the best value so far, of those that are still there.

    Values by another detector than the last one, as calc_metrics.py may have added, do not compare with it.
    """
    lines: list[dict[str, Any]] = []
    values = {}
    for line in (run_dir / f'metric-{metric}.jsonl').read_text(encoding='ascii', errors='replace').splitlines():
        with contextlib.suppress(ValueError):  # half a line, where a process died
            lines.append(json.loads(line))
    for result in lines:
        is_alike = result.get('detector') == lines[-1].get('detector')
        if is_alike and result['snapshot_pkl'] and (run_dir / result['snapshot_pkl']).is_file():
            values[result['snapshot_pkl']] = next(iter(result['results'].values()))
    finite = {name: value for name, value in values.items() if value == value}
    if finite:
        best = (max if higher_is_better else min)(finite, key=lambda name: finite[name])
        link = run_dir / f'.{BEST}.{os.getpid()}.part'
        try:
            link.unlink(missing_ok=True)
            link.symlink_to(best)
            os.replace(link, run_dir / BEST)
        except OSError as error:  # a full disk, or a file system without links
            print(f'Warning: {BEST} could not be made to lead to {best}: {error}')


def best_snapshot(run_dir: Path) -> Path | None:
    """The snapshot that network-best.pkl leads to, or None."""
    link = run_dir / BEST
    return run_dir / os.readlink(link) if link.is_symlink() else None
