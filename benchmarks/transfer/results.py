"""The lines of results.jsonl by transfer, length and method, and the numbers that are shown of them."""
import dataclasses
from typing import Any

import numpy as np

from benchmarks.transfer.methods import METHODS
from benchmarks.transfer.transfers import TRANSFERS

Line = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Column:
    """A number of the tables: title, name among the values of a line, format. curve: it is drawn too. falls: less is better."""

    title: str
    name: str
    spec: str
    curve: bool = False
    falls: bool = False


COLUMNS = (
    Column('KID', 'kid_per_class', '.3f', curve=True, falls=True), Column('recall', 'pr_per_class_recall', '.3f', curve=True),
    Column('precision', 'pr_per_class_precision', '.3f'), Column('spread', 'spread', '.2f', curve=True),
    Column('GAN-test', 'gan_test', '.1%', curve=True), Column('GAN-train', 'gan_train', '.1%'),
    Column('copies', 'memorization_copies', '.1%'),
)


def comparisons(lines: list[Line]) -> dict[tuple[str, int], dict[str, list[Line]]]:
    """(transfer, thousands of images of a run) -> the lines of each method, in the order of the tables of both."""
    found: dict[tuple[str, int], dict[str, list[Line]]] = {}
    for transfer in TRANSFERS:
        of_transfer = [line for line in lines if line['settings']['transfer'] == transfer]
        for kimg in sorted({line['settings']['kimg'] for line in of_transfer}):
            chosen = [line for line in of_transfer if line['settings']['kimg'] == kimg]
            parts = {name: [line for line in chosen if line['settings']['method'] == name] for name in METHODS}
            found[transfer, kimg] = {name: part for name, part in parts.items() if part}
    return found


def at_the_end(lines: list[Line]) -> list[Line]:
    """Those of the last snapshots of runs."""
    return [line for line in lines if line['kimg'] == line['settings']['kimg']]


def runs_of(lines: list[Line]) -> list[list[Line]]:
    """The lines of a method by seed, each run's in the order of time."""
    seeds = sorted({line['settings']['seed'] for line in lines})
    return [sorted((line for line in lines if line['settings']['seed'] == seed), key=lambda line: line['cpu_minutes'])
            for seed in seeds]


def minutes_until(lines: list[Line], column: Column, goal: float) -> list[float]:
    """When each run is first as good as goal, between snapshots. Empty unless all of them get there after the first snapshot."""
    found = []
    for run in runs_of(lines):
        times, values = np.array([[line['cpu_minutes'], line['values'][column.name]] for line in run]).T
        gaps = (goal - values) if column.falls else (values - goal)  # from 0 on it is as good
        there = int(np.argmax(gaps >= 0))
        if there == 0:
            return []
        found.append(float(np.interp(0, gaps[there - 1:there + 1], times[there - 1:there + 1])))
    return found


def at_time(lines: list[Line], minutes: float) -> dict[str, list[float]]:
    """The numbers of curves after so many minutes, between snapshots, of each run that was on its way then."""
    found: dict[str, list[float]] = {}
    for run in runs_of(lines):
        times = [line['cpu_minutes'] for line in run]
        if times[0] <= minutes <= times[-1]:
            for column in (column for column in COLUMNS if column.curve):
                value = np.interp(minutes, times, [line['values'][column.name] for line in run])
                found.setdefault(column.name, []).append(float(value))
    return found
