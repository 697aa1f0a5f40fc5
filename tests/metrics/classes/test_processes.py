"""Two processes give the numbers of one: every generated image once, in the same order, with the same class."""
import json
import pathlib

import pytest
import torch

from metrics.classes.gan_test import gan_test
from metrics.classes.memorization import memorization
from metrics.classes.per_class import fid_per_class, kid_per_class
from metrics.density_coverage import dc5k5_full
from metrics.features import class_judge
from metrics.metric_utils import get_feature_detector
from tests.support.class_metric_stand_ins import options, save_bars
from tests.support.two_processes import run_in_two

NUM_STEPS = 40  # of the judge
METRICS = [fid_per_class, kid_per_class, dc5k5_full, memorization, gan_test]


def compute(folder, train, test, **changes):
    """61 images, which is odd: the surplus of the second process has to go."""
    torch.set_num_threads(1)
    opts = options(train, test_dataset_kwargs=test, num_gen=61, batch_size=8, run_dir=folder, **changes)
    return {name: value for metric in METRICS for name, value in metric(opts).items()}


def work(rank, folder, train, test):
    class_judge.MIN_STEPS = NUM_STEPS
    values = compute(folder, train, test, num_gpus=2, rank=rank)
    if rank == 0:
        with open(f'{folder}/values.json', 'w', encoding='ascii') as file:
            json.dump(values, file)


def own_classifier(rank, folder, train):
    """Each process would learn something else."""
    class_judge.MIN_STEPS, class_judge.EPOCHS = 2 + rank, 1
    opts = options(train, detector='classifier', num_gpus=2, rank=rank)
    detectors = [get_feature_detector(opts, 'unused') for _ in range(2)]
    weights = [value.tolist() for value in detectors[0].network.state_dict().values()]
    pathlib.Path(folder, f'{rank}.json').write_text(json.dumps([detectors[1].identity, weights]), encoding='ascii')


def test_the_classifier_is_the_same_in_all_processes(tmp_path):
    run_in_two(own_classifier, tmp_path, str(tmp_path), save_bars(tmp_path / 'train.zip', 4, seed=1))
    assert (tmp_path / '0.json').read_text() == (tmp_path / '1.json').read_text()


def test_two_processes_equal_one(tmp_path, monkeypatch):
    monkeypatch.setattr(class_judge, 'MIN_STEPS', NUM_STEPS)
    train, test = save_bars(tmp_path / 'train.zip', 12, seed=1), save_bars(tmp_path / 'test.zip', 12, seed=2)
    (tmp_path / 'one').mkdir()
    (tmp_path / 'two').mkdir()
    alone = compute(str(tmp_path / 'one'), train, test)
    run_in_two(work, tmp_path, str(tmp_path / 'two'), train, test)
    with open(tmp_path / 'two' / 'values.json', encoding='ascii') as file:
        assert json.load(file) == pytest.approx(alone, rel=1e-5, abs=1e-9)
    pictures = [(tmp_path / name / 'memorization.png').read_bytes() for name in ('one', 'two')]
    assert pictures[0] == pictures[1]
