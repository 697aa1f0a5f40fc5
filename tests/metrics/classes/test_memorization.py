"""Distances to the training images: values by hand, a generator that copies, the picture, and what is refused."""
import numpy as np
import pytest
import torch
from PIL import Image

from metrics.classes.class_features import ClassFeatures
from metrics.classes.memorization import Distances, closest_pairs, memorization, memorization_values, training_distances
from metrics.features.labelled_images import load_labelled
from tests.support.class_metric_stand_ins import Bars, options, save_bars


def points(values, labels, names=('a', 'b')):
    return ClassFeatures(np.array(values, dtype=np.float32).reshape(len(labels), -1), np.array(labels), list(names))


TRAIN = points([0, 10, 100], [0, 0, 1])


def test_values_by_hand():
    held_out = points([1, 6, 12, 103, 102, 101], [0, 0, 0, 1, 1, 1])  # 1, 4, 2 and 3, 2, 1 from the nearest
    made = points([0.5, 9.5, 13, 96, 120], [0, 0, 0, 1, 1])  # 0.5, 0.5, 3 and 4, 20
    distances = training_distances(TRAIN, held_out, made)
    np.testing.assert_allclose(distances.held_out, [1, 4, 2, 3, 2, 1], rtol=1e-6)
    np.testing.assert_allclose(distances.generated, [0.5, 0.5, 3, 4, 20], rtol=1e-6)
    assert distances.index.tolist() == [0, 1, 1, 2, 2]
    values = memorization_values(distances, held_out, made)
    assert values == pytest.approx({  # medians 0.5 / 2 and 12 / 2; two of three lie nearer than all of the held-out ones
        'memorization': 3.125, 'memorization/a': 0.25, 'memorization/b': 6,
        'memorization_copies': 1 / 3, 'memorization_copies/a': 2 / 3, 'memorization_copies/b': 0})


def test_an_image_of_another_class_may_be_copied_too():
    distances = training_distances(TRAIN, points([1, 99], [0, 1]), points([100, 0], [0, 1]))
    assert distances.index.tolist() == [2, 0] and distances.generated.tolist() == pytest.approx([0, 0], abs=1e-6)


def test_copies_count_where_some_held_out_images_are_training_images_too():
    held_out = points([0, 1, 2, 3, 103, 102, 101], [0, 0, 0, 0, 1, 1, 1])
    distances = Distances(np.array([0.0, 0, 2, 3, 3, 2, 1]), np.array([0, 1e-7, 2, 20]), np.zeros(4, int), spread=1.0)
    values = memorization_values(distances, held_out, points([0, 0, 2, 20], [0, 0, 0, 1]))
    assert (values['memorization_copies/a'], values['memorization_copies/b']) == (2 / 3, 0)


def test_closest_pairs_come_first_in_each_class():
    distances = Distances(np.ones(1), np.array([5.0, 1, 4, 2, 3]), np.zeros(5, int), 1.0)
    assert closest_pairs(distances, points(range(5), [0, 0, 1, 1, 1]), num_pairs=2).tolist() == [[1, 0], [3, 4]]
    assert closest_pairs(distances, points(range(5), [0, 1, 1, 1, 1]), num_pairs=5).tolist() == [[0], [1]]


# on a generator and two data sets


@pytest.fixture(scope='module')
def bars(tmp_path_factory):
    return save_bars(tmp_path_factory.mktemp('bars') / 'train.zip', 20, seed=1)


@pytest.fixture(scope='module')
def unseen(tmp_path_factory):
    return save_bars(tmp_path_factory.mktemp('bars') / 'test.zip', 20, seed=2)


class Copies(Bars):
    """Gives out images of a data set."""

    def __init__(self, kwargs):
        super().__init__()
        data = load_labelled(kwargs)
        self.images = [data.images[data.labels == k].float().sub(127.5).div(127.5) for k in range(3)]

    def forward(self, z, c, **_kwargs):
        picks = (z[:, 0].abs() * 1000).long() % 20
        return torch.stack([self.images[k][i] for k, i in zip(c.argmax(1).tolist(), picks.tolist(), strict=True)])


def test_a_generator_that_copies_is_found_out(bars, unseen, tmp_path):
    opts = options(bars, Copies(bars), test_dataset_kwargs=unseen, run_dir=tmp_path)
    values = memorization(opts)
    assert values['memorization'] == pytest.approx(0, abs=1e-3) and values['memorization_copies'] == 1
    fresh = memorization(options(bars, test_dataset_kwargs=unseen, num_gen=600))
    assert 0.3 < fresh['memorization'] < 3 and fresh['memorization_copies'] < 0.5
    assert (opts.facts['num_gen'], opts.facts['num_real'], opts.facts['num_held_out']) == (60, 60, 60)


def test_the_picture_shows_copies_beside_their_originals(bars, unseen, tmp_path):
    opts = options(bars, Copies(bars), test_dataset_kwargs=unseen, run_dir=tmp_path)
    memorization(opts)
    assert [path.name for path in tmp_path.iterdir()] == ['memorization.png']
    pixels = np.asarray(Image.open(tmp_path / 'memorization.png'), dtype=float)
    row_height = pixels.shape[0] // 3
    cells = pixels[:, -5 * 34:].reshape(3, row_height, 5, 34)  # a generated image, a real one, a gap of 2 pixels
    assert np.abs(cells[..., :16] - cells[..., 16:32]).max() <= 1
    assert cells[..., 32:].min() == 255 and len(np.unique(cells[..., :16])) > 4
    assert 'left the generated image' in opts.facts['tables'][0]
    memorization(options(bars, test_dataset_kwargs=unseen))  # without a run directory: no picture
    assert len(list(tmp_path.iterdir())) == 1


def test_mirrored_training_images_count(bars, unseen):
    opts = options(dict(bars, xflip=True), test_dataset_kwargs=unseen)
    memorization(opts)
    assert opts.facts['num_real'] == 120


def test_refuses_missing_seen_and_foreign_test_data(bars, tmp_path):
    with pytest.raises(ValueError, match='not seen: give them with --test-data'):
        memorization(options(bars))
    with pytest.raises(ValueError, match='class top in --test-data are those of the training data'):
        memorization(options(bars, test_dataset_kwargs=bars))
    other = save_bars(tmp_path / 'other.zip', 4, seed=0, names=['x', 'y', 'z'])
    with pytest.raises(ValueError, match='--test-data has the classes x, y, z, the data have top, middle, bottom'):
        memorization(options(bars, test_dataset_kwargs=other))
