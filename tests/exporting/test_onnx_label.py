"""ONNX files of whole conditional generators, the label an input, against PyTorch."""

import itertools
import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from exporting import onnx_file
from exporting.onnx_file import TOLERANCE, largest_difference, model_of, write_onnx
from tests.support.hyper_sources import make_hyper, make_source, randomise_
from training.networks import Generator

LABELS = [[1, 0, 0], [0, 0, 1], [0.2, 0.5, 0.3], [0.5, -1.0, 2.0]]  # two classes, a mix, a label vector


def hyper(channels=3, **options):
    """With modulations far from zero, those of own classes too."""
    G = make_hyper(make_source(img_channels=channels), **options)
    generator = torch.Generator().manual_seed(5)
    for name, tensor in G.named_parameters():
        if '.own' in name or '.hyper.bias.' in name:
            tensor.data.normal_(generator=generator)
    return G.requires_grad_(False)


def plain(**mapping):
    G = Generator(6, 3, 5, 16, 3, mapping_kwargs=dict(num_layers=2, **mapping),
                  synthesis_kwargs=dict(channel_base=64, channel_max=6))
    return randomise_(G).eval().requires_grad_(False)


def open_session(G):
    return onnxruntime.InferenceSession(model_of(G, {}).SerializeToString(), providers=['CPUExecutionProvider'])


def run(session, z, psi, label):
    inputs = dict(z=z.numpy(), truncation_psi=np.array(psi, np.float32), label=np.array(label, np.float32))
    return session.run(None, inputs)[0]


def assert_same_images(G):
    session = open_session(G)
    seen = []
    for count, psi, label in itertools.product((1, 3), (1.0, 0.4), LABELS):
        z = torch.randn([count, G.z_dim])
        c = torch.tensor(label, dtype=torch.float32).expand(count, -1)
        want = G(z, c, truncation_psi=psi, noise_mode='const', force_fp32=True).numpy()
        got = run(session, z, psi, label)
        assert got.shape == want.shape and got.dtype == np.float32
        assert np.abs(got - want).max() <= TOLERANCE / 20 * max(np.abs(want).max(), 1)
        seen.append(got[0])
    assert np.abs(seen[0] - seen[1]).max() > 0.1  # the class matters


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('options', [
    dict(), dict(finetune=True), dict(own_classes=[2, 0], own_rank=2), dict(rank=3, own_classes=[1], own_rank=1)])
def test_hyper_modulated_generators(channels, options):
    assert_same_images(hyper(channels, **options))


@pytest.mark.parametrize('architecture', ['orig', 'resnet'])
def test_other_architectures(architecture):
    assert_same_images(make_hyper(make_source(architecture=architecture, conv_clamp=0.7)).requires_grad_(False))


@pytest.mark.parametrize('mapping', [dict(), dict(embed_features=3, lr_multiplier=0.5)])
def test_plain_conditional_generators(mapping):
    assert_same_images(plain(**mapping))


@pytest.mark.parametrize('make', [hyper, plain])
def test_interface_of_the_file(make, tmp_path):
    assert 0 <= write_onnx(tmp_path / 'x.onnx', make(), dict(class_names=json.dumps(['a', 'b', 'c']))) < TOLERANCE
    model = onnx.load(tmp_path / 'x.onnx')
    described = {value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
                 for value in [*model.graph.input, *model.graph.output]}
    assert described == dict(z=['batch', 6], truncation_psi=[], label=[3], image=['batch', 3, 16, 16])
    assert [entry.version for entry in model.opset_import] == [13]


@pytest.mark.parametrize('make', [hyper, plain, make_source])
def test_half_precision(make, tmp_path):
    G = make()
    whole = write_onnx(tmp_path / 'whole.onnx', G, {})
    half = write_onnx(tmp_path / 'half.onnx', G, {}, half=True)
    assert 10 * whole < half < 0.05
    constants = onnx.load(tmp_path / 'half.onnx').graph.initializer
    assert {constant.data_type for constant in constants if constant.dims[2:] == [3, 3]} == {onnx.TensorProto.FLOAT16}
    assert (tmp_path / 'half.onnx').stat().st_size < (tmp_path / 'whole.onnx').stat().st_size


def test_numbers_beyond_half_precision(tmp_path):
    G = make_source()
    G.synthesis.b8.conv0.weight[0, 0, 0, 0] = 7e4
    with pytest.raises(ValueError, match=r'up to 65504, and the network has 70000: leave out --half'):
        write_onnx(tmp_path / 'x.onnx', G, {}, half=True)
    assert not list(tmp_path.iterdir())


def test_a_wrong_label_part_is_noticed():
    """The check of a written file looks at more than one label."""
    G = hyper()
    content = model_of(G, {}).SerializeToString()
    G.mapping.class_code.table[2] += 1
    assert largest_difference(content, G) > TOLERANCE


def test_files_too_large_for_the_format(monkeypatch):
    monkeypatch.setattr(onnx_file, 'LARGEST_FILE', 1000)
    with pytest.raises(ValueError, match='bake one class'):
        model_of(hyper(), {})
