"""The Triton kernels on a CUDA device: each against plain PyTorch, for its results and for its time.

    python -m benchmarks.speed.gpu [--batch=16] [--out=benchmarks/results/gpu.json]

First every kernel's results are compared with plain PyTorch's in float64. Then it is timed beside plain PyTorch and the floor,
the time that the device takes to move the kernel's bytes in a plain copy; last, sampling with and without a CUDA graph.
Without CUDA, TRITON_INTERPRET=1 and --quick run all of it on the CPU, at sizes where times mean nothing.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks.digits_task import ROOT
from commands.cli import UserPath
from dnnlib.files import write_whole
from generating.graphed_generator import GraphedGenerator
from torch_utils.ops.triton import support as triton_support
from training.networks import Generator

from .gpu_cases import Case, all_cases
from .run import machine

WARM_UPS, RUNS = 5, 30
CACHE_BYTES = 256 << 20     # more than the second-level cache of any GPU so far: overwritten before each run
# Largest error of a result, over its norm: half precision rounds the result, float32 also each sum.
TOLERANCES = {torch.float16: 1e-3, torch.bfloat16: 8e-3, torch.float32: 1e-5}


def check(case: Case, device: str) -> dict[str, float]:
    """part -> relative error of the Triton form against plain PyTorch in float64 on the same numbers."""
    got = case.parts(case.tensors(device), 'triton')
    want = case.parts([t.double() for t in case.tensors(device)], 'ref')
    errors = {}
    for part in got:
        pairs = list(zip(got[part](), want[part](), strict=True))
        found = [(a.double() - b).norm() / b.norm().clamp(min=1e-30) for a, b in pairs]
        errors[part] = float(torch.stack(found).max())     # NaN wins
    return errors


def seconds(run: Callable[[], object], device: str, runs: int = RUNS) -> list[float]:
    """Times of single runs, each with cold caches."""
    cuda = device == 'cuda'
    scrap = torch.empty(CACHE_BYTES if cuda else 1, dtype=torch.uint8, device=device)
    found = []
    for index in range(WARM_UPS + runs if cuda else 1):
        scrap.zero_()
        if cuda:
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            run()
            end.record()
            end.synchronize()
            taken = start.elapsed_time(end) / 1000
        else:
            began = time.perf_counter()
            run()
            taken = time.perf_counter() - began
        if index >= WARM_UPS or not cuda:
            found.append(taken)
    return found


def copy_bandwidth(device: str) -> float:
    """Bytes per second, read and written, of a plain copy of a large tensor."""
    source = torch.zeros((1 << 30) if device == 'cuda' else (1 << 20), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * source.numel() / statistics.median(seconds(lambda: target.copy_(source), device))


def measure(case: Case, device: str, bandwidth: float) -> dict[str, Any]:
    """part -> seconds of each form (medians and all) and of the floor; Triton's time over the floor; plain over Triton's."""
    itemsize = torch.empty([], dtype=case.dtype).element_size()
    parts = {impl: case.parts(case.tensors(device), impl) for impl in ('triton', 'ref')}
    report = {}
    for part, elements in case.elements.items():
        raw = {impl: seconds(parts[impl][part], device) for impl in parts}
        triton, ref = (statistics.median(raw[impl]) for impl in ('triton', 'ref'))
        floor = elements * itemsize / bandwidth
        report[part] = dict(triton_sec=triton, ref_sec=ref, floor_sec=floor, over_floor=triton / floor, speedup=ref / triton,
                            raw_sec=raw)
    return report


def attempt(case: Case, device: str, bandwidth: float) -> dict[str, Any]:
    """Everything about one case; a failure, such as too little memory, is part of the report."""
    result: dict[str, Any] = dict(case=case.title)
    try:
        result['errors'] = check(case, device)
        result['correct'] = all(error <= TOLERANCES[case.dtype] for error in result['errors'].values())
        result['parts'] = measure(case, device, bandwidth)
    except Exception as error:      # compilers and drivers fail in ways of their own, and the other cases are wanted
        result |= dict(correct=result.get('correct', False), failure=f'{type(error).__name__}: {str(error).strip()[:500]}')
    if device == 'cuda':
        torch.cuda.empty_cache()
    return result


def graphed_sampling(quick: bool) -> list[dict[str, Any]]:
    """Seconds per batch of a plain 256x256 generator in half precision, called directly and as a CUDA graph."""
    torch.manual_seed(0)
    sizes = dict(channel_base=128, channel_max=16) if quick else dict(channel_base=16384, channel_max=512)
    G = Generator(z_dim=512, c_dim=0, w_dim=512, img_resolution=32 if quick else 256, img_channels=3,
                  synthesis_kwargs=dict(num_fp16_res=4, conv_clamp=256, **sizes)).cuda().eval().requires_grad_(False)
    found = []
    for batch in (1, 8):
        z, c = torch.randn(batch, 512, device='cuda'), torch.zeros(batch, 0, device='cuda')
        graphed = GraphedGenerator(G, batch, noise_mode='const')
        with torch.no_grad():
            difference = float((graphed(z, c) - G(z, c, noise_mode='const')).abs().max())
            raw = dict(direct=seconds(partial(G, z, c, noise_mode='const'), 'cuda'),
                       graph=seconds(partial(graphed, z, c), 'cuda'))
        found.append(dict(batch=batch, difference=difference, raw_sec=raw,
                          speedup=statistics.median(raw['direct']) / statistics.median(raw['graph'])))
    return found


def line(result: dict[str, Any]) -> str:
    """One line of the table."""
    if 'failure' in result:
        return f'{result["case"]}: FAILED, {result["failure"].splitlines()[0]}'
    cells = [f'{part} {times["triton_sec"] * 1e6:.0f} us, {times["over_floor"]:.2f}x floor, {times["speedup"]:.1f}x plain'
             for part, times in result['parts'].items()]
    return f'{result["case"]}: {"; ".join(cells)}' + ('' if result['correct'] else f' WRONG: {result["errors"]}')


@click.command(help=(__doc__ or '').splitlines()[0])
@click.option('--batch', type=click.IntRange(min=1), default=16, show_default=True, help='Images of a batch.')
@click.option('--quick', is_flag=True, help='Tiny sizes, to see that everything runs.')
@click.option('--out', type=UserPath(dir_okay=False, path_type=Path), default=ROOT / 'benchmarks' / 'results' / 'gpu.json',
              show_default=True, help='JSON file for all numbers.')
def main(batch: int, quick: bool, out: Path) -> None:
    """Exit code 1 if a kernel fails or is wrong."""
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    if device == 'cpu' and not (quick and triton_support.interpreted()):
        click.echo('PyTorch sees no CUDA device: nothing is measured; TRITON_INTERPRET=1 and --quick try the kernels on the CPU')
        return
    bandwidth = copy_bandwidth(device)
    click.echo(f'Copy: {bandwidth / 1e9:.0f} GB/s')
    report: dict[str, Any] = dict(machine=machine(device), batch=batch, quick=quick, copy_bytes_per_sec=bandwidth, cases=[])
    for case in all_cases(batch, quick):
        report['cases'].append(attempt(case, device, bandwidth))
        click.echo(line(report['cases'][-1]))
    if device == 'cuda':
        report['graphed_sampling'] = graphed_sampling(quick)
        for found in report['graphed_sampling']:
            click.echo(f'Sampling, batch {found["batch"]}: {found["speedup"]:.2f}x by a CUDA graph')
    write_whole(out, json.dumps(report, indent=1) + '\n')
    bad = sum(not result['correct'] or 'failure' in result for result in report['cases'])
    click.echo(f'{len(report["cases"])} cases, {bad} of them failed or wrong; {out}')
    sys.exit(1 if bad else 0)


if __name__ == '__main__':
    main()
