"""Continue a hyper-modulated model with other classes: which are known by name, new or dropped.

With frozen old classes, each new class has parts of its own, and only these learn (`networks.HyperGenerator`, own_classes).
"""
import dataclasses
from collections.abc import Sequence
from typing import Any

MAX_LISTED = 20  # names in a message


@dataclasses.dataclass(frozen=True)
class ClassGrowth:
    """known: names of the K old classes; names: of the K' new ones; old[k]: index of names[k] in known, None for a new class.

    frozen: the images of old classes do not change.
    """

    known: tuple[str, ...]
    names: tuple[str, ...]
    old: tuple[int | None, ...]
    frozen: bool = False

    @property
    def new(self) -> list[int]:
        """Indices of the new classes."""
        return [place for place, known in enumerate(self.old) if known is None]

    @property
    def changes(self) -> bool:
        """Whether the classes differ from the known ones, or their order does."""
        return self.old != tuple(range(len(self.known)))

    def notes(self, G: Any) -> tuple[str, ...]:
        """Lines for the log that say which classes are kept, new or dropped. G: the old generator."""
        if not self.changes:
            frozen = G.init_kwargs.get('learning_own') is not None
            return ('old classes are frozen in the snapshot and stay frozen',) if frozen else ()
        kept = [name for name, known in zip(self.names, self.old, strict=True) if known is not None]
        parts = [('frozen' if self.frozen else 'kept', kept), ('new', [self.names[place] for place in self.new]),
                 ('dropped', [name for place, name in enumerate(self.known) if place not in self.old])]
        return ('classes of the data, compared with the snapshot: ' + '; '.join(
            f'{what}: {_listed(names)}' for what, names in parts if names),)

    def own_parts(self, G: Any) -> tuple[list[int], list[int | None]]:
        """Indices of the classes with parts of their own, in order, and the number of the old part of each; None: a new class.

        G: the old generator. Parts of kept classes come first.
        """
        own = list(G.init_kwargs.get('own_classes', ()))
        kept = [(self.old.index(place), number) for number, place in enumerate(own) if place in self.old]
        added: list[tuple[int, int | None]] = [(place, None) for place in self.new] if self.frozen or own else []
        both = [*kept, *added]
        return [place for place, _number in both], [number for _place, number in both]

    def generator_kwargs(self, G: Any) -> dict[str, Any]:
        """The constructor arguments of the grown generator that differ from those of G."""
        places, _numbers = self.own_parts(G)
        if not places and not G.init_kwargs.get('own_classes'):
            return {}
        return dict(own_classes=places, learning_own=len(self.new) if self.frozen else None)


def match_classes(resume: str, G: Any, known: Sequence[str], names: Sequence[str], label_dim: int, frozen: bool) -> ClassGrowth:
    """Match the classes of the data with those of the snapshot `resume`.

    names: of the classes of the data, [] for label vectors of length label_dim. G: generator of the snapshot; known: its class
    names, [] for vectors. ValueError, one line, if the labels cannot be matched.
    """
    places = [str(place) for place in range(label_dim)]
    unnamed = list(names) == places and not all(name.isdecimal() for name in known)
    if label_dim == G.c_dim and (not known or not names or unnamed):
        growth = ClassGrowth(tuple(known or places), tuple(names or places), tuple(range(label_dim)), frozen)
    elif not known or not names:
        raise ValueError(f'{resume} has {_describe(known, G.c_dim)}, the data has {_describe(names, label_dim)}: give labels of '
                         'the same kind and number, or start from the unconditional source')
    elif unnamed:
        raise ValueError(f'{resume} has {_describe(known, G.c_dim)}, the data has {label_dim} without names: name them '
                         '(class_names in dataset.json) so that known ones are found, or start from the unconditional source')
    else:
        old = {name: place for place, name in enumerate(known)}
        growth = ClassGrowth(tuple(known), tuple(names), tuple(old.get(name) for name in names), frozen)
    if frozen:
        _check_frozen(resume, G, growth)
    return growth


def _check_frozen(resume: str, G: Any, growth: ClassGrowth) -> None:
    goes_on = not growth.changes and G.init_kwargs.get('learning_own') is not None
    if not growth.names or not (growth.new or goes_on):
        raise ValueError(f'--freeze-old-classes leaves nothing to learn: {resume} knows all classes of the data; add a class, or '
                         'leave the option out')
    if len(growth.new) == len(growth.names):
        raise ValueError(f'--freeze-old-classes found none of the classes of {resume} ({_listed(growth.known)}) in the data: '
                         'keep their images and names, or leave the option out')


def _describe(names: Sequence[str], count: int) -> str:
    return f'{count} classes ({_listed(names)})' if names else f'label vectors of {count} numbers'


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MAX_LISTED
    return ', '.join(names[:MAX_LISTED]) + (f' and {more} more' if more > 0 else '')
