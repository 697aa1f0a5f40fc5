"""Class labels that fade in: the schedule against numpy, labels at both ends, and networks that take what is between."""

import numpy as np
import pytest
import torch

from hyper_plugin.loss import HyperTransferLoss
from hyper_plugin.networks import order_by_class
from tests.support.hyper_sources import labels, make_hyper, make_hyper_D, make_source, make_source_D
from training.data.image_dataset import ImageFolderDataset
from training.loop.cond_ramp import fade_labels, mean_label, parse_ramp, ramp_strength
from training.loss import StyleGAN2Loss
from training.networks import Discriminator, Generator

CHANNELS = dict(channel_base=64, channel_max=6)
CPU = torch.device('cpu')


def test_a_ramp_without_length_is_a_step():
    assert [ramp_strength(images, [2, 2]) for images in (0, 1999, 2000, 9999)] == [0, 0, 1, 1]
    assert ramp_strength(0, [0, 0]) == 1
    assert ramp_strength(0, None) == 1


@pytest.mark.parametrize('text, ramp', [('0,0', [0, 0]), (' 1.5 , 3e2', [1.5, 300])])
def test_ramps_are_read(text, ramp):
    assert parse_ramp(text) == ramp


@pytest.mark.parametrize('text', ['', '200', '1,2,3', '400,200', '-1,5', 'nan,5', '0,inf', 'a,b'])
def test_wrong_ramps_are_one_line(text):
    with pytest.raises(ValueError, match='START,END in thousands of images, 0 <= START <= END') as error:
        parse_ramp(text)
    assert str(error.value).startswith(f'--cond-ramp={text}: ')
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('strength', [0, 0.25, 0.999])
@pytest.mark.parametrize('count, num_classes', [(1, 1), (16, 3), (23, 10), (4, 0)])
def test_labels_between(strength, count, num_classes):
    c = torch.eye(num_classes)[torch.randint(max(num_classes, 1), [count])] if num_classes else torch.zeros(count, 0)
    mean, before = torch.rand(num_classes).softmax(dim=0), c.clone()
    faded = fade_labels(c, mean, strength)
    want = mean.double() + strength * (c.double() - mean.double())
    torch.testing.assert_close(faded.double(), want, atol=1e-6, rtol=1e-6)  # float32 rounding of numbers up to 1
    assert faded.dtype == torch.float32
    assert torch.equal(c, before)
    if strength == 0:
        assert torch.equal(faded, mean.expand(count, -1))


def test_mean_label_of_classes_counts_images(rgb_zip):
    dataset = ImageFolderDataset(str(rgb_zip), use_labels=True, max_size=7, xflip=True)
    counts = dataset.class_counts()
    assert len(set(counts.tolist())) > 1  # otherwise equal shares would pass
    assert mean_label(dataset).dtype == torch.float32
    np.testing.assert_allclose(mean_label(dataset).numpy(), counts / 14, rtol=1e-6)
    dataset.close()


def test_mean_label_of_vectors_and_of_none():
    vectors = np.random.default_rng(0).normal(size=[9, 4]).astype(np.float32)
    np.testing.assert_allclose(mean_label(Labels(vectors)).numpy(), vectors.astype(np.float64).mean(axis=0), rtol=1e-6)
    assert mean_label(Labels(np.zeros([9, 0], dtype=np.float32))).shape == (0,)


class Labels:
    """A data set of labels alone."""

    def __init__(self, vectors):
        self.vectors = vectors
        self.has_onehot_labels = False

    def __len__(self):
        return len(self.vectors)

    def labels(self):
        return self.vectors


def plain(**D_kwargs):
    image = dict(img_resolution=16, img_channels=3)
    G = Generator(z_dim=6, c_dim=3, w_dim=5, mapping_kwargs=dict(num_layers=2), synthesis_kwargs=CHANNELS, **image)
    D = Discriminator(c_dim=3, **image, **CHANNELS, **D_kwargs)
    return G, D, StyleGAN2Loss(CPU, G.mapping, G.synthesis, D, r1_gamma=1)


def hyper(**D_kwargs):
    G = make_hyper(make_source(), init_scale=0.3)
    D = make_hyper_D(make_source_D(), **D_kwargs)
    return G, D, HyperTransferLoss(CPU, G.mapping, G.synthesis, D, r1_gamma=1)


@pytest.mark.parametrize('make, D_kwargs', [(plain, {}), (hyper, dict(d_cond='heads')), (hyper, dict(d_cond='projection'))])
@pytest.mark.parametrize('strength', [0, 0.4])
def test_networks_train_with_faded_labels(make, D_kwargs, strength):
    G, D, loss = make(**D_kwargs)
    learning = dict(G=list(G.train().parameters()), D=list(D.train().parameters()))
    mean = torch.tensor([0.5, 0.3, 0.2])
    c = fade_labels(labels(0, 1, 2, 2, 1, 0, 0, 0), mean, strength)
    for phase in ('Gboth', 'Dboth'):
        for name, parameters in learning.items():
            for parameter in parameters:
                parameter.requires_grad_(phase.startswith(name))
        loss.accumulate_gradients(phase, torch.randn(8, 3, 16, 16), c, torch.randn(8, 6), c, sync=True, gain=1)
    for name, parameters in learning.items():
        assert all(torch.isfinite(parameter.grad).all() for parameter in parameters if parameter.grad is not None)
        assert sum(float(parameter.grad.abs().sum()) for parameter in parameters if parameter.grad is not None) > 0, name


def test_deviation_groups_follow_classes_as_soon_as_those_lead():
    c = labels(0, 1, 0, 1, 0, 1, 0, 1, c_dim=2)
    mean = torch.tensor([0.5, 0.5])
    assert torch.equal(order_by_class(fade_labels(c, mean, 0), 4), torch.arange(8))
    assert torch.equal(order_by_class(fade_labels(c, mean, 0.01), 4), order_by_class(c, 4))
