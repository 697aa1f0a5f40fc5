"""Fixtures that several test files use: the shared folder, seeds, small data sets, a small source snapshot."""

import copy
import io
import json
import os
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.commands import REPO, end_started

if not torch.cuda.is_available():
    os.environ['TRITON_INTERPRET'] = '1'    # read when Triton is imported: its kernels run on the CPU, where tests ask for them
CLASS_NAMES = ['cat', 'dog', 'owl']


def seed() -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)


@pytest.fixture(autouse=True)
def _seeded():
    """Every test starts from the same random state, on one thread: the tensors are small."""
    torch.set_num_threads(1)
    seed()


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef):
    """What tests share is the same whichever of them asks first, in whichever process."""
    if fixturedef.scope != 'function':
        seed()


@pytest.fixture(autouse=True)
def _commands_end():
    """No training goes on after its test."""
    yield
    end_started()


@pytest.fixture(scope='session')
def shared() -> Path:
    """The folder with recorded vectors and data that lies beside a development checkout."""
    path = REPO.parent / 'shared'
    if not path.is_dir():
        pytest.skip(f'needs the folder {path}')
    return path


@pytest.fixture
def canary(tmp_path):
    """A path that hostile pickles try to create; the test fails if one did."""
    path = tmp_path / 'canary'
    yield path
    assert not path.exists(), 'the pickle ran code'


def write_dataset(path: Path, mode: str, num_per_class: int = 6, resolution: int = 16) -> Path:
    """A zip of three classes with dataset.json; each class has a brightness of its own, plus noise. mode: 'RGB' or 'L'."""
    rng = np.random.default_rng(0)
    shape = [resolution, resolution, 3] if mode == 'RGB' else [resolution, resolution]
    labels = []
    with zipfile.ZipFile(path, 'w') as archive:
        for label in range(len(CLASS_NAMES)):
            for i in range(num_per_class):
                pixels = (40 + 80 * label + rng.integers(0, 40, shape)).astype(np.uint8)
                buffer = io.BytesIO()
                Image.fromarray(pixels).save(buffer, format='PNG')
                name = f'{CLASS_NAMES[label]}/{i:02d}.png'
                archive.writestr(name, buffer.getvalue())
                labels.append([name, label])
        archive.writestr('dataset.json', json.dumps({'labels': labels, 'class_names': CLASS_NAMES}))
    return path


@pytest.fixture(scope='session')
def rgb_zip(tmp_path_factory) -> Path:
    """18 RGB images, 16x16, three classes of six."""
    return write_dataset(tmp_path_factory.mktemp('data') / 'rgb.zip', 'RGB')


@pytest.fixture(scope='session')
def gray_zip(tmp_path_factory) -> Path:
    """18 greyscale images, 16x16, three classes of six."""
    return write_dataset(tmp_path_factory.mktemp('data') / 'gray.zip', 'L')


@pytest.fixture(scope='session')
def make_snapshot(tmp_path_factory) -> Callable[..., Path]:
    """make_snapshot(c_dim=0, img_channels=3, class_names=None) -> path of a snapshot of small 16x16 networks."""
    from training.networks import Discriminator, Generator

    def make(c_dim: int = 0, img_channels: int = 3, class_names: tuple[str, ...] | None = None) -> Path:
        torch.manual_seed(1)
        channels = dict(channel_base=128, channel_max=16)
        image = dict(c_dim=c_dim, img_resolution=16, img_channels=img_channels)
        G = Generator(z_dim=8, w_dim=8, mapping_kwargs=dict(num_layers=2), synthesis_kwargs=channels, **image)
        D = Discriminator(**image, **channels)
        for name, strength in G.named_parameters():
            if name.endswith('noise_strength'):
                strength.data.fill_(0.1)  # as if trained: the noise modes differ
        networks = {name: copy.deepcopy(net).eval().requires_grad_(False) for name, net in dict(G=G, D=D, G_ema=G).items()}
        snapshot = dict(networks, augment_pipe=None, training_set_kwargs=None, class_names=class_names and list(class_names))
        path = tmp_path_factory.mktemp('snapshot') / 'network-snapshot-000000.pkl'
        path.write_bytes(pickle.dumps(snapshot))
        return path

    return make


@pytest.fixture(scope='session')
def source_pkl(make_snapshot) -> Path:
    """An unconditional RGB snapshot, 16x16."""
    return make_snapshot()


@pytest.fixture(scope='session')
def gray_source_pkl(make_snapshot) -> Path:
    """An unconditional greyscale snapshot, 16x16."""
    return make_snapshot(img_channels=1)


@pytest.fixture(scope='session')
def conditional_pkl(make_snapshot) -> Path:
    """A class-conditional RGB snapshot, 16x16, of the classes of rgb_zip."""
    return make_snapshot(c_dim=len(CLASS_NAMES), class_names=tuple(CLASS_NAMES))
