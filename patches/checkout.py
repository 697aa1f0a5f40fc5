"""What a folder is: a checkout of stylegan2-ada-pytorch, of stylegan3, or something else. Nothing in it is run."""
import dataclasses
from pathlib import Path

# A file that only this kind of checkout has, besides those that both have.
KINDS = {'stylegan3': 'training/networks_stylegan2.py', 'stylegan2-ada-pytorch': 'training/networks.py'}
COMMON = ('dnnlib/__init__.py', 'torch_utils/persistence.py', 'training/training_loop.py')
OWN_PACKAGE = 'hyper_plugin'


@dataclasses.dataclass(frozen=True)
class Checkout:
    """A folder and its kind: 'stylegan2-ada-pytorch', 'stylegan3' or 'unknown'."""

    path: Path
    kind: str

    def has(self, name: str) -> bool:
        """Whether there is a file of this name, relative to the folder."""
        return (self.path / name).is_file()

    def mentions(self, name: str, word: str) -> bool:
        """Whether the file is there and holds the word."""
        return self.has(name) and word in (self.path / name).read_text(encoding='utf-8', errors='replace')


def identify(path: str | Path) -> Checkout:
    """ValueError if it is no folder, or this project itself."""
    folder = Path(path).resolve()
    if not folder.is_dir():
        raise ValueError(f'{path} is no folder; expected a checkout of stylegan2-ada-pytorch or stylegan3')
    if (folder / OWN_PACKAGE).is_dir():
        raise ValueError(f'{path} is this project itself, which needs no patches: run its commands directly')
    if not all((folder / name).is_file() for name in COMMON):
        return Checkout(folder, 'unknown')
    return Checkout(folder, next((kind for kind, name in KINDS.items() if (folder / name).is_file()), 'unknown'))
