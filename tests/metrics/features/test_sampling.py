"""metrics/features/sampling.py: the same latents and labels for any batch size and number of processes, as bytes."""
import numpy as np
import pytest
import torch

from metrics.features.sampling import (
    LatentSampler,
    check_finite,
    generate_images,
    generation_batch,
    prepare_generator,
    seeded_noise,
)
from tests.support.metric_scenes import Painter, data_kwargs, options, write_data

LABELS = [0] * 9 + [1] * 2 + [2] * 1


@pytest.fixture(scope='module')
def labelled(tmp_path_factory):
    path = write_data(tmp_path_factory.mktemp('data') / 'labelled.zip', labels=LABELS)
    return data_kwargs(path, use_labels=True)


def drawn(kind, sizes, **kwargs):
    sampler = LatentSampler(options(**kwargs), c_dim=3 if kind == 'conditions' else 0, z_dim=5)
    return torch.cat([getattr(sampler, kind)(size) for size in sizes]).numpy()


@pytest.mark.parametrize('kind', ['latents', 'conditions', 'uniform'])
def test_neither_batch_size_nor_processes_change_them(kind, labelled):
    whole = drawn(kind, [24], dataset_kwargs=labelled)
    np.testing.assert_array_equal(drawn(kind, [1, 7, 16], dataset_kwargs=labelled), whole)
    for rank in range(2):
        share = drawn(kind, [5, 7], dataset_kwargs=labelled, num_gpus=2, rank=rank)
        np.testing.assert_array_equal(share, whole[rank::2])
    assert not np.array_equal(drawn(kind, [24], dataset_kwargs=labelled, seed=1), whole)
    assert whole.dtype == np.float32


def test_latents_that_belong_together_stay_together():
    whole = LatentSampler(options(), 0, 5).latents(6, 2)
    assert whole.shape == (6, 2, 5)
    for rank in range(2):
        sampler = LatentSampler(options(num_gpus=2, rank=rank), 0, 5)
        assert torch.equal(torch.cat([sampler.latents(1, 2), sampler.latents(2, 2)]), whole[rank::2])


def test_labels_come_as_often_as_in_the_data(labelled):
    c = drawn('conditions', [6000], dataset_kwargs=labelled)
    share = np.array([9, 2, 1]) / 12
    assert (c.sum(axis=1) == 1).all() and set(np.unique(c)) == {0, 1}
    np.testing.assert_allclose(c.mean(axis=0), share, atol=5 * 0.5 / 6000**0.5)


def test_balanced_classes_take_turns(labelled):
    for rank in range(2):
        sampler = LatentSampler(options(num_gpus=2, rank=rank), c_dim=3, z_dim=1, balanced=True)    # needs no data
        classes = torch.cat([sampler.conditions(2), sampler.conditions(3)]).argmax(dim=1)
        assert classes.tolist() == [(2 * i + rank) % 3 for i in range(5)]


def test_another_number_of_classes(labelled):
    with pytest.raises(ValueError, match='the network has 5 classes, the data set labelled has 3'):
        LatentSampler(options(dataset_kwargs=labelled), c_dim=5, z_dim=5)


def test_images_and_classes(labelled):
    opts = options(G=Painter(c_dim=3), dataset_kwargs=labelled, batch_size=5)
    batches = list(generate_images(opts, 12))
    assert [len(images) for images, _ in batches] == [5, 5, 2]
    images, classes = (torch.cat(parts) for parts in zip(*batches, strict=True))
    assert images.dtype == torch.uint8 and images.shape == (12, 3, 16, 16) and classes.dtype == torch.int64
    bounds = torch.tensor([-0.75, -0.25, 0.25, 0.75]) * 127.5 + 128     # of the levels that Painter gives to each class
    level = images[:, 0, 0, 0].float()
    assert (bounds[classes] - 1 <= level).all() and (level <= bounds[classes + 1]).all()


def test_each_process_makes_its_share():
    whole = torch.cat([images for images, _ in generate_images(options(G=Painter()), 7)])
    for rank in range(2):
        share = torch.cat([images for images, _ in generate_images(options(G=Painter(), num_gpus=2, rank=rank), 7)])
        assert len(share) == 4     # equally many: the surplus is cut when they are gathered
        assert torch.equal(share[:3], whole[rank::2][:3])


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_broken_images_are_said(value):
    images = torch.zeros(3, 1, 2, 2)
    images[1, 0, 1, 1] = value
    with pytest.raises(ValueError, match='1 of 3 generated images hold NaN'):
        check_finite(images)


def test_a_broken_network_stops_the_generation():
    with pytest.raises(ValueError, match='hold NaN or infinity'):
        next(generate_images(options(G=Painter(broken=True)), 4))


def test_the_generator_is_left_alone():
    G = torch.nn.Module()
    G.weight = torch.nn.Parameter(torch.ones(1))
    copy, kwargs = prepare_generator(options(G=G.train(), G_kwargs=dict(noise_mode='const')))
    assert G.training and G.weight.requires_grad and not copy.training and not copy.weight.requires_grad
    assert kwargs == dict(force_fp32=True, noise_mode='const')


def test_no_generator():
    with pytest.raises(ValueError, match='needs a generator'):
        prepare_generator(options())


@pytest.mark.parametrize('channels, side, message', [(1, 16, '16x16 with 1 channels'), (3, 32, '32x32 with 3 channels')])
def test_images_of_another_shape(channels, side, message, labelled):
    G = Painter(c_dim=3, img_channels=channels)
    G.img_resolution = side
    with pytest.raises(ValueError, match=message):
        prepare_generator(options(G=G, dataset_kwargs=labelled))


def test_torch_random_numbers_are_left_as_they_are():
    state = torch.random.get_rng_state()
    with seeded_noise(options(seed=3)):
        first = torch.randn(4)
    assert torch.equal(torch.random.get_rng_state(), state)
    with seeded_noise(options(seed=3)):
        assert torch.equal(torch.randn(4), first)
    with seeded_noise(options(seed=3, num_gpus=2, rank=1)):
        assert not torch.equal(torch.randn(4), first)


@pytest.mark.parametrize('resolution, batch', [(128, 64), (256, 16), (2048, 1)])
def test_large_images_are_made_a_few_at_a_time(resolution, batch):
    assert generation_batch(options(batch_size=64), resolution) == batch
