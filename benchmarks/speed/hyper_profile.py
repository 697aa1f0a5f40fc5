"""What the time of a step goes to, with hyper-modulation and without: self time by kind of work, from PyTorch's profiler.

    python -m benchmarks.speed.hyper_profile [--threads=2]

Prints a markdown table: a step of the generator and one of path length, 32x32, batch 16, full hypernetworks.
"""
from collections import defaultdict

import click
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.markdown import head, row

from .networks import Setup, Training
from .timing import Case, Way, measure, summary

STEPS, REPEATS, BATCH = ('Gmain', 'Greg'), 10, 16
NETWORKS = {
    'without': Setup('plain', 32),
    'all images of one class': Setup('hyper', 32, classes=1),
    'ten classes': Setup('hyper', 32),
}
KINDS = {  # parts of operators' names
    'convolutions': ('conv', '_Winograd', '_Runs'),
    'copies': ('aten::copy_', 'aten::cat', 'aten::fill_', 'aten::index', 'aten::_index', 'aten::gather'),
    'matrix products': ('aten::mm', 'aten::addmm', 'aten::bmm'),
    'activations, filters': ('ScaledAct', '_Resample'),
    "kernels' assembly": ('_AdaFM',),
    'Adam': ('aten::_fused_adam_',),
}


def kind_of(name: str) -> str:
    """The kind of work that an operator does."""
    return next((kind for kind, parts in KINDS.items() if any(part in name for part in parts)), 'other pointwise work')


def self_times(training: Training) -> dict[str, float]:
    """Milliseconds of both steps, by kind of work."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for step in REPEATS * STEPS:
            training.run(step)
    found: dict[str, float] = defaultdict(float)
    for event in profiler.key_averages():
        found[kind_of(event.key)] += event.self_cpu_time_total / 1000 / REPEATS
    return found


@click.command()
@click.option('--threads', type=click.IntRange(min=1), default=2, show_default=True, help='Threads on the CPU.')
def main(threads: int) -> None:
    """Print what the time of a generator's steps goes to, with hyper-modulation and without, in ms.

    Example: python -m benchmarks.speed.hyper_profile --threads=2
    """
    torch.set_num_threads(threads)
    trainings = {name: Training(setup, BATCH) for name, setup in NETWORKS.items()}
    case = Case('steps', BATCH, {name: Way(training.run) for name, training in trainings.items()}, dict.fromkeys(STEPS, 1))
    whole = summary(case, measure(case, REPEATS, 'cpu'))['seconds']
    columns = [*KINDS, 'other pointwise work']
    table = head('', 'both steps', *columns)
    for name, training in trainings.items():
        found = self_times(training)
        table += row(name, f'{1000 * whole[name]:.0f}', *(f'{found[column]:.0f}' for column in columns))
    click.echo(table, nl=False)


if __name__ == '__main__':
    main()
