"""The backlog: accepted items that no worker holds, first in, first out.

The door (`intake`) puts parcels in, the dispatcher takes them out in batches and gives back what workers returned, to
the front. Invariant: its length is the sum of its parcels'.
"""

from collections import deque
from collections.abc import Iterator

from .parcel import Parcel

_MAX_PARCEL = 4096
"""Items; taking from the front of a parcel moves the rest, so parcels stay short enough for that to be cheap."""


class Backlog:
    """Parcels in order."""

    def __init__(self) -> None:
        self._parcels: deque[Parcel] = deque()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Parcel]:
        return iter(self._parcels)

    def put(self, parcel: Parcel) -> None:
        """Appends a parcel; it may be joined with the last one."""
        self._length += len(parcel)
        last = self._parcels[-1] if self._parcels else None
        if last is not None and len(last) + len(parcel) <= _MAX_PARCEL and _same_history(last, parcel):
            last.items += parcel.items
            if last.keys is not None and parcel.keys is not None:
                last.keys += parcel.keys
        else:
            self._parcels.append(parcel)

    def give_back(self, parcel: Parcel) -> None:
        """Puts a parcel in front of all others."""
        self._length += len(parcel)
        self._parcels.appendleft(parcel)

    def take(self, most: int) -> Parcel | None:
        """Takes up to `most` items of one history from the front. Returns None if there are none."""
        if not self._parcels:
            return None
        first = self._parcels[0]
        taken = self._parcels.popleft() if len(first) <= most else first.cut(most)
        self._length -= len(taken)
        return taken

    def take_all(self) -> list[Parcel]:
        """Takes everything."""
        parcels = list(self._parcels)
        self._parcels.clear()
        self._length = 0
        return parcels


def _same_history(one: Parcel, other: Parcel) -> bool:
    return (
        one.generation is other.generation
        and one.bulk == other.bulk
        and (one.keys is None) == (other.keys is None)
        and one.is_fresh
        and other.is_fresh
    )
