"""Hands items out and takes them back: credit, batch, send, settle, recall.

It takes parcels from the backlog, writes them into a worker's ledger and sends them over its line; what comes back is
struck out and goes to the settler. Invariant: an item is in a ledger before its frame is sent, and leaves it only by a
report, by being given back, or by its worker's death.
"""

import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from .._wire.channel import MAX_DESCRIPTORS
from .._wire.codec import Bytes, EncodedItem, Encoder, encode_bulk, pack_singles
from .._wire.messages import Kind, Report, pack_batch, pack_ordinal
from .._wire.scoreboard import read_records
from ..events import ErrorInfo
from . import policy
from .intake import Intake
from .ledger import Autopsy
from .parcel import Parcel
from .settler import Settler
from .texts import error_info, item_text
from .worker import Worker

MAX_FRAME_BYTES = 1 << 20
"""A batch of singly pickled items is closed once it holds this much; one item may be larger."""


@dataclass(frozen=True, slots=True)
class Held:
    """Items in workers' hands.

    Attributes:
        items: all of them.
        behind: those that wait behind others.
        someone_idle: whether a worker could take one.
        quiet_since: when the one was heard of who has been quiet for longest, of those with items that wait.
    """

    items: int
    behind: int
    someone_idle: bool
    quiet_since: float = math.inf


class Dispatcher:
    """Dispatches for one run.

    Args:
        intake: where items come from and go back to.
        settler: where items go that have been run.
        workers: those that are alive, at any time.
        is_async: whether the reader is async.
        may_collect: tells whether the collector keeps up; nothing is handed out while it does not.
    """

    def __init__(
        self,
        intake: Intake,
        settler: Settler,
        *,
        workers: Collection[Worker],
        is_async: bool,
        may_collect: Callable[[], bool],
    ) -> None:
        self._intake = intake
        self._settler = settler
        self._workers = workers
        self._is_async = is_async
        self._may_collect = may_collect
        self._largest = 1
        self.seconds_per_item: float | None = None
        """Measured; None as long as nothing has run."""
        self.held = Held(0, 0, someone_idle=False)
        """As it was after the last turn."""
        self.is_paused = False
        self.is_stopping = False

    # Handing out.

    def turn(self, now: float) -> None:
        """Hands out what there is to whoever has credit, and keeps the books on what waits where."""
        for refused in self._intake.take_refused():
            error = error_info(refused.error)
            self._settler.fail_unsent(Parcel([refused.item], None, None, bulk=False), error)
        self._settler.bring_due(now)
        if not (self.is_paused or self.is_stopping) and self._intake.backlog and self._may_collect():
            able = [worker for worker in self._workers if worker.can_take]
            # Those with least in hand first, so that nobody gets a second batch while another has none.
            for worker in sorted(able, key=lambda worker: len(worker.ledger)):
                if not len(worker.ledger):
                    worker.heard_at = now
                self._fill(worker, len(able))
        self.held = self._survey()
        self._intake.elsewhere = self._settler.delayed + self.held.behind

    def _survey(self) -> Held:
        items = behind = 0
        someone_idle = False
        quiet_since = math.inf
        for worker in self._workers:
            holds = len(worker.ledger)
            items += holds
            if holds > worker.lanes:
                behind += holds - worker.lanes
                quiet_since = min(quiet_since, worker.heard_at)
            elif holds < worker.free_lanes:
                someone_idle = someone_idle or worker.can_take
        return Held(items, behind, someone_idle, quiet_since)

    def _fill(self, worker: Worker, able: int) -> None:
        while worker.can_take and (size := self._credit(worker, able)) > 0:
            parcel = self._intake.take(size)
            if parcel is None:
                return
            self._hand(worker, parcel)

    def _credit(self, worker: Worker, able: int) -> int:
        """Returns how many items a worker may be given now."""
        held = len(worker.ledger)
        if self._is_async:
            size = policy.async_credit(worker.lanes, held, free=worker.free_lanes)
            if held >= worker.lanes and not policy.may_prefetch(self.seconds_per_item, worker.age):
                return 0
        else:
            if held and (worker.ledger.batches > 1 or not policy.may_prefetch(self.seconds_per_item, worker.age)):
                return 0
            size = policy.batch_size(
                self.seconds_per_item, backlog=self._intake.backlog, workers=able, last=self._largest
            )
        left = worker.jobs_left
        return size if left is None else min(size, left)

    def _hand(self, worker: Worker, parcel: Parcel) -> None:
        if parcel.bulk:
            payload: list[Bytes] = [encode_bulk(parcel.items)]
            self._send(worker, parcel, payload, descriptors=[])
            return
        encoded = self._encode_singly(parcel)
        if not encoded:
            return
        carrying = [(index, item) for index, item in enumerate(encoded) if item.carried]
        descriptors = [number for _, item in carrying for number in item.descriptors()]
        first = self._send(worker, parcel, pack_singles(encoded), descriptors)
        for index, item in carrying:
            worker.carried[first + index] = item.carried

    def _send(self, worker: Worker, parcel: Parcel, payload: list[Bytes], descriptors: list[int]) -> int:
        first = worker.ledger.hand(parcel)
        body = pack_batch(first, len(parcel), payload, bulk=parcel.bulk)
        worker.line.send(Kind.BATCH, body, descriptors=descriptors)
        return first

    def _encode_singly(self, parcel: Parcel) -> list[EncodedItem]:
        """Pickles a parcel's items. Those that cannot be fail; those that are too much for one frame go back."""
        encode = Encoder().encode
        encoded: list[EncodedItem] = []
        refused: list[tuple[int, ErrorInfo]] = []
        size = carried = reached = 0
        for item in parcel.items:
            if size >= MAX_FRAME_BYTES or carried >= MAX_DESCRIPTORS // 2:
                break
            try:
                one = encode(item)
                if len(one.carried) > MAX_DESCRIPTORS:
                    raise ValueError(
                        f"it holds {len(one.carried)} sockets or files; {MAX_DESCRIPTORS} can travel at once"
                    )
            except BaseException as error:  # the item's own pickling code may raise anything; only that item fails
                refused.append((reached, error_info(error)))  # as text: the error itself refers to this frame
            else:
                if carried + len(one.carried) > MAX_DESCRIPTORS:
                    break
                encoded.append(one)
                size += one.size
                carried += len(one.carried)
            reached += 1
        if reached < len(parcel):
            self._intake.give_back([parcel.slice(reached, len(parcel))])
            parcel.drop(reached, len(parcel))
        bad = [(parcel.slice(index, index + 1), why) for index, why in refused]
        for index, _ in reversed(refused):
            parcel.drop(index, index + 1)
        for single, why in bad:
            self._refuse(single, why)
        return encoded

    def _refuse(self, bad: Parcel, told: ErrorInfo) -> None:
        text = f"The item {item_text(bad.items[0])} cannot be pickled, so no worker can get it: {told.message}"
        self._settler.fail_unsent(bad, ErrorInfo(told.type, text, told.traceback))

    # Taking back.

    def on_report(self, worker: Worker, report: Report, now: float) -> None:
        """Settles what a worker has finished."""
        worker.age = 0.0  # what it runs now, if anything, has just begun
        worker.heard_at = now
        if report.ran:
            self.seconds_per_item = policy.estimate(self.seconds_per_item, report.seconds / report.ran)
            self._largest = max(report.ran, min(self._largest, policy.MAX_BATCH))
        records = {record.ordinal: record for record in read_records(report.records)} if report.records else {}
        for first, last in report.ranges:
            for holding in worker.ledger.strike(first, last):
                self._settler.settle(worker, holding, records, now)

    def on_returned(self, worker: Worker, first: int) -> None:
        """Takes back the items from ordinal `first` on."""
        worker.is_recalled = False
        holdings = worker.ledger.take_from(first)
        for holding in holdings:
            worker.returned += len(holding.parcel)
            if worker.carried:
                for ordinal in range(holding.first, holding.last + 1):
                    worker.carried.pop(ordinal, None)
        self._intake.give_back(holding.parcel for holding in holdings)

    def on_death(self, worker: Worker, now: float) -> Autopsy:
        """Settles what a dead worker had finished, and takes the rest out of its ledger.

        Returns:
            What it was running, for the supervisor to judge; what it had not begun is back in the backlog already.
        """
        records = {record.ordinal: record for record in read_records(worker.board.journal())}
        progress = worker.board.progress()
        # A record is written before its cell is cleared: an item that has one is finished, whatever the cell says.
        found = worker.ledger.autopsy(progress.started, progress.running - records.keys())
        for holding in found.finished:
            self._settler.settle(worker, holding, records, now)
        self._intake.give_back(holding.parcel for holding in found.untouched)
        worker.carried.clear()
        return found

    def recall(self) -> None:
        """Calls back items that wait behind a long one, or behind many while another worker is idle."""
        someone_idle = self.held.someone_idle and not self._intake.backlog
        for worker in self._workers:
            behind = len(worker.ledger) - len(worker.since)
            if behind <= 0 or not worker.may_be_recalled:
                continue
            if self._is_async and not (someone_idle and len(worker.since) >= worker.lanes):
                continue
            waiting = 0.0 if self._is_async else behind * (self.seconds_per_item or 0.0)
            if policy.is_stuck(worker.age, waiting=waiting, someone_idle=someone_idle):
                worker.is_recalled = True
                worker.line.send(Kind.RECALL)

    def cancel(self, worker: Worker, ordinal: int) -> None:
        """Asks an async worker to cancel one item."""
        worker.line.send(Kind.CANCEL, pack_ordinal(ordinal))

    # What the others ask.

    def is_hungry(self) -> bool:
        """Tells whether a worker could take an item now and there is none. Called from the writer's thread too."""
        return not self._intake.backlog

    def holds_nothing(self) -> bool:
        """True if no worker holds an item and none waits for a retry."""
        return not self._settler.delayed and not self.held.items

    def held_parcels(self) -> Iterator[Parcel]:
        """Yields every parcel that has not ended and is not in the backlog."""
        for worker in self._workers:
            for holding in worker.ledger:
                yield holding.parcel
        yield from self._settler.delayed_parcels()
