"""Identifies a folder: a checkout of stylegan2-ada-pytorch, of stylegan3, or something else. Runs nothing in it."""
import ast
import dataclasses
from pathlib import Path

LOOP = 'training/training_loop.py'
# A file that only this kind of checkout has, besides those that both have.
KINDS = {'stylegan3': 'training/networks_stylegan2.py', 'stylegan2-ada-pytorch': 'training/networks.py'}
COMMON = ('dnnlib/__init__.py', 'torch_utils/persistence.py', LOOP)
OWN_PACKAGE = 'hyper_plugin'
LOOP_ARGUMENTS = {'G_kwargs', 'D_kwargs', 'loss_kwargs', 'augment_kwargs', 'ada_target', 'resume_pkl', 'training_set_kwargs'}
FORK_FOLDERS = {'pg_modules': 'stylegan-xl or projected-gan'}     # which the originals do not have


@dataclasses.dataclass(frozen=True)
class Checkout:
    """A folder and its kind: 'stylegan2-ada-pytorch', 'stylegan3' or 'unknown'.

    fork: for 'unknown', what tells that it descends from one of them; '' if it does not.
    """

    path: Path
    kind: str
    fork: str = ''

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
        raise ValueError(f'{path} is not a folder; expected a checkout of stylegan2-ada-pytorch or stylegan3')
    if (folder / OWN_PACKAGE).is_dir():
        raise ValueError(f'{path} is this project itself, which needs no patches: run its commands directly')
    kind = next((kind for kind, name in KINDS.items() if (folder / name).is_file()), 'unknown')
    if kind == 'unknown' or not all((folder / name).is_file() for name in COMMON):
        return Checkout(folder, 'unknown')
    fork = _fork(folder)
    return Checkout(folder, 'unknown', f'a fork of {kind}: {fork}') if fork else Checkout(folder, kind)


def _fork(folder: Path) -> str:
    """Why the transfer cannot run in a folder with the files of this kind; '' if it can."""
    for name, project in FORK_FOLDERS.items():
        if (folder / name).is_dir():
            return f'it has {name}/, as {project} has'
    try:
        tree = ast.parse((folder / LOOP).read_text(encoding='utf-8', errors='replace'))
    except SyntaxError:
        return f'{LOOP} is no Python of this version'
    loops = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == 'training_loop']
    taken = {argument.arg for loop in loops for argument in (*loop.args.args, *loop.args.kwonlyargs)}
    lacking = sorted(LOOP_ARGUMENTS - taken)
    return f'its training loop takes no {", ".join(lacking)}' if lacking else ''
