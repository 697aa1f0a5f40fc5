"""ONNX files in ONNX Runtime against PyTorch."""

import builtins
import itertools

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from exporting import onnx_file
from exporting.onnx_file import TOLERANCE, largest_difference, model_of, write_onnx
from tests.support.hyper_sources import make_source, randomise_
from training.networks import Generator


def run(content, z, psi):
    session = onnxruntime.InferenceSession(content, providers=['CPUExecutionProvider'])
    image, = session.run(None, dict(z=z.numpy(), truncation_psi=np.array(psi, np.float32)))
    return image


def assert_same_images(G, counts=(1, 3), psis=(1.0, 0.4)):
    content = model_of(G, {}).SerializeToString()
    for count, psi in itertools.product(counts, psis):
        z = torch.randn([count, G.z_dim])
        want = G(z, None, truncation_psi=psi, noise_mode='const', force_fp32=True).numpy()
        got = run(content, z, psi)
        assert got.shape == want.shape and got.dtype == np.float32
        assert np.abs(got - want).max() <= TOLERANCE / 10 * max(np.abs(want).max(), 1)


@pytest.mark.parametrize('architecture', ['orig', 'skip', 'resnet'])
@pytest.mark.parametrize('channels, options', [
    (1, dict(conv_clamp=0.5)), (3, dict(use_noise=False)), (1, dict(num_fp16_res=2, conv_clamp=256)),
])
def test_every_architecture(architecture, channels, options):
    assert_same_images(make_source(img_channels=channels, architecture=architecture, **options))


@pytest.mark.parametrize('taps', [[1, 2, 1], [1, 1], [1, 2, 5, 2, 3, 1]])
@pytest.mark.parametrize('architecture', ['skip', 'resnet'])
def test_every_filter(taps, architecture):
    assert_same_images(make_source(resample_filter=taps, architecture=architecture))


@pytest.mark.parametrize('activation', ['linear', 'lrelu', 'relu', 'tanh', 'sigmoid', 'elu', 'selu', 'softplus', 'swish'])
def test_every_activation(activation):
    G = Generator(6, 0, 5, 8, 1, mapping_kwargs=dict(num_layers=2, activation=activation),
                  synthesis_kwargs=dict(channel_base=64, channel_max=6, activation=activation))
    assert_same_images(randomise_(G).eval().requires_grad_(False))


def test_noise_is_the_constant_one():
    G = make_source()
    content, z = model_of(G, {}).SerializeToString(), torch.randn([1, G.z_dim])
    assert np.array_equal(run(content, z, 1), run(content, z, 1))
    assert np.abs(run(content, z, 1) - G(z, None, noise_mode='none').numpy()).max() > 0.01


def test_interface_of_the_file(tmp_path):
    G = make_source()
    difference = write_onnx(tmp_path / 'x.onnx', G, {'class': 'cat'})
    assert 0 <= difference < TOLERANCE
    model = onnx.load(tmp_path / 'x.onnx')
    onnx.checker.check_model(model, full_check=True)
    described = {value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
                 for value in [*model.graph.input, *model.graph.output]}
    assert described == dict(z=['batch', 6], truncation_psi=[], image=['batch', 3, 16, 16])
    assert [entry.version for entry in model.opset_import] == [13]
    assert {entry.key: entry.value for entry in model.metadata_props} == {'class': 'cat'}
    assert [path.name for path in tmp_path.iterdir()] == ['x.onnx']


def test_a_wrong_graph_is_not_written(tmp_path, monkeypatch):
    G = make_source()
    other = model_of(make_source(z_dim=6), {})
    monkeypatch.setattr(onnx_file, 'model_of', lambda G, metadata: other)
    assert largest_difference(other.SerializeToString(), G) > TOLERANCE
    with pytest.raises(RuntimeError, match='differ from PyTorch'):
        write_onnx(tmp_path / 'x.onnx', G, {})
    assert not list(tmp_path.iterdir())


def without(monkeypatch, missing):
    """As if a library were not installed."""
    original = builtins.__import__

    def fail(name, *args, **kwargs):
        if name == missing:
            raise ImportError(f'No module named {name!r}')
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, '__import__', fail)


def test_missing_onnx(tmp_path, monkeypatch):
    without(monkeypatch, 'onnx')
    with pytest.raises(ValueError, match='pip install onnx'):
        write_onnx(tmp_path / 'x.onnx', make_source(), {})


def test_missing_onnxruntime_leaves_the_file_unchecked(tmp_path, monkeypatch):
    without(monkeypatch, 'onnxruntime')
    assert write_onnx(tmp_path / 'x.onnx', make_source(), {}) is None
    assert (tmp_path / 'x.onnx').is_file()


@pytest.mark.parametrize('options, match', [
    (dict(mapping_kwargs=dict(w_avg_beta=None)), 'no mean w'),
    (dict(synthesis_kwargs=dict(resample_filter=[1], channel_base=64, channel_max=6)), 'single tap'),
])
def test_generators_without_such_a_form(options, match):
    with pytest.raises(ValueError, match=match):
        model_of(Generator(6, 0, 5, 16, 3, **options), {})
