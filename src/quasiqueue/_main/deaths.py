"""Deaths of workers: explained, counted, and too many of them recognised.

The supervisor hands in each death; out come the error that the outcomes carry, the pause before the next start, and the
verdict that workers die faster than they work. Invariant: as soon as an item has ended, the count begins anew.
"""

import signal
from collections import deque
from collections.abc import Iterable

from ..errors import CrashLoopError
from ..events import ErrorInfo
from ..settings import Settings
from . import policy
from .ledger import Holding
from .settler import Settler
from .starter import Death
from .worker import Worker

_FIRST_PAUSE = 0.01


def explain(worker: Worker, death: Death) -> ErrorInfo:
    """Returns what is known of a worker's death, as the error of the items that it was running."""
    name = signal.Signals(-death.code).name if death.code < 0 else None
    kill = worker.kill if worker.kill is not None and worker.kill.is_cause else None
    if worker.start_error is not None:
        message = f"the context failed in worker {worker.pid}: {worker.start_error[0]}: {worker.start_error[1]}"
    elif kill is not None:
        message = kill.reason
    else:
        message = f"worker {worker.pid} {policy.explain_exit(death.code, name)}"
    return ErrorInfo(
        type="TimedOut" if kill is not None and kill.timed_out else "WorkerDied",
        message=message,
        traceback="" if worker.start_error is None else worker.start_error[2],
        exit_code=death.code if death.code >= 0 else None,
        signal=name,
        stack=(kill.stack if kill is not None else "") or worker.board.stacks(),
        peak_memory=death.peak_memory,
    )


def settle_running(
    worker: Worker,
    running: Iterable[Holding],
    error: ErrorInfo,
    settler: Settler,
    *,
    is_stopping: bool,
    now: float,
    wall: float,
) -> None:
    """Settles the items that a worker was running as it died.

    Args:
        worker: it.
        running: the items, each a holding of its own.
        error: the death's explanation.
        settler: what becomes of them.
        is_stopping: whether the run is ending, so that nothing runs again.
        now: patient seconds.
        wall: monotonic seconds.
    """
    timed_out: frozenset[int] = frozenset() if worker.kill is None else worker.kill.timed_out
    for holding in running:
        seconds = now - worker.since.get(holding.first, now)
        if holding.first in timed_out:
            settler.time_out(worker, holding.parcel, error, seconds, wall)
        elif is_stopping:
            settler.release(holding.parcel, error, worker)
        elif timed_out:  # another one's time was up: these are not to blame
            settler.bring_back(holding.parcel)
        else:
            settler.crash(worker, holding.parcel, error, seconds, wall)


class DeathRecord:
    """The deaths of one run since an item last ended.

    Args:
        settings: the settings in force.
        queue: the queue's name, for the error.
    """

    def __init__(self, settings: Settings, *, queue: str) -> None:
        self._settings = settings
        self._queue = queue
        self._deaths: deque[float] = deque()
        self._ended_before = 0
        self._first_error = ""

    def count(self, error: ErrorInfo, *, ended: int, now: float) -> CrashLoopError | None:
        """Counts a death.

        Args:
            error: its explanation.
            ended: how many items have ended in this run so far.
            now: patient seconds.

        Returns:
            The error to end the run with, if there were too many.
        """
        if ended > self._ended_before:
            self._deaths.clear()
            self._first_error = ""
        self._ended_before = ended
        self._first_error = self._first_error or error.traceback or error.stack
        self._deaths.append(now)
        while now - self._deaths[0] > self._settings.restart_window:
            self._deaths.popleft()
        if not policy.is_crash_loop(len(self._deaths), self._settings.max_restarts):
            return None
        shown = f"\nThe first one said:\n{self._first_error}" if self._first_error else ""
        count = len(self._deaths)
        return CrashLoopError(
            f"{count} worker{'s' * (count > 1)} of queue {self._queue!r} died within "
            f"{self._settings.restart_window:g} s and no item was finished between them. The last one: "
            f"{error.message}. See to the cause, or raise max_restarts.{shown}"
        )

    def pause(self) -> float:
        """Returns the seconds to wait before the next start."""
        return policy.growing_pause(len(self._deaths), first=_FIRST_PAUSE) if self._deaths else 0.0
