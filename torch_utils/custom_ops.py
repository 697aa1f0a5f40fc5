"""Kernels of the operators for the CPU, in C++: built at first use, kept, and loaded.

The sources (ops/cpu/*.cpp) are plain C++17 that exports C functions on pointers, so that any compiler will do, without
headers of PyTorch or Python. The library lies in the cache directory under a name made of all that it depends on.
Without a compiler there is no library, and operators take their PyTorch form.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import torch

from dnnlib import make_cache_dir_path
from dnnlib.files import whole_file

SOURCES = Path(__file__).parent / 'ops' / 'cpu'
# Rounding as the standard has it, NaN and infinity too: results must not depend on which path runs, apart from the order of sums.
FLAGS = ['-std=c++17', '-O3', '-march=native', '-fPIC', '-fno-math-errno', '-fno-trapping-math']
BUILD_LIMIT_SEC = 300
_TYPES = dict(p=ctypes.c_void_p, n=ctypes.c_int64, f=ctypes.c_float, i=ctypes.c_int)
_building = threading.Lock()


@functools.cache
def cpu_kernels() -> ctypes.CDLL | None:
    """The library of all kernels, built if need be. None, after one line on stderr, if it cannot be built here."""
    try:
        with _building:  # of threads that come at the same time, the others find what the first one has built
            return load(build())
    except (OSError, subprocess.SubprocessError) as error:
        print(f'CPU kernels were not built ({_reason(error)}): using slower PyTorch operators; install a C++ compiler, or name '
              'one in CXX', file=sys.stderr)
        return None


def load(library: Path) -> ctypes.CDLL:
    """The library, rebuilt if the kept file is damaged. OSError or SubprocessError if that fails."""
    try:
        return ctypes.CDLL(str(library))
    except OSError:
        library.unlink()
        return ctypes.CDLL(str(build()))


def _reason(error: Exception) -> str:
    """The most telling line: the first that mentions an error, else the last."""
    said = b''.join(filter(None, (getattr(error, name, None) for name in ('stdout', 'stderr'))))
    lines = said.decode(errors='replace').strip().splitlines() or [str(error)]
    return next((line for line in lines if 'error' in line), lines[-1])


@functools.cache
def kernel(name: str, signature: str) -> Any:
    """The function `name` of the library, for operators that have chosen it. signature: a letter for each argument, p pointer,
    n whole number of 64 bits, f float, i int."""
    function = getattr(cpu_kernels(), name)
    function.argtypes = [_TYPES[letter] for letter in signature]
    function.restype = None
    return function


def pointer(t: torch.Tensor | None) -> int | None:
    """Where the tensor's numbers are; null for None. The caller keeps the tensor alive."""
    return None if t is None else t.data_ptr()


def build() -> Path:
    """The path of the built library. OSError or SubprocessError if there is no compiler, it fails, or PyTorch has threads that
    the kernels could not use."""
    compiler = find_compiler()
    sources = sorted(SOURCES.glob('*.cpp'))
    openmp = find_openmp()
    if openmp is None and torch.get_num_threads() > 1:
        raise OSError('OpenMP of PyTorch is not found, without which they have one thread')
    known = [path.read_bytes() for path in sorted(SOURCES.iterdir()) if path.is_file()]
    version = subprocess.run([*compiler, '--version'], capture_output=True, check=True, timeout=BUILD_LIMIT_SEC).stdout
    key = hashlib.sha256(b'\0'.join([*known, version, processor().encode(), repr((FLAGS, openmp)).encode()])).hexdigest()[:16]
    library = Path(make_cache_dir_path('cpu-kernels', f'kernels-{key}.so'))
    if not library.is_file():
        library.parent.mkdir(parents=True, exist_ok=True)
        print('Building the CPU kernels: some seconds, once', file=sys.stderr)
        with whole_file(library) as part:
            subprocess.run([*compiler, *FLAGS, *map(str, sources), *openmp_flags(openmp), '-shared', '-o', str(part)],
                           capture_output=True, check=True, timeout=BUILD_LIMIT_SEC)
    return library


def find_compiler() -> list[str]:
    """The words that start the C++ compiler: $CXX, else the first of the usual names. OSError if there is none."""
    names = [os.environ['CXX']] if os.environ.get('CXX') else ['c++', 'g++', 'clang++']
    for name in names:
        words = name.split()
        if words and shutil.which(words[0]):
            return words
    raise OSError(f'no C++ compiler found: {", ".join(names)}')


def find_openmp() -> str | None:
    """PyTorch's own OpenMP library, so that there is one pool of threads. None where PyTorch brings another one, or none."""
    found = sorted((Path(torch.__file__).parent / 'lib').glob('libgomp*.so*'))
    return str(found[0]) if found else None


def openmp_flags(openmp: str | None) -> list[str]:
    """So that the library needs this OpenMP alone: the compiler adds its own after it, which is then left out."""
    return ['-fopenmp', '-Wl,--as-needed', openmp, f'-Wl,-rpath,{Path(openmp).parent}'] if openmp else []


def processor() -> str:
    """What decides which instructions -march=native may use."""
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
        return '\n'.join(sorted({line for line in lines if line.startswith(('model name', 'flags', 'Features', 'CPU part'))}))
    except OSError:
        return f'{platform.machine()} {platform.processor()}'
