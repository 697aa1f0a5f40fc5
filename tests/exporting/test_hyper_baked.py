"""Baked networks against the hyper-modulated ones that they come from, called with the label."""

import copy

import pytest
import torch

from exporting.baked import bake_network
from tests.support.hyper_sources import labels, make_hyper, make_hyper_D, make_source, make_source_D, randomise_
from training.networks import Discriminator, Generator

SOFT = [0.2, 0.5, 0.3]


def assert_same_images(G, baked, label, tolerance=1e-5, num_images=3, **options):
    z = torch.randn([num_images, G.z_dim])
    with torch.no_grad():
        want = G(z, label.expand(num_images, -1), **options)
        got = baked(z, None, **options)
    assert got.dtype == want.dtype
    assert (got - want).abs().max() <= tolerance * max(want.abs().max(), 1)


@pytest.mark.parametrize('options', [
    dict(noise_mode='const', truncation_psi=0.4), dict(noise_mode='none', truncation_psi=0.0, truncation_cutoff=2),
    dict(noise_mode='const', fused_modconv=False),
])
@pytest.mark.parametrize('hyper', [dict(), dict(rank=2), dict(finetune=True)])
def test_images_are_those_of_the_class(hyper, options):
    G = randomise_(make_hyper(make_source(), **hyper), seed=2)
    for index in range(3):
        label = labels(index)[0]
        assert_same_images(G, bake_network(G, label), label, **options)


def test_classes_differ_and_mixes_bake_too():
    G = make_hyper(make_source())
    z = torch.randn([2, G.z_dim])
    soft = torch.tensor(SOFT)
    images = [bake_network(G, label)(z, None, noise_mode='const') for label in (*labels(0, 1, 2), soft)]
    for i, image in enumerate(images):
        assert all((image - other).abs().mean() > 0.01 for other in images[:i])
    assert_same_images(G, bake_network(G, soft), soft, noise_mode='const')


def test_random_noise_is_drawn_in_the_same_way():
    G = make_hyper(make_source())
    baked = bake_network(G, labels(1)[0])
    z = torch.randn([2, G.z_dim])
    images = []
    for network, c in ((G, labels(1, 1)), (baked, None)):
        torch.manual_seed(5)
        images.append(network(z, c, noise_mode='random').detach())
    torch.testing.assert_close(*images, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('architecture', ['orig', 'skip', 'resnet'])
def test_every_architecture_and_option_of_the_synthesis(architecture):
    G = make_hyper(make_source(resolution=32, img_channels=1, architecture=architecture, conv_clamp=1, use_noise=False))
    label = labels(2)[0]
    baked = bake_network(G, label)
    assert_same_images(G, baked, label)
    assert baked.init_kwargs.synthesis_kwargs == G.init_kwargs.synthesis_kwargs


def test_half_precision_stays():
    G = make_hyper(make_source(num_fp16_res=2, conv_clamp=256, fp16_channels_last=True, half_type='bfloat16'))
    label = labels(0)[0]
    baked = bake_network(G, label)
    assert [baked.synthesis.get_submodule(f'b{res}').use_fp16 for res in (4, 8, 16)] == [False, True, True]
    assert_same_images(G, baked, label, noise_mode='const', force_fp32=True)
    assert_same_images(G, baked, label, noise_mode='const', tolerance=0.05)  # bfloat16 has 8 bits, rounded at other places


def test_the_baked_generator_is_plain_and_of_its_own():
    source = make_source()
    G = make_hyper(source)
    before = copy.deepcopy(G.state_dict())
    state = torch.random.get_rng_state()
    baked = bake_network(G, labels(0)[0])
    assert torch.equal(torch.random.get_rng_state(), state)
    assert type(baked) is Generator and baked.c_dim == 0 and not baked.training
    assert list(baked.state_dict()) == list(source.state_dict())
    assert not any(parameter.requires_grad for parameter in baked.parameters())
    for parameter in baked.parameters():
        parameter.fill_(7)
    assert all(torch.equal(tensor, before[name]) for name, tensor in G.state_dict().items())


def test_constructor_arguments_by_position():
    from hyper_plugin.networks import HyperGenerator
    G = HyperGenerator(6, 3, 5, 8, 1, dict(num_layers=1), dict(channel_base=64, channel_max=6), 4).eval()
    assert_same_images(G, bake_network(G, labels(1)[0]), labels(1)[0], noise_mode='none')


@pytest.mark.parametrize('d_cond', ['heads', 'projection'])
@pytest.mark.parametrize('architecture', ['resnet', 'skip'])
@pytest.mark.parametrize('label', [[0, 0, 1], SOFT])
def test_logits_are_those_of_the_class(label, architecture, d_cond):
    D = make_hyper_D(make_source_D(architecture=architecture), d_cond=d_cond)
    with torch.no_grad():
        (D.heads if d_cond == 'heads' else D.project.weight).normal_()
    label = torch.tensor(label, dtype=torch.float32)
    baked = bake_network(D, label)
    images = torch.randn([4, 3, 16, 16])
    with torch.no_grad():
        want, got = D(images, label.expand(4, -1)), baked(images, None)
        assert (D(images, labels(1, 1, 1, 1)) - want).abs().max() > 1e-3  # the label matters
    assert type(baked) is Discriminator and baked.c_dim == 0
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
