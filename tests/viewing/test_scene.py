"""The pictures of view.py without its page, against the bytes of generate.py's files and against networks by themselves."""

import dataclasses
import shlex

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import legacy
from generate import main as generate_main
from generating.sampler import load_sampler
from tests.support.hyper_sources import make_hyper, make_source, make_varied_hyper
from training.networks import Generator
from viewing.scene import SAVED_W, OpenNetwork, Scene, class_text, copy_resolutions, vector_text

NAMES = ['cat', 'dog: a, b', 'owl']


def save(G, path, names):
    legacy.save_network_pkl(path, dict(G=G, D=None, G_ema=G, class_names=names))
    return OpenNetwork(str(path), load_sampler(str(path), False, torch.device('cpu'), 1, 'const', 8))


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('networks')


@pytest.fixture(scope='module')
def opened(folder):
    return save(make_varied_hyper(), folder / 'hyper.pkl', NAMES)


@pytest.fixture
def by_command(tmp_path, monkeypatch):
    """The picture that the scene's command draws."""
    def run(opened, scene):
        monkeypatch.chdir(tmp_path)
        if not scene.has_command:
            opened.save_w(tmp_path / SAVED_W, scene)
        words = shlex.split(opened.command(scene))
        assert words[:2] == ['python', 'generate.py']
        result = CliRunner().invoke(generate_main, ['--device=cpu', *words[2:]])
        assert result.exit_code == 0, result.output
        path, = (tmp_path / 'out').iterdir()
        return np.asarray(Image.open(path))
    return run


@pytest.mark.parametrize('scene', [
    Scene(label='owl'), Scene(seed=2**32 - 1, label=class_text({'cat': 0.3, 'dog: a, b': 0.55, 'owl': 0}), psi=1),
    Scene(seed=3, label=NAMES[1], psi=0.45, noise_mode='none'), Scene(label='owl', second_seed=5, position=0.3),
    Scene(label='cat', second_seed=5, resolutions=(8,)),
    Scene(label='cat', psi=0.5, second_seed=5, position=1, resolutions=(4, 16)),
], ids=['class', 'mix', 'settings', 'walk', 'styles', 'walk and styles'])
def test_command_gives_the_same_bytes(scene, opened, by_command):
    picture = np.asarray(opened.draw(scene))
    assert np.ptp(picture) > 30
    assert np.array_equal(by_command(opened, scene), picture)


def test_label_vectors(folder, by_command):
    opened = save(make_hyper(make_source(img_channels=1)), folder / 'vectors.pkl', [])
    scene = Scene(seed=7, label=vector_text([-1.5, 0, 0.25]))
    picture = np.asarray(opened.draw(scene))
    assert picture.ndim == 2 and np.array_equal(by_command(opened, scene), picture)
    assert not np.array_equal(np.asarray(opened.draw(Scene(seed=7, label='0,0,0'))), picture)
    with pytest.raises(ValueError, match='label vectors'):
        opened.draw_classes(scene)


def test_networks_without_labels_and_plain_ones_with_classes(folder, by_command):
    plain = save(make_source(), folder / 'plain.pkl', [])
    assert plain.source is None
    assert np.array_equal(by_command(plain, Scene(seed=4)), np.asarray(plain.draw(Scene(seed=4))))
    torch.manual_seed(0)
    G = Generator(6, 3, 5, 16, 3, mapping_kwargs=dict(num_layers=2), synthesis_kwargs=dict(channel_base=64, channel_max=6))
    classes = save(G, folder / 'classes.pkl', ['cat', 'dog', 'owl'])
    assert not np.array_equal(*pictures_of(classes)[:2])
    classes.save_w(folder / 'own.npz', Scene(label='dog'))
    projected = Scene(projected=str(folder / 'own.npz'), label='owl')
    assert '--class' not in classes.command(projected)  # it is a part of this w
    assert np.array_equal(np.asarray(classes.draw(projected)), pictures_of(classes)[1])


def pictures_of(opened):
    return [np.asarray(picture) for picture, _name in opened.draw_classes(Scene())]


def test_the_source_is_the_network_that_was_transferred(folder):
    network = make_source()
    source, opened = save(network, folder / 'source.pkl', []), save(make_hyper(network), folder / 'transferred.pkl', NAMES)
    for scene in (Scene(seed=3, label='cat'), Scene(label='owl', psi=1, position=0.4, resolutions=(16,))):
        picture = np.asarray(opened.draw_source(scene))
        assert np.array_equal(picture, np.asarray(source.draw(dataclasses.replace(scene, label=''))))
        assert not np.array_equal(picture, np.asarray(opened.draw(scene)))


def test_every_class_of_one_latent(opened):
    scene = Scene(seed=5, label='cat', second_seed=9, position=0.5)
    pictures = opened.draw_classes(scene)
    assert [name for _picture, name in pictures] == NAMES
    for picture, name in pictures:
        assert np.array_equal(np.asarray(picture), np.asarray(opened.draw(Scene(5, name, second_seed=9, position=0.5))))
    assert not np.array_equal(np.asarray(pictures[0][0]), np.asarray(pictures[1][0]))


def test_projected_w(opened, by_command, tmp_path):
    """With noise of its own, which must not stay in the network."""
    before = np.asarray(opened.draw(Scene(label='cat')))
    w = opened.sampler.ws([8], np.eye(3, dtype=np.float32)[:1])
    noise = torch.randn(16, 16, generator=torch.Generator().manual_seed(0))
    path = str(tmp_path / 'projected_w.npz')
    np.savez(path, w=w.numpy(), **{'maps/b16.conv1.noise_const': noise.numpy()})
    own = Scene(projected=path)
    scenes = [own, Scene(projected=path, label='owl'), Scene(projected=path, label='owl', resolutions=(4,))]
    pictures = [np.asarray(opened.draw(scene)) for scene in scenes]
    assert np.array_equal(pictures[0], np.asarray(opened.draw(Scene(projected=path, label='cat'))))
    assert len({picture.tobytes() for picture in [*pictures, before]}) == 4
    assert np.array_equal(by_command(opened, scenes[-1]), pictures[-1])
    assert np.array_equal(np.asarray(opened.draw(Scene(label='cat'))), before)


def test_walk_ends_at_the_second_seed(opened):
    ends = [np.asarray(opened.draw(Scene(2, 'cat', second_seed=6, position=position))) for position in (0, 1)]
    assert np.array_equal(ends[0], np.asarray(opened.draw(Scene(2, 'cat'))))
    assert np.array_equal(ends[1], np.asarray(opened.draw(Scene(6, 'cat'))))


def test_styles_of_all_resolutions_are_the_second_picture(opened):
    mixed = opened.draw(Scene(2, 'cat', second_seed=6, resolutions=(4, 8, 16)))
    assert np.array_equal(np.asarray(mixed), np.asarray(opened.draw(Scene(6, 'cat'))))


def test_copies_of_w_by_resolution():
    """By the layers of a network: its convolutions' sizes in order, and the last image layer."""
    for resolution in (4, 8, 32):
        synthesis = make_source(resolution).synthesis
        sizes = [res for res in synthesis.block_resolutions for name in ('conv0', 'conv1')
                 if hasattr(getattr(synthesis, f'b{res}'), name)]
        assert copy_resolutions(synthesis.num_ws) == [*sizes, resolution]


def test_a_mix_of_nothing_is_refused(opened):
    with pytest.raises(ValueError, match='All shares are 0'):
        opened.draw(Scene(label=class_text({'cat': 0, 'dog': 0})))
