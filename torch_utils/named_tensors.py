"""Copying tensors by name, with a report on every one of them."""
import dataclasses
from collections.abc import Callable, Iterable, Mapping

import torch

Tensors = Mapping[str, torch.Tensor]


@dataclasses.dataclass(frozen=True)
class CopyReport:
    """Names of tensors, sorted. copied: filled parameters; frozen: filled buffers; new: in the target only; unused: in the source
    only; misfits: in both with different shapes, which are those of source and target. note: what else was done to the target."""

    copied: tuple[str, ...]
    frozen: tuple[str, ...]
    new: tuple[str, ...]
    unused: tuple[str, ...]
    misfits: dict[str, tuple[list[int], list[int]]] = dataclasses.field(default_factory=dict)
    note: str = ''

    def __str__(self) -> str:
        """One line for the log."""
        text = f'{len(self.copied) + len(self.frozen)} tensors copied, {len(self.new)} new, {len(self.unused)} not used'
        for kind, names in (('new', self.new), ('not used', self.unused)):
            text += f'; {kind}: {_first(names, 6)}' if names else ''
        if self.misfits:
            text += f'; {len(self.misfits)} of another shape start from random weights: {self.describe_misfits()}'
        return text + (f'; {self.note}' if self.note else '')

    def lines(self, network: str) -> list[str]:
        """For the log: a line per kind, with the number of tensors and some names."""
        kinds = (('copied, learning', self.copied), ('copied, frozen', self.frozen), ('new', self.new), ('not used', self.unused))
        return [f'{network:<3} {kind:<17} {len(names):>5}  {_first(names, 3)}'.rstrip() for kind, names in kinds]

    def describe_misfits(self, names: Iterable[str] | None = None) -> str:
        """'b4.out.bias [1] -> [16], ...', of all or of these."""
        shapes = {name: self.misfits[name] for name in (self.misfits if names is None else names)}
        return ', '.join(f'{name} {there} -> {here}' for name, (there, here) in shapes.items())


@torch.no_grad()
def fill_tensors(target: Tensors, source: Tensors, check: Callable[[CopyReport], None] = lambda report: None) -> CopyReport:
    """Copy into `target` what `source` has under the same name in the same shape; requires_grad stays as it is.

    check(report) is called first: where it raises, nothing is copied.
    """
    both = sorted(target.keys() & source.keys())
    misfits = {name: (list(source[name].shape), list(target[name].shape)) for name in both
               if source[name].shape != target[name].shape}
    fits = [name for name in both if name not in misfits]
    learning = {name for name in fits if isinstance(target[name], torch.nn.Parameter)}
    report = CopyReport(
        copied=tuple(name for name in fits if name in learning), frozen=tuple(name for name in fits if name not in learning),
        new=tuple(sorted(target.keys() - source.keys())), unused=tuple(sorted(source.keys() - target.keys())), misfits=misfits)
    check(report)
    for name in fits:
        target[name].copy_(source[name])
    return report


def _first(names: tuple[str, ...], count: int) -> str:
    return ', '.join(names[:count]) + (' ...' if len(names) > count else '')
