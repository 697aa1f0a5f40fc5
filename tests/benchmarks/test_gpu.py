"""benchmarks/speed/gpu.py at tiny sizes, on the CPU in Triton's interpreter: what it calls right, wrong and failed."""

import json

import pytest
import torch
from click.testing import CliRunner

from benchmarks.speed import gpu
from benchmarks.speed.gpu_cases import adafm_case, all_cases, bias_act_case, fir_case, scaled_act_case

pytest.importorskip('triton')
on_cpu_only = pytest.mark.skipif(torch.cuda.is_available(), reason='CUDA is there')
SIZE = (2, 3, 4, 4)
CASES = {
    'lrelu': bias_act_case(SIZE, torch.float16, 'channels_last', 'lrelu'),
    'swish': bias_act_case(SIZE, torch.float32, 'nchw', 'swish'),
    'fir': fir_case(SIZE, torch.bfloat16, 'channels_last', 2, 1),
    'fir12': fir_case(SIZE, torch.float32, 'nchw', 1, 2, num_taps=12),
    'scaled': scaled_act_case(SIZE, torch.float16, 'channels_last'),
    'adafm': adafm_case(2, 3, 'channels_last'),
}


@on_cpu_only
@pytest.mark.parametrize('name', CASES)
def test_kernels_are_found_right(name):
    result = json.loads(json.dumps(gpu.attempt(CASES[name], 'cpu', bandwidth=1e9)))
    assert result['correct'] and 'failure' not in result
    assert result['parts'].keys() == result['errors'].keys() == CASES[name].elements.keys()
    for part, times in result['parts'].items():
        assert times['floor_sec'] == CASES[name].elements[part] * CASES[name].dtype.itemsize / 1e9
        assert times['over_floor'] == pytest.approx(times['raw_sec']['triton'][0] / times['floor_sec'])
    assert 'WRONG' not in gpu.line(result) and 'forward' in gpu.line(result)


@on_cpu_only
@pytest.mark.parametrize('fault', [1.02, float('nan')])
def test_wrong_kernel_is_found(fault, monkeypatch):
    from torch_utils.ops.triton import adafm as triton_adafm
    right = triton_adafm.backward
    monkeypatch.setattr(triton_adafm, 'backward', lambda *tensors: tuple(fault * t for t in right(*tensors)))
    result = gpu.attempt(CASES['adafm'], 'cpu', bandwidth=1e9)
    assert not result['correct'] and result['errors']['forward'] < 1e-6 and 'WRONG' in gpu.line(result)


@on_cpu_only
def test_failure_of_one_case_is_reported(monkeypatch):
    from torch_utils.ops.triton import adafm as triton_adafm

    def fail(*_tensors):
        raise RuntimeError('ptxas is missing\nmore')

    monkeypatch.setattr(triton_adafm, 'forward', fail)
    result = gpu.attempt(CASES['adafm'], 'cpu', bandwidth=1e9)
    assert not result['correct'] and gpu.line(result).endswith('FAILED, RuntimeError: ptxas is missing')


@on_cpu_only
@pytest.mark.parametrize(('faulty', 'code'), [(False, 0), (True, 1)])
def test_report(faulty, code, monkeypatch, tmp_path):
    monkeypatch.setattr(gpu, 'all_cases', lambda batch, quick: [CASES['adafm']])
    if faulty:
        monkeypatch.setitem(gpu.TOLERANCES, torch.float32, 0)
    result = CliRunner().invoke(gpu.main, ['--quick', f'--out={tmp_path / "gpu.json"}'])
    assert result.exit_code == code, result.output
    report = json.loads((tmp_path / 'gpu.json').read_text())
    assert report['cases'][0]['correct'] is not faulty and report['copy_bytes_per_sec'] > 0


@on_cpu_only
def test_nothing_is_measured_without_cuda(tmp_path):
    result = CliRunner().invoke(gpu.main, [f'--out={tmp_path / "gpu.json"}'])
    assert result.exit_code == 0 and 'no CUDA device' in result.output and not list(tmp_path.iterdir())


@pytest.mark.parametrize('quick', [True, False])
def test_cases_have_names_of_their_own_and_cover_the_operators(quick):
    titles = [case.title for case in all_cases(batch=2, quick=quick)]
    assert len(set(titles)) == len(titles)
    assert {title.partition(' ')[0] for title in titles} == {'bias_act', 'scaled_act', 'upfirdn2d', 'adafm'}
