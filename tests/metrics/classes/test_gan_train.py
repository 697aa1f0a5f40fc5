"""GAN-train on generators that know their classes, are blind to them, or make one image of each; and its warning."""
import pytest

from metrics.classes.gan_train import gan_train
from tests.support.class_metric_stand_ins import Bars, options, save_bars


@pytest.fixture(scope='module')
def bars(tmp_path_factory):
    return save_bars(tmp_path_factory.mktemp('bars') / 'train.zip', 20, seed=1)


@pytest.fixture(scope='module')
def unseen(tmp_path_factory):
    return save_bars(tmp_path_factory.mktemp('bars') / 'test.zip', 12, seed=2)


@pytest.fixture(autouse=True)
def short_training(monkeypatch):
    monkeypatch.setattr('metrics.features.class_judge.MIN_STEPS', 40)


def test_a_good_generator_teaches_the_classes(bars, unseen):
    opts = options(bars, test_dataset_kwargs=unseen)
    values = gan_train(opts)
    assert values == {'gan_train': 1, 'gan_train/top': 1, 'gan_train/middle': 1, 'gan_train/bottom': 1, 'gan_train_reference': 1}
    assert opts.facts['confusion'] == [[12, 0, 0], [0, 12, 0], [0, 0, 12]]
    assert (opts.facts['num_gen'], opts.facts['num_real']) == (60, 36) and 'warnings' not in opts.facts


def test_a_blind_generator_teaches_nothing(bars, unseen):
    values = gan_train(options(bars, Bars(blind=True), test_dataset_kwargs=unseen))
    assert values['gan_train'] < 0.7 and values['gan_train_reference'] == 1


def test_without_test_data_it_says_so(bars):
    opts = options(bars)
    values = gan_train(opts)
    assert 'gan_train_reference' not in values and opts.facts['num_real'] == 60
    assert len(opts.facts['warnings']) == 1 and 'without --test-data' in opts.facts['warnings'][0]


def test_refuses_data_without_labels(tmp_path):
    with pytest.raises(ValueError, match='no class labels'):
        gan_train(options(save_bars(tmp_path / 'unlabelled.zip', 4, seed=0, labelled=False)))
