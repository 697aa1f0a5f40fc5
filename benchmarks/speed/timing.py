"""Measuring several ways to do the same work against each other.

One repeat runs every part of every way once, one way after the other, so that what slows the machine for a while slows all
of them. What counts is the median, over repeats, of the ratio within a repeat.
"""
import contextlib
import dataclasses
import gc
import math
import statistics
import time
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F

from benchmarks.speed import reference
from torch_utils import allocator

SHORTEST = 0.1  # seconds: shorter work is repeated within one measurement
PEAK_SHAPES = ((128, 32, 16), (128, 64, 16), (256, 32, 16), (64, 128, 16))  # channels, pixels along a side, images
SPEEDUP, OVERHEAD = 'speedup', 'overhead'  # ratios: reference / ours, ours / the same without what is measured
SHARED = f'{SPEEDUP} with shared fakes'  # iterations of the transfer: as they are by default / with --share-fakes
KEPT = f'{SPEEDUP} with kept memory'  # the reference, too, keeps memory as ours does: torch_utils/allocator.py


@dataclasses.dataclass
class Way:
    """One way to do a case's work. run(part) does one part; is_reference: within reference.composition().

    Freed memory is kept as the repository's programs do it (torch_utils/allocator.py); around the reference, the C library
    does what it does by itself, unless is_keeping says otherwise.
    """

    run: Callable[[str], object]
    is_reference: bool = False
    is_grad: bool = True
    is_keeping: bool | None = None

    def __post_init__(self) -> None:
        if self.is_keeping is None:
            self.is_keeping = not self.is_reference


@dataclasses.dataclass
class Case:
    """images: of one call, for images per second. shares: the parts of the work and how often each comes.

    ratios: name -> (numerator, denominator), names of ways. gflop: arithmetic of the convolutions and matrix products that
    the work needs, None where nobody counted.
    """

    name: str
    images: int
    ways: dict[str, Way]
    shares: dict[str, float] = dataclasses.field(default_factory=lambda: {'all': 1})
    ratios: dict[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    gflop: dict[str, float] = dataclasses.field(default_factory=dict)


def synchronise(device: str) -> None:
    """Wait for the device."""
    if device.startswith('cuda'):
        torch.cuda.synchronize()


@contextlib.contextmanager
def surroundings(way: Way) -> Iterator[None]:
    """What a way runs in."""
    with contextlib.ExitStack() as stack:
        (allocator.keep_freed_memory if way.is_keeping else allocator.return_freed_memory)()
        if way.is_reference:
            stack.enter_context(reference.composition())
        stack.enter_context(torch.set_grad_enabled(way.is_grad))
        yield


def seconds(way: Way, part: str, calls: int, device: str) -> float:
    """Of one call, the mean of `calls`."""
    with surroundings(way):
        synchronise(device)
        start = time.perf_counter()
        for _ in range(calls):
            way.run(part)
        synchronise(device)
        return (time.perf_counter() - start) / calls


def measure(case: Case, repeats: int, device: str, shortest: float = SHORTEST) -> dict[str, dict[str, list[float]]]:
    """-> seconds by way and part, one number per repeat. Work of less than `shortest` seconds is done several times."""
    calls = {}
    for name, way in case.ways.items():  # two rounds to warm up: the first one builds, plans and caches
        for _ in range(2):
            warm = {part: seconds(way, part, 1, device) for part in case.shares}
        calls[name] = {part: max(1, math.ceil(shortest / max(time, 1e-6))) for part, time in warm.items()}
    found: dict[str, dict[str, list[float]]] = {name: {part: [] for part in case.shares} for name in case.ways}
    gc.collect()
    gc.disable()
    try:
        for number in range(repeats):
            for part in case.shares:
                for name in list(case.ways)[::-1 if number % 2 else 1]:  # nobody always comes first
                    found[name][part].append(seconds(case.ways[name], part, calls[name][part], device))
    finally:
        gc.enable()
    return found


def summary(case: Case, times: dict[str, dict[str, list[float]]]) -> dict:
    """The raw times of a case, and what follows from them, as plain values."""
    whole = {name: [sum(case.shares[part] * time for part, time in zip(parts, repeat, strict=True))
                    for repeat in zip(*parts.values(), strict=True)] for name, parts in times.items()}
    ratios = {}
    for name, (above, below) in case.ratios.items():
        if above in whole and below in whole:
            values = [a / b for a, b in zip(whole[above], whole[below], strict=True)]
            ratios[name] = dict(median=statistics.median(values), low=min(values), high=max(values), of=[above, below])
    return dict(name=case.name, images=case.images, shares=case.shares, ratios=ratios, gflop=case.gflop, raw_seconds=times,
                seconds={name: statistics.median(values) for name, values in whole.items()})


def convolution_peak(device: str, tries: int = 8) -> float:
    """GFLOP/s of the fastest 3x3 convolution, forward and backward, channels-last: what arithmetic alone would allow."""
    best = 0.0
    for channels, size, batch in PEAK_SHAPES[:tries]:
        x, w = (torch.randn(shape, device=device).to(memory_format=torch.channels_last).requires_grad_()
                for shape in ((batch, channels, size, size), (channels, channels, 3, 3)))
        y = F.conv2d(x, w, padding=1)
        slope = torch.randn_like(y)

        def both(_part: str, x: torch.Tensor = x, w: torch.Tensor = w, slope: torch.Tensor = slope) -> None:
            torch.autograd.grad(F.conv2d(x, w, padding=1), [x, w], slope)

        flop = 3 * 2 * batch * size ** 2 * channels ** 2 * 9
        quickest = min(seconds(Way(both), 'all', 1, device) for _ in range(tries))
        best = max(best, flop / quickest / 1e9)
    return best
