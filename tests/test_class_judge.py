"""The judge on sets that anybody can tell apart, its seeding, its cache, and what it refuses."""
import pytest
import torch

from metrics import class_judge
from metrics.class_judge import JudgeNet, augment, cached_judge, check_labelled, check_resolution, train_judge


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


@pytest.mark.parametrize(('channels', 'resolution'), [(1, 16), (3, 32), (1, 64)])
def test_learns_a_separable_set(channels, resolution):
    images, labels = stripes(8, channels, resolution)
    judge = train_judge(images, labels, 3, generator(), num_steps=40)
    fresh, fresh_labels = stripes(10, channels, resolution, seed=1)
    assert (judge(fresh).argmax(1) == fresh_labels).float().mean() == 1
    assert not judge.training and not any(p.requires_grad for p in judge.parameters())


def test_shuffled_labels_cannot_be_predicted():
    images, _ = stripes(40)
    labels = torch.randint(3, [120], generator=generator())
    judge = train_judge(images[:60], labels[:60], 3, generator(), num_steps=10)
    accuracy = (judge(images[60:]).argmax(1) == labels[60:]).float().mean()
    assert accuracy < 0.6  # chance is 1/3, deviation 0.06


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


BAD = {
    'float images': (torch.zeros(4, 1, 16, 16), torch.tensor([0, 1, 0, 1]), 2, 'uint8'),
    'no channel axis': (torch.zeros(4, 16, 16, dtype=torch.uint8), torch.tensor([0, 1, 0, 1]), 2, r'\[N, C, H, W\]'),
    'one-hot labels': (torch.zeros(4, 1, 16, 16, dtype=torch.uint8), torch.eye(4), 4, 'int64 label'),
    'too few labels': (torch.zeros(4, 1, 16, 16, dtype=torch.uint8), torch.tensor([0, 1]), 2, 'each of 4 images'),
    'one class': (torch.zeros(4, 1, 16, 16, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64), 1, 'at least 2'),
    'label too large': (torch.zeros(2, 1, 16, 16, dtype=torch.uint8), torch.tensor([0, 2]), 2, r'0\.\.1'),
    'negative label': (torch.zeros(2, 1, 16, 16, dtype=torch.uint8), torch.tensor([0, -1]), 2, r'-1\.\.0'),
    'empty class': (torch.zeros(2, 1, 16, 16, dtype=torch.uint8), torch.tensor([0, 2]), 3, 'class 1'),
    'no images': (torch.zeros(0, 1, 16, 16, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64), 2, 'class 0, 1'),
}


@pytest.mark.parametrize('case', BAD)
def test_refuses_unfit_input(case):
    images, labels, num_classes, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        check_labelled(images, labels, num_classes)
    with pytest.raises(ValueError, match=message):
        train_judge(images, labels, num_classes, generator())


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


def test_damaged_cache_is_replaced(tmp_path):
    images, labels = stripes(4)
    first = cached_judge(images, labels, 3, seed=0, cache_dir=tmp_path, num_steps=2)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for damage in (b'', b'not a model', whole[: len(whole) // 2]):
        path.write_bytes(damage)
        again = cached_judge(images, labels, 3, seed=0, cache_dir=tmp_path, num_steps=2)
        assert torch.equal(first(images), again(images))
        assert len(path.read_bytes()) == len(whole)


def test_cache_can_be_switched_off(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images, labels = stripes(4)
    cached_judge(images, labels, 3, seed=0, cache_dir=None, num_steps=2)
    assert not list(tmp_path.iterdir())
