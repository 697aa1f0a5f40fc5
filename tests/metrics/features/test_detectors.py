"""metrics/features/detectors.py: which network a name means, what it is called with, and what goes wrong."""
import hashlib

import numpy as np
import pytest
import requests
import torch

from metrics.features import detectors, efficientnet_lite
from metrics.features.detectors import get_detector, three_channels
from tests.metrics.features.test_vision_transformer import random_weights
from tests.support.metric_scenes import Everything, Features, data_kwargs, save_script, write_data


@pytest.fixture(autouse=True)
def cache_dir(tmp_path, monkeypatch):
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path / 'cache'))
    monkeypatch.setattr(detectors, 'NUM_ATTEMPTS', 1)
    return tmp_path / 'cache'


def images(channels=3, num=5, side=16):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, [num, channels, side, side], dtype=np.uint8))


def test_a_torchscript_file(tmp_path):
    path = save_script(tmp_path / 'some.pt', Everything())
    detector = get_detector(path, 'cpu')
    assert torch.equal(detector(images(), return_features=True), Everything()(images()))
    probabilities = detector(images(), no_output_bias=True)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(5))
    assert detector(images().float(), resize_images=False, return_lpips=True).dtype == torch.float32
    digest = hashlib.sha256((tmp_path / 'some.pt').read_bytes()).hexdigest()
    assert detector.identity == f'some.pt sha256:{digest[:16]}'


def test_one_channel_counts_three_times(tmp_path):
    detector = get_detector(save_script(tmp_path / 'some.pt', Everything()), 'cpu')
    gray = images(channels=1)
    assert torch.equal(detector(gray, return_features=True), detector(gray.expand(-1, 3, -1, -1), return_features=True))
    assert three_channels(gray).shape == (5, 3, 16, 16) and three_channels(images()).shape == (5, 3, 16, 16)


def test_a_file_without_keywords_gives_features_only(tmp_path):
    class Plain(torch.nn.Module):
        def forward(self, img: torch.Tensor) -> torch.Tensor:
            return img.to(torch.float16).mean(dim=[2, 3])

    detector = get_detector(save_script(tmp_path / 'plain.pt', Plain()), 'cpu')
    found = detector(images(), return_features=True)
    assert found.shape == (5, 3) and found.dtype == torch.float32
    with pytest.raises(ValueError, match=r'plain\.pt sha256:.* takes no resize_images, return_lpips'):
        detector(images(), resize_images=False, return_lpips=True)


def test_no_gradients_are_kept(tmp_path):
    class Learnt(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(3))

        def forward(self, img: torch.Tensor) -> torch.Tensor:
            return img.to(torch.float32).mean(dim=[2, 3]) * self.weight

    detector = get_detector(save_script(tmp_path / 'learnt.pt', Learnt()), 'cpu')
    assert not detector(images(), return_features=True).requires_grad


def test_a_file_url(tmp_path):
    save_script(tmp_path / 'some.pt', Features())
    assert get_detector(f'file://{tmp_path}/some.pt', 'cpu').identity.startswith('some.pt sha256:')


@pytest.mark.parametrize('spec, match', [
    ('inceptoin', "'inceptoin' is neither a file nor one of inception, dinov2, imagenet, classifier"),
    ('classifier', 'give --data'),
])
def test_unknown_names(spec, match):
    with pytest.raises((OSError, ValueError), match=match):
        get_detector(spec, 'cpu')


@pytest.mark.parametrize('spec', ['{}', 'dinov2:{}'])
@pytest.mark.parametrize('content', [b'', b'no network', b'\x80\x02cos\nsystem\n.'])
def test_files_of_another_kind_are_one_line(spec, content, tmp_path):
    path = tmp_path / 'wrong.pt'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r'wrong\.pt') as error:
        get_detector(spec.format(path), 'cpu')
    assert '\n' not in str(error.value)


def test_offline_says_where_to_put_the_file_and_then_finds_it_there(tmp_path, cache_dir, monkeypatch):
    def unreachable(*args, **kwargs):
        raise requests.ConnectionError('no network')

    monkeypatch.setattr(requests, 'get', unreachable)
    with pytest.raises(OSError, match='put it at') as error:
        get_detector('inception', 'cpu')
    place = str(error.value).partition('put it at ')[2].partition(';')[0]
    assert place.startswith(str(cache_dir)) and place.endswith('inception-2015-12-05.pt') and '\n' not in str(error.value)
    save_script(place, Features())
    assert get_detector('inception', 'cpu').identity.startswith('inception-2015-12-05.pt sha256:')
    detectors._from_file.cache_clear()


def test_dinov2_from_a_file(tmp_path):
    torch.save(random_weights(width=64, depth=2), tmp_path / 'tiny.pth')
    detector = get_detector(f'dinov2:{tmp_path}/tiny.pth', 'cpu')
    found = detector(images(), return_features=True)
    assert found.shape == (5, 64) and found.dtype == torch.float32 and detector.identity.startswith('tiny.pth sha256:')
    assert torch.equal(detector(images(1), return_features=True), detector(images(1).expand(-1, 3, -1, -1), return_features=True))
    with pytest.raises(ValueError, match='has features alone, this metric asks for no_output_bias'):
        detector(images(), no_output_bias=True)


@pytest.mark.parametrize('mode, channels', [('RGB', 3), ('L', 1)])
def test_classifier_learns_from_the_data(mode, channels, tmp_path, monkeypatch):
    monkeypatch.setattr('metrics.features.class_judge.MIN_STEPS', 2)
    monkeypatch.setattr('metrics.features.class_judge.EPOCHS', 1)
    kwargs = data_kwargs(write_data(tmp_path / 'data.zip', labels=[i % 3 for i in range(12)], mode=mode))
    detector = get_detector('classifier', 'cpu', kwargs)
    again = get_detector('classifier', 'cpu', dict(kwargs, max_size=4, xflip=True))     # whatever subset the training took
    assert again is detector
    found, probabilities = detector(images(channels), return_features=True), detector(images(channels), no_output_bias=True)
    assert found.ndim == 2 and len(found) == 5 and not found.requires_grad
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(5))
    with pytest.raises(ValueError, match='features alone'):
        detector(images(channels), resize_images=False, return_lpips=True)
    other = data_kwargs(write_data(tmp_path / 'other.zip', labels=[i % 3 for i in range(12)], mode=mode, seed=5))
    assert get_detector('classifier', 'cpu', other).identity != detector.identity


@pytest.mark.parametrize('cache', [False, True])
def test_a_classifier_is_kept_only_where_it_may_be(cache, tmp_path, cache_dir, monkeypatch):
    monkeypatch.setattr('metrics.features.class_judge.MIN_STEPS', 2)
    monkeypatch.setattr('metrics.features.class_judge.EPOCHS', 1)
    kwargs = data_kwargs(write_data(tmp_path / 'data.zip', labels=[i % 3 for i in range(12)]))
    detector = get_detector('classifier', 'cpu', kwargs, cache=cache)
    assert get_detector('classifier', 'cpu', kwargs, cache=cache) is detector
    assert (cache_dir / 'judges').exists() == cache


def test_classifier_needs_labels(tmp_path):
    with pytest.raises(ValueError, match='no class labels'):
        get_detector('classifier', 'cpu', data_kwargs(write_data(tmp_path / 'data.zip')))


def test_imagenet(monkeypatch):
    detector = get_detector('imagenet', 'cpu')
    assert detector.identity.startswith('efficientnet-lite0') and detector.identity.endswith(f' {detectors.IMAGENET_SIDE}px')
    gray = images(channels=1)
    found = detector(gray, return_features=True)
    assert found.shape == (5, 1280) and torch.equal(found, detector(three_channels(gray), return_features=True))
    with pytest.raises(ValueError, match='has features alone'):
        detector(gray, no_output_bias=True)
    monkeypatch.setattr(efficientnet_lite, 'PACKAGE', 'no_such_package')
    with pytest.raises(OSError, match='not installed'):
        detectors.check_detector('imagenet', ['return_features'])
