"""Settles items: what becomes of one after a run, after its worker's death, at the end of the run.

The dispatcher hands in what was struck out of a ledger, with what the worker said of it; out come counts, outcomes for
the collector, items to run again. Invariant: an item that comes in leaves either as exactly one outcome or into the
backlog (now or after a delay).
"""

import contextlib
import heapq
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from .._wire.messages import RecordKind, unpack_values
from .._wire.scoreboard import Record
from ..events import ErrorInfo, Event, ItemEnded, ItemRetried, Outcome, Status
from ..settings import Settings
from . import policy
from .intake import Intake
from .ledger import Holding
from .parcel import Parcel
from .tally import Tally
from .texts import item_text
from .worker import Worker


@dataclass(frozen=True, slots=True)
class Finished:
    """An outcome on its way to the collector; `result` is still pickled."""

    outcome: Outcome[object]
    result: bytes = b""


class Settler:
    """Settles the items of one run.

    Args:
        intake: where keys are let go and items go back to.
        tally: where outcomes are counted.
        settings: the settings in force.
        publish: takes events.
        collect: takes outcomes for the collector; None where there is no collector.
        queue: the queue's name, for events.
        chance: for jitter.
    """

    def __init__(
        self,
        intake: Intake,
        tally: Tally,
        *,
        settings: Settings,
        publish: Callable[[Event], None],
        collect: Callable[[Sequence[Finished]], None] | None,
        queue: str,
        chance: random.Random,
    ) -> None:
        self._intake = intake
        self._tally = tally
        self._settings = settings
        self._publish = publish
        self._collect = collect
        self._queue = queue
        self._chance = chance
        self._delayed: list[tuple[float, int, Parcel]] = []
        self._numbers = itertools.count()
        self.is_stopping = False
        """True once nothing runs again: what would is released instead."""

    # What a worker reported.

    def settle(self, worker: Worker, holding: Holding, records: dict[int, Record], now: float) -> None:
        """Settles items that a worker has finished.

        Args:
            worker: it.
            holding: what was struck out of its ledger.
            records: what it said of items, by ordinal; an item without one is done.
            now: monotonic time.
        """
        worker.finished += len(holding.parcel)
        said = sorted(ordinal for ordinal in records if holding.first <= ordinal <= holding.last) if records else []
        begin = holding.first
        for ordinal in said:
            self._done_silently(worker, holding, begin, ordinal)
            index = ordinal - holding.first
            self._judge(worker, holding.parcel.slice(index, index + 1), records[ordinal], now)
            begin = ordinal + 1
        self._done_silently(worker, holding, begin, holding.last + 1)

    def _done_silently(self, worker: Worker, holding: Holding, begin: int, end: int) -> None:
        if begin >= end:
            return
        whole = end - begin == len(holding.parcel)
        parcel = holding.parcel if whole else holding.parcel.slice(begin - holding.first, end - holding.first)
        self._tally.count(Status.DONE, len(parcel))
        self._intake.end(parcel)
        if worker.carried:
            for ordinal in range(begin, end):
                _close(worker.carried.pop(ordinal, ()))

    def _judge(self, worker: Worker, parcel: Parcel, record: Record, now: float) -> None:
        carried = worker.carried.pop(record.ordinal, [])
        match record.kind:
            case RecordKind.RESULT:
                outcome = self._outcome(parcel, Status.DONE, worker=worker, seconds=record.seconds, attempt=1)
                self._end(parcel, outcome, record.payload, carried)
            case RecordKind.RETRY:
                (delay,) = unpack_values(record.payload)
                self._run_again(parcel, max(0.0, delay), "the reader asked for it", now, carried)
            case _:
                error = ErrorInfo(*unpack_values(record.payload))
                status = Status.TIMED_OUT if record.kind == RecordKind.TIMED_OUT else Status.FAILED
                final = record.kind == RecordKind.REJECTED
                self._failed(parcel, status, error, worker, record.seconds, now, carried, final=final)

    def _failed(
        self,
        parcel: Parcel,
        status: Status,
        error: ErrorInfo,
        worker: Worker | None,
        seconds: float,
        now: float,
        carried: Sequence[object] = (),
        *,
        final: bool = False,
    ) -> None:
        if not final and parcel.attempts + 1 < self._settings.max_attempts:
            parcel.attempts += 1
            delay = policy.retry_delay(
                parcel.attempts,
                base=self._settings.retry_delay,
                longest=self._settings.retry_delay_max,
                chance=self._chance,
            )
            self._run_again(parcel, delay, f"{error.type}: {error.message}"[:200], now, carried)
        else:
            outcome = self._outcome(parcel, status, worker=worker, seconds=seconds, attempt=1, error=error)
            self._end(parcel, outcome, b"", carried)

    def fail_unsent(self, parcel: Parcel, error: ErrorInfo) -> None:
        """Ends an item that cannot be given to any worker."""
        self._end(parcel, self._outcome(parcel, Status.FAILED, error=error), b"", ())

    # What a worker's death or kill left.

    def time_out(self, worker: Worker, parcel: Parcel, error: ErrorInfo, seconds: float, now: float) -> None:
        """Settles an item whose worker was killed because the item's time was up."""
        self._failed(parcel, Status.TIMED_OUT, error, worker, seconds, now)

    def crash(self, worker: Worker, parcel: Parcel, error: ErrorInfo, seconds: float, now: float) -> None:
        """Settles an item that ran on a worker as it died."""
        parcel.crashes += 1
        if parcel.crashes >= self._settings.max_crashes:
            self._end(
                parcel, self._outcome(parcel, Status.CRASHED, worker=worker, seconds=seconds, error=error), b"", ()
            )
        else:
            parcel.alone = True
            self._run_again(parcel, 0.0, error.message, now)

    def bring_back(self, parcel: Parcel) -> None:
        """Has items run again that ran on a worker which was killed because of another one: nothing is counted."""
        self._intake.give_back([parcel])

    def release(self, parcel: Parcel, error: ErrorInfo | None = None, worker: Worker | None = None) -> None:
        """Ends items, at the end of the run, that were not run to their end."""
        for index in range(len(parcel)):
            one = parcel.slice(index, index + 1) if len(parcel) > 1 else parcel
            self._end(one, self._outcome(one, Status.RELEASED, worker=worker, error=error), b"", ())

    # Items that run again.

    def _run_again(self, parcel: Parcel, delay: float, reason: str, now: float, carried: Sequence[object] = ()) -> None:
        del carried  # its sockets stay open: it will need them
        if self.is_stopping:
            self.release(parcel)
            return
        self._tally.retried += 1
        self._publish(ItemRetried(self._queue, item_text(parcel.items[0]), reason, delay))
        if delay > 0:
            heapq.heappush(self._delayed, (now + delay, next(self._numbers), parcel))
        else:
            self._intake.give_back([parcel])

    @property
    def delayed(self) -> int:
        """Items that wait for their next run."""
        return len(self._delayed)

    def delayed_parcels(self) -> Iterator[Parcel]:
        """Yields what waits for its next run."""
        return (parcel for _, _, parcel in self._delayed)

    def next_due(self) -> float | None:
        """Returns when the next of them is due; None if there is none."""
        return self._delayed[0][0] if self._delayed else None

    def bring_due(self, now: float) -> None:
        """Gives back to the backlog what is due, what was due first in front."""
        due: list[Parcel] = []
        while self._delayed and self._delayed[0][0] <= now:
            due.append(heapq.heappop(self._delayed)[2])
        if due:
            self._intake.give_back(due)

    def release_delayed(self) -> None:
        """Releases what waits for its next run."""
        waiting, self._delayed = self._delayed, []
        for _, _, parcel in waiting:
            self.release(parcel)

    # Outcomes.

    def _outcome(
        self,
        parcel: Parcel,
        status: Status,
        *,
        worker: Worker | None = None,
        seconds: float = 0.0,
        attempt: int = 0,
        error: ErrorInfo | None = None,
    ) -> Outcome[object]:
        return Outcome(
            item=parcel.items[0],
            key=parcel.key(0),
            status=status,
            error=error,
            attempts=parcel.attempts + attempt,
            crashes=parcel.crashes,
            seconds=seconds,
            pid=None if worker is None else worker.pid,
            slot=None if worker is None else worker.slot,
        )

    def _end(self, parcel: Parcel, outcome: Outcome[object], result: bytes, carried: Sequence[object]) -> None:
        self._tally.count(outcome.status)
        self._intake.end(parcel)
        _close(carried)
        if outcome.status is not Status.DONE:
            self._tally.keep(outcome)
            self._publish(ItemEnded(self._queue, outcome))
        if self._collect is not None:
            self._collect([Finished(outcome, result)])


def _close(carried: Sequence[object]) -> None:
    for thing in carried:
        with contextlib.suppress(OSError):
            thing.close()  # type: ignore[attr-defined]  # sockets and files both have it
