"""metrics/inception_score.py against closed forms, a plain loop and torch-fidelity."""
import numpy as np
import pytest
import scipy.special
import torch

from metrics.inception_score import score, split_scores
from tests.support.reference_metrics import torch_fidelity


def logits(seed, num, classes=6):
    return np.random.default_rng(seed).normal(size=(num, classes)) * 2


def test_sure_and_varied_scores_the_number_of_classes():
    assert score(np.eye(7, dtype=np.float32)) == pytest.approx(7, rel=1e-12)    # log 0 occurs


def test_matches_scipy():
    p = scipy.special.softmax(logits(0, 40), axis=1)
    want = np.exp(scipy.special.rel_entr(p, p.mean(axis=0)).sum(axis=1).mean())
    assert score(p) == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize('num, splits', [(103, 10), (30, 1)])
def test_matches_torch_fidelity(num, splits):
    values = logits(1, num)
    want = torch_fidelity('metric_isc').isc_features_to_metric(torch.from_numpy(values), splits, shuffle=False)
    got = split_scores(scipy.special.softmax(values, axis=1), splits)
    np.testing.assert_allclose(got.mean(), want['inception_score_mean'], rtol=1e-6)
    np.testing.assert_allclose(got.std(), want['inception_score_std'], rtol=1e-6, atol=1e-12)


def test_fewer_images_than_parts():
    with pytest.raises(ValueError, match='found 9'):
        split_scores(np.full([9, 2], 0.5), 10)
