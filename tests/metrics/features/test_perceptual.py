"""Perceptual embeddings: their formulas by hand, gradients, and which network a name means."""

import hashlib

import numpy as np
import pytest
import torch

from metrics.features import detectors, efficientnet_lite
from metrics.features.perceptual import default_embedding, get_embedding
from tests.support.metric_scenes import Everything, save_script

CPU = torch.device('cpu')


@pytest.fixture(autouse=True)
def cache_dir(tmp_path, monkeypatch):
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path / 'cache'))
    monkeypatch.setattr(detectors, 'NUM_ATTEMPTS', 1)
    return tmp_path / 'cache'


@pytest.mark.parametrize('channels', [1, 3])
def test_imagenet_distance_is_that_of_unit_features(channels):
    images = torch.rand(2, channels, 16, 16) * 2 - 1
    network = efficientnet_lite.load_efficientnet_lite(efficientnet_lite.find_weights())
    found = []
    hooks = [module.register_forward_hook(lambda _module, _inputs, output: found.append(output.double()))
             for module in (network._bn0, *(network._blocks[index] for index in (0, 2, 4, 7, 10, 14, 15)))]
    levels = ((images + 1) * 127.5).expand(-1, 3, -1, -1)
    network.embed(efficientnet_lite.resize(levels, 128))
    for hook in hooks:
        hook.remove()
    found[0] = found[0].clamp(0, 6)
    want = 0
    for features in found:
        first, second = features / features.norm(dim=1, keepdim=True)
        want += (first - second).square().sum(dim=0).mean()
    embedded = get_embedding('imagenet', CPU)(images)
    assert float((embedded[0] - embedded[1]).square().sum()) == pytest.approx(float(want), rel=1e-3)


def test_gradients_go_through_imagenet_downhill():
    embed = get_embedding('imagenet', CPU)
    target, image = torch.rand(1, 3, 16, 16) - 0.5, (torch.rand(1, 3, 16, 16) - 0.5).requires_grad_()
    distance = (embed(image) - embed(target)).square().sum()
    gradient, = torch.autograd.grad(distance, image)
    with torch.no_grad():
        nearer = (embed(image - 0.05 * gradient / gradient.norm()) - embed(target)).square().sum()
        assert float(nearer) < float(distance)


def test_a_script_gets_levels_of_at_most_256_pixels(tmp_path):
    class Means(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(()))

        def forward(self, img: torch.Tensor, resize_images: bool = True, return_lpips: bool = False) -> torch.Tensor:
            assert return_lpips and not resize_images and img.shape[1] == 3 and img.shape[2] == 256
            return img.flatten(1) * self.weight

    embed = get_embedding(save_script(tmp_path / 'means.pt', Means()), CPU)
    image = (torch.rand(1, 1, 512, 512) * 2 - 1).requires_grad_()
    got = embed(image)
    want = ((image.detach() + 1) * 127.5).reshape(256, 2, 256, 2).mean(dim=(1, 3)).repeat(3, 1, 1)
    torch.testing.assert_close(got.detach()[0], want.flatten(), rtol=1e-4, atol=1e-3)
    gradient, = torch.autograd.grad(got.sum(), image)
    torch.testing.assert_close(gradient, torch.full_like(image, 3 * 127.5 / 4))


def test_vgg16_where_it_is(cache_dir):
    assert default_embedding() == 'imagenet'
    cache_dir.joinpath('downloads').mkdir(parents=True)
    digest = hashlib.md5(detectors.VGG16_URL.encode(), usedforsecurity=False).hexdigest()  # as downloads are kept
    save_script(cache_dir / 'downloads' / f'{digest}_vgg16.pt', Everything())
    assert default_embedding() == 'vgg16'
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    levels = ((images + 1) * 127.5).numpy().reshape(2, 3, 4, 4, 4, 4).mean(axis=(3, 5)).reshape(2, -1) / 255
    np.testing.assert_allclose(get_embedding('vgg16', CPU)(images).numpy(), levels, rtol=1e-4)


@pytest.mark.parametrize('spec, message', [('inception', 'takes no|cannot download'), ('no.pt', "'no.pt' is neither a file"),
                                           ('classifier', 'learns from the real images')])
def test_networks_without_embeddings(spec, message):
    with pytest.raises((OSError, ValueError), match=message):
        get_embedding(spec, CPU)
