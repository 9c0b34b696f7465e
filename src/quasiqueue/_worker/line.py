"""A worker's end of its line: what came in (`Inbox`), what goes out (`Outbox`), and the line thread.

The main thread reads the line itself whenever it has nothing to run: that is the shortest way for an item. What cannot
wait for a reader to return (recall, stop, cancel) comes with one ring of the bell, a pipe, at which the line thread
reads the line up to that message. It also sees the main process' end, and sleeps otherwise: batches do not wake it.

Invariant: each received item is taken by exactly one of "run it" and "give it back". The items of a batch are iterated
once; both takers draw from the same iterator, and a draw is one C call under the interpreter's lock.
"""

import _thread
import os
import select
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from .._wire.channel import Channel, LineClosed
from .._wire.codec import Bytes, ItemBlob
from .._wire.frames import Frame
from .._wire.messages import (
    NOTHING_RETURNED,
    URGENT,
    Batch,
    Kind,
    pack_ordinal,
    pack_report,
    unpack_batch,
    unpack_ordinal,
)
from .._wire.scoreboard import Record, Scoreboard, pack_record
from .process import die_with_group

_NO_ITEMS: Iterator[object] = iter(())


class Outbox:
    """Sends to the main process, from any thread of the worker.

    Args:
        channel: the line.
        board: whose journal goes out with reports.
    """

    def __init__(self, channel: Channel, board: Scoreboard) -> None:
        self._channel = channel
        self._board = board
        self._lock = threading.Lock()

    def send(self, kind: Kind, parts: Sequence[Bytes] = ()) -> None:
        """Sends one message. Raises LineClosed if the main process is gone."""
        with self._lock:
            self._channel.send(kind, parts)

    def write(self, record: Record, *, earlier: Sequence[tuple[int, int]], seconds: float, ran: int) -> bool:
        """Puts a finished item's record into the journal; if that is full, reports at once instead.

        Args:
            record: about an item that has just finished.
            earlier: ranges of items that finished before it and are not reported yet.
            seconds, ran: as in `report`, this item included.

        Returns:
            True if `earlier` and this item were reported.
        """
        if self._board.write_record(record):
            return False
        ranges = [*earlier, (record.ordinal, record.ordinal)]
        self._send_report(seconds, ran, ranges, [self._board.journal(), pack_record(record)])
        return True

    def report(self, ranges: Sequence[tuple[int, int]], *, seconds: float, ran: int) -> None:
        """Reports finished items with all records of the journal.

        Args:
            ranges: (first, last) ordinals of finished items.
            seconds: time that the worker was busy with them.
            ran: how many of them there are.
        """
        self._send_report(seconds, ran, ranges, [self._board.journal()])

    def _send_report(self, seconds: float, ran: int, ranges: Sequence[tuple[int, int]], records: list[Bytes]) -> None:
        self.send(Kind.REPORT, pack_report(seconds, ran, ranges, records))
        self._board.clear_journal()


class Inbox:
    """What the main process sent and the worker has not run yet.

    Args:
        channel: the line.
        bell: descriptor on which a byte arrives for each urgent message.
        outbox: where returned items are announced.
    """

    def __init__(self, channel: Channel, bell: int, outbox: Outbox) -> None:
        self._channel = channel
        self._bell = bell
        self._urgent_read = 0
        self._outbox = outbox
        self.on_change: Callable[[], None] = lambda: None
        """Called on the line thread after it has read something; the async loop wakes by it."""
        self.on_recall: Callable[[], None] = lambda: None
        """Called after items were given back on request: one that runs takes long."""
        self.on_cancel: Callable[[int], None] = lambda _ordinal: None
        """Called, on whichever thread reads, with the ordinal of an item that is to be cancelled."""
        self._reading = threading.Lock()
        self._waiting: deque[Batch] = deque()
        self._current: Iterator[object] = _NO_ITEMS
        self._current_last = 0
        self.leaving = False
        """True once the worker was told to go: nothing more will arrive."""

    def start_watching(self) -> None:
        """Starts the line thread."""
        # Not threading.Thread: its objects cost a fresh worker more than the rest of its start.
        _thread.start_new_thread(self._watch, ())

    def wait_batch(self) -> Batch | None:
        """Waits for a batch. Returns None once the worker is to leave and nothing is left to run."""
        while True:
            if (batch := self.batch_nowait()) is not None:
                return batch
            with self._reading:
                if self._waiting:
                    continue
                if self.leaving:
                    return None
                self._read()

    def batch_nowait(self) -> Batch | None:
        """Returns the next batch, or None if there is none at the moment."""
        try:
            return self._waiting.popleft()
        except IndexError:
            return None

    def begin(self, batch: Batch) -> Iterator[tuple[int, object]]:
        """Starts a batch. Returns its items with their ordinals; the iterator ends early where items are given back."""
        items = iter(batch.items)
        self._current_last = batch.last
        self._current = items
        return enumerate(items, batch.first)

    def disown(self) -> None:
        """Called in a child that a reader has forked: it speaks on the line no more and has nothing left to run."""
        self._channel.close()
        self._waiting.clear()
        list(self._current)

    def read_ready(self) -> None:
        """Reads once if there is something to read. Never waits."""
        if self._reading.acquire(blocking=False):
            try:
                if _is_readable(self._channel):
                    self._read()
            finally:
                self._reading.release()

    def _read(self) -> None:
        for frame in self._channel.receive():
            self._handle(frame)
            self._urgent_read += frame.kind in URGENT

    def _handle(self, frame: Frame) -> None:
        match frame.kind:
            case Kind.BATCH:
                self._waiting.append(unpack_batch(frame))
            case Kind.RECALL:
                self._give_back()
                self.on_recall()
            case Kind.LEAVE:
                self.leaving = True
            case Kind.STOP:
                self.leaving = True
                self._give_back()
            case Kind.CANCEL:
                self.on_cancel(unpack_ordinal(frame.body))

    def _give_back(self) -> None:
        # list() on a list's iterator takes all that is left in one C call: the main thread, drawing from the same
        # iterator, sees its end at its next step and can never run what was taken here.
        rest = list(self._current)
        first = self._current_last - len(rest) + 1 if rest else NOTHING_RETURNED
        while (batch := self.batch_nowait()) is not None:
            first = min(first, batch.first)
            rest += batch.items
        for item in rest:
            if isinstance(item, ItemBlob):
                item.discard()
        self._outbox.send(Kind.RETURNED, pack_ordinal(first))

    def _watch(self) -> None:
        line, rung = self._channel.fileno(), 0
        poller = select.poll()
        poller.register(line, 0)  # reports nothing but the end
        poller.register(self._bell, select.POLLIN)
        try:
            while all(descriptor != line for descriptor, _ in poller.poll()):
                rung += len(os.read(self._bell, 4096))
                self._read_urgent(rung)
                self.on_change()
        except (LineClosed, OSError):
            pass
        die_with_group()

    def _read_urgent(self, rung: int) -> None:
        """Reads until that many urgent messages have been read, by whichever thread."""
        while self._urgent_read < rung:
            with self._reading:
                if self._urgent_read < rung:
                    self._read()


def _is_readable(channel: Channel) -> bool:
    poller = select.poll()
    poller.register(channel.fileno(), select.POLLIN)
    return bool(poller.poll(0))
