"""The transfers of the study: a source model and the labelled images that it learns, one row each."""
import dataclasses
from pathlib import Path

from benchmarks.digits_task import ROOT, run_command

SMALL_NETWORK = ('--cbase=1024', '--cmax=64', '--z-dim=128', '--w-dim=128', '--map-depth=2', '--mapping-lr-mult=0.1')


@dataclasses.dataclass(frozen=True)
class Transfer:
    """source, train and test: names under the repository, the folder of shared files or that of the runs, or builtin:NAME
    for dataset_tool.py.

    options: what training is asked for these images. network: the source's size, for methods that do not start from it.
    """

    source: str
    train: str
    test: str
    options: tuple[str, ...] = ('--gamma=1',)
    network: tuple[str, ...] = SMALL_NETWORK


TRANSFERS = {
    'omniglot-digits': Transfer('pickles/omniglot32.pkl', 'data/digits-train.zip', 'data/digits-test.zip'),
    'letters-digits': Transfer('models/letters32.pkl', 'builtin:digits', 'builtin:digits-test'),
    'letters-mnist20': Transfer('models/letters32.pkl', 'builtin:mnist20', 'builtin:mnist-test'),
    'letters-mnist50': Transfer('models/letters32.pkl', 'builtin:mnist50', 'builtin:mnist-test'),
    'letters-mnist200': Transfer('models/letters32.pkl', 'builtin:mnist200', 'builtin:mnist-test'),
    'omniglot-fashion': Transfer('pickles/omniglot32.pkl', 'data/fashion-train.zip', 'data/fashion-test.zip'),
    'vehicles-animals': Transfer('models/vehicles32.pkl', 'data/cifar-animals-train.zip', 'data/cifar-animals-test.zip',
                                 ('--gamma=0.3', '--mirror=1')),  # docs/evidence.md: how the source is trained
}


@dataclasses.dataclass(frozen=True)
class Files:
    """Where the files of a transfer lie."""

    source: Path
    train: Path
    test: Path


def find_files(transfer: Transfer, shared: Path, workdir: Path) -> Files:
    """The files of a transfer; built-in data are made in workdir. FileNotFoundError names the one that is missing."""
    return Files(*(_find(name, shared, workdir) for name in (transfer.source, transfer.train, transfer.test)))


def _find(name: str, shared: Path, workdir: Path) -> Path:
    kind, _, rest = name.partition(':')
    if kind == 'builtin':
        path = workdir / 'data' / f'{rest.replace(":", "-")}.zip'
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            run_command('dataset_tool.py', f'--source={name}', f'--dest={path}')
        return path
    for folder in (ROOT, shared, workdir):
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f'{name} is not in the repository, {shared} or {workdir}: name its folder with --shared')
