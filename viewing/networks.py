"""The snapshots that the page offers, and those that are open."""

import os
from pathlib import Path

import torch

from generating.sampler import load_sampler
from training.run.run_dir import all_snapshots

from .scene import OpenNetwork

MAX_OPEN = 2  # the one on the page and the one before


class Networks:
    """Opens networks by name, safely unless `trust`. named: a path or URL that is offered beside those under outdir."""

    def __init__(self, named: str | None, outdir: str | Path, trust: bool, device: torch.device):
        self.named, self.outdir, self.trust, self.device = named, outdir, trust, device
        self.offered: list[str] = []
        self.opened: dict[tuple[str, int], OpenNetwork] = {}

    def names(self) -> list[str]:
        """The named one first, then those of runs, newest first."""
        found = [str(path) for path in all_snapshots(self.outdir)]
        self.offered = list(dict.fromkeys([*([self.named] if self.named else []), *found]))
        return self.offered

    def choices(self) -> list[tuple[str, str]]:
        """names(), each after what is shown for it: the file first, for the page cuts long ones."""
        return [(f'{Path(name).name}, {Path(name).parent}', name) for name in self.names()]

    def open(self, name: str) -> OpenNetwork:
        """ValueError for a name that names() has not offered, or as load_sampler(); OSError."""
        if name not in self.offered:
            raise ValueError(f'{name} is not among the snapshots: refresh the list')
        key = name, os.stat(name).st_mtime_ns if os.path.isfile(name) else 0  # a training may write it anew
        if key not in self.opened:
            self.opened[key] = OpenNetwork(name, load_sampler(name, self.trust, self.device, 1, 'const', 1))
            for old in list(self.opened)[:-MAX_OPEN]:
                del self.opened[old]
        return self.opened[key]
