"""Counts of a run, and the first failures: what `stats()` and the summary are made of."""

from collections import Counter, deque
from typing import TypedDict

from ..events import Outcome, Status

MAX_FAILURES = 20
_RATE_WINDOW = 5.0


class Counts(TypedDict):
    """The counts that `Stats` and `RunSummary` share."""

    done: int
    failed: int
    timed_out: int
    crashed: int
    released: int
    duplicates: int
    retried: int
    recycled: int
    restarted: int
    seconds: float


class Tally:
    """Counts items by how they ended, and what happened to workers.

    Args:
        started_at: monotonic time at which the run began.
    """

    def __init__(self, started_at: float) -> None:
        self._started_at = started_at
        self._ended: Counter[Status] = Counter()
        self._samples: deque[tuple[float, int]] = deque()
        self.failures: list[Outcome[object]] = []
        self.retried = 0
        self.recycled = 0
        self.restarted = 0

    @property
    def done(self) -> int:
        """Items done so far."""
        return self._ended[Status.DONE]

    @property
    def ended(self) -> int:
        """Items that have ended in any way."""
        return self._ended.total()

    def count(self, status: Status, number: int = 1) -> None:
        """Counts items that have ended."""
        self._ended[status] += number

    def keep(self, outcome: Outcome[object]) -> None:
        """Keeps an outcome that was not done, if it is among the first."""
        if len(self.failures) < MAX_FAILURES:
            self.failures.append(outcome)

    def sample(self, now: float) -> None:
        """Notes how many are done, for the rate."""
        self._samples.append((now, self.done))
        while now - self._samples[0][0] > _RATE_WINDOW:
            self._samples.popleft()

    def rate(self, now: float) -> float:
        """Returns items done per second over the last five seconds, or since the start."""
        since, done = self._samples[0] if self._samples else (self._started_at, 0)
        return (self.done - done) / (now - since) if now > since else 0.0

    def counts(self, now: float, *, duplicates: int) -> Counts:
        """Returns all counts as keyword arguments."""
        return Counts(
            done=self._ended[Status.DONE],
            failed=self._ended[Status.FAILED],
            timed_out=self._ended[Status.TIMED_OUT],
            crashed=self._ended[Status.CRASHED],
            released=self._ended[Status.RELEASED],
            duplicates=duplicates,
            retried=self.retried,
            recycled=self.recycled,
            restarted=self.restarted,
            seconds=now - self._started_at,
        )
