"""The life of items through door, ledgers and settler, driven at random against a model of a few lines.

Whatever happens, in whatever order: every accepted item is in exactly one place, and ends in exactly one outcome.
"""

import random
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from quasiqueue import ErrorInfo, QueueClosed, Status
from quasiqueue._main.intake import Intake
from quasiqueue._main.ledger import Holding
from quasiqueue._main.parcel import Parcel
from quasiqueue._main.settler import Finished, Settler
from quasiqueue._main.tally import Tally
from quasiqueue._main.worker import Worker
from quasiqueue._wire.messages import RecordKind, pack_values
from quasiqueue._wire.scoreboard import Record
from quasiqueue.events import ItemEnded

from .support import make_settings, make_worker

WINDOW = 10.0
MAX_ATTEMPTS, MAX_CRASHES = 3, 2
RETRY_SECONDS = 4.0
DIED = ErrorInfo("WorkerDied", "killed by SIGKILL")
TIMED_OUT = ErrorInfo("TimedOut", "ran too long")
SAID = {
    "done": None,
    "result": (RecordKind.RESULT, b"pickle"),
    "failed": (RecordKind.FAILED, b"".join(pack_values("ValueError", "no", ""))),
    "timed out": (RecordKind.TIMED_OUT, b"".join(pack_values("TimedOut", "late", ""))),
    "rejected": (RecordKind.REJECTED, b"".join(pack_values("Reject", "never", ""))),
    "retry": (RecordKind.RETRY, b"".join(pack_values(RETRY_SECONDS))),
    "retry now": (RecordKind.RETRY, b"".join(pack_values(0.0))),
}


@dataclass
class Life:
    """The model of one accepted item."""

    name: int
    accepted_at: float
    place: object = "waiting"
    attempts: int = 0
    crashes: int = 0


@dataclass
class Model:
    """All that is alive, how the others ended, when each name was last accepted."""

    alive: dict[int, Life] = field(default_factory=dict)
    ended: Counter[Status] = field(default_factory=Counter)
    accepted_at: dict[int, float] = field(default_factory=dict)
    accepted: int = 0
    is_stopping: bool = False

    def end(self, name: int, status: Status) -> None:
        """An item has its outcome."""
        self.ended[status] += 1
        del self.alive[name]

    def again(self, name: int, place: str) -> None:
        """An item is to run again, or is released if nothing does any more."""
        if self.is_stopping:
            self.end(name, Status.RELEASED)
        else:
            self.alive[name].place = place

    def ran(self, name: int, said: str) -> None:
        """A reader came back from an item."""
        life = self.alive[name]
        if said in {"done", "result"}:
            self.end(name, Status.DONE)
        elif said == "rejected":
            self.end(name, Status.FAILED)
        elif said.startswith("retry"):
            self.again(name, "waiting" if said == "retry now" else "delayed")
        elif life.attempts + 1 == MAX_ATTEMPTS:
            self.end(name, Status.TIMED_OUT if said == "timed out" else Status.FAILED)
        else:
            life.attempts += 1
            self.again(name, "delayed")

    def crashed(self, name: int) -> None:
        """A worker died while it ran an item."""
        self.alive[name].crashes += 1
        if self.alive[name].crashes == MAX_CRASHES:
            self.end(name, Status.CRASHED)
        else:
            self.again(name, "waiting")


def item_of(name: int) -> object:
    """Return an item: some travel in bulk, some singly with a digest for a key, some are texts."""
    return name if name < 6 else [name] if name < 10 else f"item {name}"


NAMES = {repr(item_of(name)): name for name in range(14)}


def name_of(item: object) -> int:
    return NAMES[repr(item)]


class Lives(RuleBasedStateMachine):
    """Two workers, a dozen names, a clock that is set by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.model = Model()
        self.intake = Intake(capacity=1000, window=WINDOW)
        self.tally = Tally(0.0)
        self.told: list[Status] = []
        self.collected: list[Finished] = []
        self.settler = Settler(
            self.intake,
            self.tally,
            settings=make_settings(max_attempts=MAX_ATTEMPTS, max_crashes=MAX_CRASHES, retry_delay=RETRY_SECONDS),
            publish=lambda event: self.told.append(event.outcome.status) if isinstance(event, ItemEnded) else None,
            collect=self.collected.extend,
            queue="q",
            chance=random.Random(0),
        )
        self.serial = 2
        self.workers: list[Worker] = [make_worker(1), make_worker(2)]

    def held(self) -> list[Parcel]:
        """Return what is neither in the backlog nor ended."""
        handed = [holding.parcel for worker in self.workers for holding in worker.ledger]
        return [*handed, *self.settler.delayed_parcels()]

    def replace(self, index: int) -> None:
        self.serial += 1
        self.workers[index] = make_worker(self.serial)

    def names(self, holdings: list[Holding]) -> list[int]:
        return [name_of(item) for holding in holdings for item in holding.parcel.items]

    # What can happen.

    @rule(names=st.lists(st.integers(0, 13), min_size=1, max_size=8))
    def accept(self, names: list[int]) -> None:
        """Offer a block: active and recent names are refused, old ones taken; a closed door takes none."""
        items = [item_of(name) for name in names]
        if self.model.is_stopping:
            with pytest.raises(QueueClosed):
                self.intake.accept(items, self.now)
            return
        new = []
        for name in names:
            since = self.now - self.model.accepted_at.get(name, -1000.0)
            if name not in self.model.alive and name not in new and since >= WINDOW:
                new.append(name)
        assert self.intake.accept(items, self.now) == len(new)
        for name in new:
            self.model.alive[name] = Life(name, self.now)
            self.model.accepted_at[name] = self.now
        self.model.accepted += len(new)

    @rule(index=st.integers(0, 1), most=st.integers(1, 5))
    @precondition(lambda self: not self.model.is_stopping)
    def hand_out(self, index: int, most: int) -> None:
        """Give a worker a batch: of one history, a suspect one alone in it."""
        parcel = self.intake.take(most)
        if parcel is None:
            assert [life for life in self.model.alive.values() if life.place == "waiting"] == []
            return
        worker = self.workers[index]
        worker.ledger.hand(parcel)
        lives = [self.model.alive[name_of(item)] for item in parcel.items]
        assert [life.place for life in lives] == ["waiting"] * len(lives)
        assert {(life.attempts, life.crashes) for life in lives} == {(parcel.attempts, parcel.crashes)}
        assert len(lives) == 1 or not parcel.alone
        for life in lives:
            life.place = worker.serial

    @rule(index=st.integers(0, 1), count=st.integers(1, 6), data=st.data())
    def finish(self, index: int, count: int, data: st.DataObject) -> None:
        """Have a worker report some of its items, each with something said of it."""
        worker = self.workers[index]
        if (first := worker.ledger.first()) is None:
            return
        records: dict[int, Record] = {}
        for holding in worker.ledger.strike(first, first + count - 1):
            said = data.draw(
                st.lists(st.sampled_from(sorted(SAID)), min_size=len(holding.parcel), max_size=len(holding.parcel))
            )
            for offset, word in enumerate(said):
                if (record := SAID[word]) is not None:
                    records[holding.first + offset] = Record(holding.first + offset, 0.1, *record)
            names = self.names([holding])
            self.settler.settle(worker, holding, records, self.now)
            for name, word in zip(names, said, strict=True):
                self.model.ran(name, word)

    @rule(index=st.integers(0, 1), finished=st.integers(0, 4), running=st.integers(0, 2), by_time=st.booleans())
    def die(self, index: int, finished: int, running: int, by_time: bool) -> None:
        """Have a worker die: some of its items were finished, some ran, the rest was not begun.

        If it was killed because the first that ran was out of time, the others are not to blame.
        """
        worker = self.workers[index]
        before = worker.ledger.first() or 1
        started = before + finished + running - 1
        suspects = frozenset(range(before + finished, started + 1))
        found = worker.ledger.autopsy(started, suspects)
        for holding in found.finished:
            names = self.names([holding])
            self.settler.settle(worker, holding, {}, self.now)
            for name in names:
                self.model.ran(name, "done")
        self.intake.give_back(holding.parcel for holding in found.untouched)
        for name in self.names(found.untouched):
            self.model.alive[name].place = "waiting"
        for position, holding in enumerate(found.running):
            (name,) = self.names([holding])
            if by_time and position == 0:
                self.settler.time_out(worker, holding.parcel, TIMED_OUT, 1.0, self.now)
                self.model.ran(name, "timed out")
            elif by_time:
                self.settler.bring_back(holding.parcel)
                self.model.alive[name].place = "waiting"
            else:
                self.settler.crash(worker, holding.parcel, DIED, 1.0, self.now)
                self.model.crashed(name)
        assert len(worker.ledger) == 0
        self.replace(index)

    @rule(index=st.integers(0, 1), kept=st.integers(0, 6))
    def give_back(self, index: int, kept: int) -> None:
        """Have a worker return what it has not begun."""
        worker = self.workers[index]
        holdings = worker.ledger.take_from((worker.ledger.first() or 1) + kept)
        for name in self.names(holdings):
            self.model.alive[name].place = "waiting"
        self.intake.give_back(holding.parcel for holding in holdings)

    @rule(index=st.integers(0, 1))
    def recycle(self, index: int) -> None:
        """Replace a worker that holds nothing."""
        if not len(self.workers[index].ledger):
            self.replace(index)

    @rule(seconds=st.sampled_from([0.0, 1.0, RETRY_SECONDS, WINDOW, 3 * WINDOW]))
    def wait(self, seconds: float) -> None:
        """Let time pass: old keys are forgotten, retries become due."""
        self.now += seconds
        self.intake.expire(self.now, self.held)
        before = sorted(name_of(parcel.items[0]) for parcel in self.settler.delayed_parcels())
        self.settler.bring_due(self.now)
        after = sorted(name_of(parcel.items[0]) for parcel in self.settler.delayed_parcels())
        assert (due := self.settler.next_due()) is None or due > self.now
        for name in Counter(before) - Counter(after):
            self.model.alive[name].place = "waiting"

    @rule()
    @precondition(lambda self: self.model.accepted > 5)
    def stop(self) -> None:
        """Begin the end: nothing is accepted and nothing runs again; workers still finish what they hold."""
        self.intake.close()
        self.settler.is_stopping = self.model.is_stopping = True

    # What always holds.

    @invariant()
    def every_item_is_in_exactly_one_place(self) -> None:
        """Backlog, ledgers and retries hold what the model says, each item once."""
        places: list[tuple[int, object]] = []
        for parcel in self.intake._backlog:
            places += [(name_of(item), "waiting") for item in parcel.items]
        for parcel in self.settler.delayed_parcels():
            places += [(name_of(item), "delayed") for item in parcel.items]
        for worker in self.workers:
            places += [(name_of(item), worker.serial) for holding in worker.ledger for item in holding.parcel.items]
        assert Counter(places) == Counter((life.name, life.place) for life in self.model.alive.values())

    @invariant()
    def counts_agree(self) -> None:
        """The tally counts what the model does; outcomes were told and collected once each."""
        counts = self.tally.counts(0.0, duplicates=0)
        assert {status: counts[status.value] for status in Status if counts[status.value]} == dict(self.model.ended)  # type: ignore[literal-required]
        assert self.tally.ended + len(self.model.alive) == self.model.accepted
        assert Counter(self.told) == Counter({**self.model.ended, Status.DONE: 0})
        collected = Counter(finished.outcome.status for finished in self.collected)
        assert {status: number for status, number in collected.items() if status is not Status.DONE} == dict(
            Counter(self.told)
        )

    @invariant()
    def active_keys_are_remembered(self) -> None:
        """At least those, and never more than was accepted."""
        assert len(self.model.alive) <= self.intake.remembered <= len(self.model.accepted_at)

    def teardown(self) -> None:
        """End the run as the shutdown does: what is left is released, and nothing is left."""
        self.stop()
        for worker in self.workers:
            for holding in worker.ledger.take_from(1):
                self.settler.release(holding.parcel)
        for parcel in self.intake.take_all():
            self.settler.release(parcel)
        self.settler.release_delayed()
        for name in list(self.model.alive):
            self.model.end(name, Status.RELEASED)
        self.every_item_is_in_exactly_one_place()
        self.counts_agree()
        assert self.tally.ended == self.model.accepted


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=120, stateful_step_count=40)
