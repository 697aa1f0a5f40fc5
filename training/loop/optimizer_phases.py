"""The optimiser's phases: main loss and lazily applied regularisation of each network.

Lazy regularisation (Karras et al. 2020, arXiv:1912.04958, appendix B): the regulariser runs every k-th batch with k times the
weight. Adam then takes k + 1 steps where it took k, so with r = k / (k + 1) the learning rate is r * lr and the decays are
beta^r. Both phases of a network share one optimiser.

A gradient that is not finite is replaced and counted; a few are harmless, since mixed precision overflows now and then. A phase
that gets no finite gradients any more learns nothing, and check_phases() raises.
"""

import dataclasses
import math
from collections.abc import Collection
from typing import Any

import torch

import dnnlib
from dnnlib.errors import listed
from torch_utils import training_stats
from torch_utils.collectives import num_processes
from training.parallel.processes import average_over_processes

GRADIENT_LIMIT = 1e5  # stands in for infinite gradients
MAX_BAD_RUN = 16  # steps: overflows of half precision pass sooner
# A non-finite loss spoils the gradients of all that it depends on. What it does not depend on is 0, or, where two losses are
# added, a few biases: a step is bad if no more than this share of its non-zero gradients is finite.
MAX_SOUND_SHARE = 0.01


@dataclasses.dataclass
class Phase:
    """One kind of optimiser step: name as accumulate_gradients() knows it, every interval batches."""

    name: str
    params: list[torch.nn.Parameter]
    opt: torch.optim.Optimizer
    interval: int
    names: list[str]  # of params
    bad_run: torch.Tensor = dataclasses.field(default_factory=lambda: torch.zeros([], dtype=torch.int64))  # latest bad steps
    nonfinite: dict[str, torch.Tensor] = dataclasses.field(default_factory=dict)  # last step: name -> bool, by element

    def state_dict(self) -> dict[str, int]:
        """What is needed to continue, besides the optimiser."""
        return dict(bad_run=int(self.bad_run))

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue from state_dict()."""
        self.bad_run = torch.tensor(state['bad_run'], device=self.bad_run.device)


def lazy_opt_kwargs(opt_kwargs: dict[str, Any], interval: int) -> dict[str, Any]:
    """Adam's settings for one regularisation step every `interval` main steps."""
    ratio = interval / (interval + 1)
    return {**opt_kwargs, 'lr': opt_kwargs['lr'] * ratio, 'betas': [beta**ratio for beta in opt_kwargs['betas']]}


def make_phases(name: str, module: torch.nn.Module, opt_kwargs: dict[str, Any], reg_interval: int | None) -> list[Phase]:
    """name 'G' -> [Gmain, Greg], or [Gboth] if reg_interval is None. Parameters that require no gradient stay out.

    The others require gradients only between begin_phase() and finish_phase().
    """
    learning = {param_name: param for param_name, param in module.named_parameters() if param.requires_grad}
    names, params = list(learning), list(learning.values())
    set_learning(params, False)
    opt_kwargs = one_pass(opt_kwargs, params)
    if reg_interval is None:
        opt = dnnlib.util.construct_class_by_name(params, **opt_kwargs)
        return [Phase(f'{name}both', params, opt, 1, names)]
    opt = dnnlib.util.construct_class_by_name(params, **lazy_opt_kwargs(opt_kwargs, reg_interval))
    return [Phase(f'{name}main', params, opt, 1, names), Phase(f'{name}reg', params, opt, reg_interval, names)]


def one_pass(opt_kwargs: dict[str, Any], params: list[torch.nn.Parameter]) -> dict[str, Any]:
    """Adam's settings with the fused form, which reads and writes every tensor once, if PyTorch has it for the device."""
    known = opt_kwargs['class_name'] == 'torch.optim.Adam' and all(param.device.type in ('cpu', 'cuda') for param in params)
    return {**opt_kwargs, 'fused': True} if known else opt_kwargs


def begin_phase(phase: Phase) -> None:
    """Start collecting gradients for this phase's parameters."""
    phase.opt.zero_grad(set_to_none=True)
    set_learning(phase.params, True)


def finish_phase(phase: Phase) -> None:
    """Average the gradients over the processes, count and replace non-finite ones, and step. Does nothing without gradients, and
    does not wait for the device. The average makes all processes see the same.
    """
    set_learning(phase.params, False)
    learning = {name: param for name, param in zip(phase.names, phase.params, strict=True) if param.grad is not None}
    if not learning:
        return
    if num_processes() > 1 or not _surely_finite(learning.values()):
        _average_and_replace(phase, learning)
    else:
        training_stats.report0(f'Gradients/nonfinite/{phase.name}', torch.zeros([]))
        phase.nonfinite, phase.bad_run = {}, torch.zeros_like(phase.bad_run)
    for param in learning.values():
        if param.grad is not None and param.grad.stride() != param.stride():  # the one-pass Adam takes them to be the same
            param.grad = torch.empty_like(param).copy_(param.grad)
    phase.opt.step()
    for param in phase.params:
        torch.autograd.graph.increment_version(param)  # which the one-pass Adam leaves, and kept kernels ask


def _surely_finite(params: Collection[torch.nn.Parameter]) -> bool:
    """True if the sums of all gradients are finite. False on a GPU, so as not to wait for it, and if a sum of finite ones
    overflows."""
    gradients = [param.grad for param in params if param.grad is not None]
    return all(grad.device.type == 'cpu' and math.isfinite(float(grad.sum())) for grad in gradients)


def _average_and_replace(phase: Phase, learning: dict[str, torch.nn.Parameter]) -> None:
    """Average the gradients over the processes, and count and replace non-finite ones."""
    flat = torch.cat([param.grad.flatten() for param in learning.values() if param.grad is not None])
    average_over_processes(flat)
    sizes = [param.numel() for param in learning.values()]
    nonfinite = flat.isfinite().logical_not()
    _count_nonfinite(phase, flat, nonfinite)
    phase.nonfinite = dict(zip(learning, nonfinite.split(sizes), strict=True))
    flat = torch.nan_to_num(flat, nan=0.0, posinf=GRADIENT_LIMIT, neginf=-GRADIENT_LIMIT)
    for param, grad in zip(learning.values(), flat.split(sizes), strict=True):
        param.grad = grad.view_as(param)


def _count_nonfinite(phase: Phase, flat: torch.Tensor, nonfinite: torch.Tensor) -> None:
    """flat, nonfinite: [number of gradients]. Report the count, and extend or end the run of bad steps."""
    count = nonfinite.count_nonzero()
    training_stats.report0(f'Gradients/nonfinite/{phase.name}', count)  # the same in all processes
    sound = flat.count_nonzero() - count  # NaN is not zero
    bad = (count > 0) & (sound <= MAX_SOUND_SHARE * (sound + count))
    phase.bad_run = (phase.bad_run.to(flat.device) + 1) * bad


def check_phases(phases: list[Phase], batch_index: int, images_done: int, last: bool = False,
                 losses: dict[str, float] | None = None) -> None:
    """FloatingPointError, naming step, phase and tensors, if the loss of a phase stays non-finite.

    That is: MAX_BAD_RUN bad steps in a row up to now; at the end of a training, with last=True, a single one. batch_index,
    images_done: batches and images so far. losses: recent means of the reported losses, by name. Waits for the device.
    """
    for phase in phases:
        bad_run = int(phase.bad_run)
        if bad_run >= (1 if last else MAX_BAD_RUN):
            last_step = (batch_index - 1) // phase.interval * phase.interval
            first_bad = last_step - (bad_run - 1) * phase.interval
            kimg = first_bad * images_done / batch_index / 1000
            half = ', or with --fp32=1' if phase.bad_run.device.type == 'cuda' else ''
            raise FloatingPointError(
                f'training diverged: phase {phase.name} has had no finite loss since batch {first_bad} ({kimg:.1f} thousand '
                f'images, {bad_run} steps in a row); not finite: {_culprits(phase, losses or {})}; start a new run from an '
                'earlier snapshot with a lower learning rate (--glr, --dlr), a higher --gamma' + half)


def _culprits(phase: Phase, losses: dict[str, float]) -> str:
    """The names of what is not finite, causes before effects."""
    params = [name for name, param in zip(phase.names, phase.params, strict=True) if not bool(param.isfinite().all())]
    reported = [name for name, mean in losses.items() if name.startswith('Loss/') and not math.isfinite(mean)]
    gradients = [name for name, nonfinite in phase.nonfinite.items() if bool(nonfinite.any())]
    found = (('parameters', params), ('statistics', reported), ('gradients of', gradients))
    return ', '.join(f'{kind} {listed(names)}' for kind, names in found if names)


def set_learning(params: list[torch.nn.Parameter], learns: bool) -> None:
    """Switch gradients of the parameters on or off."""
    for param in params:
        param.requires_grad_(learns)
