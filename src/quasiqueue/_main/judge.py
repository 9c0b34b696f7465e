"""What the writer's answers mean: go on, rest, or end.

Pure: what came, how much of it was new and the time go in, a verdict comes out. The feeder asks it, and so does the
testing kit, which runs without threads and on a clock of its own. Invariant: an answer with nothing new in it is
followed by a rest, an error by one that grows.
"""

from enum import Enum

from ..errors import WriterError
from ..events import WriterFailed
from ..settings import Settings
from . import policy
from .source import Next, Pulled
from .texts import error_info

MANY_DUPLICATES = 10_000
"""So many duplicates in a row from one call count as nothing new: even an endless generator is then paused."""


class Verdict(Enum):
    """What to do after an answer."""

    GO_ON = "go on"
    REST = "rest"
    END = "end"


class Judge:
    """Judges the answers of one run's writer.

    Args:
        settings: the settings in force.
        queue: the queue's name, for errors and events.
    """

    def __init__(self, settings: Settings, *, queue: str) -> None:
        self._settings = settings
        self._queue = queue
        self._failures = 0
        self._accepted_by_call = 0
        self._duplicates_in_row = 0
        self.resume_at = 0.0
        """When the writer may be asked next, in the caller's seconds."""

    def count(self, accepted: int) -> None:
        """Counts new items that a call has given before its answer."""
        self._accepted_by_call += accepted
        self._failures = 0 if accepted else self._failures

    def answer(self, pulled: Pulled, accepted: int, now: float) -> Verdict:
        """Judges an answer, or the part of one that came before its error, which `error` is to be told of then.

        Args:
            pulled: what came.
            accepted: how many of its items were new.
            now: the caller's seconds.
        """
        offered = len(pulled.items)
        self._accepted_by_call += accepted
        self._duplicates_in_row = 0 if accepted else self._duplicates_in_row + offered
        if pulled.error is not None:
            return Verdict.REST
        if accepted or pulled.ends_call:
            self._failures = 0
        if pulled.next is Next.DONE:
            return Verdict.END
        has_nothing_new = pulled.ends_call and not self._accepted_by_call
        if pulled.ends_call:
            self._accepted_by_call = 0
        if pulled.next is Next.NOTHING_NOW or has_nothing_new or self._duplicates_in_row >= MANY_DUPLICATES:
            self._duplicates_in_row = 0
            self.resume_at = now + self._settings.empty_queue_sleep_time
            return Verdict.REST
        return Verdict.GO_ON

    def error(self, error: BaseException, *, is_over: bool, now: float) -> WriterFailed:
        """Judges an error of the writer.

        Args:
            error: what it raised.
            is_over: whether it can never be asked again, as a generator that has raised.
            now: the caller's seconds.

        Returns:
            The event that tells of it and of the rest that follows.

        Raises:
            WriterError: it is not to be asked any more.
        """
        self._failures += 1
        self._accepted_by_call = 0
        told = error_info(error)
        if is_over:
            raise WriterError(
                f"The writer of queue {self._queue!r} failed once, and cannot go on: {told.type}: {told.message}. Its "
                "traceback is above; see to the cause, or give a function, which is asked again."
            ) from error
        if self._failures >= self._settings.writer_max_errors:
            times = "once" if self._failures == 1 else f"{self._failures} times in a row"
            raise WriterError(
                f"The writer of queue {self._queue!r} failed {times}. The last error was {told.type}: "
                f"{told.message}. Its traceback is above; see to the cause, or raise writer_max_errors."
            ) from error
        pause = policy.growing_pause(self._failures)
        self.resume_at = now + pause
        return WriterFailed(self._queue, told, self._failures, pause)
