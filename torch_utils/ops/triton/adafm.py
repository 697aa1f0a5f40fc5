"""adafm in Triton: kernels of many classes from one frozen kernel W [O, I, k, k], one pass forward and one back.

    K = W + dg (W - mu) + sigma db,    P = T ((mu + sigma db)^2 + (sigma + sigma dg)^2)

mu, sigma: mean and standard deviation over the T = k * k taps. dg, db zero give W exactly. Backward, with W getting none:

    d dg = sum_t dK (W - mu) + dP 2 T sigma^2 (1 + dg)
    d db = sigma (sum_t dK + dP 2 T (mu + sigma db))
"""

from collections.abc import Iterator

import torch
import triton
import triton.language as tl

from . import support as triton_support


def forward(weight: torch.Tensor, dg: torch.Tensor, db: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """weight: [O, I, k, k]; dg, db: [U, O, I] -> kernels [U, O, I, k, k], each in the layout of weight; power [U, O, I]."""
    weight, dg, db = triton_support.dense(weight), dg.contiguous(), db.contiguous()
    kernels = torch.empty_strided((len(dg), *weight.shape), (weight.numel(), *weight.stride()), dtype=weight.dtype,
                                  device=weight.device)
    power = torch.empty_like(dg)
    _launch(_forward_kernel, weight, (weight, dg, db, kernels, power))
    return kernels, power


def backward(weight: torch.Tensor, dg: torch.Tensor, db: torch.Tensor, dk: torch.Tensor,
             dp: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """dk, dp: gradients of forward's results -> those of dg and db, [U, O, I]."""
    weight, dg, db, dp = triton_support.dense(weight), dg.contiguous(), db.contiguous(), dp.contiguous()
    dk = triton_support.like(dk, (weight.numel(), *weight.stride()))
    d_dg, d_db = torch.empty_like(dg), torch.empty_like(db)
    _launch(_backward_kernel, weight, (weight, dg, db, dk, dp, d_dg, d_db))
    return d_dg, d_db


def probe(device: torch.device) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Results of the kernels on a few numbers, and what they should be."""
    weight = torch.linspace(-1, 1, 72, device=device).reshape(2, 4, 3, 3)
    mu, sigma = weight.mean(dim=(2, 3)), weight.std(dim=(2, 3), correction=0)
    dg, db = torch.linspace(-1, 1, 16, device=device).reshape(2, 1, 2, 4)
    kernels, power = forward(weight, dg, db)
    want = weight + dg[..., None, None] * (weight - mu[..., None, None]) + (sigma * db)[..., None, None]
    yield kernels, want
    yield power, want.square().sum(dim=(3, 4))
    d_dg, d_db = backward(weight, dg, db, torch.zeros_like(kernels), torch.ones_like(power))
    yield d_dg, 18 * sigma.square() * (1 + dg)
    yield d_db, 18 * sigma * (mu + sigma * db)


def _launch(kernel: triton.JITFunction, weight: torch.Tensor, tensors: tuple[torch.Tensor, ...]) -> None:
    outputs, inputs, height, width = weight.shape
    taps = height * width
    classes = tensors[1].shape[0]
    if tensors[1].numel() == 0:
        return
    block_taps = triton_support.next_power_of_2(taps)
    block_pairs = max(triton_support.BLOCK_ELEMENTS // block_taps, 1)
    # Both orders that convolutions use, [O, I, k, k] and [O, k, k, I], keep the taps of a kernel evenly spaced.
    stride_tap = weight.stride(3) if width > 1 else weight.stride(2) if height > 1 else 1
    with triton_support.on_device(weight):
        kernel[(-(-outputs * inputs // block_pairs), classes)](
            *tensors, outputs * inputs, inputs, weight.stride(0), weight.stride(1), stride_tap,
            TAPS=taps, BLOCK_PAIRS=block_pairs, BLOCK_TAPS=block_taps)


@triton.jit
def _forward_kernel(weight_ptr, dg_ptr, db_ptr, kernels_ptr, power_ptr, pairs, inputs, stride_output, stride_input, stride_tap,
                    TAPS: tl.constexpr, BLOCK_PAIRS: tl.constexpr, BLOCK_TAPS: tl.constexpr):
    pair, offset, mask = _tile(pairs, inputs, stride_output, stride_input, stride_tap, TAPS, BLOCK_PAIRS, BLOCK_TAPS)
    weight, mu, centred, sigma = _moments(weight_ptr, offset, mask, TAPS)
    at = tl.program_id(1).to(tl.int64) * pairs + pair
    dg = tl.load(dg_ptr + at, mask=pair < pairs, other=0).to(weight.dtype)
    db = tl.load(db_ptr + at, mask=pair < pairs, other=0).to(weight.dtype)
    kernels_ptr += tl.program_id(1).to(tl.int64) * pairs * TAPS
    tl.store(kernels_ptr + offset, weight + dg * centred + sigma * db, mask=mask)
    mean, deviation = mu + sigma * db, sigma + sigma * dg
    tl.store(power_ptr + at, TAPS * (mean * mean + deviation * deviation), mask=pair < pairs)


@triton.jit
def _backward_kernel(weight_ptr, dg_ptr, db_ptr, dk_ptr, dp_ptr, d_dg_ptr, d_db_ptr, pairs, inputs, stride_output, stride_input,
                     stride_tap, TAPS: tl.constexpr, BLOCK_PAIRS: tl.constexpr, BLOCK_TAPS: tl.constexpr):
    pair, offset, mask = _tile(pairs, inputs, stride_output, stride_input, stride_tap, TAPS, BLOCK_PAIRS, BLOCK_TAPS)
    weight, mu, centred, sigma = _moments(weight_ptr, offset, mask, TAPS)
    at = tl.program_id(1).to(tl.int64) * pairs + pair
    dg = tl.load(dg_ptr + at, mask=pair < pairs, other=0).to(weight.dtype)
    db = tl.load(db_ptr + at, mask=pair < pairs, other=0).to(weight.dtype)
    dp = tl.load(dp_ptr + at, mask=pair < pairs, other=0).to(weight.dtype)
    dk_ptr += tl.program_id(1).to(tl.int64) * pairs * TAPS
    dk = tl.load(dk_ptr + offset, mask=mask, other=0).to(weight.dtype)
    d_dg = tl.sum(dk * centred, axis=1)[:, None] + dp * 2 * TAPS * sigma * sigma * (1 + dg)
    d_db = sigma * (tl.sum(dk, axis=1)[:, None] + dp * 2 * TAPS * (mu + sigma * db))
    tl.store(d_dg_ptr + at, d_dg, mask=pair < pairs)
    tl.store(d_db_ptr + at, d_db, mask=pair < pairs)


@triton.jit
def _tile(pairs, inputs, stride_output, stride_input, stride_tap, TAPS: tl.constexpr, BLOCK_PAIRS: tl.constexpr,
          BLOCK_TAPS: tl.constexpr):
    """-> pairs of channels [BLOCK_PAIRS, 1], offsets [BLOCK_PAIRS, BLOCK_TAPS] of their taps in memory, which of them exist."""
    pair = tl.program_id(0) * BLOCK_PAIRS + tl.arange(0, BLOCK_PAIRS)[:, None]
    tap = tl.arange(0, BLOCK_TAPS)[None, :]
    offset = pair // inputs * stride_output + pair % inputs * stride_input + tap * stride_tap
    return pair, offset, (pair < pairs) & (tap < TAPS)


@triton.jit
def _moments(weight_ptr, offset, mask, TAPS: tl.constexpr):
    """-> weight, mean, weight - mean (0 where there is no tap), deviation; mean and deviation [BLOCK_PAIRS, 1]."""
    WIDE: tl.constexpr = tl.float64 if weight_ptr.dtype.element_ty == tl.float64 else tl.float32
    weight = tl.load(weight_ptr + offset, mask=mask, other=0).to(WIDE)
    mu = tl.sum(weight, axis=1)[:, None] / TAPS
    centred = tl.where(mask, weight - mu, 0.0)
    return weight, mu, centred, tl.sqrt(tl.sum(centred * centred, axis=1)[:, None] / TAPS)
