"""Metrics of every class: values by hand, the mean, the warning, one pass for all of them, and what is refused."""
import dataclasses
import re

import numpy as np
import pytest

from metrics.classes.class_features import ClassFeatures, each_class, real_features
from metrics.classes.per_class import dc_per_class, few_images_warning, fid_per_class, kid_per_class, mean_cov, pr_per_class
from metrics.features import class_judge
from metrics.features.detectors import get_detector
from metrics.features.labelled_images import load_labelled
from metrics.metric_main import calc_metric, list_valid_metrics
from metrics.registry import find_metric
from tests.support.class_metric_stand_ins import NAMES, Bars, Pixels, options, save_bars


def features(counts, d=3, seed=0):
    labels = np.repeat(np.arange(len(counts)), counts)
    values = np.random.default_rng(seed).normal(size=[len(labels), d])
    return ClassFeatures(values.astype(np.float32), labels, NAMES[:len(counts)])


def test_the_headline_is_the_mean_over_classes_however_large():
    real, fake = features([2, 6]), features([5, 5], seed=1)
    values = each_class(lambda x, y: {'m': len(x), 'n': len(y)}, real, fake)
    assert values == {'m': 4, 'm/top': 2, 'm/middle': 6, 'n': 5, 'n/top': 5, 'n/middle': 5}


def test_each_class_gets_its_own_images():
    real = features([3, 4])
    real = ClassFeatures(real.features, np.array([0, 1, 1, 0, 1, 0, 1]), real.class_names)
    seen = []
    each_class(lambda x, y: seen.append(x) or {'m': 0.0}, real, real)
    np.testing.assert_array_equal(seen[0], real.features[[0, 3, 5]])
    np.testing.assert_array_equal(seen[1], real.features[[1, 2, 4, 6]])


def test_an_error_says_the_class():
    def measure(x, y):
        raise ValueError('too few')

    with pytest.raises(ValueError, match='class top: too few'):
        each_class(measure, features([1, 1]), features([1, 1]))


def test_covariance_divides_by_the_number_and_survives_a_large_mean():
    x = np.array([[1e6, 0], [1e6 + 2, 1]], dtype=np.float32)
    mean, cov = mean_cov(x)
    assert mean.tolist() == [1e6 + 1, 0.5] and cov.tolist() == [[1, 0.5], [0.5, 0.25]]
    assert mean_cov(x[:, :1])[1].shape == (1, 1)


@pytest.mark.parametrize(('real', 'fake', 'words'), [
    ([50, 2048, 60], [4000] * 3, r'2 of 3 classes have .* 2,048 images \(the fewest: 50 real ones of class top\).*imprecise'),
    ([50, 3, 60], [4000] * 3, r'3 of 3 .* 3 real ones of class middle.*not of full rank'),
    ([3000] * 3, [2048, 2048, 2047], r'1 of 3 .* 2,047 generated ones of class bottom.*imprecise'),
])
def test_few_images_are_said_in_words(real, fake, words):
    assert few_images_warning(features([2048] * 3), features([5000] * 3)) is None
    text = few_images_warning(features(real), features(fake))
    assert re.search(words + r'.*biased upwards.*Trust kid_per_class', text)


# on a generator and a data set


@pytest.fixture(scope='module')
def bars(tmp_path_factory):
    return save_bars(tmp_path_factory.mktemp('bars') / 'bars.zip', 20, seed=1)


METRICS = [fid_per_class, kid_per_class, dc_per_class, pr_per_class]


def test_a_generator_that_knows_its_classes_does_well(bars):
    good, blind = ({k: v for metric in METRICS for k, v in metric(options(bars, Bars(blind))).items()} for blind in (False, True))
    assert list(good)[:4] == ['fid_per_class', 'fid_per_class/top', 'fid_per_class/middle', 'fid_per_class/bottom']
    assert all(good[f'{name}/bottom'] < 0.05 * blind[f'{name}/bottom'] for name in ('fid_per_class', 'kid_per_class'))
    assert all(good[f'{name}/top'] == blind[f'{name}/top'] for name in ('fid_per_class', 'kid_per_class'))
    assert good['pr_per_class_recall'] > 0.5 and blind['pr_per_class_recall/bottom'] == 0
    assert good['dc_per_class_coverage'] > 0.8 and blind['dc_per_class_coverage/bottom'] == 0
    assert good['fid_per_class'] == pytest.approx(np.mean([good[f'fid_per_class/{name}'] for name in NAMES]))


def test_one_pass_serves_all_classes_and_all_metrics(bars):
    shared, before = {}, Bars.num_made
    for metric in METRICS:
        metric(options(bars, shared=shared))
    assert Bars.num_made == before + 60
    fid_per_class(options(bars, shared=shared, seed=1))  # other images
    assert Bars.num_made == before + 120


def test_a_subset_or_mirror_of_the_training_changes_nothing(bars):
    assert fid_per_class(options(dict(bars, max_size=30, xflip=True))) == fid_per_class(options(bars))


@pytest.mark.parametrize('metric', METRICS)
def test_held_out_images_take_the_place_of_generated_ones(metric, bars, tmp_path):
    unseen = save_bars(tmp_path / 'unseen.zip', 15, seed=2)
    opts = options(bars, test_dataset_kwargs=unseen)
    found = metric(opts)
    plain = metric(options(bars))
    reference = {name.replace('_reference', ''): value for name, value in found.items() if '_reference' in name}
    assert set(reference) == set(plain) and {**found, **plain} == found
    assert (opts.facts['num_real'], opts.facts['num_held_out']) == (60, 45)

    class Played(Bars):  # a generator of these very images
        def forward(self, z, c, **_kwargs):
            Played.start += len(z)
            return images[Played.start - len(z):Played.start]

    Played.start, data = 0, load_labelled(unseen)
    images = (data.images.float() - 127.5) / 127.5
    assert metric(options(bars, Played(), num_gen=45)) == pytest.approx(reference, rel=1e-6)


def test_a_classifier_does_not_learn_from_held_out_images(bars, tmp_path, monkeypatch):
    monkeypatch.setattr(class_judge, 'MIN_STEPS', 1)
    monkeypatch.setattr(class_judge, 'EPOCHS', 1)
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path))
    unseen = save_bars(tmp_path / 'unseen.zip', 8, seed=2)
    opts = options(bars, test_dataset_kwargs=unseen, detector='classifier')
    kid_per_class(opts)
    assert opts.facts['detector'] == get_detector('classifier', 'cpu', bars).identity
    assert len(list((tmp_path / 'judges').iterdir())) == 1


@pytest.mark.parametrize('metric', METRICS)
def test_refuses_what_has_no_classes(metric, bars, tmp_path):
    unlabelled = save_bars(tmp_path / 'unlabelled.zip', 4, seed=0, labelled=False)
    with pytest.raises(ValueError, match=r'unlabelled\.zip has no class labels'):
        metric(options(unlabelled))
    G = Bars()
    G.c_dim = 0
    with pytest.raises(ValueError, match='the network is unconditional: metrics of classes'):
        metric(options(bars, G))
    G.c_dim = 5
    with pytest.raises(ValueError, match='the network has 5 classes, the data have 3'):
        metric(options(bars, G))


@pytest.mark.parametrize('metric', METRICS)
def test_refuses_too_few_images(metric, bars, tmp_path):
    with pytest.raises(ValueError, match=r'2 generated images cannot show 3 classes: raise --num-gen'):
        metric(options(bars, num_gen=2))
    with pytest.raises(ValueError, match=r'bars\.zip with --max-real=2: no images of class \w+: every class'):
        metric(options(bars, max_real=2))


@pytest.mark.parametrize('max_real', [4, 30])
def test_every_class_has_its_part_of_the_real_images(max_real, bars):
    """20 of 60 images is every third one, and the classes of these data take turns."""
    counts = real_features(options(bars, max_real=max_real), NAMES).counts()
    assert counts.sum() == max_real and counts.max() - counts.min() <= 1


def test_fewer_images_than_neighbours_are_said_with_the_class(tmp_path):
    few = save_bars(tmp_path / 'few.zip', 5, seed=0)
    with pytest.raises(ValueError, match='class top: 5 neighbours of every point need 6 points or more, found 5'):
        dc_per_class(options(few))


@pytest.mark.parametrize('name, least', [('kid_per_class', 2), ('dc_per_class', 6), ('pr_per_class', 4)])
def test_small_classes_are_said_before_images_are_read_or_made(name, least, tmp_path, monkeypatch):
    def measured_by_name(num_per_class, held_out=None):
        train = save_bars(tmp_path / 'few.zip', num_per_class, seed=0)
        test = None if held_out is None else save_bars(tmp_path / 'unseen.zip', held_out, seed=1)
        return calc_metric(name, G=Bars(), dataset_kwargs=train, test_dataset_kwargs=test, detector=Pixels(), cache=False,
                           num_gen=30, device='cpu').results

    assert len(measured_by_name(least)) >= 4 and len(measured_by_name(least, least)) >= 8
    monkeypatch.setattr('metrics.metric_utils.real_images', lambda *args: pytest.fail('images were read'))
    text = f'{name} needs {least} real images of every class or more, few has {least - 1} of class top'
    with pytest.raises(ValueError, match=text):
        measured_by_name(least - 1)
    with pytest.raises(ValueError, match=text.replace('few', 'unseen')):
        measured_by_name(least, least - 1)


def test_images_with_nan_are_refused(bars):
    with pytest.raises(ValueError, match='NaN'):
        fid_per_class(options(bars, Bars(amplitude=float('nan'))))


def test_by_name_with_the_counts(bars):
    settings = dataclasses.asdict(options(bars)) | dict(G=Bars(), detector=Pixels())
    for key in ('progress', 'facts', 'shared', 'rank'):
        del settings[key]
    result = calc_metric('kid_per_class', **settings)
    assert result.metric == 'kid_per_class_0.06k' and (result.num_gen, result.num_real) == (60, 60)
    assert list(result.results) == ['kid_per_class_0.06k', *(f'kid_per_class_0.06k/{name}' for name in NAMES)]
    assert set(METRICS) <= {find_metric(name).compute for name in list_valid_metrics()}
    for name in ('dc5k5_full', 'gan_test', 'gan_train', 'memorization'):
        assert find_metric(name).num_gen == (5000 if name == 'dc5k5_full' else 10000)
