"""Shares, confusion and spread against hand numbers and plain loops; the report on generators with known behaviour."""
import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import legacy
from metrics.classes import __main__ as command
from metrics.classes.class_recognition import (
    class_spreads,
    generate_classes,
    judge_generator,
    judge_snapshot,
    markdown_table,
    relative_spreads,
)
from metrics.features.labelled_images import LabelledImages
from metrics.features.spread import spread


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random_set(num_classes=3, num_per_class=6, channels=2, size=5, seed=0):
    labels = torch.arange(num_classes).repeat(num_per_class)
    return torch.randint(256, [len(labels), channels, size, size], dtype=torch.uint8, generator=generator(seed)), labels


# spread


def test_spreads_are_those_of_each_class():
    images, labels = random_set()
    assert class_spreads(images, labels, 3).tolist() == [spread(images[labels == k]) for k in range(3)]


def test_the_real_images_have_spread_one_in_any_order():
    images, labels = random_set()
    order = torch.randperm(len(labels), generator=generator())
    np.testing.assert_allclose(relative_spreads(images[order], labels[order], images, labels, 3), 1, rtol=1e-12)


def test_half_the_amplitude_is_half_the_spread():
    images, labels = random_set()
    images = images // 2 * 2  # halves exactly
    np.testing.assert_allclose(relative_spreads(images // 2 + 60, labels, images, labels, 3), 0.5, rtol=1e-6)  # float32


def test_spread_refuses_unfit_input():
    images, labels = random_set()
    with pytest.raises(ValueError, match='single image'):
        class_spreads(images[:4], labels[:4], 3)
    with pytest.raises(ValueError, match='class 2'):
        class_spreads(images[labels != 2], labels[labels != 2], 3)
    with pytest.raises(ValueError, match='differ in shape'):
        relative_spreads(images[..., 1:], labels, images, labels, 3)
    with pytest.raises(ValueError, match='class 1 are all the same'):
        relative_spreads(images, labels, torch.where((labels == 1)[:, None, None, None], 7, images), labels, 3)


# whole report


class BarGenerator(torch.nn.Module):
    """Draws a bright bar at the height of the class (or, blind, always at the top), at a brightness that z sets."""

    z_dim, c_dim, img_channels, img_resolution = 4, 3, 1, 16

    def __init__(self, blind=False, amplitude=0.2):
        super().__init__()
        self.blind, self.amplitude = blind, amplitude

    def forward(self, z, c, noise_mode):
        assert noise_mode == 'const' and z.dtype == c.dtype == torch.float32
        images = torch.full([len(z), 1, 16, 16], -0.9)
        for image, latent, label in zip(images, z, c.argmax(1).tolist(), strict=True):
            row = 0 if self.blind else 5 * label
            image[:, row : row + 5] = 0.4 + self.amplitude * latent[0].clamp(-2, 2)
        return images


NAMES = ['top', 'middle', 'bottom']


def bar_set(num_per_class, seed):
    return LabelledImages(*generate_classes(BarGenerator(), num_per_class, seed), NAMES)


def judge(G, seed=0, **kwargs):
    return judge_generator(G, bar_set(20, 1), bar_set(20, 2), num_gen=30, seed=seed, cache_dir=None, **kwargs)


@pytest.fixture(autouse=True)
def short_training(monkeypatch):
    monkeypatch.setattr('metrics.features.class_judge.MIN_STEPS', 40)


def test_images_are_drawn_from_the_seed_whatever_the_batch():
    images, labels = generate_classes(BarGenerator(), 5, seed=3, batch=4)
    z = np.random.RandomState(3).randn(15, 4)
    assert labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert images.dtype == torch.uint8 and images.shape == (15, 1, 16, 16)
    bars = images[torch.arange(15), 0, labels * 5, 0]
    want = (0.4 + 0.2 * z[:, 0].astype(np.float32).clip(-2, 2)) * 127.5 + 128
    assert np.abs(bars.numpy() - np.floor(want)).max() <= 1  # float32 against float64 at the cut
    assert torch.equal(images, generate_classes(BarGenerator(), 5, seed=3)[0])


def test_report_on_a_good_generator():
    report = judge(BarGenerator(), network_names=NAMES)
    assert report['recognised'] == 1 and report['real_recognised'] == 1
    assert report['spread'] == pytest.approx(1, abs=0.35)  # 20 real images a class: the deviation of std is 1/sqrt(40)
    assert report['confusion'] == [[30, 0, 0], [0, 30, 0], [0, 0, 30]]
    assert (report['num_held_out'], report['num_judge_train']) == (18, 102)
    assert [row['name'] for row in report['classes']] == NAMES
    json.dumps(report)


def test_report_on_a_generator_that_ignores_the_class():
    report = judge(BarGenerator(blind=True))
    assert [row['recognised'] for row in report['classes']] == [1, 0, 0]
    assert report['recognised'] == pytest.approx(1 / 3)


def test_report_on_a_collapsed_generator():
    report = judge(BarGenerator(amplitude=0))
    assert report['recognised'] == 1 and report['spread'] == 0
    assert report['real_spread'] > 0.6


def test_report_refuses_what_does_not_belong_together():
    G = BarGenerator()
    with pytest.raises(ValueError, match=r'classes differ.*network: a, b, c'):
        judge(G, network_names=['a', 'b', 'c'])
    G.c_dim = 0
    with pytest.raises(ValueError, match='unconditional'):
        judge(G)
    G.c_dim = 5
    with pytest.raises(ValueError, match='5 classes'):
        judge(G)
    G.c_dim, G.img_resolution = 3, 32
    with pytest.raises(ValueError, match='32, 32'):
        judge(G)


def test_table_has_a_row_for_each_class_and_one_for_all():
    report = judge(BarGenerator(blind=True))
    lines = [line for line in markdown_table(report).splitlines() if line.startswith('|')]
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in lines]
    assert [row[0] for row in rows[2:]] == [*NAMES, '**all**']
    assert [row[1] for row in rows[2:]] == ['100.0%', '0.0%', '0.0%', '33.3%']
    assert len({len(row) for row in rows}) == 1


# command

def test_names_that_are_none_are_passed_over(conditional_pkl, rgb_zip, tmp_path, monkeypatch):
    monkeypatch.setattr('metrics.features.class_judge.MIN_STEPS', 2)
    monkeypatch.setattr('metrics.features.class_judge.EPOCHS', 1)
    path = tmp_path / 'network.pkl'
    legacy.save_network_pkl(path, {**legacy.load_network_pkl(conditional_pkl), 'class_names': [1, 2, 3]})
    report = judge_snapshot(str(path), str(rgb_zip), str(rgb_zip), num_gen=2, seed=0, cache=False, device='cpu')
    assert [row['name'] for row in report['classes']] == ['cat', 'dog', 'owl']


def test_command_prints_the_table_and_writes_the_numbers(tmp_path, monkeypatch):
    report = judge(BarGenerator())
    monkeypatch.setattr(command, 'judge_snapshot', lambda network, **options: dict(report, network=network))
    args = ['--network=n.pkl', '--train=a.zip', '--test=b.zip', f'--json={tmp_path / "r.json"}']
    result = CliRunner().invoke(command.main, args)
    assert result.exit_code == 0, result.output
    assert markdown_table(report) in result.output
    assert json.loads((tmp_path / 'r.json').read_text())['network'] == 'n.pkl'


@pytest.mark.parametrize('args', [['--train=a', '--test=b'], ['--network=missing.pkl', '--train=a', '--test=b'],
                                  ['--network=n', '--train=a', '--test=b', '--num-gen=1']])
def test_command_refuses_wrong_input_in_one_line(args, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(command.main, args)
    assert result.exit_code == 2
    assert 'Error: ' in result.output.splitlines()[-1]
    assert not list(tmp_path.iterdir())
