"""What the process keeps of freed memory, where the C library is not glibc."""
import platform

from torch_utils import allocator


def test_other_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(platform, 'libc_ver', lambda: ('', ''))
    assert not allocator.keep_freed_memory() and not allocator.return_freed_memory()
