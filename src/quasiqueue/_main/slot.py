"""One place in the pool: the worker that fills it, its successor, and what is to be done for it next.

A pure state machine: the supervisor asks what is due and tells what has happened. Invariant: a slot has at most one
worker that takes items and one successor; those that are leaving finish what they hold, and count as long as they do.
"""

from dataclasses import dataclass, field
from enum import Enum

from ..events import WorkerState
from . import policy
from .worker import Worker


class Due(Enum):
    """What a slot needs."""

    NOTHING = "nothing"
    START = "start"
    SUCCESSOR = "successor"
    SWAP = "swap"


@dataclass(eq=False, slots=True)
class Slot:
    """One place.

    Attributes:
        index: its number.
        worker: who fills it; None while nobody does.
        successor: who is being prepared to follow; None most of the time.
        start_at: no worker is started before, in patient seconds; it grows with deaths.
        replace_reason: set to have the worker replaced: `recycle()`, too much memory.
        leaving: who had the place and is still alive.
    """

    index: int
    worker: Worker | None = None
    successor: Worker | None = None
    start_at: float = 0.0
    replace_reason: str = ""
    leaving: list[Worker] = field(default_factory=list)

    def due(self, now: float, pace: policy.Pace) -> Due:
        """Returns what is to be done for this place.

        Args:
            now: patient seconds.
            pace: how soon the worker may have run its share.
        """
        if self.worker is None:
            if self.successor is not None:
                return Due.SWAP
            return Due.START if now >= self.start_at else Due.NOTHING
        if self.successor is None:
            wanted = self.replace_reason or self._is_nearly_done(self.worker, pace)
            return Due.SUCCESSOR if wanted and now >= self.start_at else Due.NOTHING
        if self.successor.state is WorkerState.READY and (self.replace_reason or self._has_done_enough(self.worker)):
            return Due.SWAP
        return Due.NOTHING

    def _is_nearly_done(self, worker: Worker, pace: policy.Pace) -> bool:
        if worker.due_at_jobs is None or worker.state is not WorkerState.READY:
            return False
        if pace.is_last and pace.at_hand <= (worker.jobs_left or 0):
            return False
        return policy.successor_due(worker.due_at_jobs - worker.jobs, pace, lanes=worker.lanes)

    def _has_done_enough(self, worker: Worker) -> bool:
        return worker.due_at_jobs is not None and worker.jobs >= worker.due_at_jobs

    def fill(self, worker: Worker) -> None:
        """Gives the place to a worker: it takes items from now on, beside what those that leave still hold."""
        self.worker = worker
        worker.takes = True
        worker.ahead = self.leaving

    def swap(self) -> Worker | None:
        """Lets the successor take the place. Returns the worker that had it, if any; it is to be told to leave."""
        old, successor = self.worker, self.successor
        self.worker = self.successor = None
        self.replace_reason = ""
        if successor is not None:
            self.fill(successor)
        if old is not None:
            self.leaving.append(old)
        return old

    def forget(self, worker: Worker) -> bool:
        """Says that a worker is gone. Returns True if it had this place, or was to have it."""
        if worker in self.leaving:
            self.leaving.remove(worker)
        if worker not in (self.worker, self.successor):
            return False
        if self.worker is worker:
            self.worker = None
        if self.successor is worker:
            self.successor = None
        return True
