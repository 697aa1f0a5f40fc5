"""Compute metrics by name and write their report files, for calc_metrics.py and the training loop.

Importing the modules in REGISTERING registers the metrics: NVLabs' in metrics.standard_metrics, those of classes in the others.
"""
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

import dnnlib
from dnnlib.files import is_disk_full
from torch_utils.collectives import first_value

from . import density_coverage, registry, standard_metrics
from .classes import gan_test, gan_train, memorization, per_class, spread_per_class
from .features.open_data import OpenData
from .metric_needs import check_images
from .metric_options import MetricOptions, ProgressMonitor
from .registry import find_metric, register_metric

__all__ = [
    'calc_metric', 'compute_metrics', 'find_metric', 'is_valid_metric', 'list_valid_metrics', 'register_metric', 'report_metric',
]

REGISTERING = (standard_metrics, per_class, density_coverage, gan_test, gan_train, memorization, spread_per_class)
FOR_PEOPLE = ('tables',)  # facts that are printed but not written to the report file


def is_valid_metric(metric: str) -> bool:
    """Whether there is a metric of this name."""
    return metric in registry.metric_names()


def list_valid_metrics() -> list[str]:
    """The names of all metrics, sorted."""
    return sorted(registry.metric_names())


def calc_metric(metric: str, **kwargs: Any) -> dnnlib.EasyDict:
    """Compute a metric by name. kwargs: see MetricOptions. Every process must call it; all return the values of process 0.

    Returns results (values by name), metric (the name, including image counts that are not standard), total_time in seconds
    and as text, num_gpus, seed, and further facts: num_gen, num_real, detector, warnings.
    """
    found = find_metric(metric)
    opts = MetricOptions(**kwargs)
    opts.num_gen = found.num_gen if opts.num_gen is None or found.num_gen is None else opts.num_gen
    opts.max_real = found.max_real if opts.max_real is None else opts.max_real
    start = time.time()
    if 'classes' in found.needs:
        check_images(found, opts.dataset_kwargs, opts.test_dataset_kwargs, opts.num_gen, opts.max_real, opts.data)
    values = found.compute(opts)
    values, facts = first_value((values, opts.facts))
    total_time = time.time() - start
    if opts.num_gen is not None:
        facts.setdefault('num_gen', opts.num_gen)
    name = found.name_with_counts(opts.num_gen, opts.max_real, facts.get('num_real'))
    return dnnlib.EasyDict(
        results={key.replace(metric, name, 1): float(value) for key, value in values.items()}, metric=name, total_time=total_time,
        total_time_str=dnnlib.util.format_time(total_time), num_gpus=opts.num_gpus, seed=opts.seed, **facts)


def compute_metrics(
    names: Sequence[str], G: Any, dataset_kwargs: dict[str, Any], *, rank: int = 0,
    device: torch.device | None = None, run_dir: str | os.PathLike[str] | None = None,
    snapshot_pkl: str | os.PathLike[str] | None = None, progress: ProgressMonitor | None = None, seed: int = 0, repeats: int = 1,
    data: OpenData | None = None, **options: Any,
) -> list[dnnlib.EasyDict]:
    """Compute and report metrics of one generator, `repeats` times with consecutive seeds. Every process must call it.

    data: data sets that are already open. options: further fields of MetricOptions. Process 0 reports each result as soon as it
    is complete; all processes return them. Networks and torch's random state do not change.
    """
    if run_dir is not None and rank == 0:
        os.makedirs(run_dir, exist_ok=True)  # metrics put pictures there
    runs: dict[str, list[dnnlib.EasyDict]] = {name: [] for name in names}
    results, data = [], data or OpenData()
    for number in range(repeats):
        shared: dict[Any, Any] = {}
        for name, several in runs.items():
            several.append(calc_metric(
                name, G=G, dataset_kwargs=dataset_kwargs, rank=rank, device=device, run_dir=run_dir,
                progress=progress, seed=seed + number, shared=shared, data=data, **options))
            if len(several) == repeats:
                results.append(combine_repeats(several))
                if rank == 0:
                    report_metric(results[-1], run_dir, snapshot_pkl)
    return results


def combine_repeats(runs: list[dnnlib.EasyDict]) -> dnnlib.EasyDict:
    """Combine results of different seeds: mean values, sample standard deviations (n - 1), and all values."""
    if len(runs) == 1:
        return runs[0]
    values = {key: [run.results[key] for run in runs] for key in runs[0].results}
    total_time = sum(run.total_time for run in runs)
    return dnnlib.EasyDict(
        runs[0], results={key: float(np.mean(several)) for key, several in values.items()},
        std={key: float(np.std(several, ddof=1)) for key, several in values.items()},
        repeats=len(runs), runs=values, total_time=total_time, total_time_str=dnnlib.util.format_time(total_time))


def report_metric(
    result_dict: dict[str, Any], run_dir: str | os.PathLike[str] | None = None, snapshot_pkl: str | os.PathLike[str] | None = None
) -> None:
    """Print a result as one line of JSON, and append the line to run_dir/metric-NAME.jsonl. Call it in one process only.

    Standard deviations, tables and warnings go to stderr.
    """
    snapshot = None if snapshot_pkl is None else os.fspath(snapshot_pkl)
    if snapshot is not None and run_dir is not None and '://' not in snapshot:
        snapshot = os.path.relpath(snapshot, run_dir)
    facts = {key: value for key, value in result_dict.items() if key not in FOR_PEOPLE}
    line = json.dumps({**facts, 'snapshot_pkl': snapshot, 'timestamp': time.time()})
    print(line, flush=True)
    if run_dir is not None:
        os.makedirs(run_dir, exist_ok=True)
        _append_line(os.path.join(run_dir, f'metric-{result_dict["metric"]}.jsonl'), line)
    for text in _texts(result_dict):
        print(text, file=sys.stderr, flush=True)


def _append_line(path: str, line: str) -> None:
    """Append a line, on a line of its own after an incomplete one. A full disk only gives a warning."""
    try:
        with open(path, 'a+b') as file:
            if file.tell() > 0:
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b'\n' else f'\n{line}'
            file.write(f'{line}\n'.encode('ascii'))
    except OSError as error:
        if not is_disk_full(error):
            raise
        print(f'Warning: no space left to write {path}: the result is only printed above', file=sys.stderr, flush=True)


def _texts(result: dict[str, Any]) -> list[str]:
    spreads = [f'{name}: {result["results"][name]:.6g} +- {deviation:.2g} over {result["repeats"]} runs'
               for name, deviation in result.get('std', {}).items()]
    return [*spreads, *result.get('tables', []), *(f'Warning: {text}' for text in result.get('warnings', []))]
