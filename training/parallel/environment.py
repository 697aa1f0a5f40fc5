"""A process's place among those that train together, from the environment variables of a launcher.

    RANK, WORLD_SIZE          number of this process, and of all processes
    LOCAL_RANK                number of this process on its machine
    MASTER_ADDR, MASTER_PORT  where process 0 (or the launcher) keeps the store that they meet in

torchrun sets them all, and so can any other launcher or a shell.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping

import torch

VARIABLES = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT')
LAST_PORT = 65535


@dataclasses.dataclass(frozen=True)
class Member:
    """One of world_size processes: rank 0 to world_size - 1 among all, local_rank on its machine."""

    rank: int
    world_size: int
    local_rank: int
    address: str
    port: int

    @functools.cached_property
    def store(self) -> torch.distributed.Store:
        """Values that all processes share. The first use waits until every process has come; ConnectionError if one doesn't."""
        try:
            store, _rank, _world_size = next(torch.distributed.rendezvous('env://', self.rank, self.world_size))
        except RuntimeError as error:
            raise ConnectionError(
                f'process {self.rank} of {self.world_size} did not meet the others at {self.address}:{self.port}: '
                f'{str(error).strip().splitlines()[0]}; start all of them, and let MASTER_ADDR and MASTER_PORT name a free port '
                'of the machine of process 0') from error
        return store

    def device(self, kind: str) -> torch.device:
        """Where this process computes: 'cuda' is the device numbered local_rank. ValueError if there is no such device."""
        if kind == 'cuda' and self.local_rank >= torch.cuda.device_count():
            raise ValueError(f'LOCAL_RANK is {self.local_rank}, but this process finds {torch.cuda.device_count()} CUDA '
                             'devices: start one process per device')
        return torch.device('cuda', self.local_rank) if kind == 'cuda' else torch.device(kind)


def from_environment(environ: Mapping[str, str] = os.environ) -> Member | None:
    """The member that the variables describe, or None without WORLD_SIZE. ValueError if some are missing or make no sense."""
    if 'WORLD_SIZE' not in environ:
        return None
    missing = [name for name in VARIABLES if not environ.get(name)]
    if missing:
        found = ', '.join(name for name in VARIABLES if environ.get(name)) or 'none'
        raise ValueError(f'the environment variables of a launcher lack {", ".join(missing)} (found: {found}): set all '
                         '(torchrun does), or unset WORLD_SIZE to train with one process')
    world_size = _number(environ, 'WORLD_SIZE', 1, None)
    return Member(
        rank=_number(environ, 'RANK', 0, world_size - 1),
        world_size=world_size,
        local_rank=_number(environ, 'LOCAL_RANK', 0, world_size - 1),
        address=environ['MASTER_ADDR'],
        port=_number(environ, 'MASTER_PORT', 1, LAST_PORT),
    )


def to_environment(member: Member) -> dict[str, str]:
    """The variables that describe the member."""
    values = (member.rank, member.world_size, member.local_rank, member.address, member.port)
    return {name: str(value) for name, value in zip(VARIABLES, values, strict=True)}


def _number(environ: Mapping[str, str], name: str, lowest: int, highest: int | None) -> int:
    text = environ[name].strip()
    if text.isascii() and text.isdigit() and lowest <= int(text) and (highest is None or int(text) <= highest):
        return int(text)
    span = f'{lowest} or more' if highest is None else f'{lowest} to {highest}'
    raise ValueError(f'the environment variable {name} is {environ[name]!r}; expected a whole number, {span}')
