"""The task that the benchmarks share: a model of letters becomes one of the ten digits, by the commands that a user types."""
import os
import subprocess
import sys
from pathlib import Path

import click

from commands.cli import UserPath

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / 'models' / 'letters32.pkl'
DATA = {'train': 'builtin:digits', 'test': 'builtin:digits-test'}
# What train_hyper.py is asked besides data, source, length, seed and start. Small batches make more steps of few images;
# gamma is the source's; augmentation, which the digits do without at this length, would cost a third of the time.
OPTIONS = ('--batch=16', '--mbstd-group=4', '--gamma=1', '--aug=noaug')

resume_option = click.option('--resume', type=UserPath(exists=True, dir_okay=False, path_type=Path), default=SOURCE,
                             show_default='models/letters32.pkl', help='Unconditional source model, 32x32 with one channel.')
num_gen_option = click.option('--num-gen', type=click.IntRange(min=2), default=200, show_default=True,
                              help='Images per class that are judged.')


def run_command(*command: str, capture: bool = False, log: Path | None = None, threads: int | None = None) -> str:
    """Runs a command of this repository with this Python. Returns its standard output if capture.

    The command and what it says are shown, or appended to the file log. threads: of its tensor operations; None: its own
    choice. Raises ClickException (exit code 1) if it fails.
    """
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')])))
    if threads is not None:
        env['OMP_NUM_THREADS'] = str(threads)
    line, arguments = '$ python ' + ' '.join(command), [sys.executable, str(ROOT / command[0]), *command[1:]]
    if log is None:
        click.secho(line, bold=True, err=True)
        done = subprocess.run(arguments, env=env, stdout=subprocess.PIPE if capture else None, text=True)
    else:
        with open(log, 'a') as file:
            print(line, file=file, flush=True)
            done = subprocess.run(arguments, env=env, stdout=file, stderr=file, text=True)
    if done.returncode:
        where = f'in {log}' if log else 'above'
        raise click.ClickException(f'{command[0]} failed with exit code {done.returncode}; what it said stands {where}')
    return done.stdout or ''


def make_data(outdir: Path) -> dict[str, Path]:
    """The two splits of the built-in digits as data set zips in outdir, made if they are not there yet."""
    paths = {split: outdir / f'digits-{split}.zip' for split in DATA}
    for split, path in paths.items():
        if not path.is_file():
            run_command('dataset_tool.py', f'--source={DATA[split]}', f'--dest={path}')
    return paths
