"""The library of CPU kernels: built once, kept, and done without where it cannot be built."""

import os
import shutil
import subprocess
import sys

import pytest
import torch

from tests.conftest import REPO
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


def run(cache, **environment):
    return subprocess.run([sys.executable, '-c', SCRIPT], cwd=REPO, capture_output=True, text=True, timeout=300,
                          env=os.environ | dict(DNNLIB_CACHE_DIR=str(cache)) | environment)


def test_where_a_compiler_is_there_are_kernels():
    """Elsewhere tests of the kernels are skipped, which must not hide that they do not compile."""
    try:
        custom_ops.find_compiler()
    except OSError:
        pytest.skip('needs a C++ compiler')
    assert custom_ops.cpu_kernels() is not None


@needs_compiler
def test_built_once_and_whole(tmp_path, monkeypatch):
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path))
    library = custom_ops.build()
    made = library.stat().st_mtime_ns
    assert custom_ops.build() == library and library.stat().st_mtime_ns == made
    assert [path.name for path in library.parent.iterdir()] == [library.name]


@needs_compiler
def test_the_name_depends_on_the_sources_and_the_processor(tmp_path, monkeypatch):
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path / 'cache'))
    shutil.copytree(custom_ops.SOURCES, tmp_path / 'cpu')
    monkeypatch.setattr(custom_ops, 'SOURCES', tmp_path / 'cpu')
    names = {custom_ops.build().name}
    monkeypatch.setattr(custom_ops, 'processor', lambda: 'another one')
    names.add(custom_ops.build().name)
    source = tmp_path / 'cpu' / 'adafm.cpp'
    source.write_text(source.read_text() + '// changed\n')
    names.add(custom_ops.build().name)
    assert len(names) == 3


@pytest.mark.parametrize('compiler', ['no-such-compiler', 'false'])
def test_without_a_working_compiler_pytorch_serves_and_one_line_says_so(compiler, tmp_path):
    result = run(tmp_path, CXX=compiler)
    assert result.returncode == 0 and result.stdout == 'False\n'
    line, = result.stderr.splitlines()
    assert 'CPU kernels were not built' in line and 'install a C++ compiler' in line


@needs_compiler
def test_a_source_that_does_not_compile_is_told_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path / 'cache'))
    (tmp_path / 'cpu').mkdir()
    (tmp_path / 'cpu' / 'broken.cpp').write_text('extern "C" int broken( { return 1; }\n')
    monkeypatch.setattr(custom_ops, 'SOURCES', tmp_path / 'cpu')
    assert custom_ops.cpu_kernels.__wrapped__() is None
    building, line = capsys.readouterr().err.splitlines()
    assert building == 'Building the CPU kernels: some seconds, once' and 'CPU kernels were not built' in line
    assert 'broken.cpp' in line and 'error' in line
    assert list((tmp_path / 'cache').rglob('*.so')) == []


@needs_compiler
def test_a_library_that_cannot_be_loaded_is_built_again(tmp_path, monkeypatch):
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path))
    library = custom_ops.build()
    library.write_bytes(b'')
    assert custom_ops.cpu_kernels.__wrapped__() is not None and library.stat().st_size > 0


@needs_compiler
def test_paths_with_spaces_and_quotes(tmp_path, monkeypatch):
    folder = tmp_path / "it's my cache"
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(folder))
    openmp = custom_ops.find_openmp()
    if openmp is not None:
        folder.mkdir()
        monkeypatch.setattr(custom_ops, 'find_openmp', lambda: shutil.copy(openmp, folder))
    shutil.copytree(custom_ops.SOURCES, folder / 'cpu')
    monkeypatch.setattr(custom_ops, 'SOURCES', folder / 'cpu')
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
    result = run(tmp_path / 'file')
    assert result.returncode == 0 and result.stdout == 'False\n' and len(result.stderr.splitlines()) == 1


@needs_compiler
def test_two_processes_at_once_build_one_library(tmp_path):
    both = [subprocess.Popen([sys.executable, '-c', SCRIPT], cwd=REPO, stdout=subprocess.PIPE, text=True,
                             env=os.environ | dict(DNNLIB_CACHE_DIR=str(tmp_path))) for _ in range(2)]
    assert [process.communicate(timeout=300)[0] for process in both] == ['True\n'] * 2
    assert len(list((tmp_path / 'cpu-kernels').iterdir())) == 1


def test_choice_of_form():
    x = torch.zeros(1)
    assert choose('ref', x) == 'ref' and choose('auto', x.double()) == 'ref' and choose('cuda', x.half()) == 'ref'
    assert choose('auto', x) == choose('cuda', x) == ('native' if custom_ops.cpu_kernels() else 'ref')
    with pytest.raises(ValueError, match="impl='native' needs float32"):
        choose('native', x.double())
    with pytest.raises(ValueError, match='impl must be one of ref, auto'):
        choose('fast', x)
