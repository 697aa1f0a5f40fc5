"""metrics/features/feature_stats.py against numpy on all features at once."""
import io
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch

from metrics.features.feature_stats import FeatureStats


def features(num=50, dim=4, shift=0.0, seed=0):
    return (np.random.default_rng(seed).normal(size=(num, dim)) + shift).astype(np.float32)


def collect(x, sizes=(7, 1, 20, 22), **kwargs):
    stats = FeatureStats(**kwargs)
    labels = np.arange(len(x)) % 3 if kwargs.get('capture_labels') else None
    start = 0
    for size in sizes:
        part = slice(start, start + size)
        stats.append(x[part], None if labels is None else labels[part])
        start += size
    return stats


@pytest.mark.parametrize('captures', [dict(capture_mean_cov=True), dict(capture_all=True)])
@pytest.mark.parametrize('shift', [0, -3e6])
def test_mean_and_covariance_keep_their_digits_at_a_large_mean(shift, captures):
    """Sums in float32, or of unshifted squares, would lose the covariance altogether."""
    x = features(shift=shift)
    mean, cov = collect(x, **captures).get_mean_cov()
    assert mean.dtype == cov.dtype == np.float64
    np.testing.assert_allclose(mean, x.astype(np.float64).mean(axis=0), rtol=1e-14, atol=1e-15)     # the spread is 1
    np.testing.assert_allclose(cov, np.cov(x.astype(np.float64), rowvar=False, bias=True), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize('max_items', [1, 28, 29, None])
def test_stops_at_max_items(max_items):
    x = features()
    stats = collect(x, capture_all=True, capture_mean_cov=True, capture_labels=True, max_items=max_items)
    want = x[:max_items]
    np.testing.assert_array_equal(stats.get_all(), want)
    np.testing.assert_array_equal(stats.get_labels(), np.arange(len(want)) % 3)
    np.testing.assert_allclose(stats.get_mean_cov()[0], want.mean(axis=0, dtype=np.float64), rtol=1e-12)
    assert stats.num_items == len(want) and stats.is_full() == (max_items is not None and max_items <= 50)
    assert stats.get_all().dtype == np.float32 and stats.get_all_torch().dtype == torch.float32


def test_tensors_of_any_type_and_single_items():
    stats = FeatureStats(capture_all=True, capture_mean_cov=True)
    stats.append_torch(torch.tensor([[1, 2]], dtype=torch.float16))
    mean, cov = stats.get_mean_cov()
    np.testing.assert_array_equal(mean, [1, 2])
    np.testing.assert_array_equal(cov, np.zeros([2, 2]))


@pytest.mark.parametrize('max_items', [None, 30])
@pytest.mark.parametrize('captures', [('capture_all',), ('capture_mean_cov', 'capture_labels')])
def test_saved_and_loaded(captures, max_items, tmp_path):
    kwargs = dict.fromkeys(captures, True)
    stats = collect(features(), max_items=max_items, **kwargs)
    path = tmp_path / 'stats.any'
    stats.save(path)
    assert path.is_file()
    loaded = FeatureStats.load(path)
    assert (loaded.num_items, loaded.num_features, loaded.max_items) == (stats.num_items, 4, max_items)
    assert (loaded.capture_all, loaded.capture_mean_cov, loaded.capture_labels) == (
        stats.capture_all, stats.capture_mean_cov, stats.capture_labels)
    for captured, read in dict(capture_all='get_all', capture_labels='get_labels').items():
        if captured in captures:
            np.testing.assert_array_equal(getattr(loaded, read)(), getattr(stats, read)())
    for want, got in zip(stats.get_mean_cov(), loaded.get_mean_cov(), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-15)   # from features: other batches, other rounding


def test_goes_on_after_loading(tmp_path):
    x = features()
    collect(x, sizes=(20,), capture_mean_cov=True).save(tmp_path / 'a')
    stats = FeatureStats.load(tmp_path / 'a')
    stats.append(x[20:])
    np.testing.assert_allclose(stats.get_mean_cov()[1], np.cov(x.astype(np.float64), rowvar=False, bias=True), rtol=1e-10)


@pytest.mark.parametrize('damage', [
    lambda whole: whole[:len(whole) // 2], lambda whole: b'', lambda whole: b'nonsense', lambda whole: whole[:-30] + b'x' * 30,
])
def test_a_damaged_file_is_one_line(damage, tmp_path):
    path = tmp_path / 'stats.npz'
    collect(features(), capture_all=True).save(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match='no whole feature statistics') as error:
        FeatureStats.load(path)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('change', [
    dict(features=np.full([20, 4], np.nan, np.float32)), dict(features=np.zeros([20, 3], np.float32)), dict(num_items=19),
    dict(features=np.zeros([20, 4])), dict(outer=np.full([4, 4], np.inf)), dict(shift=np.zeros([])),
])
def test_numbers_that_cannot_be(change, tmp_path):
    stats = FeatureStats(capture_all=True, capture_mean_cov=True, capture_labels=True)
    stats.append(features()[:20], np.zeros(20, np.int64))
    stats.save(tmp_path / 'stats.npz')
    FeatureStats.load(tmp_path / 'stats.npz')
    np.savez(tmp_path / 'stats.npz', **{**np.load(tmp_path / 'stats.npz'), **change})
    with pytest.raises(ValueError, match='is no finite array'):
        FeatureStats.load(tmp_path / 'stats.npz')


@pytest.mark.parametrize('save', [np.savez, np.savez_compressed], ids=['stored', 'packed'])
def test_a_file_costs_no_more_than_it_has(save, tmp_path):
    """A header that claims 4 GiB, or that much nothing in a few bytes, is refused before room is made for it."""
    path = tmp_path / 'stats.npz'
    save(path, features=np.zeros([2**14, 2**8], np.float32) if save is np.savez_compressed else np.zeros(1, np.float32))
    if save is np.savez:
        content = io.BytesIO()
        np.lib.format.write_array_header_1_0(content, dict(descr='<f4', fortran_order=False, shape=(2**15, 2**15)))
        with zipfile.ZipFile(path, 'w') as archive:
            archive.writestr('features.npy', content.getvalue() + bytes(4))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r'than it says|compressed records'):
        FeatureStats.load(path)
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


def test_a_pickle_in_the_file_is_not_run(tmp_path, canary):
    class Evil:
        def __reduce__(self):
            return open, (str(canary), 'w')

    path = tmp_path / 'stats.npz'
    np.savez(path, capture_all=np.array([Evil()], dtype=object))
    with pytest.raises(ValueError, match='no whole feature statistics'):
        FeatureStats.load(path)


@pytest.mark.parametrize('bad, message', [
    (np.full([3, 4], np.nan), '3 of 3 images'), (np.array([[1, 2, 3, np.inf]] + [[0] * 4] * 2), '1 of 3 images'),
    (np.zeros([3, 5]), r'expected features \[n, 4\]'), (np.zeros(4), 'expected features'),
])
def test_unfit_features(bad, message):
    stats = collect(features(), capture_all=True)
    with pytest.raises(ValueError, match=message):
        stats.append(bad)


def test_labels_are_asked_for():
    with pytest.raises(ValueError, match='expected a class for each of 2 images, found none'):
        FeatureStats(capture_labels=True).append(np.zeros([2, 3]))


def test_nothing_collected():
    with pytest.raises(ValueError, match='at least 1 image'):
        FeatureStats(capture_mean_cov=True).get_mean_cov()
    assert FeatureStats(capture_all=True).get_all().shape == (0, 0)


@pytest.mark.parametrize('rank', [-1, 1])
def test_wrong_rank(rank):
    with pytest.raises(ValueError, match='rank'):
        FeatureStats().append_torch(torch.zeros(1, 2), num_gpus=1, rank=rank)
