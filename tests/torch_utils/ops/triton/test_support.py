"""When Triton serves, layouts and tiles, and that the kernels compile for GPUs, which needs none."""

import importlib
import os
import subprocess
import sys

import pytest
import torch

from tests.conftest import REPO
from torch_utils.ops.implementation import choose
from torch_utils.ops.triton import support as triton_support

triton = pytest.importorskip('triton')
on_cpu_only = pytest.mark.skipif(torch.cuda.is_available(), reason='CUDA is there')


@pytest.fixture
def fresh_works():
    triton_support.works.cache_clear()
    yield triton_support.works
    triton_support.works.cache_clear()


@pytest.mark.skipif(sys.platform != 'linux', reason="Triton's compiler is for Linux")
def test_kernels_compile_for_gpus(tmp_path):
    """Of compute capability 9.0 (H100); what is compiled for others differs little."""
    command = [sys.executable, '-m', 'tests.support.triton_compiler', '90']
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=300,
                          env=os.environ | {'TRITON_CACHE_DIR': str(tmp_path)})
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert {name for name, *_ in lines} == {'_forward_kernel', '_backward_kernel', '_derivative_kernel',
                                               '_upfirdn2d_kernel', '_filter_kernel', '_scaled_act_kernel'}
    assert all(len(sizes) == 1 and min(map(int, sizes)) > 1000 for _, *sizes in lines)


@on_cpu_only
def test_only_the_interpreter_serves_tensors_on_the_cpu(monkeypatch):
    x = torch.ones(1)
    assert choose('triton', x) == 'triton'
    assert choose('auto', x) != 'triton' and choose('cuda', x) != 'triton'
    monkeypatch.delenv('TRITON_INTERPRET')
    with pytest.raises(ValueError, match='needs the package triton and a tensor on CUDA: got one on cpu'):
        choose('triton', x)


def test_tensors_elsewhere_take_pytorch():
    x = torch.ones(1, device='meta')
    assert choose('auto', x) == 'ref'
    with pytest.raises(ValueError, match='needs a tensor on the CPU: got one on meta'):
        choose('native', x)


@on_cpu_only
def test_failure_is_said_once_and_remembered(fresh_works, capsys):
    """What a machine does where Triton fails to compile, to launch or to import."""
    assert not fresh_works(torch.device('cuda', 0))     # there is no such device
    assert not fresh_works(torch.device('cuda', 0))
    error = capsys.readouterr().err
    assert error.count('\n') == 1 and 'Triton kernels do not run on cuda:0 (' in error and 'slower PyTorch operators' in error


def test_right_kernels_pass_the_check():
    triton_support.check(torch.device('cuda' if torch.cuda.is_available() else 'cpu'))


@pytest.mark.parametrize(('module', 'name', 'share'), [
    ('bias_act', '_launch_forward', 1.1), ('bias_act', '_launch_derivative', float('nan')), ('upfirdn2d', '_launch', 0.9),
    ('scaled_act', '_launch', 0.9), ('adafm', 'forward', 1.1), ('adafm', 'backward', 0)])
def test_wrong_kernels_do_not(module, name, share, monkeypatch):
    module = importlib.import_module(f'torch_utils.ops.triton.{module}')
    right = getattr(module, name)

    def wrong(*arguments):
        found = right(*arguments)
        return tuple(share * t for t in found) if isinstance(found, tuple) else share * found

    monkeypatch.setattr(module, name, wrong)
    with pytest.raises(RuntimeError, match='gives other numbers than PyTorch'):
        triton_support.check(torch.device('cuda' if torch.cuda.is_available() else 'cpu'))


@pytest.mark.parametrize(('rows', 'cols'), [(1, 1), (1, 5000), (1000, 3)])
def test_tiles_cover_the_matrix_within_the_limit(rows, cols):
    block_rows, block_cols, count = triton_support.tile(rows, cols)
    assert block_rows * block_cols == triton_support.BLOCK_ELEMENTS
    assert block_rows & (block_rows - 1) == 0 == block_cols & (block_cols - 1)
    assert count * block_rows * block_cols >= rows * cols
    assert (-(-rows // block_rows) - 1) * block_rows < rows and block_cols < 2 * cols
