"""Plans shared between processes, under torchrun; devices. test_many_processes.py has the arithmetic."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from training.parallel.environment import Member
from training.parallel.processes import average_buffers, check_devices, rank_device, share_plan

REPO = Path(__file__).resolve().parents[3]
PROGRAM = """
import sys, warnings
from pathlib import Path
warnings.simplefilter('error')
sys.path.insert(0, sys.argv[1])
import torch
from tests.support.two_processes import gloo_threads
from training.parallel import processes

out = Path(sys.argv[2])
torch.set_num_threads(1)
with processes.watched_member() as member:
    plan = processes.share_plan(member, dict(name='run', numbers=(1, 0.5, None)) if member.rank == 0 else None)
    with processes.join(member, member.device('cpu')):
        total = torch.ones(1)
        torch.distributed.all_reduce(total)
        result = [plan, total.item()]
        weight = torch.nn.Parameter(total)
        weight.grad = total.clone()
        torch.optim.Adam([weight]).step()  # imports much, some of which would keep the group beyond its end
    assert not gloo_threads()
(out / f'{member.rank}.txt').write_text(repr(result))
"""


def test_under_torchrun(tmp_path):
    (tmp_path / 'program.py').write_text(PROGRAM)
    command = [sys.executable, '-m', 'torch.distributed.run', '--nproc-per-node=2', '--rdzv-backend=c10d',
               '--rdzv-endpoint=127.0.0.1:0', tmp_path / 'program.py', REPO, tmp_path]
    subprocess.run(command, check=True, timeout=300, capture_output=True)
    for rank in range(2):
        assert (tmp_path / f'{rank}.txt').read_text() == "[{'name': 'run', 'numbers': [1, 0.5, None]}, 2.0]"


class Place(Member):
    """A member that met the others in a store of this process."""

    store = None


def make_members(monkeypatch):
    monkeypatch.setattr(Place, 'store', torch.distributed.HashStore())
    return [Place(rank, 2, rank, 'localhost', 1) for rank in range(2)]


def test_a_plan_is_waited_for(monkeypatch):
    first, second = make_members(monkeypatch)
    found = []
    waiting = threading.Thread(target=lambda: found.append(share_plan(second, None)))
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    assert share_plan(first, dict(pair=(1, 2))) == dict(pair=[1, 2])  # as the others get it
    waiting.join()
    assert found == [dict(pair=[1, 2])]


@pytest.mark.parametrize('plan', [None, dict(a=1)])
def test_a_signal_while_waiting_is_left_to_the_first_process(monkeypatch, plan):
    first, second = make_members(monkeypatch)
    before = signal.getsignal(signal.SIGTERM)

    def ask_and_answer():
        while signal.getsignal(signal.SIGTERM) == before:
            time.sleep(0.01)
        signal.raise_signal(signal.SIGTERM)
        time.sleep(0.2)
        share_plan(first, plan)

    threading.Thread(target=ask_and_answer).start()
    if plan is None:  # the first process stopped too
        assert share_plan(second, None) is None
    else:
        with pytest.raises(KeyboardInterrupt):
            share_plan(second, None)


def test_devices(monkeypatch):
    assert rank_device('cuda', 3) == torch.device('cuda:3') and rank_device('cpu', 3) == torch.device('cpu')
    monkeypatch.setattr('torch.cuda.device_count', lambda: 2)
    check_devices('cuda', 2)
    check_devices('cpu', 5)
    with pytest.raises(ValueError, match='--gpus=3 exceeds the 2 CUDA devices found: lower --gpus'):
        check_devices('cuda', 3)


def test_alone_nothing_is_averaged():
    module = torch.nn.Module()
    module.register_buffer('w_avg', torch.randn(3))
    before = module.w_avg.clone()
    average_buffers(module)
    assert torch.equal(module.w_avg, before)
