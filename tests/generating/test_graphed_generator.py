"""Sampling by a CUDA graph gives what the generator gives. Without CUDA, what surrounds the recording is tested."""

import pytest
import torch

from generating import graphed_generator
from generating.graphed_generator import GraphedGenerator
from training.networks import Generator

OPTIONS = dict(truncation_psi=0.7, noise_mode='const')


@pytest.fixture
def G():
    return Generator(z_dim=8, c_dim=3, w_dim=8, img_resolution=16, img_channels=3, mapping_kwargs=dict(num_layers=2),
                     synthesis_kwargs=dict(channel_base=128, channel_max=16)).eval().requires_grad_(False)


def inputs(count):
    return torch.randn(count, 8), torch.eye(3)[torch.randint(3, [count])]


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs CUDA')
@pytest.mark.parametrize('count', [4, 3])
def test_images_are_the_generator_s(G, count):
    G = G.cuda()
    graphed = GraphedGenerator(G, batch=4, **OPTIONS)
    for _ in range(2):
        z, c = (t.cuda() for t in inputs(count))
        torch.testing.assert_close(graphed(z, c), G(z, c, **OPTIONS), rtol=1e-3, atol=1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs CUDA')
def test_noise_is_drawn_anew(G):
    for name, strength in G.named_parameters():
        if name.endswith('noise_strength'):
            strength.fill_(1)
    graphed = GraphedGenerator(G.cuda(), batch=2)
    z, c = (t.cuda() for t in inputs(2))
    assert not torch.equal(graphed(z, c), graphed(z, c))


@pytest.fixture
def graphed(G, monkeypatch):
    """Everything but the recording, on the CPU: a replay runs the generator into the recorded place."""
    def record(run):
        result = torch.zeros_like(run())
        return result, lambda: result.copy_(run())

    monkeypatch.setattr(graphed_generator, 'check_device', lambda device: None)
    monkeypatch.setattr(graphed_generator, 'record', record)
    return GraphedGenerator(G, batch=4, **OPTIONS)


def test_smaller_batches_and_results_that_stay(G, graphed):
    first = inputs(4)
    images = graphed(*first)
    for count in (1, 3, 4):
        z, c = inputs(count)
        torch.testing.assert_close(graphed(z, c), G(z, c, **OPTIONS), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(images, G(*first, **OPTIONS), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('count', [0, 5])
def test_batches_of_the_wrong_size(graphed, count):
    with pytest.raises(ValueError, match=f'takes 1 to 4 images at a time: got {count}'):
        graphed(*inputs(count))


def test_generator_on_the_cpu(G):
    with pytest.raises(ValueError, match='need a generator on CUDA, found one on cpu: draw without a graph'):
        GraphedGenerator(G, batch=2)


def test_generator_that_cannot_be_recorded(G, monkeypatch):
    def record(run):
        raise RuntimeError('operation not permitted when stream is capturing\nmore')

    monkeypatch.setattr(graphed_generator, 'check_device', lambda device: None)
    monkeypatch.setattr(graphed_generator, 'record', record)
    with pytest.raises(ValueError, match=r'Generator cannot be recorded as a CUDA graph \(operation .* capturing\): draw'):
        GraphedGenerator(G, batch=2)
