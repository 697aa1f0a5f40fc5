"""A cache of kernels for layers that do not learn, so that sampling computes the kernels of each class once."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from .networks import BatchCodes

CACHE_BYTES = 1 << 26  # of kernels per layer: 100 of 128 x 128 channels
CACHE_CODES = 16  # kept in any case


class KernelCache:
    """Kernels by class code, valid until one of the weights that they were computed from changes."""

    def __init__(self, weights: Sequence[torch.Tensor]):
        self.weights = weights  # held, so that no other tensor takes their address
        self.versions = [(weight.data_ptr(), weight._version) for weight in weights]
        self.made: dict[Any, tuple[torch.Tensor, ...]] = {}

    def is_of(self, weights: Sequence[torch.Tensor]) -> bool:
        """Whether these are the same, unchanged tensors."""
        same = len(weights) == len(self.weights) and all(new is old for new, old in zip(weights, self.weights, strict=True))
        return same and self.versions == [(weight.data_ptr(), weight._version) for weight in weights]

    def drop_oldest(self, room: int) -> None:
        """Keep the newest `room` entries."""
        for key in list(self.made)[:max(len(self.made) - room, 0)]:
            self.made.pop(key, None)  # another thread may have removed it


class KeepsKernels:
    """Base of a layer with make_kernels(codes, dtype), `ws_index`, and `weight` and `hyper`, from which kernels are computed."""

    def get_kernels(self: Any, code: BatchCodes, dtype: torch.dtype, learns: bool) -> tuple[Any, torch.Tensor, torch.Tensor]:
        """The result of make_kernels() for the layer's codes. If nothing learns, it has no gradients and consists of U separate
        kernels, each cached until a weight changes."""
        if learns:
            self.drop_kernels()  # an optimiser may change weights without changing their versions
            return self.make_kernels(code.layer(self.ws_index), dtype)
        weights = [self.weight, *self.hyper.parameters(), *self.hyper.buffers()]
        if any(weight.is_inference() for weight in weights):  # those have no version
            kernels, power, offsets = self.make_kernels(code.layer(self.ws_index), dtype)
            return kernels.unbind(), power, offsets
        cache = self.__dict__.get('kernel_cache')
        if cache is None or not cache.is_of(weights):
            cache = self.__dict__['kernel_cache'] = KernelCache(weights)
        found = []
        for one, key in zip(code.layer(self.ws_index).split(1), code.keys(self.ws_index), strict=True):
            entry = cache.made.get((dtype, key))
            if entry is None:  # one at a time, so that it does not depend on the batch, bit for bit
                entry = cache.made[dtype, key] = tuple(made[0] for made in self.make_kernels(one, dtype))
            found.append(entry)
        cache.drop_oldest(max(CACHE_BYTES // (self.weight.numel() * self.weight.element_size()), CACHE_CODES))
        kernels, power, offsets = zip(*found, strict=True)
        return kernels, torch.stack(power), torch.stack(offsets)

    def drop_kernels(self) -> None:
        """Empty the cache."""
        self.__dict__.pop('kernel_cache', None)

    def train(self, mode: bool = True) -> Any:
        """Also empties the cache, in either mode: eval() after the last image frees its memory."""
        self.drop_kernels()
        return super().train(mode)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != 'kernel_cache'}
