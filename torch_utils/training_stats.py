"""Counts, means and deviations of named values, collected over a training run and over all its processes.

`report` adds to counters that are private to the process and device. `Collector.update` sums them over all processes
and makes visible what came since that collector's last update. A value x is kept as three moments: n, sum x, sum x^2.
"""
import re
import weakref
from typing import Any

import numpy as np
import torch

from dnnlib import EasyDict

from .collectives import gather_values, num_processes

_NO_MOMENTS = np.zeros(3)       # n, sum x, sum x^2

# State of the process: reporting from anywhere without passing an object around is the point of the interface.
_rank = 0
_sync_device: torch.device | None = None
_counters: dict[str, dict[torch.device, torch.Tensor]] = {}
_collectors: 'weakref.WeakSet[Collector]' = weakref.WeakSet()


def init_multiprocessing(rank: int, sync_device: torch.device | str | None) -> None:
    """Say which process this is, and on which device `update` exchanges counters.

    Call it in every process once torch.distributed is initialised; without a process group or device nothing is exchanged.
    """
    global _rank, _sync_device
    _rank = rank
    _sync_device = None if sync_device is None else torch.device(sync_device)


@torch.no_grad()
def report(name: str, value: Any) -> Any:
    """Add every number in `value` (number, list, array, tensor of any shape) to the counters of `name`; returns `value`.

    Does not wait for the device. An empty value makes the name known and adds nothing.
    """
    counters = _counters.setdefault(name, {})
    numbers = torch.as_tensor(value).flatten().to(torch.float32)
    if numbers.numel() > 0:
        moments = torch.stack([torch.full_like(numbers[0], numbers.numel()), numbers.sum(), numbers.square().sum()])
        # Apple's GPUs have no float64.
        moments = moments.to(torch.float32 if numbers.device.type == 'mps' else torch.float64)
        previous = counters.get(numbers.device)
        counters[numbers.device] = moments if previous is None else previous + moments
    return value


def report0(name: str, value: Any) -> Any:
    """`report` in process 0; the other processes only learn the name. Returns `value`."""
    report(name, value if _rank == 0 else [])
    return value


class Collector:
    """What was reported between its last two updates, for the names that `regex` matches as a whole.

    `keep_previous`: a name without news keeps its last numbers; otherwise its count becomes 0. Counting starts at
    construction. With several processes, construct and update collectors in all of them, in the same order.
    """

    def __init__(self, regex: str = '.*', keep_previous: bool = True) -> None:
        self._regex = re.compile(regex)
        self._keep_previous = keep_previous
        self._pending: dict[str, np.ndarray] = {}
        self._visible: dict[str, np.ndarray] = {}
        _distribute()       # what came before belongs to the collectors that are there already
        _collectors.add(self)

    def names(self) -> list[str]:
        """All names reported so far, by anybody, that the pattern matches."""
        return [name for name in _counters if self._regex.fullmatch(name)]

    def update(self) -> None:
        """Make visible what was reported since the last update."""
        _distribute()
        if not self._keep_previous:
            self._visible.clear()
        self._visible.update(self._pending)
        self._pending.clear()

    def num(self, name: str) -> int:
        """How many numbers."""
        return int(self._moments(name)[0])

    def mean(self, name: str) -> float:
        """Their mean; NaN if there are none."""
        num, total, _ = self._moments(name)
        return float(total / num) if num else float('nan')

    def std(self, name: str) -> float:
        """Their population standard deviation; NaN if there are none or one is not finite."""
        num, total, squares = self._moments(name)
        if num == 0 or not np.isfinite(total):
            return float('nan')
        return 0.0 if num == 1 else float(np.sqrt(max(squares / num - (total / num) ** 2, 0)))

    def as_dict(self) -> EasyDict:
        """{name: EasyDict(num, mean, std)} for all names."""
        return EasyDict({name: EasyDict(num=self.num(name), mean=self.mean(name), std=self.std(name)) for name in self.names()})

    def __getitem__(self, name: str) -> float:
        """collector[name] is the mean."""
        return self.mean(name)

    def state_dict(self) -> dict[str, dict[str, list[float]]]:
        """The moments that the next update will show ('pending') and those shown now ('visible'), by name, as plain numbers.

        A name without news is pending with zeros. Gathers the counters first, so every process calls it, like `update`.
        """
        _distribute()
        pending = {name: self._pending.get(name, _NO_MOMENTS) for name in self.names()}
        return {'pending': _plain(pending), 'visible': _plain(self._visible)}

    def load_state_dict(self, state: dict[str, dict[str, list[float]]]) -> None:
        """Go on from a `state_dict`; what this collector has counted so far is forgotten. Every process calls it."""
        _distribute()
        for name in state['pending']:
            _counters.setdefault(name, {})
        self._pending = {name: np.array(moments) for name, moments in state['pending'].items() if moments[0] > 0}
        self._visible = {name: np.array(moments) for name, moments in state['visible'].items()}

    def _moments(self, name: str) -> np.ndarray:
        return self._visible.get(name, _NO_MOMENTS)

    def _receive(self, name: str, moments: np.ndarray) -> None:
        if self._regex.fullmatch(name):
            self._pending[name] = self._pending.get(name, _NO_MOMENTS) + moments


def _plain(moments: dict[str, np.ndarray]) -> dict[str, list[float]]:
    return {name: values.tolist() for name, values in moments.items()}


def _distribute() -> None:
    """Empty the counters of all processes into the collectors."""
    names = _all_names()
    if not names:
        return
    table = torch.stack([_local_moments(name) for name in names])      # [names, 3] float64, CPU
    if _many_processes():
        assert _sync_device is not None
        table = table.to('cpu' if _sync_device.type == 'mps' else _sync_device)
        torch.distributed.all_reduce(table)
    for name, moments in zip(names, table.cpu().double().numpy(), strict=True):
        if moments[0] > 0:
            for collector in _collectors:
                collector._receive(name, moments)


def _many_processes() -> bool:
    return _sync_device is not None and num_processes() > 1


def _all_names() -> list[str]:
    """Names known to any process, in the same order everywhere; each process knows them all afterwards."""
    if _many_processes():
        for name in dict.fromkeys(name for names in gather_values(list(_counters)) for name in names):
            _counters.setdefault(name, {})
        return sorted(_counters)
    return list(_counters)


def _local_moments(name: str) -> torch.Tensor:
    """Sum over this process's devices; the counters start again at zero."""
    total = torch.zeros(3, dtype=torch.float64)
    for moments in _counters[name].values():
        total += moments.cpu().double()
    _counters[name].clear()
    return total


default_collector = Collector()
