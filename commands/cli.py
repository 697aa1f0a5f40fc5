"""What the commands share: one-line errors with exit codes, choice of the device, and seeds.

Exit codes: 0 done, 1 the run failed, 2 the input was wrong.
"""
from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dnnlib.errors import MACHINE_ERRNOS, cut, describe_os_error, input_message
from training.run.run_dir import newest_snapshot

if TYPE_CHECKING:
    import torch

MAX_SEED = 2**32 - 1  # numpy.random.RandomState takes no larger one
MAX_NUM_SEEDS = 10**6

device_option = click.option('--device', type=click.Choice(['auto', 'cpu', 'cuda', 'mps']), default='auto', show_default=True,
                             help='Device to compute on; auto picks CUDA, else MPS, else the CPU.')
verbose_option = click.option('-v', '--verbose', is_flag=True, help='Show the traceback of an error.')


class UserPath(click.Path):
    """A path or URL. A leading ~ is the home directory, even where the shell does not expand it: --dest=~/set.zip."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(os.path.expanduser(value), param, ctx)


class InputError(click.ClickException):
    """Wrong input: printed as one line, exit code 2."""

    exit_code = 2


class RunError(click.ClickException):
    """A run that failed on good input: printed as one line, exit code 1."""

    exit_code = 1


@contextlib.contextmanager
def command_errors(verbose: bool = False) -> Iterator[None]:
    """Turn exceptions from the block into one-line errors of a click command.

    ValueError and OSError are the user's (exit code 2), save for a full or broken disk or memory;
    anything else is a failed run (exit code 1). click's own exceptions and Ctrl-C pass through.
    """
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot show is no reason to fail
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='replace')
    try:
        yield
    except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):  # the last one as `| head` ends: click's
        raise
    except Exception as error:
        if verbose:
            traceback.print_exc()
        raise _as_click_error(error) from error


def _as_click_error(error: Exception) -> click.ClickException:
    message = input_message(error)
    if message is not None:
        return InputError(message)
    if isinstance(error, OSError):
        return RunError(describe_os_error(error))
    first_line = str(error).strip().partition('\n')[0]
    return RunError(f'{type(error).__name__}: {cut(first_line) or "no message"} (--verbose shows where)')


def resolve_device(name: str) -> torch.device:
    """'auto', 'cpu', 'cuda' or 'mps' -> the device; ValueError if this machine lacks it."""
    import torch  # takes seconds, which commands without a device are spared
    available = {'cuda': torch.cuda.is_available(), 'mps': torch.backends.mps.is_available(), 'cpu': True}
    if name == 'auto':
        name = next(kind for kind, present in available.items() if present)
    if name not in available:
        raise ValueError(f'--device={name} is unknown: choose auto, cpu, cuda or mps')
    if not available[name]:
        usable = ', '.join(kind for kind, present in available.items() if present)
        raise ValueError(f'--device={name} is not available here: torch {torch.__version__} finds {usable}; use that or auto')
    return torch.device(name)


def check_precision(device: str) -> None:
    """ValueError if --fp32=0 or --half of the current command asks for half precision on a device without it."""
    given, values = given_options(), click.get_current_context().params
    asks = {'--fp32=0': 'fp32' in given and not values['fp32'], f'--half={values["half"]}': 'half' in given}
    for option in [option for option, given_so in asks.items() if given_so and device != 'cuda']:
        raise ValueError(f'{option} asks for half precision, which works only on CUDA, but the device is {device}: leave out '
                         f'{option.partition("=")[0]}, or train on CUDA')


def check_outdir(outdir: str | Path, option: str = '--outdir') -> None:
    """ValueError unless outdir can be written to or created. Leaves nothing behind.

    OSError if a full or broken disk is the cause.
    """
    place = Path(outdir).absolute()
    try:
        while not _exists(place):
            place = place.parent
        with tempfile.TemporaryFile(dir=place, prefix='.try-'):  # no directory: who looks for runs might enter it as it goes
            pass
    except OSError as error:
        if error.errno in MACHINE_ERRNOS:
            raise
        what = 'is not a directory' if isinstance(error, NotADirectoryError) else f'cannot be written to ({error.strerror})'
        raise ValueError(f'{option}={outdir}: {place} {what}; choose another place, or change its permissions') from error


def _exists(path: Path) -> bool:
    """Like Path.exists(), which in some Python versions is False without permission to look."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def given_options() -> list[str]:
    """The options given on the command line of the current command, by argument name."""
    context = click.get_current_context()
    return [name for name in context.params if context.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE]


def named_or_newest(network: str | None) -> str:
    """The named snapshot, else the newest one of all runs, which is printed. FileNotFoundError if there is none."""
    if network is None:
        network = str(newest_snapshot())
        click.echo(f'Network: {network}')
    return network


def parse_seeds(text: str) -> list[int]:
    """'0-3,70' -> [0, 1, 2, 3, 70], each seed once, in the order given. Seeds are 0 to 2**32 - 1."""
    seeds: dict[int, None] = {}  # a set that keeps the order
    for part in text.split(','):
        match = re.fullmatch(r'(\d+)(?:-(\d+))?', part.strip())
        if match is None:
            raise ValueError(f'--seeds: {part.strip()!r} is neither a number nor a range; write for example --seeds=0-63,70')
        first, last = int(match[1]), int(match[2] or match[1])
        if first > last:
            raise ValueError(f'--seeds: the range {part.strip()} runs backwards; write {last}-{first}')
        if last > MAX_SEED:
            raise ValueError(f'--seeds: {last} is too large; seeds go from 0 to {MAX_SEED}')
        if last - first >= MAX_NUM_SEEDS:
            raise ValueError(f'--seeds: {part.strip()} has more than {MAX_NUM_SEEDS} seeds; give fewer per call')
        seeds.update(dict.fromkeys(range(first, last + 1)))
    return list(seeds)
