"""python -m patches PATH | python -m patches run PATH SCRIPT ARGS..."""
import importlib
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

import click
import torch

from .checkout import Checkout, identify
from .known import applied, name_of, needed
from .spawned import reaching_children
from .surroundings import describe_missing, describe_unreachable, missing_modules, unreachable

ROOT = Path(__file__).resolve().parent.parent
OWN_SCRIPT = 'train_hyper.py'
EPILOG = """\b
Examples:
  python -m patches ../stylegan2-ada-pytorch
  python -m patches run ../stylegan2-ada-pytorch train_hyper.py --data=animals.zip --resume=ffhq256 --selfinit
  python -m patches run ../stylegan3 gen_images.py --network=cats.pkl --class=0 --seeds=0-7 --outdir=out
"""


class InputError(click.ClickException):
    """Wrong input."""

    exit_code = 2


@click.command(epilog=EPILOG, context_settings=dict(help_option_names=['-h', '--help'], ignore_unknown_options=True,
                                                    allow_interspersed_args=False))
@click.option('-v', '--verbose', is_flag=True, help='Show the traceback of an error; give it before PATH or run.')
@click.argument('words', nargs=-1, type=click.UNPROCESSED, required=True, metavar='PATH | run PATH SCRIPT [ARGS]...')
def main(words: tuple[str, ...], verbose: bool) -> None:
    """Report what the checkout PATH is and what breaks in it under the installed PyTorch, or run a script with the patches.

    SCRIPT is one of the checkout's own (train.py, generate.py, ...), or train_hyper.py: this project prepares the networks,
    and the checkout's training loop trains them. Nothing in the checkout is changed.
    """
    work: Callable[[], object] | None = None
    try:
        if words[0] != 'run':
            if len(words) > 1:
                raise click.UsageError(f'expected one path, found {" ".join(words)}')
            return click.echo(describe(identify(words[0])))
        if len(words) < 3:
            raise click.UsageError('run needs a path and a script')
        checkout, script, args = identify(words[1]), words[2], list(words[3:])
        is_own = script == OWN_SCRIPT and not checkout.has(script)
        work = own_work(checkout, args) if is_own else stock_work(checkout, script, args)
        if work is not None:
            in_checkout(checkout, None if is_own else checkout.path / script, work)
    except (click.ClickException, click.exceptions.Exit):
        raise
    except Exception as error:
        if verbose:
            traceback.print_exc()
        raise as_click_error(error, has_begun=work is not None) from error


def as_click_error(error: Exception, has_begun: bool) -> click.ClickException:
    """Errors as one line, with exit code 2 for wrong input; an error of the checkout's programs, once they run, is a failed
    run."""
    text = str(error).strip().partition('\n')[0]
    if isinstance(error, (ValueError, OSError)) and not has_begun:
        return InputError(text)
    return click.ClickException(f'{type(error).__name__}: {text or "no message"} (python -m patches --verbose ... shows where)')


def describe(checkout: Checkout) -> str:
    """A report in lines: what the checkout is, what breaks and is patched, and what is missing."""
    lines = [f'{checkout.path}: {checkout.fork or checkout.kind}, seen with PyTorch {torch.__version__}']
    if checkout.kind == 'unknown':
        then = '; its own scripts run with the patches, train_hyper.py does not' if checkout.fork else ''
        lines.append(f'Expected a checkout of stylegan2-ada-pytorch or stylegan3{then}')
        if not checkout.fork:
            return '\n'.join(lines)
    found = [f'  {name_of(patch):<20} {patch.MENDS}' for patch in needed(checkout)]
    missing = describe_missing(missing_modules(checkout)) + describe_unreachable(unreachable(checkout))
    return '\n'.join([*lines, *(found or ['  no known problems']), *(f'  missing: {line}' for line in missing),
                      'python -m patches run PATH SCRIPT ... runs a script with these patches'])


def stock_work(checkout: Checkout, script: str, args: list[str]) -> Callable[[], object]:
    """A script of the checkout, to be run in it."""
    path = checkout.path / script
    if not path.is_file():
        raise ValueError(f'{checkout.path} has no {script}; expected one of its scripts, or {OWN_SCRIPT}')
    sys.argv = [str(path), *args]
    return lambda: runpy.run_path(str(path), run_name='__main__')


def own_work(checkout: Checkout, args: list[str]) -> Callable[[], object] | None:
    """Prepare with this project's packages in another process; returns the training to run here with the checkout's, if any."""
    if checkout.kind == 'unknown':
        raise ValueError(f'{checkout.path} is {checkout.fork or "no checkout"}; expected stylegan2-ada-pytorch or stylegan3, '
                         'which have the training loop')
    run_dir = prepared_run(args)
    if run_dir is None:
        return None
    return lambda: importlib.import_module('patches.host_training').train_in_host(run_dir, checkout.kind)


def prepared_run(args: list[str]) -> Path | None:
    """The directory that patches.prepare makes; None if it only showed something. Exits as that process does."""
    environment = os.environ | dict(PYTHONPATH=os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')])))
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / 'run_dir'
        done = subprocess.run([sys.executable, '-m', 'patches.prepare', str(result), *args], env=environment)
        if done.returncode != 0:
            raise click.exceptions.Exit(done.returncode)
        name = result.read_text(encoding='utf-8') if result.is_file() else ''
    return Path(name) if name else None


def in_checkout(checkout: Checkout, script: Path | None, work: Callable[[], object]) -> None:
    """Do the work with the checkout's packages before this project's and with the patches, also in child processes."""
    sys.path[:0] = [str(checkout.path), str(ROOT)]
    patches = needed(checkout)
    click.echo(f'{checkout.kind} with patches: {", ".join(map(name_of, patches)) or "none"}', err=True)
    with reaching_children(checkout, script), applied(patches):
        work()


if __name__ == '__main__':
    main(prog_name='python -m patches')
