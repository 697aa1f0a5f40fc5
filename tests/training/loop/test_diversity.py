"""The diversity alarm against numpy, closed forms, collapsing generators and a real tiny one."""

import io

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist

from training.data.image_dataset import Dataset, ImageFolderDataset
from training.loop.diversity import DiversityAlarm
from training.networks import Generator

CPU = torch.device('cpu')
Z_DIM = 8


class ArrayDataset(Dataset):
    """Images and labels from arrays; counts what is read."""

    def __init__(self, images, labels=None):
        self.images, self.given, self.num_read = images, labels, 0
        super().__init__('arrays', list(images.shape), use_labels=labels is not None)

    def _load_raw_image(self, raw_idx):
        self.num_read += 1
        return self.images[raw_idx]

    def _load_raw_labels(self):
        return self.given


def noise_images(num_images, side=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, [num_images, 3, side, side]).astype(np.uint8)


def classes_dataset(num_classes, num_per_class=3):
    return ArrayDataset(noise_images(num_classes * num_per_class), np.arange(num_classes).repeat(num_per_class))


class Stretch:
    """Flat grey images of level strength[class] * z[0]; notes what it is asked for."""

    def __init__(self, strengths, side=8):
        self.strengths, self.side, self.calls = torch.tensor(strengths), side, []

    def __call__(self, z, c, noise_mode):
        assert noise_mode == 'const' and z.dtype == c.dtype == torch.float32 and not torch.is_grad_enabled()
        self.calls.append((z, c))
        level = z[:, 0] * (c @ self.strengths if c.shape[1] else self.strengths)
        return level[:, None, None, None].expand(-1, 3, self.side, self.side)


def alarm_for(dataset, seed=0):
    return DiversityAlarm(dataset, Z_DIM, seed, CPU)


def scipy_spread(images):
    """images: in [-1, 1], [N, 3, 8, 8]; or the levels of flat ones, [N]."""
    images = images if images.ndim == 4 else np.broadcast_to(images[:, None, None, None], (len(images), 3, 8, 8))
    return pdist(images.reshape(len(images), -1)).mean()


def test_ratio_is_that_of_the_spreads():
    dataset = classes_dataset(3)
    generator = Stretch([0.05, 0.1, 0.0])
    ratios = alarm_for(dataset).measure(generator, 0, 100)
    made = scipy_spread(generator.calls[0][0][:8, 0].numpy())
    real = [scipy_spread(dataset.images[index:index + 3] / 127.5 - 1) for index in (0, 3, 6)]
    assert ratios == {'0': pytest.approx(0.05 * made / real[0]), '1': pytest.approx(0.1 * made / real[1]), '2': 0}


def test_images_out_of_range_count_as_they_are_shown():
    flat = ArrayDataset(np.stack([np.full([3, 8, 8], level, np.uint8) for level in (0, 255)] * 4))
    ratios = alarm_for(flat).measure(lambda z, c, noise_mode: 1e6 * z[:, :1, None, None].expand(-1, 3, 8, 8), 0, 8)
    assert 0.5 < ratios['all'] <= 1.01  # black and white images, as the real ones


def test_label_vectors_are_those_of_images():
    vectors = np.random.default_rng(0).normal(size=[5, 4]).astype(np.float32)
    generator = Stretch([0.1, 0.1, 0.1, 0.1])
    assert list(alarm_for(ArrayDataset(noise_images(5), vectors)).measure(generator, 0, 8)) == ['all']
    labels = {tuple(row) for row in generator.calls[0][1].tolist()}
    assert labels == {tuple(row) for row in vectors.tolist()}  # 5 images for 8 latents: each appears


def test_latents_are_the_same_for_all_classes_and_ticks():
    alarm, generator = alarm_for(classes_dataset(2)), Stretch([0.1, 0.1])
    first, later = alarm.measure(generator, 0, 16), alarm.measure(generator, 7, 16)
    assert first == later
    (z, c), (again, _c) = generator.calls
    assert torch.equal(z, again) and torch.equal(z[:8], z[8:]) and z.unique(dim=0).shape[0] == 8
    assert c[:, 0].tolist() == [1] * 8 + [0] * 8
    assert not torch.equal(z, other_latents(seed=1))


def other_latents(seed):
    alarm_for(classes_dataset(2), seed).measure(generator := Stretch([0.1, 0.1]), 0, 16)
    return generator.calls[0][0]


def test_many_classes_take_turns():
    dataset, generator = classes_dataset(70, num_per_class=2), Stretch([0.1] * 70)
    alarm = alarm_for(dataset)
    turns = [list(alarm.measure(generator, tick, 256)) for tick in range(3)]
    assert all(len(set(turn)) == 32 for turn in turns)
    assert {name for turn in turns for name in turn} == set(dataset.class_names)
    assert list(alarm_for(dataset).measure(generator, 1, 256)) == turns[1]  # by the number of the tick alone


def test_classes_without_a_real_spread_are_left_out():
    # Class 0 has one image, class 1 equal ones, class 2 none, class 3 two.
    images, labels = noise_images(5), np.array([0, 1, 1, 3, 3])
    images[2] = images[1]
    assert list(alarm_for(ArrayDataset(images, labels)).measure(Stretch([0.1] * 4), 0, 8)) == ['3']
    alone = alarm_for(ArrayDataset(images[:1]))
    assert alone.measure(Stretch(0.1), 0, 8) == {} and alone.warnings({}) == []


def test_a_collapsing_class_is_said_once_until_it_recovers():
    alarm = alarm_for(classes_dataset(3))

    def told(strengths):
        return alarm.warnings(alarm.measure(Stretch(strengths), 0, 24))

    assert told([0.1, 0.1, 0.1]) == []
    assert told([0.1, 0.011, 0.5]) == []  # more than a tenth
    warning, = told([0.1, 0.009, 0.1])
    assert 'class 1 (' in warning and 'class 0' not in warning and '\n' not in warning
    assert all(option in warning for option in ('--aug=ada', '--gamma', '--glr', 'snapshot'))
    assert told([0.1, 0.001, 0.1]) == []  # said already
    assert 'class 2' in told([0.1, 0.001, 0.0])[0]
    assert told([0.1, 0.05, 0.1]) == []  # both recover
    again, = told([0.1, 0.0, 0.0])
    assert 'class 1' in again and 'class 2' in again


def test_a_class_keeps_its_warning_while_others_have_their_turn():
    alarm = alarm_for(classes_dataset(2))
    alarm.measure(Stretch([0.1, 0.1]), 0, 16)
    assert len(alarm.warnings({'0': 0.0})) == 1
    assert alarm.warnings({'1': 1.0}) == [] == alarm.warnings({'0': 0.0})


@pytest.mark.parametrize('value', [float('nan'), 0.0])
def test_a_start_without_a_spread_gives_no_alarm(value):
    alarm = alarm_for(classes_dataset(2))
    ratios = alarm.measure(Stretch([value, 0.1]), 0, 16)
    assert ratios['0'] == pytest.approx(value, nan_ok=True) and alarm.warnings(ratios) == []
    assert alarm.measure(Stretch([0.1, 0.1]), 1, 16)['0'] > 0


def test_state_is_plain_and_goes_on():
    alarm = alarm_for(classes_dataset(2))
    alarm.measure(Stretch([0.1, 0.1]), 0, 16)
    fallen = alarm.measure(Stretch([0.001, 0.1]), 1, 16)
    assert len(alarm.warnings(fallen)) == 1
    file = io.BytesIO()
    torch.save(alarm.state_dict(), file)
    file.seek(0)
    again = alarm_for(classes_dataset(2))
    again.load_state_dict(torch.load(file, weights_only=True))
    assert again.state_dict() == alarm.state_dict()
    assert again.warnings(again.measure(Stretch([0.001, 0.001]), 2, 16))[0].count('class') == 1  # class 1; 0 was said


def tiny_generator():
    with torch.random.fork_rng():
        return Generator(z_dim=Z_DIM, c_dim=3, w_dim=8, img_resolution=16, img_channels=3, mapping_kwargs=dict(num_layers=2),
                         synthesis_kwargs=dict(channel_base=128, channel_max=16)).eval()


def test_mirrored_images_belong_to_their_class(rgb_zip):
    dataset = ImageFolderDataset(rgb_zip, use_labels=True, xflip=True)
    assert list(alarm_for(dataset).measure(tiny_generator(), 0, 8)) == ['cat', 'dog', 'owl']
    dataset.close()


def test_at_most_64_real_images_are_read_once():
    dataset = classes_dataset(2, num_per_class=80)
    alarm = alarm_for(dataset)
    assert dataset.num_read == 0
    for tick in range(3):
        alarm.measure(Stretch([0.1, 0.1]), tick, 16)
    assert dataset.num_read == 128
