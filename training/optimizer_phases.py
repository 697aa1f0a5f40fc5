"""The optimiser's phases: main loss and lazily applied regularisation of each network.

Lazy regularisation (Karras et al. 2020, arXiv:1912.04958, appendix B): the regulariser runs every k-th batch with k times the
weight. Adam then takes k + 1 steps where it took k, so with r = k / (k + 1) the learning rate is r * lr and the decays are
beta^r. Both phases of a network share one optimiser.
"""

import dataclasses
from typing import Any

import torch

import dnnlib

from .processes import average_over_processes

GRADIENT_LIMIT = 1e5  # stands in for infinite gradients


@dataclasses.dataclass
class Phase:
    """One kind of optimiser step: name as accumulate_gradients() knows it, every interval batches."""

    name: str
    params: list[torch.nn.Parameter]
    opt: torch.optim.Optimizer
    interval: int
    diverged: torch.Tensor | None = None  # bool on the device: some step had no finite gradient at all


def lazy_opt_kwargs(opt_kwargs: dict[str, Any], interval: int) -> dict[str, Any]:
    """Adam's settings for one regularisation step every `interval` main steps."""
    ratio = interval / (interval + 1)
    return {**opt_kwargs, 'lr': opt_kwargs['lr'] * ratio, 'betas': [beta**ratio for beta in opt_kwargs['betas']]}


def make_phases(name: str, module: torch.nn.Module, opt_kwargs: dict[str, Any], reg_interval: int | None) -> list[Phase]:
    """name 'G' -> [Gmain, Greg], or [Gboth] if reg_interval is None. Parameters that require no gradient stay out.

    The others require none from here on either, but between begin_phase() and finish_phase().
    """
    params = [param for param in module.parameters() if param.requires_grad]
    set_learning(params, False)
    if reg_interval is None:
        opt = dnnlib.util.construct_class_by_name(params, **opt_kwargs)
        return [Phase(f'{name}both', params, opt, interval=1)]
    opt = dnnlib.util.construct_class_by_name(params, **lazy_opt_kwargs(opt_kwargs, reg_interval))
    return [Phase(f'{name}main', params, opt, interval=1), Phase(f'{name}reg', params, opt, interval=reg_interval)]


def begin_phase(phase: Phase) -> None:
    """From here on gradients are gathered for this phase's parameters."""
    phase.opt.zero_grad(set_to_none=True)
    set_learning(phase.params, True)


def finish_phase(phase: Phase, num_gpus: int) -> None:
    """Average the gradients over the processes, replace what is not finite, and step. Without gradients nothing happens."""
    set_learning(phase.params, False)
    params = [param for param in phase.params if param.grad is not None]
    if not params:
        return
    flat = torch.cat([param.grad.flatten() for param in params if param.grad is not None])
    if num_gpus > 1:
        average_over_processes(flat, num_gpus)
    diverged = torch.isfinite(flat).logical_not().all()
    phase.diverged = diverged if phase.diverged is None else phase.diverged | diverged
    flat = torch.nan_to_num(flat, nan=0.0, posinf=GRADIENT_LIMIT, neginf=-GRADIENT_LIMIT)
    for param, grad in zip(params, flat.split([param.numel() for param in params]), strict=True):
        param.grad = grad.view_as(param)
    phase.opt.step()


def check_phases(phases: list[Phase]) -> None:
    """FloatingPointError if a phase had nothing but non-finite gradients since the last call: its loss is not finite."""
    for phase in phases:
        if phase.diverged is not None and bool(phase.diverged):
            raise FloatingPointError(f'training diverged: the loss of phase {phase.name} is not finite; '
                                     'lower the learning rate (--glr, --dlr), raise --gamma, or try --fp32=1')
        phase.diverged = None


def set_learning(params: list[torch.nn.Parameter], learns: bool) -> None:
    """Switch gradients of the parameters on or off."""
    for param in params:
        param.requires_grad_(learns)
