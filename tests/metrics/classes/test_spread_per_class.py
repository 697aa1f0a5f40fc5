"""The spread of classes against plain values, and the metric on generators with known behaviour."""
import numpy as np
import pytest
import torch

from metrics.classes.spread_per_class import class_spreads, relative_spreads, spread_per_class
from metrics.features.spread import spread
from tests.support.class_metric_stand_ins import NAMES, Bars, options, save_bars


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random_set(num_classes=3, num_per_class=6, channels=2, size=5, seed=0):
    labels = torch.arange(num_classes).repeat(num_per_class)
    return torch.randint(256, [len(labels), channels, size, size], dtype=torch.uint8, generator=generator(seed)), labels


def test_spreads_are_those_of_each_class():
    images, labels = random_set()
    assert class_spreads(images, labels, 3).tolist() == [spread(images[labels == k]) for k in range(3)]


def test_the_real_images_have_spread_one_in_any_order():
    images, labels = random_set()
    order = torch.randperm(len(labels), generator=generator())
    np.testing.assert_allclose(relative_spreads(images[order], labels[order], images, labels, 3), 1, rtol=1e-12)


def test_half_the_amplitude_is_half_the_spread():
    images, labels = random_set()
    images = images // 2 * 2  # halves exactly
    np.testing.assert_allclose(relative_spreads(images // 2 + 60, labels, images, labels, 3), 0.5, rtol=1e-6)  # float32


def test_spread_refuses_unfit_input():
    images, labels = random_set()
    with pytest.raises(ValueError, match='single image'):
        class_spreads(images[:4], labels[:4], 3)
    with pytest.raises(ValueError, match='differ in shape'):
        relative_spreads(images[..., 1:], labels, images, labels, 3)
    with pytest.raises(ValueError, match='class 1 are all the same'):
        relative_spreads(images, labels, torch.where((labels == 1)[:, None, None, None], 7, images), labels, 3)


@pytest.mark.parametrize(('amplitude', 'expected'), [(0.2, 1), (0, 0)])
def test_a_collapsed_generator_has_no_spread(tmp_path, amplitude, expected):
    data, unseen = (save_bars(tmp_path / f'{seed}.zip', 20, seed) for seed in (1, 2))
    results = spread_per_class(options(data, Bars(amplitude=amplitude), test_dataset_kwargs=unseen))
    assert results['spread_per_class'] == pytest.approx(expected, abs=0.35)  # 20 real images a class
    assert results['spread_per_class'] == pytest.approx(np.mean([results[f'spread_per_class/{name}'] for name in NAMES]))
    assert results['spread_per_class_reference'] == pytest.approx(1, abs=0.35)
    assert set(results) == {f'spread_per_class{middle}{end}' for middle in ('', '_reference')
                            for end in ('', *(f'/{name}' for name in NAMES))}
