"""What a run of the benchmark found, as tables and as a picture."""
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from benchmarks.markdown import head, row

from .timing import KEPT, OVERHEAD, SHARED, SPEEDUP

MIB = 2**20
NOTE = """
Times are medians, ratios are medians over the repeats of the ratio within one repeat, with the range in brackets.
*Reference*: the straightforward composition of the same networks with the same weights (benchmarks/speed/reference.py).
*Overhead*: time over that of the same network without hyper-modulation. *Peak*: arithmetic that the work needs per second,
over the {peak:,.0f} GFLOP/s that PyTorch's fastest 3x3 convolution reached in this run, forward and backward; Winograd's form
of convolutions needs less than what is counted, so it can pass 100%. *With kept memory*: the reference, too, keeps what it
frees (torch_utils/allocator.py), which the C library by itself returns to the system.
"""


def markdown(report: dict) -> str:
    """All tables of a report."""
    text = f'# Speed\n\n`{report["command"]}`\n\n{machine_line(report)}\n'
    return text + ''.join(f'\n{table}' for table in tables(report)) + NOTE.format(peak=report['peak_gflops'])


def machine_line(report: dict) -> str:
    """Where a report was made."""
    machine = report['machine']
    place = machine.get('gpu') or f'{machine["processor"]}, {machine["cores_used"]} cores, {machine["threads"]} threads'
    kernels = 'with' if machine['native_kernels'] else 'without'
    return (f'{place}; {machine["system"]}, Python {machine["python"]}, torch {machine["torch"]}, {kernels} compiled kernels; '
            f'{report["minutes"]:.0f} minutes.')


def tables(report: dict) -> list[str]:
    """Markdown tables of what was measured."""
    kinds = (('train', train_table), ('transfer', transfer_table), ('sample', sample_table), ('part', part_table))
    found = []
    for group, make in kinds:
        cases = [case for case in report['cases'] if case['group'] == group]
        if cases:
            found.append(make(cases, report['peak_gflops']))
    return found + ([memory_table(report['memory'])] if report['memory'] else [])


def train_table(cases: Sequence[dict], peak: float) -> str:
    """Iterations: Gmain + Greg / 4 + Dmain + Dreg / 16 + averaging."""
    text = head('training iteration', 'batch', 'reference', 'ours', 'times as fast', 'with kept memory', 'peak: reference',
                'ours', 'overhead')
    for case in cases:
        shares = [f'{case["gflop"][way] / case["seconds"][way] / peak:.0%}' for way in ('ref', 'ours')]
        times = [f'{case["seconds"][way]:.2f} s' for way in ('ref', 'ours')]
        text += row(label(case), case['images'], *times, ratio(case, SPEEDUP), ratio(case, KEPT), *shares, ratio(case, OVERHEAD))
    return text


def transfer_table(cases: Sequence[dict], _peak: float) -> str:
    """The transfer's own loss."""
    text = head('iteration of the transfer', 'batch', 'with contrastive loss', 'without', 'ratio', 'with --share-fakes',
                'times as fast')
    for case in cases:
        times = [f'{case["seconds"][way]:.2f} s' for way in ('ours', 'without', 'shared')]
        text += row(label(case), case['images'], *times[:2], ratio(case, OVERHEAD), times[2], ratio(case, SHARED))
    return text


def sample_table(cases: Sequence[dict], _peak: float) -> str:
    """Pictures per second."""
    names = [f'{OVERHEAD}: mixed classes', 'one class', 'baked']
    text = head('sampling, images/s', 'batch', 'reference', 'ours', 'times as fast', 'with kept memory', *names)
    for case in cases:
        rates = [f'{case["images"] / case["seconds"][way]:,.0f}' for way in ('ref', 'ours')]
        overheads = [ratio(case, name) for name in (OVERHEAD, f'{OVERHEAD} one class', f'{OVERHEAD} baked')]
        text += row(label(case), case['images'], *rates, ratio(case, SPEEDUP), ratio(case, KEPT), *overheads)
    return text


def part_table(cases: Sequence[dict], _peak: float) -> str:
    """Single parts of the work."""
    text = head('part of the work, ms per batch', 'batch', 'reference', 'ours', 'times as fast')
    for case in cases:
        times = [f'{1000 * case["seconds"][way]:,.1f}' for way in ('ref', 'ours')]
        text += row(label(case), case['images'], *times, ratio(case, SPEEDUP))
    return text


def memory_table(found: Sequence[dict]) -> str:
    """Peak memory."""
    words = dict(train='training', sample='sampling')
    text = head('peak memory, MiB', 'batch', 'reference', 'ours', 'ratio')
    for entry in found:
        work, network, resolution = entry['name'].split('/')[1:]
        sizes = [f'{entry[way] / MIB:,.0f}' for way in ('ref', 'ours')]
        name = f'{words[work]} {network}, {resolution}x{resolution}'
        text += row(name, entry['batch'], *sizes, f'{entry["ours"] / entry["ref"]:.2f}')
    return text


def label(case: dict) -> str:
    """train/hyper-10/32 -> hyper-10, 32x32."""
    network, resolution = case['name'].split('/')[1:3]
    return f'{network}, {resolution}x{resolution}'


def ratio(case: dict, name: str) -> str:
    """Median and range of a ratio of the case, empty if it has none."""
    found = case['ratios'].get(name)
    return f'{found["median"]:.2f} ({found["low"]:.2f}-{found["high"]:.2f})' if found else ''


def plot(report: dict) -> Figure:
    """How many times as fast as the reference, and the overhead of hyper-modulation; the range as a line."""
    figure = Figure(figsize=(12, 1.5 + 0.3 * len(report['cases'])), layout='constrained')
    titles = {SPEEDUP: 'times as fast as the straightforward composition', OVERHEAD: 'time over the same network without it'}
    for axes, (name, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
        cases = [case for case in report['cases'] if name in case['ratios']][::-1]
        middle, low, high = (np.array([case['ratios'][name][which] for case in cases]) for which in ('median', 'low', 'high'))
        axes.barh([case['name'] for case in cases], middle, xerr=[middle - low, high - middle], color='#4c78a8', ecolor='#333333')
        axes.axvline(1, color='black', linewidth=0.8)
        axes.set_title(title)
        axes.grid(axis='x', alpha=0.3)
    return figure
