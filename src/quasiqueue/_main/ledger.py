"""The ledger: which items one worker holds, by ordinal.

The dispatcher writes a batch in before it is sent, and strikes out what was reported finished or given back; when the
worker dies the ledger and its scoreboard say which items were finished, running and untouched. Invariant: an item that
was handed out is in exactly one ledger until it has ended or was given back.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from .parcel import Parcel


@dataclass(eq=False, slots=True)
class Holding:
    """A parcel in a worker's hands; its items have the ordinals `first`, `first + 1`, ..."""

    first: int
    parcel: Parcel

    @property
    def last(self) -> int:
        """Ordinal of the last item."""
        return self.first + len(self.parcel) - 1


@dataclass(frozen=True, slots=True)
class Autopsy:
    """What a dead worker leaves: items it had finished, those it was running, those it had not begun."""

    finished: list[Holding]
    running: list[Holding]
    untouched: list[Holding]


class Ledger:
    """What one worker holds."""

    def __init__(self) -> None:
        self._holdings: deque[Holding] = deque()
        self._count = 0
        self._next = 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Holding]:
        return iter(self._holdings)

    @property
    def batches(self) -> int:
        """How many parcels, or pieces of parcels, are held."""
        return len(self._holdings)

    @property
    def handed(self) -> int:
        """How many ordinals were given out so far."""
        return self._next - 1

    def first(self) -> int | None:
        """Returns the lowest ordinal held; None if there is none."""
        return self._holdings[0].first if self._holdings else None

    def hand(self, parcel: Parcel) -> int:
        """Writes a parcel in. Returns the ordinal of its first item."""
        first = self._next
        self._holdings.append(Holding(first, parcel))
        self._next += len(parcel)
        self._count += len(parcel)
        return first

    def strike(self, first: int, last: int) -> list[Holding]:
        """Strikes out the ordinals from `first` to `last`.

        Returns:
            What was struck out, in order; ordinals that are not held (given back, reported before) are passed over.
        """
        head = self._holdings[0] if self._holdings else None
        if head is not None and head.first >= first and head.last == last:  # the common case: the oldest batch, whole
            self._holdings.popleft()
            self._count -= len(head.parcel)
            return [head]
        struck: list[Holding] = []
        kept: deque[Holding] = deque()
        for holding in self._holdings:
            if holding.last < first or holding.first > last:
                kept.append(holding)
                continue
            begin = max(first - holding.first, 0)
            end = min(last - holding.first + 1, len(holding.parcel))
            if begin > 0:
                kept.append(Holding(holding.first, holding.parcel.slice(0, begin)))
            struck.append(Holding(holding.first + begin, holding.parcel.slice(begin, end)))
            if end < len(holding.parcel):
                kept.append(Holding(holding.first + end, holding.parcel.slice(end, len(holding.parcel))))
        self._holdings = kept
        self._count -= sum(len(holding.parcel) for holding in struck)
        return struck

    def take_from(self, first: int) -> list[Holding]:
        """Strikes out every ordinal from `first` on: the worker gave them back. Returns them in order."""
        return self.strike(first, self._next - 1) if first < self._next else []

    def item(self, ordinal: int) -> object | None:
        """Returns the item with this ordinal; None if it is not held."""
        for holding in self._holdings:
            if holding.first <= ordinal <= holding.last:
                return holding.parcel.items[ordinal - holding.first]
        return None

    def autopsy(self, started: int, running: frozenset[int]) -> Autopsy:
        """Empties the ledger of a dead worker.

        Args:
            started: the highest ordinal that was begun.
            running: ordinals that were running.

        Returns:
            Every item held, by what had become of it; each running item is a holding of its own.
        """
        suspects = [holding for ordinal in sorted(running) for holding in self.strike(ordinal, ordinal)]
        finished = self.strike(1, started)
        return Autopsy(finished, suspects, self.strike(1, self._next - 1))
