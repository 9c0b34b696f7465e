"""Gives outcomes to the user's collector, in lists, in its own thread or on the loop.

The settler hands in finished items; results are unpickled here, on the collector's side. Invariant: every outcome is
given to the collector until one call with it returns, in the order in which items ended, and what waits here is
bounded: while it is full nothing is handed out.
"""

import asyncio
import contextlib
import inspect
import pickle
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from .._callables import CollectorPlan
from ..errors import CollectorError
from ..events import CollectorFailed, Event, Outcome, Status
from ..settings import Settings
from . import policy
from .settler import Finished
from .texts import error_info
from .threads import CallThread, is_being_cancelled

MAX_LIST = 1000
"""Most outcomes in one call."""


class Collector:
    """Runs the collector of one run.

    Args:
        plan: how to call it.
        settings: the settings in force.
        thread: where a sync collector runs.
        publish: takes events.
        on_room: called on the loop when outcomes have left.
        on_spoiled: called on the loop with outcomes that were counted as done, and whose result cannot be unpickled.
        queue: the queue's name, for events.
    """

    def __init__(
        self,
        plan: CollectorPlan,
        *,
        settings: Settings,
        thread: CallThread,
        publish: Callable[[Event], None],
        on_room: Callable[[], None],
        on_spoiled: Callable[[Outcome[object]], None],
        queue: str,
    ) -> None:
        self._plan = plan
        self._settings = settings
        self._thread = thread
        self._publish = publish
        self._on_room = on_room
        self._on_spoiled = on_spoiled
        self._queue = queue
        self._waiting: deque[Finished] = deque()
        self._capacity = max(MAX_LIST, settings.max_queue_size)
        self._bell = asyncio.Event()
        self._closing = asyncio.Event()

    def put(self, finished: Sequence[Finished]) -> None:
        """Takes outcomes, in order."""
        self._waiting.extend(finished)
        self._bell.set()

    def has_room(self) -> bool:
        """Tells whether the collector keeps up."""
        return len(self._waiting) < self._capacity

    @property
    def left(self) -> int:
        """Outcomes that no call has been made with."""
        return len(self._waiting)

    def close(self) -> None:
        """Says that no more outcomes will come: `run` ends once all are given."""
        self._closing.set()
        self._bell.set()

    async def run(self) -> None:
        """Gives outcomes to the collector until closed. Raises CollectorError if it fails too often."""
        while self._waiting or not self._closing.is_set():
            if not self._waiting:
                self._bell.clear()
                await self._bell.wait()
                continue
            batch = [self._waiting.popleft() for _ in range(min(MAX_LIST, len(self._waiting)))]
            await self._give(batch)
            self._on_room()

    async def _give(self, batch: list[Finished]) -> None:
        outcomes: list[object] = []
        failures = 0
        while True:
            try:
                if self._plan.is_async:
                    outcomes = outcomes or self._unpickle(batch)
                    answer: Any = self._plan.call(list(outcomes), self._settings)
                    await answer
                else:
                    outcomes = outcomes or await self._thread.call(lambda: self._unpickle(batch))
                    await self._thread.call(partial(self._call, list(outcomes)))
            except BaseException as error:  # the user's collector: it gets the same outcomes again
                if is_being_cancelled():
                    raise
                failures += 1
                await self._back_off(error, failures)
            else:
                return

    def _call(self, outcomes: list[object]) -> None:
        answer = self._plan.call(outcomes, self._settings)
        if inspect.iscoroutine(answer):
            answer.close()
            raise TypeError("the collector returned a coroutine, so nothing ran: declare it with `async def`")

    async def _back_off(self, error: BaseException, failures: int) -> None:
        told = error_info(error)
        if failures >= self._settings.writer_max_errors:
            raise CollectorError(
                f"The collector of queue {self._queue!r} failed {failures} times in a row with the same outcomes. The "
                f"last error was {told.type}: {told.message}. See to the cause, or raise writer_max_errors."
            ) from error
        pause = policy.growing_pause(failures)
        self._publish(CollectorFailed(self._queue, told, failures, pause))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._closing.wait()

    def _unpickle(self, batch: list[Finished]) -> list[object]:
        outcomes: list[object] = []
        for finished in batch:
            outcome = finished.outcome
            if finished.result:
                try:
                    outcome = replace(outcome, result=pickle.loads(finished.result))
                except BaseException as error:  # the result's own code; the item ran, what it gave cannot be had
                    told = error_info(error)
                    message = f"the result cannot be unpickled: {told.message}"
                    outcome = replace(outcome, status=Status.FAILED, error=replace(told, message=message))
                    self._on_spoiled(outcome)
            outcomes.append(outcome)
        return outcomes
