"""From a source's networks to hyper-modulated ones: copying by name, with an account of every tensor.

Frozen weights are buffers under the source's names, so that the copy is all there is to do.
"""
import dataclasses
from collections.abc import Sequence

import torch

from torch_utils import misc


@dataclasses.dataclass(frozen=True)
class TransferReport:
    """Names of tensors. copied: from the source, they go on learning; frozen: from the source, they stay; new: not in
    the source; unused: in the source only."""

    copied: tuple[str, ...]
    frozen: tuple[str, ...]
    new: tuple[str, ...]
    unused: tuple[str, ...]

    def lines(self, network: str) -> list[str]:
        """For the log: a line per kind, with the number of tensors and some names."""
        kinds = (('copied, learning', self.copied), ('copied, frozen', self.frozen), ('new', self.new), ('not used', self.unused))
        return [f'{network:<3} {kind:<17} {len(names):>5}{_examples(names)}' for kind, names in kinds]


def transfer(source: torch.nn.Module, target: torch.nn.Module) -> TransferReport:
    """Fill every parameter and buffer of target whose name source has too.

    ValueError that lists them if shapes differ; nothing is copied then.
    """
    misc.copy_params_and_buffers(source, target, require_all=False)
    theirs = {name for name, _tensor in misc.named_params_and_buffers(source)}
    learning = {name for name, _parameter in target.named_parameters()}
    frozen = {name for name, _buffer in target.named_buffers()}
    return TransferReport(
        copied=tuple(sorted(learning & theirs)),
        frozen=tuple(sorted(frozen & theirs)),
        new=tuple(sorted((learning | frozen) - theirs)),
        unused=tuple(sorted(theirs - learning - frozen)),
    )


def _examples(names: Sequence[str], count: int = 3) -> str:
    if not names:
        return ''
    return f'  {", ".join(names[:count])}{" ..." if len(names) > count else ""}'
