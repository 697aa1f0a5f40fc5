"""One run of the benchmark: equality, the convolutions' peak, all cases, memory. What comes back is plain values, for JSON."""
import dataclasses
import os
import platform
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.speed import reference
from torch_utils.custom_ops import cpu_kernels

from .cases import cases
from .memory import peak_of
from .networks import Setup, build, draw_labels
from .timing import SHORTEST, convolution_peak, measure, summary

TOLERANCE = 1e-3  # of the spread of the images and logits: rounding of float32 through all layers
REPEATS = {'train': 5, 'transfer': 5, 'sample': 9, 'part': 7}
QUICK_REPEATS = {'train': 3, 'transfer': 3, 'sample': 5, 'part': 3}


def run(quick: bool, device: str, groups: Sequence[str], tiny: bool = False) -> dict:
    """Measure. groups: of cases, and 'memory'; tiny: networks of a few channels, for a test."""
    started = time.time()
    report: dict[str, Any] = dict(machine=machine(device), quick=quick, device=device, equality=check_equality(device, tiny),
                  peak_gflops=convolution_peak(device, tries=1 if tiny else 8), cases=[], memory=[])
    wanted = {name: factories for name, factories in cases(quick, device, tiny).items() if name in groups}
    with tqdm(total=sum(map(len, wanted.values())), desc='Cases', unit='case') as bar:
        for group, factories in wanted.items():
            for factory in factories:
                case = factory()
                bar.set_postfix_str(case.name)
                times = measure(case, (QUICK_REPEATS if quick else REPEATS)[group], device, 0 if tiny else SHORTEST)
                report['cases'].append(dict(group=group, **summary(case, times)))
                del case    # before the next one is built
                bar.update()
    again = convolution_peak(device, tries=1 if tiny else 8)  # a moment in which the machine is busy shows no peak
    report['peak_gflops'] = max(report['peak_gflops'], again)
    if 'memory' in groups:
        report['memory'] = [memory(setup, batch, work) for work in ('train', 'sample')
                            for setup, batch in memory_setups(quick, device, tiny)]
    report['minutes'] = (time.time() - started) / 60
    return report


def machine(device: str) -> dict:
    """Where and with what a run was made."""
    info = Path('/proc/cpuinfo')
    names = [line.split(':', 1)[1].strip() for line in info.read_text().splitlines() if line.startswith('model name')] \
        if info.is_file() else []
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    found = dict(processor=names[0] if names else platform.processor(), cores_used=cores, threads=torch.get_num_threads(),
                 system=platform.system(), python=platform.python_version(), torch=version('torch'), numpy=version('numpy'),
                 native_kernels=cpu_kernels() is not None)
    if device.startswith('cuda'):
        found.update(gpu=torch.cuda.get_device_name(), cuda=torch.version.cuda, cudnn=torch.backends.cudnn.version())
    return found


@torch.no_grad()
def check_equality(device: str, tiny: bool) -> dict[str, float]:
    """Largest difference between the two compositions' images and logits, over their spread. ArithmeticError beyond rounding."""
    found = {}
    for kind in ('plain', 'hyper'):
        setup = Setup(kind, 32, device=device)
        G, D = build(dataclasses.replace(setup, channel_base=128, channel_max=8, code=8) if tiny else setup)
        z, c = torch.randn(8, G.z_dim, device=device), draw_labels(8, 10, device)
        for training in (True, False):
            G.train(training)
            images = G(z, c, noise_mode='const')
            logits = D(images, c)
            with reference.composition():
                wanted = G(z, c, noise_mode='const')
                wanted_logits = D(wanted, c)
            error = max(float((a - b).abs().max() / b.std()) for a, b in ((images, wanted), (logits, wanted_logits)))
            found[f'{kind} {"training" if training else "evaluation"}'] = error
    if not max(found.values()) < TOLERANCE:
        raise ArithmeticError(f'the networks and the straightforward composition differ by {found}; expected rounding, below '
                              f'{TOLERANCE} of the spread: tests/benchmarks/test_reference.py shows where')
    return found


def memory_setups(quick: bool, device: str, tiny: bool) -> list[tuple[Setup, int]]:
    """Set-ups and batch sizes whose memory is measured."""
    if device != 'cpu':
        return [(Setup(kind, 256, device=device, channel_base=16384, channel_max=512, half=True, map_depth=8), 32)
                for kind in ('plain', 'hyper')]
    if tiny:
        return [(Setup('plain', 16, channel_base=64, channel_max=8, code=8), 4)]
    sizes = ((32, 16),) if quick else ((32, 16), (64, 16), (256, 4))
    return [(Setup(kind, resolution), batch) for resolution, batch in sizes for kind in ('plain', 'hyper')]


def memory(setup: Setup, batch: int, work: str) -> dict:
    """Peak bytes of both ways. work: 'train' or 'sample'."""
    return dict(name=f'memory/{work}/{setup.network}/{setup.resolution}', batch=batch,
                **{way: peak_of(setup, batch, work, way) for way in ('ours', 'ref')})
