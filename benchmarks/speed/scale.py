"""What hyper-modulation costs at other sizes: classes, resolution, batch and rank.

    python -m benchmarks.speed.scale [--threads=N]

Parameters, snapshot size and the optimiser's memory are computed, from the shapes of networks that are never filled; times of
sampling are measured up to the resolution at which that is quick, and beyond it extrapolated by the arithmetic. Writes scale.json
and scale.md to benchmarks/results/speed, and the picture docs/images/scale.png.
"""
import dataclasses
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch
from matplotlib.figure import Figure

from benchmarks.digits_task import ROOT
from benchmarks.markdown import head, row
from commands.cli import UserPath
from dnnlib.files import whole_file
from hyper_plugin.kernel_cache import CACHE_BYTES, CACHE_CODES

from .flops import flop_per_class, flop_per_image
from .networks import PAPER256, Setup, build, labels_in_turn
from .results import outdir_option, write
from .run import machine
from .timing import Way, seconds

MILLION, MIB, FLOAT = 10**6, 2**20, 4
CLASSES = (2, 10, 100, 1000)
RANKS = (0, 1, 4, 16, 64)
RESOLUTIONS = (32, 64, 128, 256, 512, 1024)
BATCHES = (1, 4, 16, 64)
MEASURED_RESOLUTION = 256  # above it a picture takes seconds
WARM_UP = 40  # batches of 16 meet nearly all of 100 classes
NOTE = """
*Learned*: parameters of the generator's hypernetworks and class code; the source's own stay frozen. *Snapshot*: G, D and what
the averaged G has of its own, in float32. *Learning state*: gradients and Adam's two moments of what G learns. *Per class*:
GFLOP to make one class's kernels, once per batch in training; in sampling they are kept, as far as {kept} a layer hold them, and
those of {codes} classes at least. Computed from shapes; times are measured up to {limit} pixels on {processor}, {threads} threads
(float32), with all kernels kept, and marked with * where arithmetic extrapolates them. In the table of classes, times are at
32x32 with up to 128 channels, of batches of 16 with classes drawn at random, after {warm_up} others.
"""


@dataclasses.dataclass(frozen=True)
class Size:
    """What a network of a set-up amounts to, by its shapes."""

    setup: Setup
    learned: int
    generator: int
    snapshot: int
    state: int
    gflop_per_image: float
    gflop_per_class: float


def size_of(setup: Setup) -> Size:
    """Computed on PyTorch's device without memory."""
    with torch.device('meta'):
        G, D = build(dataclasses.replace(setup, device='meta'))
    learned = sum(param.numel() for param in G.parameters())
    whole = [sum(tensor.numel() for tensor in (*net.parameters(), *net.buffers())) for net in (G, D)]
    return Size(setup, learned, whole[0], FLOAT * (whole[0] + learned + whole[1]), 3 * FLOAT * learned, flop_per_image(G) / 1e9,
                flop_per_class(G) / 1e9)


def seconds_per_image(setup: Setup, batch: int, repeats: int = 3) -> float:
    """Of sampling mixed classes, the same in every batch, when their kernels are known."""
    c = labels_in_turn(batch, setup.classes, setup.device)
    return _seconds(setup, lambda: c, batch, 1, repeats)


def seconds_at_random(setup: Setup, batch: int, repeats: int = 15) -> float:
    """Of sampling classes drawn anew for every batch, when many batches have been before."""
    generator = torch.Generator().manual_seed(0)
    eye = torch.eye(setup.classes)
    return _seconds(setup, lambda: eye[torch.randint(setup.classes, [batch], generator=generator)], batch, WARM_UP, repeats)


def _seconds(setup: Setup, labels: Callable[[], torch.Tensor], batch: int, warm_up: int, repeats: int) -> float:
    G = build(setup)[0].eval().requires_grad_(False)
    z = torch.randn(batch, setup.code)
    way = Way(lambda _part: G(z, labels()), is_grad=False)
    times = [seconds(way, 'all', 1, setup.device) for _ in range(warm_up + repeats)]
    return statistics.median(times[warm_up:]) / batch


def by_resolution(largest: int) -> list[dict[str, Any]]:
    """Batches of 4 pictures of 4 classes; beyond `largest` in proportion to the arithmetic."""
    found: list[dict[str, Any]] = []
    for resolution in RESOLUTIONS:
        size = size_of(Setup('hyper', resolution, rank=8, channel_base=16384, channel_max=512))
        is_measured = resolution <= largest
        time = seconds_per_image(size.setup, 4) if is_measured else \
            found[-1]['seconds'] * size.gflop_per_image / found[-1]['gflop_per_image']
        found.append(dict(as_row(size), seconds=time, is_measured=is_measured))
    return found


def as_row(size: Size) -> dict[str, Any]:
    """Plain values."""
    return {**dataclasses.asdict(size), 'setup': size.setup.network, 'resolution': size.setup.resolution,
            'classes': size.setup.classes, 'rank': size.setup.rank}


def collect(largest: int) -> dict[str, Any]:
    """All numbers. largest: resolution up to which is measured."""
    small = Setup('hyper', 32)
    paper = Setup('hyper', **PAPER256)
    return dict(
        machine=machine('cpu'),
        largest=largest,
        ranks=[as_row(size_of(dataclasses.replace(paper, rank=rank))) for rank in RANKS],
        classes=[dict(as_row(size_of(dataclasses.replace(paper, rank=0, classes=classes))),
                      seconds=seconds_at_random(dataclasses.replace(small, classes=classes), 16)) for classes in CLASSES],
        resolutions=by_resolution(largest),
        batches=[dict(batch=batch, seconds=seconds_per_image(small, batch)) for batch in BATCHES],
    )


def markdown(report: dict[str, Any]) -> str:
    """Tables of the numbers."""
    text = f'# Scale\n\n`{report["command"]}`\n\n'
    for name, key, title in (('ranks', 'rank', 'rank, at 256x256 with the paper256 sizes'),
                             ('classes', 'classes', 'classes, full, paper256 sizes'),
                             ('resolutions', 'resolution', 'resolution, rank 8, up to 512 channels')):
        text += head(title, 'learned, M', 'all of G, M', 'snapshot, MiB', 'learning state, MiB', 'GFLOP per image', 'per class',
                     'ms per image')
        for entry in report[name]:
            text += row(*cells(entry, key))
        text += '\n'
    text += head('batch, 32x32', 'ms per image') + ''.join(
        row(entry['batch'], f'{1000 * entry["seconds"]:.1f}') for entry in report['batches'])
    return text + NOTE.format(limit=report['largest'], kept=f'{CACHE_BYTES / MIB:.0f} MiB', codes=CACHE_CODES, warm_up=WARM_UP,
                              **report['machine'])


def cells(entry: dict[str, Any], name: str) -> list[str]:
    """One line about a size."""
    first = 'full' if name == 'rank' and entry['rank'] == 0 else f'{entry[name]:,}'
    time = f'{1000 * entry["seconds"]:,.1f}{"" if entry.get("is_measured", True) else "*"}' if 'seconds' in entry else ''
    if name == 'classes':
        time += ' (at 32x32)'
    return [first, *(f'{entry[key] / MILLION:,.1f}' for key in ('learned', 'generator')),
            *(f'{entry[key] / MIB:,.0f}' for key in ('snapshot', 'state')),
            f'{entry["gflop_per_image"]:,.1f}', f'{entry["gflop_per_class"]:,.2f}', time]


def plot(report: dict[str, Any]) -> Figure:
    """Time by resolution, batch and classes; size of files and of what learning holds, by rank."""
    figure = Figure(figsize=(13, 3.4), layout='constrained')
    axes = figure.subplots(1, 4)
    panels = (('resolutions', 'resolution', 'pixels along a side (rank 8, batch 4)'), ('batches', 'batch', 'batch (32x32)'),
              ('classes', 'classes', 'classes (32x32, batch 16)'))
    for place, (name, key, label) in zip(axes, panels, strict=False):
        entries = report[name]
        times = [1000 * entry['seconds'] for entry in entries]
        num_measured = sum(entry.get('is_measured', True) for entry in entries)
        draw(place, [entry[key] for entry in entries], times, label, 'ms per image', '--', None)
        place.plot([entry[key] for entry in entries][:num_measured], times[:num_measured], color='C0', marker='o')
        place.set_ylim(0, 1.1 * max(times))
        if num_measured < len(entries):
            place.set_title('dashed: by arithmetic', fontsize='small')
    full, *low = report['ranks']
    for number, (key, label) in enumerate((('snapshot', 'snapshot'), ('state', 'gradients and moments'))):
        sizes = [entry[key] / MIB for entry in low]
        draw(axes[3], [entry['rank'] for entry in low], sizes, 'rank (256x256, paper256)', 'MiB', '-', label)
        axes[3].axhline(full[key] / MIB, color=f'C{number}', linewidth=0.8, linestyle=':', label='full')
    axes[3].set_yscale('log')
    axes[3].legend(fontsize='small')
    return figure


def draw(axes: Any, x: list[int], y: list[float], xlabel: str, ylabel: str, line: str, label: str | None) -> None:
    """One curve over a logarithmic axis."""
    axes.semilogx(x, y, line, marker='o', base=2, label=label)
    axes.set_xticks(x, [f'{value:,}' for value in x])
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.grid(alpha=0.3)


@click.command()
@click.option('--threads', type=click.IntRange(min=1), help="Threads on the CPU  [default: PyTorch's choice]")
@click.option('--largest', type=click.IntRange(min=32), default=MEASURED_RESOLUTION, show_default=True,
              help='Resolution in pixels up to which sampling is measured.')
@outdir_option
@click.option('--picture', type=UserPath(dir_okay=False, path_type=Path), default=ROOT / 'docs' / 'images' / 'scale.png',
              show_default='docs/images/scale.png', help='Where the picture is written.')
def main(threads: int | None, largest: int, outdir: Path, picture: Path) -> None:
    """Cost against classes, resolution, batch and rank: measured where that is quick, computed elsewhere.

    Example: python -m benchmarks.speed.scale --threads=2
    """
    if threads is not None:
        torch.set_num_threads(threads)
    report = dict(command=' '.join(['python -m benchmarks.speed.scale', *sys.argv[1:]]), **collect(largest))
    write(outdir, 'scale', report, markdown(report))
    with whole_file(picture) as part:
        plot(report).savefig(part, dpi=100)


if __name__ == '__main__':
    main()
