"""How the C library keeps memory that tensors on the CPU leave behind.

glibc returns large blocks to the system as soon as they are freed, and gets them anew, page by page and filled with zeros, for
the next tensor of that size. Training makes and frees the same sizes thousands of times per second: kept blocks save that.
"""
import ctypes
import platform

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # glibc's numbers of mallopt's parameters
LARGEST = 2**31 - 1
# What glibc's own adaptation of the thresholds ends with, once a program has freed a large block.
ADAPTED = {MMAP_THRESHOLD: 32 * 2**20, TRIM_THRESHOLD: 64 * 2**20}


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, for its next tensors. False where the C library is not glibc: nothing changes."""
    return _set_thresholds({MMAP_THRESHOLD: LARGEST, TRIM_THRESHOLD: LARGEST})


def return_freed_memory() -> bool:
    """Back to what glibc does by itself."""
    return _set_thresholds(ADAPTED)


def _set_thresholds(values: dict[int, int]) -> bool:
    if platform.libc_ver()[0] != 'glibc':
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all(mallopt(name, value) == 1 for name, value in values.items())
