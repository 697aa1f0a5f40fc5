"""Peak memory of training iterations and of sampling, each way in a process of its own.

On a CPU that is the largest resident size of the process, Python, PyTorch, networks and optimisers included; on an
accelerator, what PyTorch had allocated there.
"""
import json
import resource
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks.digits_task import ROOT
from benchmarks.speed import reference

from .networks import Setup, Training, build, labels_in_turn
from .timing import Way, surroundings

ROUNDS = 2  # the second one has the optimisers' state, and whatever the first one has left to caches


def peak_of(setup: Setup, batch: int, work: str, way: str) -> int:
    """Bytes, measured in a fresh process with as many threads as this one."""
    script = (f'import sys, torch; torch.set_num_threads({torch.get_num_threads()}); '
              'from benchmarks.speed.memory import print_peak; print_peak(*sys.argv[1:])')
    done = subprocess.run([sys.executable, '-c', script, json.dumps(asdict(setup)), str(batch), work, way],
                          stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    return int(done.stdout)


def peak_bytes(device: str) -> int:
    """The largest use of memory by this process so far."""
    if device.startswith('cuda'):
        return torch.cuda.max_memory_allocated()
    status = Path('/proc/self/status')
    if status.is_file():  # ru_maxrss would be the parent's, if that is larger
        line, = (line for line in status.read_text().splitlines() if line.startswith('VmHWM:'))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == 'darwin' else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def print_peak(setup: str, batch: str, work: str, way: str) -> None:
    """Run the work of a set-up, given as JSON, 'ours' or 'ref', and print the peak. work: 'train' or 'sample'."""
    chosen = Setup(**json.loads(setup))
    {'train': run_training, 'sample': run_sampling}[work](chosen, int(batch), way == 'ref')
    print(peak_bytes(chosen.device))


def run_training(setup: Setup, batch: int, is_reference: bool) -> None:
    """Iterations."""
    run = Training(setup, batch, is_reference)
    with surroundings(Way(run.run, is_reference)):
        for _ in range(ROUNDS):
            for part in run.shares():
                run.run(part)


def run_sampling(setup: Setup, batch: int, is_reference: bool) -> None:
    """Batches of all classes in turn."""
    G = build(setup)[0].eval().requires_grad_(False)
    if is_reference:
        reference.store_plane_by_plane(G)
    z, c = torch.randn(batch, setup.code, device=setup.device), labels_in_turn(batch, setup.classes, setup.device)
    with surroundings(Way(lambda _part: None, is_reference, is_grad=False)):
        for _ in range(ROUNDS):
            G(z, c)
