"""Keys seen lately: which items are duplicates.

A key is remembered from when its item is accepted until the window has passed and the item has ended, whichever is
later. Keys are kept in generations, each a fraction of the window long, that expire whole; so remembering and
forgetting cost a few C calls per block, not per item. Invariant: the key of an active item is never forgotten.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence

from .parcel import Generation

GENERATIONS_PER_WINDOW = 64
_MIN_LENGTH = 0.01


class Recent:
    """The remembered keys.

    Args:
        window: seconds that a key is remembered at least; 0: nothing is ever a duplicate.
    """

    def __init__(self, window: float) -> None:
        self._window = window
        self._length = max(window / GENERATIONS_PER_WINDOW, min(window, _MIN_LENGTH))
        self._seen: set[Hashable] = set()
        self._generations: deque[Generation] = deque()
        self._opened_at = 0.0

    def __len__(self) -> int:
        return len(self._seen)

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
        unique = set(keys)
        if len(unique) != len(keys) or not self._seen.isdisjoint(unique):
            return None
        self._seen |= unique
        return self._open(keys, len(keys), now)

    def admit_each(self, keys: Iterable[Hashable], now: float) -> tuple[list[bool], Generation]:
        """Remembers those of a block that are no duplicates.

        Args:
            keys: the block's keys; None is never a duplicate and is not remembered.
            now: monotonic time.

        Returns:
            For each key whether its item is accepted, and the generation of those that are.
        """
        accepted, fresh = [], []
        for key in keys:
            is_new = key is None or key not in self._seen
            accepted.append(is_new)
            if is_new and key is not None:
                self._seen.add(key)
                fresh.append(key)
        return accepted, self._open(fresh, sum(accepted), now)

    def _open(self, keys: Iterable[Hashable], count: int, now: float) -> Generation:
        if not self._generations or now - self._opened_at >= self._length:
            self._generations.append(Generation(now))
            self._opened_at = now
        generation = self._generations[-1]
        generation.accepted_at = now
        generation.keys.extend(keys)
        generation.active += count
        return generation

    def end(self, generation: Generation, keys: Sequence[Hashable]) -> None:
        """Says that items with these keys of one generation have ended."""
        generation.active -= len(keys)
        if generation.is_overdue:
            self._seen.difference_update(keys)

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
            keep = set(active_keys(generation)) if generation.active else set()
            self._seen.difference_update(key for key in generation.keys if key not in keep) if keep else (
                self._seen.difference_update(generation.keys)
            )
            generation.is_overdue = True
            generation.keys = []
