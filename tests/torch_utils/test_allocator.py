"""What the process keeps of freed memory, as the system counts it."""
import platform
import subprocess
import sys

import pytest

from tests.conftest import REPO

ON_GLIBC = pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='the C library is not glibc')
PAGE_FAULTS = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from torch_utils import allocator
import torch
torch.set_num_threads(1)
assert getattr(allocator, sys.argv[2])()
for _ in range(10):
    torch.ones(2**24)  # 64 MiB; the first few make the place
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(policy):
    done = subprocess.run([sys.executable, '-c', PAGE_FAULTS, str(REPO), policy], capture_output=True, text=True, check=True)
    return int(done.stdout)


@ON_GLIBC
def test_kept_memory_is_used_again():
    assert page_faults('keep_freed_memory') < 100 < page_faults('return_freed_memory')


def test_other_libraries_are_left_alone(monkeypatch):
    from torch_utils import allocator
    monkeypatch.setattr(platform, 'libc_ver', lambda: ('', ''))
    assert not allocator.keep_freed_memory() and not allocator.return_freed_memory()
