"""The second half of `run PATH train_hyper.py`: the checkout's own training loop on the hyper-modulated networks.

Networks and loss are reached by class name, as DESIGN says; all else in this process is the checkout's.
"""
import importlib
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

PRECISION = dict(num_fp16_res=0, conv_clamp=None)   # said outright: the defaults differ between checkouts
STYLEGAN3_LOSS = 'patches.stylegan3_loss.Stylegan3TransferLoss'
# Arguments of our loop that stock loops may lack, and what is lost with them.
LOST = dict(cond_ramp='--cond-ramp', keep_snapshots='--keep-snapshots')


def train_in_host(run_dir: Path, kind: str) -> None:
    """Train as training_options.json says. The checkout's packages come first in sys.path, and the patches are applied.

    Raises click.UsageError if the checkout sees the data otherwise than this project, and what the loop raises.
    """
    config = json.loads((run_dir / 'training_options.json').read_text(encoding='utf-8'))
    dnnlib, loop = importlib.import_module('dnnlib'), importlib.import_module('training.training_loop').training_loop
    kwargs, notes = host_arguments(config, loop, kind, valid_metrics())
    check_data(dnnlib, config)
    for note in notes:
        click.echo(f'Note: {note}')
    if config.get('num_threads'):
        importlib.import_module('torch').set_num_threads(config['num_threads'])
    with dnnlib.util.Logger(file_name=str(run_dir / 'log.txt'), file_mode='a', should_flush=True):
        loop(run_dir=str(run_dir), **easy(kwargs, dnnlib.EasyDict))
        click.echo(f'Done: {run_dir}')


def host_arguments(config: dict[str, Any], loop: Callable[..., Any], kind: str,
                   metrics: list[str]) -> tuple[dict[str, Any], list[str]]:
    """The loop's keyword arguments for our config, and what is lost. metrics: the names that the checkout knows."""
    names = inspect.signature(loop).parameters
    kwargs = {name: value for name, value in config.items() if name in names}
    notes = ['no exact resume: continue a stopped run from its last snapshot with --resume',
             'no report, no diversity alarm, no progress bar',
             'no class names in snapshots: classes have numbers']
    notes += [f'{option} is ignored' for name, option in LOST.items() if name not in names and config.get(name) is not None]
    G_kwargs, D_kwargs = dict(config['G_kwargs']), dict(config['D_kwargs'])
    G_kwargs['synthesis_kwargs'] = {**PRECISION, **G_kwargs.get('synthesis_kwargs', {})}
    kwargs |= dict(G_kwargs=G_kwargs, D_kwargs={**PRECISION, **D_kwargs})
    if kind == 'stylegan3':
        kwargs['loss_kwargs'] = {**config['loss_kwargs'], 'class_name': STYLEGAN3_LOSS}
    asked = (config.get('metrics') or {}).get('names', [])
    kwargs['metrics'] = [name for name in asked if name in metrics]
    unknown = [name for name in asked if name not in metrics]
    notes += [f'the checkout has no metric {", ".join(unknown)}'] if unknown else []
    return kwargs, notes


def valid_metrics() -> list[str]:
    """The names of the checkout's metrics; [] if it has none or they cannot be imported."""
    try:
        return list(importlib.import_module('metrics.metric_main').list_valid_metrics())
    except ImportError:
        return []


def check_data(dnnlib: Any, config: dict[str, Any]) -> None:
    """click.UsageError unless the checkout's data set has labels of the size that the networks were made for."""
    dataset = dnnlib.util.construct_class_by_name(**config['training_set_kwargs'])
    found, path = dataset.label_dim, config['training_set_kwargs']['path']
    dataset.close()
    with dnnlib.util.open_url(config['resume_pkl']) as file:
        expected = importlib.import_module('legacy').load_network_pkl(file)['G_ema'].c_dim
    if found != expected:
        raise click.UsageError(f'the checkout finds {found} label dimensions in {path}, expected {expected}: make the data with '
                               'dataset_tool.py, whose dataset.json stock code reads')


def easy(value: Any, kind: type) -> Any:
    """The value with every dict in it of that kind, which stock code reads attributes of."""
    if isinstance(value, dict):
        return kind({key: easy(item, kind) for key, item in value.items()})
    return [easy(item, kind) for item in value] if isinstance(value, list) else value
