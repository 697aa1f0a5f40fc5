"""Kernels of many classes from one frozen kernel (AdaFM; Zhao et al. 2020, arXiv:2002.11810, Eq. 3), written around the identity:

    K = W + dg (W - mu) + sigma db

mu, sigma [O, I]: mean and standard deviation of W over its T = k * k taps. All of dg and db zero give W, bit for bit.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch

from torch_utils.custom_ops import kernel

from .implementation import choose

AdaFM = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def in_one_pass(plain: AdaFM) -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    """Decorator of the formula in PyTorch's operators: the same function in C++ or Triton where these serve.

    weight: [O, I, k, k], frozen; dg, db: [U, O, I] -> kernels [U, O, I, k, k], their sums of squares over taps [U, O, I].
    Differentiable any number of times with respect to dg and db; only the plain form gives weight a gradient. impl: as in
    `implementation.choose`.
    """
    @functools.wraps(plain)
    def adafm(weight: torch.Tensor, dg: torch.Tensor, db: torch.Tensor, impl: str = 'auto') -> tuple[torch.Tensor, torch.Tensor]:
        form = choose(impl, weight)
        if form == 'ref' or dg.dtype != weight.dtype or db.dtype != weight.dtype or weight.requires_grad:
            return plain(weight, dg, db)
        return _AdaFM.apply(weight, dg, db, form, plain)
    return adafm


class _AdaFM(torch.autograd.Function):
    """The C++ or Triton form. Gradients that are to be differentiated again come from PyTorch's operators."""

    @staticmethod
    def forward(ctx: Any, weight: torch.Tensor, dg: torch.Tensor, db: torch.Tensor,
                form: str, plain: AdaFM) -> tuple[torch.Tensor, torch.Tensor]:
        ctx.save_for_backward(weight, dg, db)
        ctx.form, ctx.plain = form, plain
        return _forms(form)[0](weight, dg, db)

    @staticmethod
    def backward(ctx: Any, dk: torch.Tensor, dp: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        weight, dg, db = ctx.saved_tensors
        if torch.is_grad_enabled():
            wants = ctx.needs_input_grad[1:3]
            wanted = [tensor for tensor, wants_it in zip((dg, db), wants, strict=True) if wants_it]
            found = iter(torch.autograd.grad(ctx.plain(weight, dg, db), wanted, [dk, dp], create_graph=True))
            return None, *[next(found) if wants_it else None for wants_it in wants], None, None
        return None, *_forms(ctx.form)[1](weight, dg, db, dk, dp), None, None


def _forms(form: str) -> Any:
    """(forward, backward) of a form."""
    if form == 'native':
        return _native_forward, _native_backward
    from .triton import adafm as triton_adafm  # needs a package that only some have
    return triton_adafm.forward, triton_adafm.backward


def _native_forward(weight: torch.Tensor, dg: torch.Tensor, db: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    outputs, inputs, height, width = weight.shape
    taps_first, dg, db = _taps_first(weight), dg.contiguous(), db.contiguous()
    kernels = weight.new_empty(len(dg), outputs, height, width, inputs)
    power = torch.empty_like(dg)
    kernel('adafm_forward', 'pppppnnnni')(
        taps_first.data_ptr(), dg.data_ptr(), db.data_ptr(), kernels.data_ptr(), power.data_ptr(),
        len(dg), outputs, inputs, height * width, torch.get_num_threads())
    return kernels.permute(0, 1, 4, 2, 3), power


def _native_backward(weight: torch.Tensor, dg: torch.Tensor, db: torch.Tensor, dk: torch.Tensor,
                     dp: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    outputs, inputs, height, width = weight.shape
    taps_first, dg, db, dp = _taps_first(weight), dg.contiguous(), db.contiguous(), dp.contiguous()
    dk = dk.permute(0, 1, 3, 4, 2).contiguous()  # [U, O, k, k, I]
    ddg, ddb = torch.empty_like(dg), torch.empty_like(db)
    kernel('adafm_backward', 'pppppppnnnni')(
        taps_first.data_ptr(), dg.data_ptr(), db.data_ptr(), dk.data_ptr(), dp.data_ptr(), ddg.data_ptr(), ddb.data_ptr(),
        len(dg), outputs, inputs, height * width, torch.get_num_threads())
    return ddg, ddb


def _taps_first(weight: torch.Tensor) -> torch.Tensor:
    """weight with input channels innermost in memory: [O, k, k, I]."""
    return weight.permute(0, 2, 3, 1).contiguous()
