"""metrics/metric_needs.py: what a metric says it needs is what its computation takes, no more and no less."""
import pytest
import torch

from metrics.metric_main import calc_metric, list_valid_metrics
from metrics.metric_needs import check_images, check_metric
from metrics.registry import find_metric
from tests.support.class_metric_stand_ins import NAMES, Bars, Pixels, options, save_bars
from tests.support.metric_scenes import Everything, Features, save_script


@pytest.fixture(autouse=True)
def _short_training(monkeypatch):
    monkeypatch.setattr('metrics.features.class_judge.MIN_STEPS', 2)
    monkeypatch.setattr('metrics.features.class_judge.EPOCHS', 1)


def needed(name):
    metric = find_metric(name)
    return metric.least_images * (len(NAMES) if 'classes' in metric.needs else 1)


class Shares(Pixels):
    """Positive and summing to 1, for metrics of probabilities too."""

    def __call__(self, images, **wanted):
        return torch.softmax(self.features(images), dim=1)


def compute(name, train, num_gen, **changes):
    opts = options(train, Bars(), num_gen=num_gen, detector=Shares(), **changes)
    return find_metric(name).compute(opts)


@pytest.mark.parametrize('name', [name for name in list_valid_metrics() if not name.startswith('ppl')])
def test_the_least_number_of_images_suffices_and_fewer_do_not(name, tmp_path):
    """ppl, which asks for a network with a mapping, takes a single pair."""
    train, test = (save_bars(tmp_path / f'{seed}.zip', 8, seed=seed) for seed in (0, 1))
    held_out = dict(test_dataset_kwargs=test) if 'test_data' in find_metric(name).needs else {}
    check_images(find_metric(name), train, **held_out, num_gen=needed(name))
    assert compute(name, train, needed(name), **held_out)
    if needed(name) > 1:
        with pytest.raises(ValueError, match=f'{name} needs {needed(name)} generated .* found {needed(name) - 1}'):
            check_images(find_metric(name), train, **held_out, num_gen=needed(name) - 1)
        with pytest.raises(ValueError, match=r'need|cannot show'):
            compute(name, train, needed(name) - 1, **held_out)


@pytest.mark.parametrize('name', ['kid50k_full', 'pr50k3_full', 'dc_per_class'])
def test_the_least_number_of_real_images(name, tmp_path):
    train = save_bars(tmp_path / 'train.zip', 8, seed=0)
    check_images(find_metric(name), train, max_real=needed(name))
    assert compute(name, train, 18, max_real=needed(name))
    with pytest.raises(ValueError, match=f'{name} needs {needed(name)} real images or more'):
        check_images(find_metric(name), train, max_real=needed(name) - 1)
    with pytest.raises(ValueError, match='need'):
        compute(name, train, 18, max_real=needed(name) - 1)


def test_what_is_set_apart_where_there_are_no_test_data(tmp_path):
    one, two, test = (save_bars(tmp_path / f'{num}-{seed}.zip', num, seed=seed) for num, seed in ((1, 0), (2, 0), (1, 1)))
    metric = find_metric('gan_test')
    for train, unseen in ((two, None), (one, test)):
        check_images(metric, train, unseen)
        assert compute('gan_test', train, 3, test_dataset_kwargs=unseen)
    with pytest.raises(ValueError, match='gan_test needs 2 real images of every class or more, 1-0 has 1 of class top'):
        check_images(metric, one)


@pytest.mark.parametrize('name', ['is50k', 'ppl2_wend', 'ppl_zfull', 'fid50k'])
def test_what_detectors_give(name, tmp_path):
    train = save_bars(tmp_path / 'train.zip', 2, seed=0)
    features, everything = (save_script(tmp_path / f'{kind.__name__}.pt', kind()) for kind in (Features, Everything))
    fits = {'inception': True, everything: True, 'dinov2': name == 'fid50k', 'dinov2:some.pth': name == 'fid50k',
            features: name == 'fid50k', 'classifier': not name.startswith('ppl')}
    for detector, fit in fits.items():
        if fit:
            check_metric(find_metric(name), train, detector=detector)
        else:
            with pytest.raises(ValueError, match=f'{name}: detector .* (has features alone|takes no).*: use inception'):
                check_metric(find_metric(name), train, detector=detector)


def test_computing_by_name_looks_first(tmp_path, monkeypatch):
    train = save_bars(tmp_path / 'train.zip', 2, seed=0)
    monkeypatch.setattr(Bars, 'forward', lambda *args: pytest.fail('images were made'))
    monkeypatch.setattr('metrics.metric_utils.real_images', lambda *args: pytest.fail('images were read'))
    with pytest.raises(ValueError, match='kid_per_class needs 6 generated images'):
        calc_metric('kid_per_class', G=Bars(), dataset_kwargs=train, num_gen=5, device='cpu')
