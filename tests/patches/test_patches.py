"""patches: what a checkout is, and each patch: when it applies, that it mends, that it is undone."""
import contextlib
import importlib
import socket
import sys
import types
import warnings

import numpy as np
import PIL.Image
import pytest
import scipy.linalg
import torch
from click.testing import CliRunner

import dnnlib
from patches import known
from patches.__main__ import main
from patches.checkout import Checkout, identify
from patches.mends import (
    adam_betas,
    cuda_only,
    custom_ops,
    downloads,
    gradient_fix,
    hyper_resume,
    pil_antialias,
    pil_mode,
    pkg_resources_gone,
    sampler,
    scipy_sqrtm,
    summary_memory,
)
from tests.conftest import REPO
from tests.support.hyper_sources import make_hyper, make_source
from tests.support.miniature_host import LAYOUTS, make_host
from torch_utils import misc


@pytest.fixture(scope='module', params=LAYOUTS)
def host(request, tmp_path_factory):
    return make_host(tmp_path_factory.mktemp('host'), request.param), request.param


@pytest.fixture
def checkout(tmp_path):
    """Files of this text: checkout(name=text) with / written as __."""
    def make(**files):
        for name, text in files.items():
            path = tmp_path / f'{name.replace("__", "/")}.py'
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return Checkout(tmp_path, 'stylegan3')
    return make


@pytest.fixture
def same_afterwards():
    """What patches replace is there again in the end."""
    watched = [(torch.utils.data.Sampler, '__init__'), (torch.optim.Adam, '__init__'), (PIL.Image, 'fromarray'),
               (PIL.Image, 'ANTIALIAS'), (scipy.linalg, 'sqrtm'), (torch.cuda, 'Event'), (torch.cuda, 'max_memory_allocated')]
    before = [vars(owner).get(name) for owner, name in watched]
    module = sys.modules.get('pkg_resources')
    yield
    assert all(vars(owner).get(name) is value for (owner, name), value in zip(watched, before, strict=True))
    assert torch.device('cuda').type == 'cuda' and sys.modules.get('pkg_resources') is module


# What a folder is.

def test_kinds(host, tmp_path):
    path, layout = host
    assert identify(path).kind == layout
    assert identify(tmp_path).kind == 'unknown'
    for wrong, match in ((REPO, 'this project itself'), (tmp_path / 'none', 'is not a folder'),
                         (path / 'legacy.py', 'is not a folder')):
        with pytest.raises(ValueError, match=match):
            identify(wrong)


def test_report_lists_what_breaks(host, tmp_path):
    path, layout = host
    result = CliRunner().invoke(main, [str(path)])
    assert result.exit_code == 0 and layout in result.output.splitlines()[0]
    names = {line.split()[0] for line in result.output.splitlines()[1:-1]}
    assert {'adam-betas', 'gradient-fix'} <= names and ('cuda-only' in names) == (not torch.cuda.is_available())
    assert 'unknown' in CliRunner().invoke(main, [str(tmp_path)]).output


def test_forks_are_not_what_they_descend_from(tmp_path):
    path = make_host(tmp_path / 'host', 'stylegan3')
    loop = path / 'training/training_loop.py'
    text = loop.read_text()
    loop.write_text(text.replace('augment_kwargs', 'other_kwargs'))
    assert identify(path).kind == 'unknown' and 'takes no augment_kwargs' in identify(path).fork
    loop.write_text(text)
    (path / 'pg_modules').mkdir()
    output = CliRunner().invoke(main, [str(path)]).output
    assert 'a fork of stylegan3: it has pg_modules/, as stylegan-xl' in output and 'pkg-resources-gone' in output
    result = CliRunner().invoke(main, ['run', str(path), 'train_hyper.py', '--data=x'])
    assert result.exit_code == 2 and 'fork of stylegan3' in result.output


def test_report_names_silent_faults_and_what_is_missing(tmp_path, monkeypatch):
    path = make_host(tmp_path / 'host', LAYOUTS[0])
    (path / 'gone_files').mkdir()
    (path / 'gone_files/video.py').write_text('import no_such_library.sub\nimport os, dnnlib\nfrom . import other\n')
    port = closed_port()
    (path / 'projector.py').write_text(f"""import no_such_library
try:
    import no_such_extra
except ImportError:
    pass
NET = 'http://127.0.0.1:{port}/weights/vgg16.pkl'
OTHER = 'http://127.0.0.1:{port}/weights/vgg19.pkl'
""")
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path / 'cache'))
    output = CliRunner().invoke(main, [str(path)]).output
    assert 'silent: the table of layers' in output and 'no_such_extra' not in output
    assert 'missing: no_such_library: not installed, for gone_files/video.py, projector.py; pip install no_such_library' in output
    line, = (line for line in output.splitlines() if 'cannot be reached' in line)
    assert f'missing: 127.0.0.1:{port} cannot' in line and line.endswith(f'vgg16.pkl at {tmp_path}/cache/downloads/vgg16.pkl')


def closed_port():
    with socket.create_server(('127.0.0.1', 0)) as server:
        return server.getsockname()[1]


@pytest.mark.parametrize('args, match', [
    (['none'], 'is not a folder'), (['run', '.'], 'needs a path and a script'), (['a', 'b'], 'one path'),
    ([str(REPO)], 'this project'),
    ([], 'Usage')])
def test_wrong_input(args, match):
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 2 and match in result.output


def test_a_script_that_is_not_there(host):
    path, _layout = host
    result = CliRunner().invoke(main, ['run', str(path), 'projector.py'])
    assert result.exit_code == 2 and 'projector.py' in result.output.splitlines()[-1]


def test_every_patch_says_what_and_until_when(same_afterwards):
    assert len(set(map(known.name_of, known.PATCHES))) == len(known.PATCHES) == 12
    for patch in known.PATCHES:
        assert patch.MENDS and patch.DELETE and patch.__doc__ and '\n' not in patch.MENDS
    anything = Checkout(REPO / 'tests', 'unknown')
    with contextlib.ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter('ignore', DeprecationWarning)
        for patch in known.needed(anything):
            stack.enter_context(patch.patched())


# Each patch.

def test_sampler(checkout, same_afterwards):
    class Stock(torch.utils.data.Sampler):
        def __init__(self, dataset):
            super().__init__(dataset)

    stock = checkout(torch_utils__misc='class InfiniteSampler(torch.utils.data.Sampler): pass')
    if sampler.applies(stock):
        with pytest.raises(TypeError):
            Stock([1])
    with sampler.patched():
        Stock([1])
        assert list(torch.utils.data.SequentialSampler([5, 6])) == [0, 1]
    assert not sampler.applies(Checkout(stock.path / 'elsewhere', 'stylegan3'))


def test_adam_betas(checkout, same_afterwards):
    parameter = torch.nn.Parameter(torch.ones(1))
    stock = checkout(training__training_loop='')
    assert adam_betas.applies(stock)
    with adam_betas.patched():
        assert not adam_betas.applies(stock)
        assert torch.optim.Adam([parameter], lr=0.1, betas=[0, 0.99]).defaults['betas'] == (0.0, 0.99)
        assert torch.optim.Adam([parameter]).defaults['betas'] == (0.9, 0.999)
    assert adam_betas.applies(stock)


@pytest.fixture
def stock_modules(monkeypatch):
    """The host's operations under their names in sys.modules, as a checkout in front has them."""
    def put(**modules):
        for name, functions in modules.items():
            module = types.ModuleType(f'torch_utils.ops.{name}')
            vars(module).update(functions)
            monkeypatch.setitem(sys.modules, module.__name__, module)
        return [sys.modules[f'torch_utils.ops.{name}'] for name in modules]
    return put


def test_gradient_fix(checkout, stock_modules):
    def stock_sampling(input, grid):
        return torch.nn.functional.grid_sample(input, grid, align_corners=False)

    def complain(*args, **kwargs):
        raise RuntimeError('No such operator')

    convolution, sampling = stock_modules(
        conv2d_gradfix=dict(conv2d=complain, conv_transpose2d=complain, no_weight_gradients=complain, enabled=True),
        grid_sample_gradfix=dict(grid_sample=stock_sampling, enabled=True))
    image = torch.randn(1, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    grid = torch.rand(1, 3, 3, 2, dtype=torch.float64) * 2 - 1
    with gradient_fix.patched():
        assert torch.autograd.gradgradcheck(lambda x: sampling.grid_sample(x, grid), image)
        weight = torch.randn(2, 1, 3, 3, dtype=torch.float64)
        with convolution.no_weight_gradients(False), convolution.no_weight_gradients():
            assert torch.equal(convolution.conv2d(image, weight, padding=1), torch.nn.functional.conv2d(image, weight, padding=1))
        assert torch.equal(convolution.conv_transpose2d(image, weight.transpose(0, 1)),
                           torch.nn.functional.conv_transpose2d(image, weight.transpose(0, 1)))
    assert convolution.conv2d is complain and sampling.grid_sample is stock_sampling
    assert gradient_fix.applies(checkout(torch_utils__ops__conv2d_gradfix='', torch_utils__ops__grid_sample_gradfix=''))
    assert not gradient_fix.applies(Checkout(REPO / 'tests', 'unknown'))


def test_custom_ops(checkout, stock_modules, monkeypatch, capsys):
    def bias_act(x, b=None, dim=1, act='linear', impl='cuda'):
        assert impl == 'ref', 'compiles'
        return x + 1

    monkeypatch.setattr(custom_ops, 'FILES', ('bias_act', 'no_such_operation'))
    module, = stock_modules(bias_act=dict(bias_act=bias_act))
    stock = checkout(torch_utils__ops__bias_act='')
    for cuda, compiler, applies in ((True, None, True), (True, '/usr/local/cuda', False), (False, None, False)):
        monkeypatch.setattr(torch.cuda, 'is_available', lambda cuda=cuda: cuda)
        monkeypatch.setattr(custom_ops.cpp_extension, 'CUDA_HOME', compiler)
        assert custom_ops.applies(stock) == applies
    with custom_ops.patched():
        assert module.bias_act(1) == 2 and module.bias_act(1, impl='cuda') == 2
    assert module.bias_act is bias_act
    assert capsys.readouterr().err.count('using plain PyTorch operations') == 1


def test_cuda_only(monkeypatch, same_afterwards):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    assert not cuda_only.applies(Checkout(REPO, 'unknown'))
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert cuda_only.applies(Checkout(REPO, 'unknown'))
    with cuda_only.patched():
        device = torch.device('cuda', 0)
        tensors = [torch.zeros(2, device=device), torch.zeros(2, device='cuda:1'), torch.ones(2).cuda(), torch.ones(2).to('cuda'),
                   torch.ones(2).to(device=torch.device('cuda')), torch.ones(1).pin_memory(), torch.full([2], 3, device='cuda')]
        network = torch.nn.Linear(2, 2).cuda().to('cuda')
        assert all(tensor.device.type == 'cpu' for tensor in [*tensors, network.weight]) and torch.device('cpu').type == 'cpu'
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record(torch.cuda.current_stream(device))
        end.record()
        end.synchronize()
        assert start.elapsed_time(end) >= 0 and torch.cuda.max_memory_allocated(device) == 0
        torch.cuda.reset_peak_memory_stats()


def test_pil_mode(monkeypatch):
    def strict(obj, mode=None):
        if mode is not None:
            warnings.warn("'mode' is deprecated", DeprecationWarning, stacklevel=2)
        return usual(obj)

    usual = PIL.Image.fromarray
    monkeypatch.setattr(PIL.Image, 'fromarray', strict)
    assert pil_mode.applies(Checkout(REPO, 'unknown'))
    with pil_mode.patched():
        assert not pil_mode.applies(Checkout(REPO, 'unknown'))
        for shape, mode in (([2, 3, 3], 'RGB'), ([2, 3], 'L')):
            assert PIL.Image.fromarray(np.full(shape, 7, np.uint8), mode).mode == mode
        assert PIL.Image.fromarray(np.zeros([2, 3], np.uint8)).mode == 'L'
        gray = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)    # as stock scripts have the pictures of gray networks
        assert np.array_equal(PIL.Image.fromarray(gray, 'RGB'), gray.repeat(3, axis=2))
        assert np.array_equal(PIL.Image.fromarray(gray), gray[:, :, 0])
        with pytest.raises(ValueError, match='convert the array'):
            PIL.Image.fromarray(np.zeros([2, 3], np.uint8), 'RGB')
    assert PIL.Image.fromarray is strict


def test_pil_antialias(checkout, same_afterwards):
    stock = checkout(dataset_tool='resample = PIL.Image.ANTIALIAS')
    assert pil_antialias.applies(stock) == (not hasattr(PIL.Image, 'ANTIALIAS'))
    with pil_antialias.patched():
        assert PIL.Image.new('L', [4, 4]).resize([2, 2], PIL.Image.ANTIALIAS).size == (2, 2)
    assert not pil_antialias.applies(Checkout(REPO / 'tests', 'unknown'))


def test_scipy_sqrtm(checkout, monkeypatch, same_afterwards):
    matrix = np.array([[4.0, 1.0], [1.0, 3.0]])
    stock = checkout(metrics__frechet_inception_distance='s, _ = scipy.linalg.sqrtm(a @ b, disp=False)')
    with scipy_sqrtm.patched():
        root, _error = scipy.linalg.sqrtm(matrix, disp=False)
        np.testing.assert_allclose(root @ root, matrix, rtol=1e-12)
        np.testing.assert_array_equal(scipy.linalg.sqrtm(matrix), root)
    absent = object()
    with monkeypatch.context() as patch:
        for sqrtm, applies in ((lambda A: A, True), (lambda A, disp=True: A, False), (lambda A, disp=absent: A, True)):
            patch.setattr(scipy.linalg, 'sqrtm', sqrtm)
            assert scipy_sqrtm.applies(stock) == applies
    assert not scipy_sqrtm.applies(Checkout(REPO / 'tests', 'unknown'))


def test_pkg_resources(checkout, monkeypatch, same_afterwards):
    stock = checkout(torch_utils__ops__conv2d_gradfix='from pkg_resources import parse_version')
    for spec, applies in ((None, True), (object(), False)):
        monkeypatch.setattr(pkg_resources_gone.importlib.util, 'find_spec', lambda name, spec=spec: spec)
        assert pkg_resources_gone.applies(stock) == applies
    with pkg_resources_gone.patched():
        parse_version = importlib.import_module('pkg_resources').parse_version
        assert parse_version(torch.__version__) >= parse_version('1.11.0a') and parse_version('1.9.1') < parse_version('1.11.0a')


def test_downloads(checkout, monkeypatch, tmp_path):
    url = f'http://127.0.0.1:{closed_port()}/nets/ffhq.pkl'
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path / 'cache'))
    usual = dnnlib.util.open_url
    assert downloads.applies(checkout(dnnlib__util='def open_url(): pass'))
    with downloads.patched():
        place = tmp_path / 'cache/downloads/ffhq.pkl'
        with pytest.raises(OSError, match=f'put it at {place}'):
            dnnlib.util.open_url(url, num_attempts=1, verbose=False)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b'weights')
        with dnnlib.util.open_url(url) as file:
            assert file.read() == b'weights'
        assert dnnlib.util.open_url(url, return_filename=True) == str(place)
        assert dnnlib.util.open_url(str(place), return_filename=True) == str(place)
    assert dnnlib.util.open_url is usual


def test_summary_memory(checkout):
    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer('w_avg', torch.ones(2))

        def forward(self, z):
            self.w_avg.copy_(self.w_avg.lerp(z.mean(0), 0.5))
            return z + 1

    network, usual = Network(), misc.print_module_summary
    inputs = [torch.full([3, 2], torch.nan)]
    with summary_memory.patched():
        assert torch.equal(misc.print_module_summary(network, inputs), torch.ones(3, 2))
    assert torch.equal(network.w_avg, torch.ones(2)) and misc.print_module_summary is usual
    loop = 'z = torch.empty([2, 3]); misc.print_module_summary(G, [z])'
    stock = checkout(training__training_loop=loop, training__networks='def forward(self, z, c, skip_w_avg_update=False): pass')
    assert summary_memory.applies(stock)
    assert not summary_memory.applies(checkout(training__training_loop=loop.replace('empty', 'zeros')))


def test_hyper_resume(checkout):
    assert hyper_resume.applies(checkout(training__training_loop='misc.copy_params_and_buffers(a, b)'))
    G = make_hyper(make_source())
    with hyper_resume.patched():
        misc.copy_params_and_buffers(make_source(), make_source())
        misc.copy_params_and_buffers(G, G)
        with pytest.raises(ValueError, match='holds a HyperGenerator, expected a Generator: continue'):
            misc.copy_params_and_buffers(G, make_source())
