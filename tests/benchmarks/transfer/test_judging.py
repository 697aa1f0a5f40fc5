"""What is measured of a snapshot, on a generator of bars and the ImageNet detector."""
import pytest

from benchmarks.transfer import judging
from benchmarks.transfer.judging import Judge, judged_line
from benchmarks.transfer.transfers import Files
from metrics.features import class_judge
from tests.support.class_metric_stand_ins import NAMES, Bars, save_bars

SNAPSHOTS = [dict(path='a.pkl', kimg=1, minutes=1.0), dict(path='b.pkl', kimg=2, minutes=2.0)]
RECORD = dict(settings=dict(method='hyper'), selfinit=None, versions=dict(torch='2'), snapshots=SNAPSHOTS)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path / 'cache'))
    monkeypatch.setattr(class_judge, 'MIN_STEPS', 30)
    monkeypatch.setattr(class_judge, 'EPOCHS', 1)
    return Files(tmp_path / 'source.pkl', *(save_bars(tmp_path / f'{name}.zip', num, seed)['path']
                                            for name, num, seed in (('train', 8, 1), ('test', 10, 2))))


def judged(tmp_path, files, snapshot, monkeypatch, G):
    monkeypatch.setattr(judging, 'load_network_pkl', lambda path: dict(G_ema=G))
    return judged_line(tmp_path, RECORD, snapshot, Judge(num_gen=9), files)


def test_a_snapshot_that_shows_its_classes_does_better(tmp_path, files, monkeypatch):
    good, blind = (judged(tmp_path, files, SNAPSHOTS[0], monkeypatch, Bars(blind)) for blind in (False, True))
    assert good['judge']['detector'].endswith('128px') and (good['kimg'], good['minutes']) == (1, 1.0) and 'path' not in good
    assert {'spread', 'kid_per_class', 'pr_per_class_recall', 'gan_test', *(f'kid_per_class/{name}' for name in NAMES),
            'spread_reference', 'kid_per_class_reference'} <= set(good['values'])
    assert good['values']['kid_per_class'] < 0.5 * blind['values']['kid_per_class']
    assert good['values']['pr_per_class_recall'] > blind['values']['pr_per_class_recall']
    assert good['values']['spread_reference'] == pytest.approx(1, abs=0.2)
    assert good['values']['kid_per_class_reference'] == blind['values']['kid_per_class_reference']
    assert 'gan_train' not in good['values'] and not (tmp_path / 'grid.png').exists()


def test_the_last_snapshot_is_measured_in_full(tmp_path, files, monkeypatch):
    line = judged(tmp_path, files, SNAPSHOTS[1], monkeypatch, Bars())
    assert {'gan_train', 'gan_train_reference', 'memorization', 'memorization_copies'} <= set(line['values'])
    assert (tmp_path / 'grid.png').exists()
