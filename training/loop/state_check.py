"""What a training state must hold to continue from it: checked once, before anything is built or written."""

import dataclasses
import math
from typing import Annotated, Any

import torch

from dnnlib.schema import Range, read_dataclass, show
from torch_utils import misc
from training.config import TrainingConfig

from .optimizer_phases import Phase, make_phases
from .random_state import check_random_state
from .training_state import loss_tensors

Count = Annotated[int, Range(0)]
Seconds = Annotated[float, Range(0)]
Moments = dict[str, list[Any]]  # count, sum, sum of squares: as floats, which a loss may have made infinite or NaN
ADAM = {'step', 'exp_avg', 'exp_avg_sq'}


@dataclasses.dataclass
class Statistics:
    """A training_stats.Collector."""

    pending: Moments
    visible: Moments


@dataclasses.dataclass
class Ticks:
    """A Progress."""

    tick: Count
    tick_start_images: Count
    tick_seconds: Seconds
    total_seconds: Seconds
    collector: Statistics


@dataclasses.dataclass
class Alarm:
    """A DiversityAlarm."""

    start: dict[str, Annotated[float, Range(0)]]
    warned: list[str]


@dataclasses.dataclass
class Steps:
    """A Phase."""

    bad_run: Count


@dataclasses.dataclass
class SavedState:
    """The content of a state file."""

    format: int
    images_done: Count
    batch_index: Count
    augment_p: Annotated[float, Range(0, 1e6)]
    networks: dict[str, dict[str, torch.Tensor]]
    optimizers: dict[str, dict[str, Any]]
    phases: dict[str, Steps]
    loss: dict[str, torch.Tensor]
    real_signs: Statistics
    progress: Ticks
    alarm: Alarm
    random: list[dict[str, Any]]


def check_state(content: dict[str, Any], G: torch.nn.Module, D: torch.nn.Module, loss: Any, config: TrainingConfig) -> None:
    """ValueError, one line, unless training can continue from it with these networks, which may be on the device 'meta'."""
    state = read_dataclass(SavedState, content)
    if state.images_done != state.batch_index * config.batch_size:
        raise ValueError(f'{state.images_done} images in {state.batch_index} batches are not {config.batch_size} a batch')
    start = state.progress.tick_start_images
    if start > state.images_done:
        raise ValueError(f'progress.tick_start_images is {start}, with {state.images_done} images done')
    _check_names('networks', state.networks, {'G', 'D', 'G_ema'})
    for name, network in dict(G=G, D=D, G_ema=G).items():
        tensors = dict(misc.named_params_and_buffers(network))
        _check_names(name, state.networks[name], set(tensors))
        for key, tensor in tensors.items():
            check_tensor(f'{name}.{key}', state.networks[name][key], tensor)
    phases = (make_phases('G', G, vars(config.G_opt_kwargs), config.G_reg_interval)
              + make_phases('D', D, vars(config.D_opt_kwargs), config.D_reg_interval))
    _check_names('phases', state.phases, {phase.name for phase in phases})
    _check_names('optimizers', state.optimizers, {'G', 'D'})
    for phase in phases:
        _check_optimizer(phase, state.optimizers[phase.name[0]].get('state'))
    _check_names('loss', state.loss, set(loss_tensors(loss)))
    for name, ours in loss_tensors(loss).items():
        check_tensor(f'loss.{name}', state.loss[name], ours)
    for statistics in (state.real_signs, state.progress.collector):
        _check_moments(statistics.pending | statistics.visible)
    for generators in state.random:
        check_random_state(generators)


def check_tensor(name: str, tensor: Any, like: torch.Tensor) -> None:
    """ValueError unless it is a finite tensor of the shape and type of `like`."""
    if not isinstance(tensor, torch.Tensor) or tensor.layout is not torch.strided or tensor.is_meta:
        raise ValueError(f'{name} is {show(tensor)}, expected a plain tensor')
    if (tensor.shape, tensor.dtype) != (like.shape, like.dtype):
        raise ValueError(f'{name} is {list(tensor.shape)} of {tensor.dtype}, expected {list(like.shape)} of {like.dtype}')
    if not bool(tensor.isfinite().all()):
        raise ValueError(f'{name} holds NaN or infinity')


def _check_optimizer(phase: Phase, saved: Any) -> None:
    """What Adam keeps of every parameter that has had a gradient."""
    if not isinstance(saved, dict) or not saved.keys() <= set(range(len(phase.params))):
        raise ValueError(f'optimizers.{phase.name[0]} does not match the {len(phase.params)} trainable parameters')
    for index, kept in saved.items():
        place = f'optimizers.{phase.name[0]}.{phase.names[index]}'
        _check_names(place, kept, ADAM)
        for name, tensor in kept.items():
            like = torch.zeros([], device='meta') if name == 'step' else phase.params[index]
            check_tensor(f'{place}.{name}', tensor, like)
            if name != 'exp_avg' and bool((tensor < 0).any()):
                raise ValueError(f'{place}.{name} is negative')


def _check_names(place: str, found: Any, wanted: set[str]) -> None:
    if not isinstance(found, dict) or found.keys() != wanted:
        other = sorted(map(str, wanted ^ found.keys())) if isinstance(found, dict) else sorted(wanted)
        raise ValueError(f'{place} has missing or unknown entries: {show(other[0])}'
                         + (f' and {len(other) - 1} more' if len(other) > 1 else ''))


def _check_moments(statistics: Moments) -> None:
    for name, moments in statistics.items():
        numbers = [value for value in moments if isinstance(value, float)]
        if not len(numbers) == len(moments) == 3 or not 0 <= numbers[0] < math.inf:
            raise ValueError(f'the statistic {show(name)} is not a count, a sum and a sum of squares')
