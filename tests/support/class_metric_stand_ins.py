"""A generator, a data set and a detector whose class metrics are known."""
import io
import json
import zipfile

import torch
from PIL import Image

from metrics.features.labelled_images import folder_kwargs
from metrics.metric_options import MetricOptions

NAMES = ['top', 'middle', 'bottom']


class Bars(torch.nn.Module):
    """Draws a bright bar at the height of the class (or, blind, always at the top); z sets the brightness of its two halves
    and of the ground.
    """

    z_dim, c_dim, img_channels, img_resolution = 4, 3, 1, 16
    num_made = 0  # by all instances: metrics work on copies

    def __init__(self, blind=False, amplitude=0.2):
        super().__init__()
        self.blind, self.amplitude = blind, amplitude

    def forward(self, z, c, **_kwargs):
        assert z.dtype == c.dtype == torch.float32
        Bars.num_made += len(z)
        left, right, ground = self.amplitude * z[:, :3].clamp(-2, 2).T
        images = (ground - 0.5).reshape(-1, 1, 1, 1).repeat(1, 1, 16, 16)
        for i, label in enumerate(c.argmax(1).tolist()):
            row = 0 if self.blind else 5 * label
            images[i, :, row : row + 5, :8] = 0.4 + left[i]
            images[i, :, row : row + 5, 8:] = 0.4 + right[i]
        return images


class Pixels:
    """The features of an image are its pixels, four of them averaged: float32 [N, 64]."""

    identity = 'pixels'

    def __call__(self, images, **_wanted):
        return self.features(images)

    def features(self, images):
        return torch.nn.functional.avg_pool2d(images.float(), 2).flatten(1) / 255


def save_bars(path, num_per_class, seed, names=NAMES, labelled=True):
    """A zip of the bars that the generator of these classes draws; the classes take turns. Returns what opens it."""
    labels = torch.arange(3).repeat(num_per_class)
    z = torch.randn(len(labels), 4, generator=torch.Generator().manual_seed(seed))
    images = Bars()(z, torch.nn.functional.one_hot(labels, 3).float()).mul(127.5).add(128).clamp(0, 255).to(torch.uint8)
    entries = []
    with zipfile.ZipFile(path, 'w') as archive:
        for i, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
            buffer = io.BytesIO()
            Image.fromarray(image[0].numpy()).save(buffer, format='PNG')
            archive.writestr(f'{i:04}.png', buffer.getvalue())
            entries.append([f'{i:04}.png', label])
        listed = dict(labels=entries, class_names=list(names)) if labelled else dict(labels=None)
        archive.writestr('dataset.json', json.dumps(listed))
    return folder_kwargs(path)


def options(dataset_kwargs, G=None, **changes):
    """MetricOptions on the CPU, without any cache."""
    settings = dict(G=G or Bars(), dataset_kwargs=dataset_kwargs, detector=Pixels(), cache=False, num_gen=60, batch_size=16)
    return MetricOptions(device=torch.device('cpu'), **{**settings, **changes})
