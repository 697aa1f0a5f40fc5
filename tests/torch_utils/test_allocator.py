"""What the process keeps of freed memory, as the system counts it."""
import platform
import subprocess
import sys

import pytest

from tests.conftest import REPO

ON_GLIBC = pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='the C library is not glibc')
RESIDENT = """
import psutil, sys
sys.path.insert(0, sys.argv[1])
from torch_utils import allocator
import torch
assert getattr(allocator, sys.argv[2])()
used = torch.ones(2**24)  # 64 MiB
before = psutil.Process().memory_info().rss
del used
print(before - psutil.Process().memory_info().rss)
"""


def returned_mib(policy):
    """What goes back to the system when a tensor of 64 MiB is freed."""
    done = subprocess.run([sys.executable, '-c', RESIDENT, str(REPO), policy], capture_output=True, text=True, check=True)
    return int(done.stdout) / 2**20


@ON_GLIBC
def test_freed_memory_is_kept_or_returned():
    assert returned_mib('keep_freed_memory') < 8 and returned_mib('return_freed_memory') > 56


def test_other_libraries_are_left_alone(monkeypatch):
    from torch_utils import allocator
    monkeypatch.setattr(platform, 'libc_ver', lambda: ('', ''))
    assert not allocator.keep_freed_memory() and not allocator.return_freed_memory()
