"""Runs a sync reader: one item after the other, on the worker's main thread.

`Inbox` hands it batches; it hands finished items to `Outbox`. Invariant: the scoreboard names the running item before
its reader is called, and an item is reported exactly once.
"""

import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from types import CoroutineType
from typing import cast

from .._wire.codec import ItemBlob
from .._wire.messages import Batch, RecordKind
from .._wire.scoreboard import Record, Scoreboard
from .failures import describe
from .line import Inbox, Outbox
from .process import Terminated


class SyncLoop:
    """The loop of one worker.

    Args:
        inbox, outbox, board: the worker's end of its line, and its scoreboard.
        reader: takes an item.
        keep_results: whether return values go to the main process.
        show: called with "running" before an item that is likely to take long, and with "ready" after it.
    """

    def __init__(
        self,
        inbox: Inbox,
        outbox: Outbox,
        board: Scoreboard,
        *,
        reader: Callable[[object], object],
        keep_results: bool,
        show: Callable[[str], None],
    ) -> None:
        self._inbox = inbox
        self._outbox = outbox
        self._board = board
        self._cells = board.cells
        self._reader = reader
        self._keep_results = keep_results
        self._show = show
        self._reporting = threading.Lock()
        """Held while the two facts below and the journal change together: the line thread reports too."""
        self._first_unreported = 1
        self._recorded = 0
        self._mark = 0.0
        self._report_from = 0.0
        self._is_copy = False
        inbox.on_recall = self.report_so_far

    def run(self) -> None:
        """Runs batches until the worker is told to leave. Raises LineClosed if the main process is gone."""
        seconds = 0.0
        while (batch := self._inbox.wait_batch()) is not None:
            is_slow = seconds > _SLOW and len(batch.items) == 1
            if is_slow:
                self._show("running")
            seconds = self.turn(batch)
            del batch  # its items, sockets among them, must not live on while the worker waits for the next
            if is_slow:
                self._show("ready")

    def turn(self, batch: Batch) -> float:
        """Runs one batch and reports it. Returns the seconds that took."""
        began = self._mark = self._report_from = time.perf_counter()
        self._first_unreported = batch.first
        self._recorded = 0
        numbered = self._inbox.begin(batch)
        if batch.encoded or self._keep_results:
            last = self._run_each(numbered, batch)
        else:
            last = self._run_plain(numbered, batch)
        if self._is_copy:
            os._exit(0)
        now = time.perf_counter()
        with self._reporting:
            self._board.set_cursor(last)
            self._cells[0] = 0
            if last >= self._first_unreported:
                ran = last - self._first_unreported + 1
                self._outbox.report([(self._first_unreported, last)], seconds=now - self._report_from, ran=ran)
        return now - began

    def disown(self) -> None:
        """Called in a child that a reader has forked: should it come back from the reader, it ends there."""
        self._is_copy = True

    def report_so_far(self) -> None:
        """Reports what has finished before the item that runs now, which may run long. Called on the line thread."""
        with self._reporting:
            running = self._cells[0]
            last = max(running - 1, self._recorded)
            if running and last >= self._first_unreported:
                # Without a time: when the running item began is not known, and it must not count for the others.
                self._outbox.report([(self._first_unreported, last)], seconds=0.0, ran=0)
                self._first_unreported = last + 1

    def _run_plain(self, numbered: Iterator[tuple[int, object]], batch: Batch) -> int:
        """The short way, without clock or results: per item one store and the call. Returns the last ordinal run."""
        cells, reader = self._cells, self._reader
        ordinal = batch.first - 1
        for ordinal, item in numbered:
            cells[0] = ordinal
            try:
                result = reader(item)
                if result is not None and type(result) is CoroutineType:
                    _refuse_coroutine(result)
            except BaseException as error:
                self._fail(ordinal, error)
        return ordinal

    def _run_each(self, numbered: Iterator[tuple[int, object]], batch: Batch) -> int:
        """The full way: unpickles, takes the time, keeps the result. Returns the last ordinal run."""
        ordinal = batch.first - 1
        for ordinal, item in numbered:
            self._cells[0] = ordinal
            self._mark = time.perf_counter()
            try:
                self._run_one(ordinal, cast(ItemBlob, item).decode() if batch.encoded else item)
            except BaseException as error:
                self._fail(ordinal, error)
        return ordinal

    def _run_one(self, ordinal: int, item: object) -> None:
        result = self._reader(item)
        if result is None:
            if self._keep_results:
                self._write(ordinal, RecordKind.RESULT, b"")
            return
        if type(result) is CoroutineType:
            _refuse_coroutine(result)
        if self._keep_results:
            self._write(ordinal, RecordKind.RESULT, pickle.dumps(result, pickle.HIGHEST_PROTOCOL))

    def _fail(self, ordinal: int, error: BaseException) -> None:
        if isinstance(error, Terminated):
            raise error
        kind, payload = describe(error)
        self._write(ordinal, kind, bytes(payload))

    def _write(self, ordinal: int, kind: RecordKind, payload: bytes) -> None:
        if self._is_copy:
            os._exit(1 if kind is not RecordKind.RESULT else 0)
        now = time.perf_counter()
        record = Record(ordinal, now - self._mark, kind, payload)
        self._mark = now
        with self._reporting:
            self._recorded = ordinal
            earlier = [(self._first_unreported, ordinal - 1)] if ordinal > self._first_unreported else []
            ran = ordinal - self._first_unreported + 1
            if self._outbox.write(record, earlier=earlier, seconds=now - self._report_from, ran=ran):
                self._first_unreported = ordinal + 1
                self._report_from = now


_SLOW = 0.02
"""Seconds; items that take longer show in the process' title."""


def _refuse_coroutine(result: "CoroutineType[object, object, object]") -> None:
    result.close()
    raise TypeError("the reader returned a coroutine, so nothing ran: declare it with `async def`, or await it inside")
