"""Small networks, data and detectors for tests of metrics."""
import io
import json
import warnings
import zipfile

import numpy as np
import torch
from PIL import Image

from metrics.metric_options import MetricOptions

RESOLUTION = 16


class Features(torch.nn.Module):
    """A detector: averages over 4x4 pixels, flattened; [N, 48]."""

    def forward(self, img: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        assert img.dtype == torch.uint8 and img.shape[1] == 3
        return torch.nn.functional.avg_pool2d(img.to(torch.float32), 4).flatten(1) / 255


class Everything(torch.nn.Module):
    """A detector with all of NVLabs' keywords."""

    def forward(self, img: torch.Tensor, return_features: bool = False, no_output_bias: bool = False, resize_images: bool = True,
                return_lpips: bool = False) -> torch.Tensor:
        x = torch.nn.functional.avg_pool2d(img.to(torch.float32), 4).flatten(1) / 255
        if return_lpips:
            assert not resize_images
            return x
        return torch.softmax(x[:, :5] * 10, 1) if no_output_bias else x


class Painter(torch.nn.Module):
    """A generator without weights: every image is flat, its brightness by the class and by z; noise counts the calls."""

    z_dim, img_resolution = 4, RESOLUTION

    def __init__(self, c_dim=0, img_channels=3, broken=False):
        super().__init__()
        self.c_dim, self.img_channels, self.broken = c_dim, img_channels, broken

    def forward(self, z, c, force_fp32=False):
        level = (torch.tanh(z.mean(dim=1)) + 2 * c.argmax(dim=1) if self.c_dim else torch.tanh(z.mean(dim=1))) / 4 - 0.5
        level = level / 0 if self.broken else level
        return level[:, None, None, None].expand(-1, self.img_channels, RESOLUTION, RESOLUTION)


def save_script(path, network):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', DeprecationWarning)     # of TorchScript
        torch.jit.script(network.eval()).save(str(path))
    return str(path)


def write_data(path, num=12, labels=None, mode='RGB', seed=0):
    """A zip of random images, with a class for each if labels are given."""
    rng = np.random.default_rng(seed)
    shape = (num, RESOLUTION, RESOLUTION, 3) if mode == 'RGB' else (num, RESOLUTION, RESOLUTION)
    names = [f'{index:04d}.png' for index in range(num)]
    with zipfile.ZipFile(path, 'w') as archive:
        for name, pixels in zip(names, rng.integers(0, 256, shape, dtype=np.uint8), strict=True):
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, format='PNG')
            archive.writestr(name, buffer.getvalue())
        if labels is not None:
            archive.writestr('dataset.json', json.dumps({'labels': list(map(list, zip(names, labels, strict=True)))}))
    return path


def data_kwargs(path, **kwargs):
    return dict(class_name='training.dataset.ImageFolderDataset', path=str(path), **kwargs)


def options(**kwargs):
    return MetricOptions(device='cpu', **kwargs)
