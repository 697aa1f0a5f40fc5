"""Metrics by name: what calc_metrics.py and the training loop call, and the report files.

The modules imported here for their names register the metrics: metrics.standard_metrics holds NVLabs', the others those
that look at classes.
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
from .classes import gan_test, gan_train, memorization, per_class
from .features.open_data import OpenData
from .metric_needs import check_images
from .metric_options import MetricOptions, ProgressMonitor
from .registry import find_metric, register_metric

__all__ = [
    'calc_metric', 'compute_metrics', 'find_metric', 'is_valid_metric', 'list_valid_metrics', 'register_metric', 'report_metric',
]

REGISTERING = (standard_metrics, per_class, density_coverage, gan_test, gan_train, memorization)
FOR_PEOPLE = ('tables',)  # facts that are printed, and not repeated in the report file


def is_valid_metric(metric: str) -> bool:
    """Whether there is a metric of this name."""
    return metric in registry.metric_names()


def list_valid_metrics() -> list[str]:
    """The names of all metrics, sorted."""
    return sorted(registry.metric_names())


def calc_metric(metric: str, **kwargs: Any) -> dnnlib.EasyDict:
    """Compute a metric by name. kwargs: see MetricOptions. All processes call it, and all get the values of the first.

    Returns results (values by name), metric (the name, with the counts of images that are not the standard ones),
    total_time in seconds and as text, num_gpus, seed, and what else is known: num_gen, num_real, detector, warnings.
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
    """Compute and report metrics of one generator, repeats times with seeds from seed on. All processes call it together.

    data: has data sets open already. options: further ones of MetricOptions. Every result is reported, by the first process,
    as soon as it is complete, and returned to all. Networks and torch's random numbers are left as they are.
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
    """One result of several with different seeds: mean values, their standard deviation (with n - 1), and all of them."""
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
    """Print a result as one line of JSON, and append the line to run_dir/metric-NAME.jsonl. Only one process calls it.

    What people want to read beside it, spreads, tables, warnings, goes to stderr.
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
    """Add a line to a file, after the half of one that a process may have left there. A full disk is said, and that is all."""
    try:
        with open(path, 'a+b') as file:
            if file.tell() > 0:
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b'\n' else f'\n{line}'
            file.write(f'{line}\n'.encode('ascii'))
    except OSError as error:
        if not is_disk_full(error):
            raise
        print(f'Warning: no space left to write {path}: the result stands above only', file=sys.stderr, flush=True)


def _texts(result: dict[str, Any]) -> list[str]:
    spreads = [f'{name}: {result["results"][name]:.6g} +- {deviation:.2g} over {result["repeats"]} runs'
               for name, deviation in result.get('std', {}).items()]
    return [*spreads, *result.get('tables', []), *(f'Warning: {text}' for text in result.get('warnings', []))]
