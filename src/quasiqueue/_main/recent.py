"""Keys seen lately: which items are duplicates.

A key is remembered from when its item is accepted until the window has passed and the item has ended, whichever is
later. Keys are kept in generations, each a fraction of the window long, that expire whole; so remembering and
forgetting cost a few C calls per block, not per item. They lie on shelves, a set each: keys are put on the newest and
expire from the oldest only, so no large set is ever rebuilt for what has left it, and its memory goes back whole.
Invariant: the key of an active item is never forgotten.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence

from .parcel import Generation

GENERATIONS_PER_WINDOW = 64
SHELVES_PER_WINDOW = 4
"""More of them mean steadier memory, and more sets to look at for each key."""

_MIN_LENGTH = 0.01


class Recent:
    """The remembered keys.

    Args:
        window: seconds that a key is remembered at least; 0: nothing is ever a duplicate.
    """

    def __init__(self, window: float) -> None:
        self._window = window
        self._length = max(window / GENERATIONS_PER_WINDOW, min(window, _MIN_LENGTH))
        self._generations: deque[Generation] = deque()
        self._opened_at = 0.0
        self._shelves: deque[set[Hashable]] = deque()
        self._shelf_opened_at = 0.0
        self._overdue: set[Hashable] = set()
        """Keys that are older than the window and whose items have not ended."""

    def __len__(self) -> int:
        return len(self._overdue) + sum(map(len, self._shelves))

    @property
    def is_on(self) -> bool:
        """False if nothing is ever a duplicate."""
        return self._window > 0

    def admit_all(self, keys: Sequence[Hashable], now: float) -> Generation | None:
        """Remembers a whole block if none of it is a duplicate.

        Args:
            keys: the block's keys.
            now: monotonic time.

        Returns:
            Their generation; None, with nothing remembered, if there is a duplicate among them.
        """
        if not all(seen.isdisjoint(keys) for seen in self._all_seen()):
            return None
        generation = self._generation(now)
        before = len(generation.shelf)
        generation.shelf.update(keys)
        if len(generation.shelf) - before != len(keys):  # one occurs twice in the block; none of it was known before
            generation.shelf.difference_update(keys)
            return None
        return _remembered(generation, keys, len(keys), now)

    def admit_each(self, keys: Iterable[Hashable], now: float) -> tuple[list[bool], Generation]:
        """Remembers those of a block that are no duplicates.

        Args:
            keys: the block's keys; None is never a duplicate and is not remembered.
            now: monotonic time.

        Returns:
            For each key whether its item is accepted, and the generation of those that are.
        """
        unique = set(keys)
        known = {key for seen in self._all_seen() for key in seen & unique}
        accepted, fresh = [], []
        for key in keys:
            is_new = key is None or key not in known
            accepted.append(is_new)
            if is_new and key is not None:
                known.add(key)
                fresh.append(key)
        generation = self._generation(now)
        generation.shelf.update(fresh)
        return accepted, _remembered(generation, fresh, sum(accepted), now)

    def _all_seen(self) -> list[set[Hashable]]:
        return [*self._shelves, self._overdue] if self._overdue else list(self._shelves)

    def _generation(self, now: float) -> Generation:
        """Returns the newest generation, a new one where its time has passed."""
        if not self._generations or now - self._opened_at >= self._length:
            if not self._shelves or now - self._shelf_opened_at >= self._window / SHELVES_PER_WINDOW:
                self._shelves.append(set())
                self._shelf_opened_at = now
            self._generations.append(Generation(now, shelf=self._shelves[-1]))
            self._opened_at = now
        return self._generations[-1]

    def end(self, generation: Generation, keys: Sequence[Hashable]) -> None:
        """Says that items with these keys of one generation have ended."""
        generation.active -= len(keys)
        if generation.is_overdue:
            self._overdue.difference_update(keys)

    def next_expiry(self) -> float | None:
        """Returns when `expire` has something to do; None while nothing is remembered."""
        return self._generations[0].accepted_at + self._window if self._generations else None

    def expire(self, now: float, active_keys: Callable[[Generation], Iterable[Hashable]]) -> None:
        """Forgets what is old enough.

        Args:
            now: monotonic time.
            active_keys: called for a generation some of whose items have not ended; gives the keys of those.
        """
        while self._generations and now - self._generations[0].accepted_at >= self._window:
            generation = self._generations.popleft()
            if generation.active:
                self._overdue.update(active_keys(generation))
            if self._generations and self._generations[0].shelf is generation.shelf:
                generation.shelf.difference_update(generation.keys)
            else:  # the last one on it
                self._shelves.popleft()
            generation.is_overdue = True
            generation.keys = []
            generation.shelf = set()


def _remembered(generation: Generation, keys: Iterable[Hashable], count: int, now: float) -> Generation:
    """Notes keys, which are on the shelf already, in their generation; `count` items were accepted with them."""
    generation.accepted_at = now
    generation.keys.extend(keys)
    generation.active += count
    return generation
