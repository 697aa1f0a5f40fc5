"""The state file: always a whole one, whatever fails."""

import errno
import zipfile

import numpy as np
import pytest
import torch

from dnnlib.files import is_disk_full
from metrics.features import class_judge, feature_cache
from metrics.features.feature_stats import FeatureStats
from tests.support.small_disk import nearly_full, small_disk
from training.loop import training_state
from training.loop.random_state import random_state, seed_random, set_random_state
from training.loop.training_state import find_state, read_state, save_state, write_state
from training.snapshot.writing import save_network_pkl

CPU = torch.device('cpu')


def test_a_new_state_takes_the_place_of_the_old_one(tmp_path):
    for images in (4, 8, 1_000_000_004):
        save_state(tmp_path, dict(images_done=images))
        path, = tmp_path.iterdir()
        assert find_state(tmp_path) == path and read_state(path)['images_done'] == images


def test_the_old_state_stays_until_the_new_one_is_whole(tmp_path, monkeypatch):
    save_state(tmp_path, dict(images_done=4))

    def fail_half_way(value, file):
        file.write(b'some bytes')
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(training_state.torch, 'save', fail_half_way)
    with pytest.raises(OSError, match='No space left'):
        save_state(tmp_path, dict(images_done=8))
    assert [path.name for path in tmp_path.iterdir()] == ['training-state-000000004.pt']
    assert read_state(find_state(tmp_path))['images_done'] == 4


@pytest.mark.parametrize('write', [
    lambda folder, content: write_state(folder / 'file', content),
    lambda folder, content: save_network_pkl(folder / 'file', content),
    lambda folder, content: feature_cache.save_features(features_of(content), folder / 'file'),
    lambda folder, content: class_judge.save_judge(judge_of(content), folder / 'file'),
], ids=['state', 'snapshot', 'features', 'judge'])
def test_a_nearly_full_disk_is_a_full_disk(tmp_path, write):
    """torch's zip writer turns the error of the disk into others, according to where in the file the disk is full."""
    content = {f'tensor{size}': torch.zeros(size) for size in (10, 1000, 90_000, 7, 60_000, 20_000, 3, 120_000)}    # 1.2 MB
    written = []
    with small_disk(tmp_path / 'disk', 3000) as disk:
        for room in nearly_full(disk, range(0, 2000, 43)):
            try:
                write(disk, content)
                written.append(room)
                (disk / 'file').unlink()
            except OSError as error:
                assert is_disk_full(error) and error.filename == str(disk / 'file')
            assert [path.name for path in disk.iterdir()] == ['filler']
    assert written and min(written) > 1000      # that much it takes, and with that it is written


def features_of(content):
    stats = FeatureStats(capture_all=True)
    stats.append(torch.cat(list(content.values()))[:290_000].reshape(100, 2900).numpy())
    return stats


def judge_of(content):
    net = class_judge.JudgeNet(3, 16, 2)
    net.out = torch.nn.Linear(290_000, 1)
    return net


def test_a_damaged_state_is_refused(tmp_path):
    """Any byte of the weights: torch itself reads such a file without a word."""
    path = tmp_path / 'training-state-000000004.pt'
    write_state(path, dict(images_done=4, weights=torch.zeros(1000)))
    whole = path.read_bytes()
    place = whole.index(bytes(4000)) + 2000
    path.write_bytes(whole[:place] + b'\x01' + whole[place + 1:])
    with pytest.raises(ValueError, match=r'not a readable training state \(it is damaged \(the checksum'):
        read_state(path)


def test_a_state_that_is_larger_than_its_file(tmp_path):
    write_state(tmp_path / 'state.pt', dict(images_done=4, weights=torch.zeros(1_000_000)))
    with (zipfile.ZipFile(tmp_path / 'state.pt') as stored,
          zipfile.ZipFile(tmp_path / 'packed.pt', 'w', zipfile.ZIP_DEFLATED) as packed):
        for name in stored.namelist():
            packed.writestr(name, stored.read(name))
    assert read_state(tmp_path / 'state.pt')['images_done'] == 4
    with pytest.raises(ValueError, match='compressed records'):
        read_state(tmp_path / 'packed.pt')


def test_the_newest_is_the_one_with_most_images(tmp_path):
    for images in ('000000900', '000001000', '1000000000', 'x'):
        (tmp_path / f'training-state-{images}.pt').touch()
    assert find_state(tmp_path).name == 'training-state-1000000000.pt'
    assert find_state(tmp_path / 'missing') is None


def draws():
    import random
    from_torch = [torch.rand([]).item(), torch.randn([]).item()]
    return [random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), *from_torch]


def test_random_numbers_go_on(tmp_path):
    draws()  # Gaussian numbers come in pairs: the second is kept
    torch.save(random_state(CPU), tmp_path / 'state.pt')
    want = [draws() for _ in range(3)]
    seed_random([1])
    set_random_state(torch.load(tmp_path / 'state.pt', weights_only=True), CPU)
    assert [draws() for _ in range(3)] == want
