"""metrics/features/feature_cache.py: keys that change with everything that matters, files that are whole or absent."""
import os

import numpy as np
import pytest

from metrics.features.feature_cache import data_digest, features_path, load_features, save_features
from metrics.features.feature_stats import FeatureStats
from tests.support.commands import forking
from tests.support.metric_scenes import data_kwargs, write_data


@pytest.fixture(autouse=True)
def cache_dir(tmp_path, monkeypatch):
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


@pytest.fixture
def data(tmp_path):
    return write_data(tmp_path / 'data.zip')


def key(path, identity='net 1', detector_kwargs=None, stats_kwargs=None, **dataset_kwargs):
    return features_path(data_kwargs(path, **dataset_kwargs), identity, detector_kwargs or {}, stats_kwargs or {})


def some_stats(value=1.0):
    stats = FeatureStats(capture_all=True)
    stats.append(np.full([3, 2], value))
    return stats


@pytest.mark.parametrize('change', [
    dict(identity='net 2'), dict(detector_kwargs=dict(return_features=True)), dict(stats_kwargs=dict(max_items=3)),
    dict(xflip=True), dict(max_size=5),
])
def test_everything_that_changes_the_features_changes_the_key(data, change):
    assert key(data) == key(data) != key(data, **change)


def test_the_place_of_the_data_does_not_matter_its_bytes_do(data, tmp_path):
    copy = tmp_path / 'elsewhere' / 'data.zip'
    copy.parent.mkdir()
    copy.write_bytes(data.read_bytes())
    assert key(copy) == key(data)
    before = key(data)
    write_data(data, seed=1)
    assert key(data) != before


def test_a_folder_counts_with_all_names_and_bytes(tmp_path):
    folder = tmp_path / 'folder'
    (folder / 'a').mkdir(parents=True)
    (folder / 'a' / 'x.png').write_bytes(b'12')
    digests = [data_digest(folder)]
    for name, content in [('a/x.png', b'13'), ('a/x.png', b'123'), ('a/y.png', b''), ('dataset.json', b'{}')]:
        (folder / name).write_bytes(content)
        digests.append(data_digest(folder))
    (folder / 'a' / 'y.png').rename(folder / 'y.png')
    digests.append(data_digest(folder))
    assert len(set(digests)) == len(digests)


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='this system has no pipes with names')
def test_pipes_and_links_to_parents_are_no_part_of_a_folder(tmp_path):
    """Two links would double the paths at every level."""
    folder = tmp_path / 'folder'
    folder.mkdir()
    (folder / 'x.png').write_bytes(b'12')
    digest = data_digest(folder)
    os.mkfifo(folder / 'pipe.png')
    for name in ('up', 'here'):
        (folder / name).symlink_to(tmp_path if name == 'up' else folder)
    assert data_digest(folder) == digest


def test_unchanged_data_are_not_read_again(data, monkeypatch):
    first = data_digest(data)
    monkeypatch.setattr('builtins.open', lambda *args, **kwargs: pytest.fail('the data were read'))
    assert data_digest(data) == first


def test_a_damaged_digest_is_computed_again(data, cache_dir):
    first = data_digest(data)
    [memo] = (cache_dir / 'data-digests').iterdir()
    memo.write_text(first[:20])
    assert data_digest(data) == first == memo.read_text()


def test_the_same_bytes_at_another_time_are_the_same(data):
    first = data_digest(data)
    os.utime(data, (1, 1))
    assert data_digest(data) == first


def test_kept_and_found(data):
    path = key(data)
    assert load_features(path) is None
    save_features(some_stats(), path)
    np.testing.assert_array_equal(load_features(path).get_all(), some_stats().get_all())
    assert [file.name for file in path.parent.iterdir()] == [path.name]     # nothing half-written beside it


@pytest.mark.parametrize('content', [b'', b'half'])
def test_a_damaged_file_counts_as_absent(content, data):
    path = key(data)
    save_features(some_stats(), path)
    path.write_bytes(content)
    assert load_features(path) is None
    save_features(some_stats(2), path)
    assert load_features(path).get_all()[0, 0] == 2


def test_no_damaged_byte_is_an_error_or_another_number(data):
    path = key(data)
    save_features(some_stats(), path)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1:])
        found = load_features(path)
        assert found is None or np.array_equal(found.get_all(), some_stats().get_all()), place


def test_a_failed_write_leaves_the_old_file(data, monkeypatch):
    path = key(data)
    save_features(some_stats(1), path)

    def fail(self, part):
        part.write_bytes(b'half')
        raise OSError('disk full')

    monkeypatch.setattr(FeatureStats, 'save', fail)
    with pytest.raises(OSError, match='disk full'):
        save_features(some_stats(2), path)
    assert load_features(path).get_all()[0, 0] == 1 and len(list(path.parent.iterdir())) == 1


def _save_often(path):
    for _ in range(30):
        save_features(some_stats(), path)


def test_two_processes_at_once(data):
    path = key(data)
    processes = [forking.Process(target=_save_often, args=(path,)) for _ in range(2)]
    for process in processes:
        process.start()
    seen = 0
    while any(process.is_alive() for process in processes):
        if path.is_file():
            assert load_features(path).num_items == 3   # never a part of one
            seen += 1
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert seen and load_features(path).num_items == 3


def test_data_that_are_no_files_are_not_kept():
    assert features_path(dict(class_name='some.Dataset'), 'net', {}, {}) is None
    assert features_path(data_kwargs('/no/such/data.zip'), 'net', {}, {}) is None
    assert load_features(None) is None
    save_features(some_stats(), None)
