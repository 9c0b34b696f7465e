"""One place in the pool: the worker that fills it, its successor, and what is to be done for it next.

A pure state machine: the supervisor asks what is due and tells what has happened. Invariant: a slot has at most one
worker that takes items and one successor; a worker that is leaving belongs to nobody's place any more.
"""

from dataclasses import dataclass
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
    """

    index: int
    worker: Worker | None = None
    successor: Worker | None = None
    start_at: float = 0.0
    replace_reason: str = ""

    def due(self, now: float, *, seconds_per_item: float | None, startup: float, items_left: int | None = None) -> Due:
        """Returns what is to be done for this place.

        Args:
            now: patient seconds.
            seconds_per_item: measured; None as long as nothing is known.
            startup: seconds that a worker takes to be ready.
            items_left: items still to be handed out; None while nobody knows.
        """
        if self.worker is None:
            if self.successor is not None:
                return Due.SWAP
            return Due.START if now >= self.start_at else Due.NOTHING
        if self.successor is None:
            wanted = self.replace_reason or (
                self._is_nearly_done(self.worker, seconds_per_item, startup)
                and (items_left is None or items_left > (self.worker.jobs_left or 0))
            )
            return Due.SUCCESSOR if wanted and now >= self.start_at else Due.NOTHING
        if self.successor.state is WorkerState.READY and (self.replace_reason or self._has_done_enough(self.worker)):
            return Due.SWAP
        return Due.NOTHING

    def _is_nearly_done(self, worker: Worker, seconds_per_item: float | None, startup: float) -> bool:
        if worker.due_at_jobs is None or worker.state is not WorkerState.READY:
            return False
        left = worker.due_at_jobs - worker.jobs
        return policy.successor_due(left, seconds_per_item=seconds_per_item, startup=startup, lanes=worker.lanes)

    def _has_done_enough(self, worker: Worker) -> bool:
        return worker.due_at_jobs is not None and worker.jobs >= worker.due_at_jobs

    def swap(self) -> Worker | None:
        """Lets the successor take the place. Returns the worker that had it, if any; it is to be told to leave."""
        old, self.worker, self.successor = self.worker, self.successor, None
        self.replace_reason = ""
        if self.worker is not None:
            self.worker.takes = True
        return old

    def forget(self, worker: Worker) -> None:
        """Says that a worker is gone."""
        if self.worker is worker:
            self.worker = None
        if self.successor is worker:
            self.successor = None
