"""The library of CPU kernels: built once, kept, and done without where it cannot be built."""

import os
import shutil
import subprocess

import pytest
import torch

from tests.conftest import REPO
from tests.support.warm_python import warm_python
from torch_utils import custom_ops
from torch_utils.ops.implementation import choose

needs_compiler = pytest.mark.skipif(custom_ops.cpu_kernels() is None, reason='needs a C++ compiler')

SCRIPT = """
import torch
from torch_utils import custom_ops
from hyper_plugin.networks import adafm
from torch_utils.ops import bias_act, scaled_act
x = torch.randn(1, 3, 4, 4).to(memory_format=torch.channels_last)
scaled_act.scaled_act(x, act='lrelu'), bias_act.bias_act(x, act='lrelu'), adafm(x, x[:, :, 0, :1].mT, x[:, :, 0, :1].mT)
print(custom_ops.cpu_kernels() is not None)
"""
SMALL_SOURCE = """
extern "C" void twice(float* x, int n) {
#pragma omp parallel for
    for (int i = 0; i < n; i++) x[i] *= 2;
}
"""
OF_SMALL_SOURCES = """
import pathlib, sys
from torch_utils import custom_ops
custom_ops.SOURCES = pathlib.Path(sys.argv[1])
print(custom_ops.cpu_kernels() is not None)
"""


def start(cache, *words, **environment):
    return subprocess.Popen([warm_python(), '-c', *map(str, words)], cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, env=os.environ | dict(DNNLIB_CACHE_DIR=str(cache)) | environment)


def run(cache, **environment):
    """What operators do in a process of its own: exit code, output, errors."""
    process = start(cache, SCRIPT, **environment)
    output, errors = process.communicate(timeout=300)
    return process.returncode, output, errors


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A source that compiles in no time, in place of the kernels', and an empty cache, tmp_path / 'cache'."""
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path / 'cache'))
    return small_sources(tmp_path / 'cpu', monkeypatch)


def small_sources(folder, monkeypatch):
    folder.mkdir()
    (folder / 'small.cpp').write_text(SMALL_SOURCE)
    monkeypatch.setattr(custom_ops, 'SOURCES', folder)
    return folder


def test_where_a_compiler_is_there_are_kernels():
    """Elsewhere tests of the kernels are skipped, which must not hide that they do not compile."""
    try:
        custom_ops.find_compiler()
    except OSError:
        pytest.skip('needs a C++ compiler')
    assert custom_ops.cpu_kernels() is not None


@needs_compiler
def test_built_once_and_whole(sources):
    library = custom_ops.build()
    made = library.stat().st_mtime_ns
    assert custom_ops.build() == library and library.stat().st_mtime_ns == made
    assert [path.name for path in library.parent.iterdir()] == [library.name]


@needs_compiler
def test_the_name_depends_on_the_sources_and_the_processor(sources, monkeypatch):
    names = {custom_ops.build().name}
    monkeypatch.setattr(custom_ops, 'processor', lambda: 'another one')
    names.add(custom_ops.build().name)
    (sources / 'small.cpp').write_text(SMALL_SOURCE + '// changed\n')
    names.add(custom_ops.build().name)
    assert len(names) == 3


@pytest.mark.parametrize('compiler', ['no-such-compiler', 'false'])
def test_without_a_working_compiler_pytorch_serves_and_one_line_says_so(compiler, tmp_path):
    code, output, errors = run(tmp_path, CXX=compiler)
    assert (code, output) == (0, 'False\n')
    line, = errors.splitlines()
    assert 'CPU kernels were not built' in line and 'install a C++ compiler' in line


@needs_compiler
def test_a_source_that_does_not_compile_is_told_in_one_line(sources, tmp_path, capsys):
    (sources / 'broken.cpp').write_text('extern "C" int broken( { return 1; }\n')
    assert custom_ops.cpu_kernels.__wrapped__() is None
    building, line = capsys.readouterr().err.splitlines()
    assert building == 'Building the CPU kernels: some seconds, once' and 'CPU kernels were not built' in line
    assert 'broken.cpp' in line and 'error' in line
    assert list((tmp_path / 'cache').rglob('*.so')) == []


@needs_compiler
def test_a_library_that_cannot_be_loaded_is_built_again(sources):
    library = custom_ops.build()
    library.write_bytes(b'')
    assert custom_ops.cpu_kernels.__wrapped__().twice and library.stat().st_size > 0


@needs_compiler
def test_paths_with_spaces_and_quotes(tmp_path, monkeypatch):
    folder = tmp_path / "it's my cache"
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(folder))
    folder.mkdir()
    openmp = custom_ops.find_openmp()
    if openmp is not None:
        monkeypatch.setattr(custom_ops, 'find_openmp', lambda: shutil.copy(openmp, folder))
    small_sources(folder / 'cpu', monkeypatch)
    assert custom_ops.build().is_file()


@needs_compiler
def test_kernels_that_cannot_use_the_threads_are_left(monkeypatch, capsys):
    monkeypatch.setattr(custom_ops, 'find_openmp', lambda: None)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert custom_ops.cpu_kernels.__wrapped__() is None and 'OpenMP' in capsys.readouterr().err
    finally:
        torch.set_num_threads(threads)


@needs_compiler
def test_a_full_disk_or_unwritable_cache_is_no_obstacle(tmp_path):
    (tmp_path / 'file').touch()
    code, output, errors = run(tmp_path / 'file')
    assert (code, output) == (0, 'False\n') and len(errors.splitlines()) == 1


@needs_compiler
def test_two_processes_at_once_build_one_library(sources, tmp_path):
    """Both begin to build before one has done so."""
    slow = tmp_path / 'slow'
    slow.write_text(f'#!/bin/sh\necho >> {tmp_path}/calls\nsleep 1\nexec {" ".join(custom_ops.find_compiler())} "$@"\n')
    slow.chmod(0o700)
    both = [start(tmp_path / 'cache', OF_SMALL_SOURCES, sources, CXX=str(slow)) for _ in range(2)]
    assert [process.communicate(timeout=300)[0] for process in both] == ['True\n'] * 2
    assert len((tmp_path / 'calls').read_text()) == 4   # each asks for the version, and builds
    assert len(list((tmp_path / 'cache' / 'cpu-kernels').iterdir())) == 1


def test_choice_of_form():
    x = torch.zeros(1)
    assert choose('ref', x) == 'ref' and choose('auto', x.double()) == 'ref' and choose('cuda', x.half()) == 'ref'
    assert choose('auto', x) == choose('cuda', x) == ('native' if custom_ops.cpu_kernels() else 'ref')
    with pytest.raises(ValueError, match="impl='native' needs float32"):
        choose('native', x.double())
    with pytest.raises(ValueError, match='impl must be one of ref, auto'):
        choose('fast', x)
