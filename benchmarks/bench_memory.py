"""Peak memory of training iterations, each way in a process of its own.

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
from bench_networks import Setup, Training
from bench_timing import Way, surroundings

ROUNDS = 2  # the second one has the optimisers' state, and whatever the first one has left to caches


def peak_of(setup: Setup, batch: int, way: str) -> int:
    """Bytes, measured in a fresh process with as many threads as this one."""
    folder = Path(__file__).parent
    script = (f'import sys, torch; sys.path[:0] = {[str(folder), str(folder.parent)]}; '
              f'torch.set_num_threads({torch.get_num_threads()}); import bench_memory; bench_memory.print_peak(*sys.argv[1:])')
    done = subprocess.run([sys.executable, '-c', script, json.dumps(asdict(setup)), str(batch), way], stdout=subprocess.PIPE,
                          text=True, check=True)
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


def print_peak(setup: str, batch: str, way: str) -> None:
    """Run iterations of a set-up, given as JSON, 'ours' or 'ref', and print the peak."""
    chosen = Setup(**json.loads(setup))
    run = Training(chosen, int(batch), is_reference=way == 'ref')
    with surroundings(Way(run.run, run.is_reference)):
        for _ in range(ROUNDS):
            for part in run.shares():
                run.run(part)
    print(peak_bytes(chosen.device))
