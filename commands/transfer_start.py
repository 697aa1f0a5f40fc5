"""The start of a transfer: the hyper-modulated networks, filled from the source and self-initialised."""

import contextlib
import copy
import dataclasses
from pathlib import Path
from typing import Annotated, Any

import torch

from dnnlib.archives import warn_made_anew
from dnnlib.files import is_disk_full
from dnnlib.schema import Range, check
from hyper_plugin import selfinit
from torch_utils.misc import copy_params_and_buffers
from training.config import TrainingConfig
from training.loop.preparation import build_networks, open_dataset
from training.loop.state_check import check_tensor
from training.loop.training_state import read_state, write_state
from training.parallel.stop_signals import StopSignals
from training.run.run_dir import save_json
from training.run.terminal_bar import open_bar
from training.snapshot.writing import save_network_pkl

from .data_facts import DataFacts
from .transfer_options import TransferOptions

SELFINIT_STATE = 'selfinit-state.pt'


def start_networks(run_dir: Path, config: TrainingConfig, source: dict[str, Any], data: DataFacts,
                   options: TransferOptions) -> TrainingConfig | None:
    """Build the networks, transfer the source, self-initialise and save; returns the config to train with.

    A stopped self-initialisation continues. None: it was stopped again.
    """
    path = run_dir / ('selfinit.pkl' if options.selfinit else 'transfer.pkl')
    trains_from_there = dataclasses.replace(config, resume_pkl=str(path.absolute()))
    if path.is_file():  # it was written last, so that all of this is done
        return trains_from_there
    torch.manual_seed(config.random_seed)
    device = torch.device(config.device)
    G, D = (network.eval().to(device) for network in build_networks(data, config))
    if data.has_label_vectors:
        D.keep_label_scale_()
    reports = {name: copy_params_and_buffers(source[origin], network)
               for name, origin, network in (('G', 'G_ema', G), ('D', 'D', D)) if origin in source}
    for name in ('G', 'D'):
        missing = f'{name}   not in the source, starts from random weights'
        print('\n'.join(reports[name].lines(name) if name in reports else [missing]))
    found = {name: {kind: getattr(report, kind) for kind in ('copied', 'frozen', 'new', 'unused')}
             for name, report in reports.items()}
    save_json(run_dir / 'transfer.json', dict(options=vars(options), **found))
    method = options.selfinit
    if method:
        result = self_initialise(method, source['G_ema'].to(device), G, device, options.selfinit_kimg, config.random_seed,
                                 run_dir, label_vectors(data) if data.has_label_vectors else None)
        if result is None:
            return None
        print(f'Self-initialisation ({method}): relative feature error {result.relative_error:.3g} after {result.images} images')
        save_json(run_dir / 'selfinit.json', dataclasses.asdict(result))
    save_network_pkl(path, dict(G=G, D=D, G_ema=G, augment_pipe=None, training_set_kwargs=vars(config.training_set_kwargs),
                                class_names=list(data.class_names)))
    (run_dir / SELFINIT_STATE).unlink(missing_ok=True)
    return trains_from_there


def save_if_space(path: Path, state: dict[str, Any]) -> None:
    """Write the state of a self-initialisation; a full disk gives only a warning."""
    try:
        write_state(path, state)
    except OSError as error:
        if not is_disk_full(error):
            raise
        print(f'Warning: the disk of {path.parent} is full: self-initialisation continues and will try to save again; free some '
              'space')


def kept_state(path: Path, source: torch.nn.Module, G: torch.nn.Module) -> dict[str, Any] | None:
    """The state of a stopped distillation of these networks; None if there is none, or, with a warning, if it cannot be
    used."""
    if not path.is_file():
        return None
    try:
        state = read_state(path)
        trial = selfinit.Distillation(source, copy.deepcopy(G), next(G.parameters()).device, torch.Generator(), 1, 1.0)
        for name, parameter in trial.learned.items():
            check_tensor(f'learned.{name}', state['learned'][name], parameter)
            check_tensor(f'best.{name}', state['best'][name], parameter)
        if state['schedule'].keys() != trial.schedule.state_dict().keys():
            raise ValueError('its schedule is of a different kind')
        trial.load_state_dict(state)
        for name, number in dict(images=trial.images, best_error=trial.best_error, rate=trial.rate).items():
            check(number, Annotated[float, Range(0)], name)
        return state
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        warn_made_anew('the self-initialisation', path, error)
        return None


def label_vectors(data: DataFacts) -> torch.Tensor:
    """The labels of all images of the data, float32 [N, K]."""
    with contextlib.closing(open_dataset(data.dataset)) as dataset:
        return torch.from_numpy(dataset.labels())


def self_initialise(method: str, source: torch.nn.Module, G: torch.nn.Module, device: torch.device, kimg: float,
                    seed: int, run_dir: Path, labels: torch.Tensor | None = None) -> selfinit.SelfInitResult | None:
    """Exact, or distilled with a progress bar, a line per measurement, and a state to continue from; None if it was stopped.

    labels: [M, K] to draw from, where they are vectors.
    """
    if method == 'exact':
        return selfinit.exact(source, G, device, labels)
    path = run_dir / SELFINIT_STATE
    saved = kept_state(path, source, G)
    with StopSignals() as stop, open_bar(round(kimg * 1000), saved['images'] if saved else 0) as bar:
        def report(images: int, error: float) -> None:
            bar.update(images - bar.n)
            bar.clear()
            print(f'selfinit   kimg {images / 1000:<8.1f} relative error {error:.4f}')

        return selfinit.distill(source, G, device, kimg, torch.Generator().manual_seed(seed), report=report, saved=saved,
                                save=lambda state: (write_state if stop.asked else save_if_space)(path, state),
                                stop=lambda: stop.asked, labels=labels)
