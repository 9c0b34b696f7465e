"""The door: what the writer gives and what is put passes here, is compared with the recent keys and joins the backlog.

It is the one room that several threads enter: the writer's thread and any thread of the user's put items in, the loop
takes them out; one lock covers the backlog and the keys. Invariant: an item that passed the door is in the backlog, in
a ledger, waiting for a retry, or has ended; and its key is remembered as `recent` promises.
"""

import threading
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from types import NoneType

from .._types import DONE
from ..errors import QueueClosed, QueueFull, UsageError
from .backlog import Backlog
from .keys import are_numbers, is_bulk, keys_of
from .parcel import Generation, Parcel
from .recent import Recent


@dataclass(frozen=True, slots=True)
class Refused:
    """An item that was accepted and fails at once: its key could not be had."""

    item: object
    error: BaseException


class Intake:
    """The door and what lies behind it.

    Args:
        capacity: most items waiting, as `max_queue_size`.
        window: seconds that keys are remembered.
        key: the user's function; None: items speak for themselves.
    """

    def __init__(self, *, capacity: int, window: float, key: Callable[[object], Hashable] | None = None) -> None:
        self._capacity = capacity
        self._key = key
        self._changed = threading.Condition()
        self._backlog = Backlog()
        self._recent = Recent(window)
        self._refused: list[Refused] = []
        self.elsewhere = 0
        """Items that wait but are not in the backlog: handed and not begun, or on their way to a retry. The dispatcher
        keeps it."""
        self.duplicates = 0
        self.is_closed = False

    @property
    def waiting(self) -> int:
        """Items accepted and not begun."""
        return len(self._backlog) + self.elsewhere

    @property
    def backlog(self) -> int:
        """Items that can be handed out now."""
        return len(self._backlog)

    @property
    def remembered(self) -> int:
        """Number of keys held."""
        return len(self._recent)

    def room(self) -> int:
        """Returns how many items fit; negative if there are too many."""
        return self._capacity - self.waiting

    def is_half_empty(self) -> bool:
        """Tells whether it is time to ask a writer again that was told to wait because the queue was full."""
        return self.waiting <= self._capacity // 2

    def knows_keys_at_once(self, types: set[type]) -> bool:
        """Tells whether items of these types can be compared with the recent keys in no time, and without user code."""
        return self._key is None and are_numbers(types)

    def accept(self, items: list[object], now: float, *, types: set[type] | None = None) -> int:
        """Takes in what is no duplicate.

        Args:
            items: a block; the list belongs to the intake from now on.
            now: monotonic time.
            types: the types that occur in it, if the caller knows.

        Returns:
            How many were accepted.

        Raises:
            QueueClosed: nothing is accepted any more; nothing was.
        """
        if not items:
            return 0
        bulk = is_bulk(items, set(map(type, items)) if types is None else types)
        keys = None
        if self._recent.is_on and (self._key is not None or not bulk):
            keys = keys_of(items, self._key)
        with self._changed:
            if self.is_closed:
                raise QueueClosed(
                    "The queue takes nothing more: it is stopping, or its run is over. Put items before that."
                )
            return self._admit(items, keys, now, bulk=bulk)

    def _admit(
        self, items: list[object], keys: list[Hashable | BaseException] | None, now: float, *, bulk: bool
    ) -> int:
        if not self._recent.is_on:
            self._backlog.put(Parcel(items, None, None, bulk))
            return len(items)
        own_keys = None if keys is None else self._sort_out(items, keys)
        offered: Sequence[Hashable] = items if own_keys is None else own_keys
        if not offered:
            return 0
        if own_keys is None or NoneType not in set(map(type, own_keys)):
            generation = self._recent.admit_all(offered, now)
            if generation is not None:
                self._backlog.put(Parcel(items, own_keys, generation, bulk))
                return len(items)
        accepted, generation = self._recent.admit_each(offered, now)
        count = sum(accepted)
        self.duplicates += len(offered) - count
        if count:
            kept = [item for item, is_new in zip(items, accepted, strict=True) if is_new]
            kept_keys = None if keys is None else [key for key, is_new in zip(offered, accepted, strict=True) if is_new]
            self._backlog.put(Parcel(kept, kept_keys, generation, bulk))
        return count

    def _sort_out(self, items: list[object], keys: list[Hashable | BaseException]) -> list[Hashable]:
        """Sets aside the items whose key raised. Leaves the others in `items` and returns their keys."""
        if not any(issubclass(kind, BaseException) for kind in set(map(type, keys))):
            return keys
        self._refused += [
            Refused(item, key) for item, key in zip(items, keys, strict=True) if isinstance(key, BaseException)
        ]
        pairs = [(item, key) for item, key in zip(items, keys, strict=True) if not isinstance(key, BaseException)]
        items[:] = [item for item, _ in pairs]
        return [key for _, key in pairs]

    def put(self, item: object, *, timeout: float) -> bool:
        """Takes in one item from any thread.

        Args:
            item: the item.
            timeout: seconds to wait for room.

        Returns:
            True; False if it is a duplicate.

        Raises:
            QueueFull: there was no room in that time.
            QueueClosed: nothing is accepted any more.
            UsageError: it is None or DONE, which are no items.
        """
        if item is None or item is DONE:
            raise UsageError(f"put({item!r}): that is no item; None and DONE are what a writer says when it has none.")
        with self._changed:
            if not self._changed.wait_for(lambda: self.is_closed or self.room() > 0, timeout):
                raise QueueFull(
                    f"No room for another item within {timeout} s: {self.waiting} are waiting and max_queue_size is "
                    f"{self._capacity}. Offer it again later, or raise max_queue_size or queue_interaction_timeout."
                )
            refused = len(self._refused)
            return self.accept([item], time.monotonic()) > 0 or len(self._refused) > refused

    def take(self, most: int) -> Parcel | None:
        """Takes up to `most` items of one history from the front; None if there are none."""
        with self._changed:
            return self._backlog.take(most)

    def give_back(self, parcels: Iterable[Parcel]) -> None:
        """Puts parcels in front, so that their order stays."""
        with self._changed:
            for parcel in reversed(list(parcels)):
                self._backlog.give_back(parcel)

    def take_refused(self) -> list[Refused]:
        """Takes the items that fail because their keys could not be had."""
        if not self._refused:
            return []
        with self._changed:
            refused, self._refused = self._refused, []
            return refused

    def end(self, parcel: Parcel) -> None:
        """Says that a parcel's items have ended."""
        if parcel.generation is not None:
            with self._changed:
                self._recent.end(parcel.generation, parcel.remembered())

    def tell_room(self) -> None:
        """Wakes threads that wait in `put`, after items have left."""
        with self._changed:
            self._changed.notify_all()

    def next_expiry(self) -> float | None:
        """Returns when keys are old enough to be forgotten next; None while none are remembered."""
        return self._recent.next_expiry()

    def expire(self, now: float, elsewhere: Callable[[], Iterable[Parcel]]) -> None:
        """Forgets old keys.

        Args:
            now: monotonic time.
            elsewhere: gives the parcels that have not ended and are not in the backlog.
        """

        def active_keys(generation: Generation) -> list[Hashable]:
            parcels = [*self._backlog, *elsewhere()]
            return [key for parcel in parcels if parcel.generation is generation for key in parcel.remembered()]

        with self._changed:
            self._recent.expire(now, active_keys)

    def close(self, *, only_if_empty: bool = False) -> bool:
        """Accepts nothing more from now on.

        Args:
            only_if_empty: leave the door open if items are waiting.

        Returns:
            True if the door is closed now.
        """
        with self._changed:
            if only_if_empty and (self.waiting or self._refused):
                return False
            self.is_closed = True
            self._changed.notify_all()
            return True

    def take_all(self) -> list[Parcel]:
        """Takes everything that is in the backlog."""
        with self._changed:
            return self._backlog.take_all()
