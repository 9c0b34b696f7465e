"""New workers: their lines, scoreboards and records; and what to do when the system refuses one.

The supervisor asks for a worker of a slot and hands the far end of its line to the starter. Invariant: a birth that
fails leaves no descriptor behind.
"""

import contextlib
import os
import random
from collections.abc import Callable

from .._wire.channel import Channel, socket_pair
from .._wire.frames import Frame
from .._wire.scoreboard import Scoreboard, create_file
from ..errors import WorkerStartError
from ..events import Event, Notice
from ..settings import Settings
from . import policy
from .slot import Slot
from .starter import Ends
from .worker import Line, Worker


class Births:
    """Makes the workers of one run.

    Args:
        settings: the settings in force.
        queue: the queue's name, for events.
        is_async: whether the reader is async.
        publish: takes events.
        on_frame: gets every frame of every worker.
        on_closed: hears of every line that ends.
        turn: called after a worker has said something.
        chance: for jitter.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        queue: str,
        is_async: bool,
        publish: Callable[[Event], None],
        on_frame: Callable[[Worker, Frame], None],
        on_closed: Callable[[Worker], None],
        turn: Callable[[], None],
        chance: random.Random,
    ) -> None:
        self._settings = settings
        self._queue = queue
        self._is_async = is_async
        self._lanes = settings.concurrent_tasks_per_process if is_async else 1
        self._publish = publish
        self._on_frame = on_frame
        self._on_closed = on_closed
        self._turn = turn
        self._chance = chance
        self._serial = 0
        self._refusals = 0
        self._refusals_alone = 0

    def make(self, slot: Slot, now: float) -> tuple[Worker, Ends]:
        """Makes the main process' side of a worker.

        Args:
            slot: its place.
            now: patient seconds.

        Returns:
            The worker, and what its process gets.

        Raises:
            OSError: the system is out of descriptors or memory.
        """
        ours, theirs = socket_pair()
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(ours.close)
            on_failure.callback(theirs.close)
            heard, bell = os.pipe()
            on_failure.callback(os.close, heard)
            on_failure.callback(os.close, bell)
            board = Scoreboard(create_file(self._lanes), self._lanes)
            on_failure.pop_all()
        os.set_blocking(bell, False)
        self._serial += 1
        worker = Worker(
            serial=self._serial,
            slot=slot.index,
            line=Line(
                Channel(ours, blocking=False),
                bell=bell,
                on_frame=lambda frame: self._on_frame(worker, frame),
                on_closed=lambda: self._on_closed(worker),
                after_reading=self._turn,
            ),
            board=board,
            lanes=self._lanes,
            is_async=self._is_async,
            max_jobs=self._settings.max_jobs_per_process,
            due_at_jobs=policy.jobs_of_worker(self._settings.max_jobs_per_process, self._chance),
            started_at=now,
        )
        return worker, Ends(theirs, heard, board.descriptor)

    def succeeded(self) -> None:
        """Says that a worker is ready: it got all that it needs."""
        self._refusals = self._refusals_alone = 0

    def refused(self, slot: Slot, reason: str, *, alive: int, now: float) -> WorkerStartError | None:
        """Says that the system has refused a worker; the slot is tried again after a pause that grows.

        Args:
            slot: the place it was meant for.
            reason: what the system said.
            alive: how many workers there are.
            now: patient seconds.

        Returns:
            The error to end the run with, if there is no worker and none can be had.
        """
        self._refusals += 1
        self._refusals_alone += not alive  # those that others did not leave room for say nothing about one alone
        pause = policy.growing_pause(self._refusals)
        slot.start_at = now + pause
        if self._refusals_alone > self._settings.max_restarts:
            return WorkerStartError(
                f"No worker of queue {self._queue!r} can be started ({reason}). The system is out of processes, memory "
                "or descriptors: raise its limits, or lower num_processes."
            )
        text = f"A worker for slot {slot.index} could not be started ({reason}); {alive} are left, next try"
        self._publish(Notice(self._queue, f"{text} in {pause:.1f} s.", warning=True))
        return None
