"""Everything that changes during training, and the file from which a run continues exactly.

A state file, training-state-IMAGES.pt in the run directory, holds networks, average, optimisers, what augmentation and
path length regularisation have measured, the statistics of the unfinished tick, the place in the data's order, and the
random generators of every process: tensors and plain values, read with weights_only=True. It needs no snapshot beside it.
"""

import dataclasses
import re
import shlex
from pathlib import Path
from typing import Any

import torch

from dnnlib.archives import check_archive
from dnnlib.files import whole_file
from torch_utils import collectives, misc, training_stats
from torch_utils.named_tensors import fill_tensors
from training.run.progress import Progress
from training.run.run_dir import BEST, SNAPSHOT_PATTERN

from .diversity import DiversityAlarm
from .optimizer_phases import Phase
from .random_state import random_state, seed_random, set_random_state

FORMAT = 1
STATE_PATTERN = 'training-state-*.pt'
ADVICE = 'restore it, or start a new run from the newest network-snapshot-*.pkl with --resume'


@dataclasses.dataclass
class TrainingState:
    """The living parts of one process's training. networks: 'G', 'D', 'G_ema'."""

    networks: dict[str, Any]
    phases: list[Phase]
    augment_pipe: Any  # a module with .p, or None
    loss: Any
    real_signs: training_stats.Collector
    progress: Progress
    alarm: DiversityAlarm
    device: torch.device
    images_done: int = 0
    batch_index: int = 0

    @property
    def augment_p(self) -> float:
        """Probability of augmentation; 0 without it."""
        return 0.0 if self.augment_pipe is None else float(self.augment_pipe.p)

    def state_dict(self) -> dict[str, Any]:
        """The content of a state file. With several processes, all must call it."""
        return dict(
            images_done=self.images_done,
            batch_index=self.batch_index,
            augment_p=self.augment_p,
            networks={name: _tensors(network) for name, network in self.networks.items()},
            optimizers={name: opt.state_dict() for name, opt in self._optimizers().items()},
            phases={phase.name: phase.state_dict() for phase in self.phases},
            loss=loss_tensors(self.loss),
            real_signs=self.real_signs.state_dict(),
            progress=self.progress.state_dict(),
            alarm=self.alarm.state_dict(),
            random=collectives.gather_values(random_state(self.device)),
        )

    def load_state_dict(self, saved: dict[str, Any], rank: int) -> None:
        """Continue from a state that check_state() has accepted.

        With the same number of processes, each continues its random numbers; with another number, each draws new ones.
        """
        for name, network in self.networks.items():
            report = fill_tensors(_tensors(network), saved['networks'][name])
            assert not (report.new or report.unused or report.misfits), f'check_state() has compared {name}'
        for name, opt in self._optimizers().items():
            settings = opt.state_dict()['param_groups']  # the configuration's, whatever the file says
            opt.load_state_dict(dict(state=saved['optimizers'][name]['state'], param_groups=settings))
        for phase in self.phases:
            phase.load_state_dict(saved['phases'][phase.name])
        for name, value in loss_tensors(self.loss).items():
            value.copy_(saved['loss'][name])
        if self.augment_pipe is not None:
            self.augment_pipe.p.fill_(saved['augment_p'])
        self.real_signs.load_state_dict(saved['real_signs'])
        self.progress.load_state_dict(saved['progress'])
        self.alarm.load_state_dict(saved['alarm'])
        self.images_done, self.batch_index = saved['images_done'], saved['batch_index']
        num_processes = collectives.num_processes()
        if len(saved['random']) == num_processes:
            set_random_state(saved['random'][rank], self.device)
        else:
            seed_random([saved['images_done'], num_processes, rank])

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {phase.name[0]: phase.opt for phase in self.phases}  # both phases of a network share one


def loss_tensors(loss: Any) -> dict[str, torch.Tensor]:
    """What a loss has measured, such as the mean path length."""
    return {name: value for name, value in vars(loss).items() if isinstance(value, torch.Tensor)}


def save_state(run_dir: Path, state: dict[str, Any]) -> None:
    """Write the state as the run's newest, whole or not at all, and remove the older ones."""
    older = list(run_dir.glob(STATE_PATTERN))
    path = run_dir / f'training-state-{state["images_done"]:09d}.pt'
    write_state(path, state)
    for old in older:
        if old != path:
            old.unlink(missing_ok=True)


def write_state(path: Path, state: dict[str, Any]) -> None:
    """A state file, whole or not at all. OSError, as for a full disk."""
    with whole_file(path) as part, open(part, 'wb') as file:  # torch tells a full disk only through an opened file
        torch.save(dict(state, format=FORMAT), file)


def find_state(run_dir: Path) -> Path | None:
    """The newest state file of a run, or None."""
    numbered = [(int(match[1]), path) for path in run_dir.glob(STATE_PATTERN) if (match := re.search(r'-(\d+)\.pt$', path.name))]
    return max(numbered)[1] if numbered else None


def find_start(run_dir: Path) -> Path | None:
    """The state that a run continues from; None for a fresh start.

    ValueError if the run has snapshots but no state: a fresh start would overwrite them.
    """
    path, snapshots = find_state(run_dir), [*run_dir.glob(BEST), *sorted(run_dir.glob(SNAPSHOT_PATTERN))]
    if path is None and snapshots:
        raise ValueError(f'{run_dir} has snapshots but no {STATE_PATTERN} to continue from: restore that file, or start a new '
                         f'run in another directory with --resume={shlex.quote(str(snapshots[-1]))}')
    return path


def read_state(path: Path) -> dict[str, Any]:
    """The content of a state file, on the CPU. ValueError if it is damaged or of another program version."""
    try:
        check_archive(path)
        state = torch.load(path, map_location='cpu', weights_only=True)
    except OSError:
        raise
    except Exception as error:  # torch raises many kinds for a damaged file
        reason = ' '.join(str(error).split())[:100] or type(error).__name__
        raise ValueError(f'{path} is not a readable training state ({reason}); {ADVICE}') from error
    found = state.get('format') if isinstance(state, dict) else None
    if found != FORMAT:
        raise ValueError(f'{path} has format {found}, this program reads {FORMAT}; {ADVICE}')
    return state


def _tensors(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach() for name, tensor in misc.named_params_and_buffers(network)}
