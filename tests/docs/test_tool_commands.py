"""The commands on the pages of the tools run, as they stand there, on small networks and pictures of the names that they name."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import legacy
from exporting.web_folder import RUNTIME
from generating import projection
from tests.support.commands import invoke
from tests.support.dataset_files import make_folder, png
from tests.support.hyper_sources import make_varied_hyper
from tests.support.metric_scenes import Everything, save_script
from tests.support.pages import PAGES, command_of, shell_commands
from tests.support.published_archives import cifar_files, tar_gz, write_lsun, write_mnist

TOOLS = ('data.md', 'video.md', 'projection.md', 'share.md', 'generate-and-export.md')
HUB = 'hf://'  # commands that need the hub's server: tests/exporting/test_hub_folder.py has one of its own
# What makes a command quick: the last of two equal options counts.
QUICK = {
    'generate.py': lambda words: ['--seconds=0.4', '--fps=5'] if any(word.startswith('--video=') for word in words) else [],
    'project.py': lambda words: ['--steps=2', '--detector=detector.pt'],
    'dataset_tool.py': lambda words: ['--max-images=5'] if 'builtin:letters' in ' '.join(words) else [],
    'train_hyper.py': lambda words: ['--dry-run', '--device=cpu'],
    'export.py': lambda words: [],
}
ALL = [tuple(words[1:]) for page in TOOLS for words in shell_commands(PAGES[page])]
COMMANDS = [words for words in dict.fromkeys(ALL) if HUB not in ' '.join(words)]


def animals(path):
    make_folder(path, [f'{name}/{index}.png' for name in ('cat', 'dog', 'wild') for index in range(2)])


def ages(path):
    labels = [[f'0{index}.png', [index % 2, 0.5, -0.5]] for index in range(4)]
    make_folder(path, {name: png(size=(16, 16), seed=i) for i, (name, _label) in enumerate(labels)}, labels)


def cifar(path):
    images = np.random.default_rng(0).integers(0, 256, (10, 32, 32, 3)).astype(np.uint8)
    path.write_bytes(tar_gz(cifar_files(images, np.arange(10), images[:2], [3, 5])))


def mnist(path):
    write_mnist(path.parent, np.full((4, 28, 28), 99, np.uint8), np.arange(4, dtype=np.uint8))


def towers(path):
    write_lsun(path, {b'%d' % seed: png(seed=seed, size=(9, 8)) for seed in range(3)})


SOURCES = {'animals': animals, 'ages': ages, 'cifar-10-python.tar.gz': cifar, 'train-images-idx3-ubyte.gz': mnist,
           'tower_train_lmdb': towers}


@pytest.fixture(scope='module')
def place(tmp_path_factory, source_pkl):
    """A folder with the networks and files that the commands name."""
    folder = tmp_path_factory.mktemp('place')
    torch.manual_seed(0)
    G = make_varied_hyper()
    legacy.save_network_pkl(folder / 'animals.pkl', dict(G=G, D=None, G_ema=G, class_names=['cat', 'dog', 'wild']))
    (folder / 'training-runs' / '00000-run').mkdir(parents=True)
    shutil.copy(folder / 'animals.pkl', folder / 'training-runs' / '00000-run' / 'network-snapshot-000001.pkl')
    run('export.py', f'--network={folder / "animals.pkl"}', f'--out={folder / "animals.safetensors"}', '--no-card')
    shutil.copy(source_pkl, folder / 'ffhq.pkl')
    ages(folder / 'labelled')
    run('dataset_tool.py', f'--source={folder / "labelled"}', f'--dest={folder / "ages.zip"}')
    Image.open(io.BytesIO(png(size=(20, 16)))).save(folder / 'photo.jpg')
    (folder / 'projected').mkdir()
    np.savez(folder / 'projected' / 'projected_w.npz', w=np.zeros([1, 6, 9], np.float32))
    save_script(folder / 'detector.pt', Everything())
    (folder / 'node_modules' / 'onnxruntime-web' / 'dist').mkdir(parents=True)
    for name in RUNTIME.values():
        (folder / 'node_modules' / 'onnxruntime-web' / 'dist' / name).write_text('// runtime')
    return folder


def run(*words):
    command, arguments = command_of(words)
    result = invoke(command, *arguments)
    assert result.exit_code == 0, (words, result.output, result.exception)


@pytest.mark.slow
@pytest.mark.parametrize('words', COMMANDS, ids=' '.join)
def test_it_runs(words, place, tmp_path, monkeypatch):
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(projection, 'NUM_MEAN_SAMPLES', 100)
    options = dict(word.split('=', 1) for word in words if '=' in word)
    source = options.get('--source', '')
    if source in SOURCES:
        SOURCES[source](tmp_path / source)
    made = [Path(options[name]) for name in ('--dest', '--out', '--video') if name in options]
    for path in made:
        path.unlink(missing_ok=True)
    run(*words, *QUICK[words[0]](words))
    assert [path for path in made if not path.exists()] == []


def test_the_pages_have_commands_of_every_tool():
    assert {words[0] for words in COMMANDS} == set(QUICK) and len(COMMANDS) > 30
    assert sum(HUB in ' '.join(words) for words in ALL) == 2
