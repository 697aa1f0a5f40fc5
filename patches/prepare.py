"""The first half of `run PATH train_hyper.py`, in a process of its own with this project's packages.

Everything up to the training loop: options, data, source, hyper-modulated networks, self-initialisation, the run directory.
"""
import dataclasses
import sys
from pathlib import Path

import click
import torch

import train_hyper
from commands.cli import check_outdir, command_errors, given_options
from commands.config import check_finite
from commands.launch import launch
from commands.transfer import COMMAND, plan_transfer
from commands.transfer_options import TransferOptions
from training.run.run_dir import OPTIONS, find_run, read_json, save_json


def prepare(args: list[str]) -> Path | None:
    """A run directory with training_options.json, whose resume_pkl holds the networks to train; None after --dry-run.

    args: those of train_hyper.py. Raises the same errors as that command.
    """
    with train_hyper.main.make_context('train_hyper.py', list(args)) as context:
        values = dict(context.params)
        outdir, _device, dry_run, verbose = (values.pop(name) for name in ('outdir', 'device', 'dry_run', 'verbose'))
        with command_errors(verbose):
            # Stock loops know CUDA only; on a machine without it they get the CPU in its place.
            options = TransferOptions(**values, device='cuda' if torch.cuda.is_available() else 'cpu')
            check_finite(options)
            if not options.cond_transfer:
                raise ValueError('--no-cond-transfer leaves nothing to do for the checkout: run train_hyper.py directly')
            if options.gpus != 1:
                raise ValueError(f'--gpus={options.gpus} found, but a checkout trains with one process: leave it out, or run '
                                 'train_hyper.py directly')
            if find_run(options.resume, outdir, COMMAND) is not None:
                raise ValueError('stock training loops cannot continue a run exactly: give a snapshot (--resume=FILE.pkl), or '
                                 'run train_hyper.py directly')
            check_outdir(outdir)
            plan = plan_transfer(options, 1, outdir, None, given_options())
            # The checkout computes its own metrics: nothing is looked for here that these would need.
            bare = dataclasses.replace(plan.config, metrics=None)
            run_dir = launch(dataclasses.replace(plan, config=bare, then='hand over'), dry_run)
            if run_dir is not None and plan.config.metrics is not None:
                metrics = dataclasses.asdict(plan.config.metrics)
                save_json(run_dir / OPTIONS, read_json(run_dir / OPTIONS) | dict(metrics=metrics))
            return run_dir


def main() -> None:
    """patches.prepare RESULT ARGS...: write the run directory's path into the file RESULT."""
    result, *args = sys.argv[1:]
    try:
        run_dir = prepare(args)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit('Aborted!')
    Path(result).write_text('' if run_dir is None else str(run_dir.resolve()), encoding='utf-8')


if __name__ == '__main__':
    main()
