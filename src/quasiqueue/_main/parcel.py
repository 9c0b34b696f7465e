"""Parcels: runs of accepted items that share one history. They are what moves through the main process.

A parcel is cut when some of its items take another way: one fails, one was running when its worker died. Invariant:
cutting and joining never lose or double an item, and all items of a parcel belong to one generation of keys.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from .keys import bare


@dataclass(eq=False, slots=True)
class Generation:
    """Keys that were accepted at about the same time and expire together.

    Attributes:
        accepted_at: when the last of them was accepted.
        keys: the keys.
        shelf: the set in which they are looked up, until they expire.
        active: how many of their items have not ended.
        is_overdue: True once the window has passed while some were active: those are forgotten as they end.
    """

    accepted_at: float
    keys: list[Hashable] = field(default_factory=list)
    shelf: set[Hashable] = field(default_factory=set)
    active: int = 0
    is_overdue: bool = False


@dataclass(eq=False, slots=True)
class Parcel:
    """Items with one history.

    Attributes:
        items: the items; never empty while the parcel is somewhere.
        keys: their identities, one per item; None where the items are their own keys.
        generation: where their keys are remembered; None where nothing is.
        bulk: True if all are small built-in values, which can be pickled together.
        attempts: runs that came back or ran out of time so far.
        crashes: workers that died running it so far.
        alone: True if it must have a batch to itself, because a worker died while it ran.
    """

    items: list[object]
    keys: list[Hashable] | None
    generation: Generation | None
    bulk: bool
    attempts: int = 0
    crashes: int = 0
    alone: bool = False

    def __len__(self) -> int:
        return len(self.items)

    @property
    def is_fresh(self) -> bool:
        """True if its items have never been run."""
        return not (self.attempts or self.crashes or self.alone)

    def remembered(self) -> Sequence[Hashable]:
        """Returns the keys under which its items are remembered."""
        return self.items if self.keys is None else self.keys

    def key(self, index: int) -> Hashable:
        """Returns the identity of one item; None if it has none."""
        return bare(self.remembered()[index]) if self.generation is not None else None

    def cut(self, count: int) -> "Parcel":
        """Takes the first `count` items out, as a parcel of the same history."""
        taken = self._with(self.items[:count], None if self.keys is None else self.keys[:count])
        self.drop(0, count)
        return taken

    def drop(self, begin: int, end: int) -> None:
        """Takes the items from `begin` up to `end` out."""
        del self.items[begin:end]
        if self.keys is not None:
            del self.keys[begin:end]

    def slice(self, begin: int, end: int) -> "Parcel":
        """Returns a parcel of the items from `begin` up to `end`; this one stays as it is."""
        return self._with(self.items[begin:end], None if self.keys is None else self.keys[begin:end])

    def _with(self, items: list[object], keys: list[Hashable] | None) -> "Parcel":
        return Parcel(items, keys, self.generation, self.bulk, self.attempts, self.crashes, self.alone)
