"""The judge on sets that anybody can tell apart, its seeding, its cache, and what it refuses."""
import sys

import numpy as np
import pytest
import torch
from tqdm import tqdm

from metrics.features import class_judge, labelled_images
from metrics.features.class_judge import JudgeNet, augment, cached_judge, check_resolution, dataset_judge, train_judge
from metrics.features.labelled_images import folder_kwargs
from tests.support.small_disk import fill_disk, small_disk


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def stripes(num_per_class, channels=1, resolution=16, seed=0):
    """Three classes: a bright bar across the top, the middle or the bottom, under noise."""
    labels = torch.arange(3).repeat(num_per_class)
    images = 60 * torch.rand(len(labels), channels, resolution, resolution, generator=generator(seed))
    third = resolution // 3
    for image, label in zip(images, labels.tolist(), strict=True):
        image[:, label * third : (label + 1) * third] += 150
    return images.to(torch.uint8), labels


@pytest.mark.parametrize(('channels', 'resolution'), [(1, 16), (3, 32)])
def test_learns_a_separable_set(channels, resolution):
    images, labels = stripes(8, channels, resolution)
    judge = train_judge(images, labels, 3, generator(), num_steps=40)
    fresh, fresh_labels = stripes(10, channels, resolution, seed=1)
    assert (judge(fresh).argmax(1) == fresh_labels).float().mean() == 1
    assert not judge.training and not any(p.requires_grad for p in judge.parameters())


def test_depends_on_the_generator_alone_and_leaves_the_global_one():
    images, labels = stripes(4)
    state = torch.get_rng_state()
    first = train_judge(images, labels, 3, generator(), num_steps=2)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(5)
    second = train_judge(images, labels, 3, generator(), num_steps=2)
    other = train_judge(images, labels, 3, generator(1), num_steps=2)
    pairs = list(zip(first.parameters(), second.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert not all(torch.equal(a, c) for a, _, c in pairs)


def test_large_images_are_judged_at_64_pixels():
    net = JudgeNet(1, 128, 2).eval()
    small = torch.randint(256, [2, 1, 64, 64], generator=generator(), dtype=torch.uint8)
    large = small.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(net.prepare(large), small / 127.5 - 1)
    assert net(large).shape == (2, 2)


def test_augmentation_is_mild():
    x = torch.zeros(256, 1, 32, 32)
    x[..., 14:18, 14:18] = 1
    y = augment(x, generator())
    mass = y.clamp(min=0.3).sub(0.3)  # above the noise
    coordinate = torch.arange(32.0)
    centre = (mass.sum((1, 2)) @ coordinate) / mass.sum((1, 2, 3))
    assert 0.5 < centre.std() < 4 and abs(centre.mean() - 15.5) < 0.5  # pixels
    assert not torch.equal(y[0], y[1])


def test_embedding_is_the_mean_over_places_of_what_the_last_layer_sees():
    net = JudgeNet(1, 32, 2).eval().requires_grad_(False)
    images = stripes(2, resolution=32)[0]
    seen = []
    net.out.register_forward_hook(lambda layer, inputs, output: seen.append(inputs[0]))
    net(images)
    maps = seen[0].reshape(6, 64, 16)
    torch.testing.assert_close(net.embed(images), maps.mean(dim=2))
    torch.testing.assert_close(net.embed(images.repeat(1, 3, 1, 1)), net.embed(images))  # grey, as three channels


def test_judge_of_a_data_set(rgb_zip, tmp_path, monkeypatch):
    monkeypatch.setattr(class_judge, 'MIN_STEPS', 2)
    monkeypatch.setattr(class_judge, 'EPOCHS', 1)
    net, identity = dataset_judge(folder_kwargs(rgb_zip), 'cpu', tmp_path)
    monkeypatch.setattr(class_judge, 'train_judge', None)
    again, same = dataset_judge(folder_kwargs(rgb_zip), 'cpu', tmp_path)
    assert same == identity and identity.startswith('classifier-') and len(identity) == len('classifier-') + 32
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), again.state_dict().values(), strict=True))
    again.out.weight[0, 0] += 1e-3
    assert class_judge.judge_identity(again) != identity  # other weights, another detector
    with pytest.raises(TypeError):  # other data: trained anew
        dataset_judge(dict(folder_kwargs(rgb_zip), max_size=15), 'cpu', tmp_path)


@pytest.mark.parametrize('terminal', [False, True])
def test_bars_on_a_terminal_alone(terminal, rgb_zip, monkeypatch, capsys):
    monkeypatch.setattr(class_judge, 'MIN_STEPS', 2)
    monkeypatch.setattr(class_judge, 'EPOCHS', 1)
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: terminal)
    for module in (class_judge, labelled_images):
        monkeypatch.setattr(module, 'tqdm', lambda *args, **kwargs: tqdm(*args, **{**kwargs, 'delay': 0}))
    dataset_judge(folder_kwargs(rgb_zip), 'cpu', None)
    text = capsys.readouterr().err
    assert ['Reading rgb' in text, 'Training the judge' in text] == [terminal] * 2 and (terminal or not text)


@pytest.mark.parametrize('shape', [(1, 16, 32), (1, 24, 24), (1, 8, 8), (2, 16, 16)])
def test_refuses_unfit_shapes(shape):
    with pytest.raises(ValueError, match='power of two'):
        check_resolution(torch.zeros(2, *shape, dtype=torch.uint8))


def test_cache_is_read_back_exactly(tmp_path, monkeypatch):
    images, labels = stripes(4)
    first = cached_judge(images, labels, 3, seed=0, cache_dir=tmp_path / 'new', num_steps=2)
    monkeypatch.setattr(class_judge, 'train_judge', None)  # a second training would fail
    second = cached_judge(images, labels, 3, seed=0, cache_dir=tmp_path / 'new', num_steps=2)
    assert torch.equal(first(images), second(images))
    assert len(list((tmp_path / 'new').iterdir())) == 1  # no scratch files left
    for other in [dict(seed=1), dict(num_steps=3), dict(images=images.flip(0)), dict(labels=labels.roll(1))]:
        settings = dict(images=images, labels=labels, num_classes=3, seed=0, cache_dir=tmp_path / 'new', num_steps=2) | other
        with pytest.raises(TypeError):
            cached_judge(**settings)


def test_no_damaged_byte_is_another_judge(tmp_path, capsys):
    """Every byte of the file in turn: the judge is as it was, or made anew with one line."""
    images, labels = stripes(4)
    first = cached_judge(images, labels, 3, seed=0, cache_dir=tmp_path, num_steps=2)
    path, = tmp_path.iterdir()
    whole = path.read_bytes()
    capsys.readouterr()
    rng = np.random.default_rng(0)
    for place in rng.choice(len(whole), 60, replace=False):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ rng.integers(1, 256)]) + whole[place + 1:])
        found, said = class_judge._load_judge(path, images, 3), capsys.readouterr().err
        if found is None:
            assert said.startswith('Warning: the classifier in ') and said.count('\n') == 1
        else:
            assert said == '' and class_judge.judge_identity(found) == class_judge.judge_identity(first)


@pytest.mark.parametrize('spoil, says', [
    (lambda weights: weights['out.weight'].fill_(torch.nan), 'not finite'),
    (lambda weights: weights.update({'out.weight': weights['out.weight'].double()}), 'another network'),
    (lambda weights: weights.update({'out.weight': weights['out.weight'][:2]}), 'another network'),
    (lambda weights: weights.pop('out.bias'), 'another network'),
])
def test_weights_that_cannot_be_used_are_made_anew(spoil, says, tmp_path, capsys):
    images, labels = stripes(4)
    first = cached_judge(images, labels, 3, seed=0, cache_dir=tmp_path, num_steps=2)
    path, = tmp_path.iterdir()
    weights = torch.load(path, weights_only=True)
    spoil(weights)
    torch.save(weights, path)
    again = cached_judge(images, labels, 3, seed=0, cache_dir=tmp_path, num_steps=2)
    assert torch.equal(first(images), again(images)) and says in capsys.readouterr().err


def test_what_cannot_be_kept_is_used_all_the_same(tmp_path, capsys):
    (tmp_path / 'file').touch()
    images, labels = stripes(4)
    settings = dict(seed=0, num_steps=2)
    judges = [cached_judge(images, labels, 3, cache_dir=place, **settings) for place in (tmp_path / 'file' / 'judges', None)]
    assert torch.equal(*(judge(images) for judge in judges))
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith('Warning: the classifier was not kept for the next time: ') and 'file/judges' in line


def test_a_full_disk_is_no_failure(tmp_path, capsys):
    images, labels = stripes(4)
    with small_disk(tmp_path / 'disk', 64) as disk:
        fill_disk(disk)
        cached_judge(images, labels, 3, seed=0, cache_dir=disk, num_steps=2)
        assert [path.name for path in disk.iterdir()] == ['filler']
    assert 'No space left' in capsys.readouterr().err


def test_cache_can_be_switched_off(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images, labels = stripes(4)
    cached_judge(images, labels, 3, seed=0, cache_dir=None, num_steps=2)
    assert not list(tmp_path.iterdir())
