"""Runs an async reader: up to `concurrent_tasks_per_process` items at once, each in a task of its own.

`Inbox` hands it batches; it hands finished items to `Outbox`, several at a time. Invariant: each running item holds one
cell of the scoreboard from before its reader is called until its record is written.
"""

import asyncio
import contextlib
import os
import pickle
import time
from collections.abc import Awaitable, Callable, Iterator

from .._wire.codec import ItemBlob
from .._wire.messages import Batch, RecordKind, pack_values
from .._wire.scoreboard import Record, Scoreboard
from .failures import describe
from .line import Inbox, Outbox
from .process import Terminated

REPORT_EVERY = 0.002
"""Seconds that finished items may wait to be reported while others run and more are at hand."""


class AsyncLoop:
    """The loop of one worker. Make it inside the running event loop.

    Args:
        inbox, outbox, board: the worker's end of its line, and its scoreboard.
        reader: takes an item, returns an awaitable.
        keep_results: whether return values go to the main process.
    """

    def __init__(
        self,
        inbox: Inbox,
        outbox: Outbox,
        board: Scoreboard,
        *,
        reader: Callable[[object], object],
        keep_results: bool,
    ) -> None:
        self._inbox = inbox
        self._outbox = outbox
        self._board = board
        self._reader = reader
        self._keep_results = keep_results
        self._loop = asyncio.get_running_loop()
        self._free = list(range(len(board.cells)))
        self._batch: Batch | None = None
        self._numbered: Iterator[tuple[int, object]] = iter(())
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._cancelled: set[int] = set()
        self._finished: list[int] = []
        self._seconds = 0.0
        self._report_timer: asyncio.TimerHandle | asyncio.Handle | None = None
        self._over = self._loop.create_future()
        self._is_copy = False
        inbox.on_change = self.wake
        inbox.on_cancel = self.cancel

    async def run(self, descriptor: int) -> None:
        """Runs items until the worker is told to leave and all have finished.

        Args:
            descriptor: the line's; it is watched while this runs.

        Raises:
            LineClosed: the main process is gone.
        """
        self._loop.add_reader(descriptor, self._readable)
        try:
            self.fill()
            await self._over
        finally:
            self._loop.remove_reader(descriptor)

    def _readable(self) -> None:
        try:
            self._inbox.read_ready()
        except BaseException as error:
            self._fail_loop(error)
        else:
            self.fill()

    def _fail_loop(self, error: BaseException) -> None:
        if not self._over.done():
            self._over.set_exception(error)

    def disown(self) -> None:
        """Called in a child that a reader has forked: should it come back from the reader, it ends there."""
        self._is_copy = True

    def wake(self) -> None:
        """Says, from any thread, that the inbox has changed."""
        self._call_soon(self.fill)

    def cancel(self, ordinal: int) -> None:
        """Says, from any thread, that an item's time is up."""
        self._call_soon(self._cancel, ordinal)

    def _call_soon(self, function: Callable[..., object], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, because the worker is leaving
            self._loop.call_soon_threadsafe(function, *arguments)

    def _cancel(self, ordinal: int) -> None:
        if (task := self._tasks.get(ordinal)) is not None:
            self._cancelled.add(ordinal)
            task.cancel("item_timeout")

    def fill(self) -> None:
        """Starts items while there are free cells; ends the loop when the worker leaves and nothing is left."""
        while self._free and (entry := self._next_item()) is not None:
            ordinal, item = entry
            cell = self._free.pop()
            self._board.cells[cell] = ordinal
            self._board.set_cursor(ordinal)
            self._tasks[ordinal] = self._loop.create_task(self._run(cell, ordinal, item))
        if self._inbox.leaving and not self._tasks and not self._over.done():
            self._report()
            self._over.set_result(None)

    def _next_item(self) -> tuple[int, object] | None:
        while (entry := next(self._numbered, None)) is None:
            self._batch = self._inbox.batch_nowait()
            if self._batch is None:
                return None
            self._numbered = self._inbox.begin(self._batch)
        return entry

    async def _run(self, cell: int, ordinal: int, item: object) -> None:
        began = time.perf_counter()
        try:
            if isinstance(item, ItemBlob):
                item = item.decode()
            result = self._reader(item)
            if isinstance(result, Awaitable):
                result = await result
            payload = (
                pickle.dumps(result, pickle.HIGHEST_PROTOCOL) if self._keep_results and result is not None else b""
            )
            kind = RecordKind.RESULT
        except Terminated as error:
            self._fail_loop(error)
            return
        except BaseException as error:
            kind, payload = self._judge(ordinal, error)
        self._settle(cell, ordinal, kind, payload, time.perf_counter() - began)

    def _judge(self, ordinal: int, error: BaseException) -> tuple[RecordKind, bytes]:
        if isinstance(error, asyncio.CancelledError) and ordinal in self._cancelled:
            return RecordKind.TIMED_OUT, b"".join(pack_values("TimedOut", "cancelled after item_timeout", ""))
        kind, payload = describe(error)
        return kind, bytes(payload)

    def _settle(self, cell: int, ordinal: int, kind: RecordKind, payload: bytes, seconds: float) -> None:
        if self._is_copy:
            os._exit(1 if kind is not RecordKind.RESULT else 0)
        self._seconds += seconds
        reported = False
        if self._keep_results or kind is not RecordKind.RESULT:
            record = Record(ordinal, seconds, kind, payload)
            ran = len(self._finished) + 1
            reported = self._outbox.write(record, earlier=_ranges(self._finished), seconds=self._seconds, ran=ran)
        if reported:
            self._reported()
        else:
            self._finished.append(ordinal)
        self._board.cells[cell] = 0
        self._free.append(cell)
        self._tasks.pop(ordinal, None)
        self._cancelled.discard(ordinal)
        self.fill()
        self._schedule_report()

    def _schedule_report(self) -> None:
        if self._report_timer is None and self._finished:
            # With cells free the main process should know at once; with all busy it can learn of several together.
            soon = bool(self._free)
            self._report_timer = (
                self._loop.call_soon(self._report) if soon else self._loop.call_later(REPORT_EVERY, self._report)
            )

    def _report(self) -> None:
        if self._report_timer is not None:
            self._report_timer.cancel()
            self._report_timer = None
        if self._finished:
            self._outbox.report(_ranges(self._finished), seconds=self._seconds, ran=len(self._finished))
            self._reported()

    def _reported(self) -> None:
        self._finished = []
        self._seconds = 0.0


def _ranges(ordinals: list[int]) -> list[tuple[int, int]]:
    """Returns ordinals, in any order, as few (first, last) pairs: items mostly finish in the order they began."""
    ranges: list[tuple[int, int]] = []
    for ordinal in sorted(ordinals):
        if ranges and ranges[-1][1] == ordinal - 1:
            ranges[-1] = (ranges[-1][0], ordinal)
        else:
            ranges.append((ordinal, ordinal))
    return ranges
