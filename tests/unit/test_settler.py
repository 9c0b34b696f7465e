"""What becomes of an item after a run, after a death, at the end."""

import os
import random
import socket
from collections.abc import Sequence

import pytest

from quasiqueue import ErrorInfo, Event, Outcome, Status
from quasiqueue._main import policy
from quasiqueue._main.intake import Intake
from quasiqueue._main.ledger import Holding
from quasiqueue._main.parcel import Parcel
from quasiqueue._main.settler import Finished, Settler
from quasiqueue._main.tally import Tally
from quasiqueue._main.worker import Worker
from quasiqueue._wire.messages import RecordKind, pack_values
from quasiqueue._wire.scoreboard import Record
from quasiqueue.events import ItemEnded, ItemRetried

from .support import make_settings, make_worker

DIED = ErrorInfo("WorkerDied", "killed by SIGKILL (perhaps out of memory?)", exit_code=None, signal="SIGKILL")


class Kit:
    """A settler and what surrounds it."""

    def __init__(self, *, collects: bool = False, seed: int = 1, window: float = 100.0, **settings: object) -> None:
        self.intake = Intake(capacity=1000, window=window)
        self.tally = Tally(0.0)
        self.events: list[Event] = []
        self.finished: list[Finished] = []
        self.worker = make_worker(1)
        self.settler = Settler(
            self.intake,
            self.tally,
            settings=make_settings(**settings),
            publish=self.events.append,
            collect=self.finished.extend if collects else None,
            queue="q",
            chance=random.Random(seed),
        )

    def handed(self, *items: object) -> list[Holding]:
        """Accept items, hand them to the worker, strike them out as finished."""
        assert self.intake.accept(list(items), 0.0) == len(items)
        return self.again(len(items))

    def again(self, count: int) -> list[Holding]:
        """Do the same with what waits in the backlog."""
        holdings = []
        while (parcel := self.intake.take(count)) is not None:
            first = self.worker.ledger.hand(parcel)
            holdings += self.worker.ledger.strike(first, first + len(parcel) - 1)
        return holdings

    def settle(self, holdings: Sequence[Holding], *records: Record, now: float = 0.0) -> None:
        """Settle them with what the worker said."""
        for holding in holdings:
            self.settler.settle(self.worker, holding, {record.ordinal: record for record in records}, now)

    def ended(self) -> list[Outcome[object]]:
        """Return the outcomes that were told as events."""
        return [event.outcome for event in self.events if isinstance(event, ItemEnded)]

    def retried(self) -> list[tuple[str, str, float]]:
        """Return the retries that were told as events."""
        return [(event.item, event.reason, event.delay) for event in self.events if isinstance(event, ItemRetried)]

    def counts(self) -> dict[str, object]:
        """Return what was counted and is not zero."""
        counts = self.tally.counts(0.0, duplicates=self.intake.duplicates)
        return {name: number for name, number in counts.items() if number}


def failed(ordinal: int, *, kind: RecordKind = RecordKind.FAILED, seconds: float = 0.5) -> Record:
    return Record(ordinal, seconds, kind, b"".join(pack_values("ValueError", "no good", "Traceback ...")))


def retry(ordinal: int, delay: float) -> Record:
    return Record(ordinal, 0.1, RecordKind.RETRY, b"".join(pack_values(delay)))


def jitter(seed: int, *attempts: int, base: float = 1.0, longest: float = 60.0) -> list[float]:
    """Return the delays that a settler with this seed draws."""
    chance = random.Random(seed)
    return [policy.retry_delay(attempt, base=base, longest=longest, chance=chance) for attempt in attempts]


def test_item_that_nothing_was_said_of_is_done() -> None:
    """It is counted, without an event and without an outcome object."""
    kit = Kit()
    kit.settle(kit.handed(1, 2, 3))
    assert (kit.counts(), kit.events, kit.finished, kit.worker.finished) == ({"done": 3}, [], [], 3)


def test_result_goes_to_the_collector() -> None:
    """As it came, still pickled, with who ran it and for how long."""
    kit = Kit(collects=True)
    (holding,) = kit.handed("a", "b")
    kit.settle([holding], Record(2, 0.25, RecordKind.RESULT, b"pickle b"), Record(1, 0.5, RecordKind.RESULT, b""))
    assert [finished.result for finished in kit.finished] == [b"", b"pickle b"]
    assert kit.finished[1].outcome == Outcome("b", "b", Status.DONE, attempts=1, seconds=0.25, pid=1001, slot=0)
    assert (kit.counts(), kit.events) == ({"done": 2}, [])


def test_failure_among_done_items() -> None:
    """Only that item fails; the others of its batch are done, whatever side of it they lie on."""
    kit = Kit(collects=True)
    kit.settle(kit.handed("a", "b", "c", "d"), failed(3))
    (outcome,) = kit.ended()
    assert outcome == Outcome(
        "c",
        "c",
        Status.FAILED,
        error=ErrorInfo("ValueError", "no good", "Traceback ..."),
        attempts=1,
        seconds=0.5,
        pid=1001,
        slot=0,
    )
    assert kit.counts() == {"done": 3, "failed": 1}
    assert (kit.tally.failures, [finished.outcome for finished in kit.finished]) == ([outcome], [outcome])
    assert kit.intake.waiting == 0


def test_records_of_other_batches_are_not_used() -> None:
    """A report brings all records at once; each batch takes its own."""
    kit = Kit()
    kit.settle(kit.handed(1, 2), failed(1), failed(3), failed(99))
    assert kit.counts() == {"done": 1, "failed": 1}


def test_failed_item_runs_again_until_its_attempts_are_used_up() -> None:
    """After `retry_delay`, doubled each time, with jitter; the outcome tells all attempts."""
    kit = Kit(max_attempts=3, retry_delay=2.0, seed=7)
    kit.settle(kit.handed("a"), failed(1), now=10.0)
    delays = jitter(7, 1, 2, base=2.0)
    assert kit.retried() == [("'a'", "ValueError: no good", delays[0])]
    assert (kit.settler.delayed, kit.settler.next_due()) == (1, 10.0 + delays[0])
    assert [parcel.items for parcel in kit.settler.delayed_parcels()] == [["a"]]
    kit.settler.bring_due(10.0 + delays[0] - 0.001)
    assert kit.intake.backlog == 0
    kit.settler.bring_due(10.0 + delays[0])
    assert (kit.intake.backlog, kit.settler.delayed, kit.settler.next_due()) == (1, 0, None)
    kit.settle(kit.again(1), failed(2), now=20.0)
    kit.settler.bring_due(20.0 + delays[1])
    kit.settle(kit.again(1), failed(3), now=30.0)
    (outcome,) = kit.ended()
    assert (outcome.status, outcome.attempts, outcome.crashes) == (Status.FAILED, 3, 0)
    assert kit.counts() == {"failed": 1, "retried": 2}


def test_item_that_succeeds_later_is_done() -> None:
    """Attempts before a success are told to the collector."""
    kit = Kit(collects=True, max_attempts=2, retry_delay=0)
    kit.settle(kit.handed("a"), failed(1))
    kit.settle(kit.again(1), Record(2, 0.25, RecordKind.RESULT, b"result"))
    assert [(finished.outcome.status, finished.outcome.attempts) for finished in kit.finished] == [(Status.DONE, 2)]
    assert kit.counts() == {"done": 1, "retried": 1}


def test_time_out_by_record_is_an_attempt() -> None:
    """An async item that was cancelled in time runs again, or ends as timed out."""
    kit = Kit(max_attempts=2, retry_delay=0)
    kit.settle(kit.handed("a"), failed(1, kind=RecordKind.TIMED_OUT))
    assert kit.ended() == []
    kit.settle(kit.again(1), failed(2, kind=RecordKind.TIMED_OUT))
    assert [(outcome.status, outcome.attempts) for outcome in kit.ended()] == [(Status.TIMED_OUT, 2)]
    assert kit.counts() == {"timed_out": 1, "retried": 1}


def test_time_out_by_kill_is_an_attempt() -> None:
    """An item whose worker was killed because of it likewise; the error is the killer's."""
    kit = Kit(max_attempts=2, retry_delay=0)
    (holding,) = kit.handed("a")
    error = ErrorInfo("TimedOut", "ran longer than 5.0 s", stack="stack")
    kit.settler.time_out(kit.worker, holding.parcel, error, 5.1, 0.0)
    assert kit.retried() == [("'a'", "TimedOut: ran longer than 5.0 s", 0.0)]
    (holding,) = kit.again(1)
    kit.settler.time_out(kit.worker, holding.parcel, error, 5.2, 0.0)
    (outcome,) = kit.ended()
    assert (outcome.status, outcome.attempts, outcome.error, outcome.seconds) == (Status.TIMED_OUT, 2, error, 5.2)


def test_reject_fails_for_good() -> None:
    """Whatever `max_attempts` says."""
    kit = Kit(max_attempts=5)
    kit.settle(kit.handed("a"), failed(1, kind=RecordKind.REJECTED))
    assert [(outcome.status, outcome.attempts) for outcome in kit.ended()] == [(Status.FAILED, 1)]
    assert kit.counts() == {"failed": 1}


def test_retry_consumes_no_attempt() -> None:
    """However often the reader asks for it; the failure that follows is the first attempt."""
    kit = Kit(max_attempts=1)
    holdings = kit.handed("a")
    for ordinal in range(1, 6):
        kit.settle(holdings, retry(ordinal, 0.0))
        holdings = kit.again(1)
    kit.settle(holdings, failed(6))
    assert [(outcome.status, outcome.attempts) for outcome in kit.ended()] == [(Status.FAILED, 1)]
    assert kit.retried() == [("'a'", "the reader asked for it", 0.0)] * 5
    assert kit.counts() == {"failed": 1, "retried": 5}


@pytest.mark.parametrize(("asked", "delay"), [(2.5, 2.5), (0.0, 0.0), (-3.0, 0.0)])
def test_retry_waits_as_long_as_it_says(asked: float, delay: float) -> None:
    """Exactly, without jitter; nothing and less is at once."""
    kit = Kit()
    kit.settle(kit.handed("a"), retry(1, asked), now=4.0)
    assert [told[2] for told in kit.retried()] == [delay]
    assert kit.settler.next_due() == (4.0 + delay if delay else None)
    assert kit.intake.backlog == (0 if delay else 1)


def test_retries_become_due_in_the_order_of_their_times() -> None:
    """Not in the order in which they were asked for; equal times in that order."""
    kit = Kit(window=0)
    kit.settle(kit.handed("a", "b", "c", "d"), retry(1, 3.0), retry(2, 1.0), retry(3, 2.0), retry(4, 1.0))
    kit.settler.bring_due(1.0)
    assert [parcel.items for parcel in kit.intake.take_all()] == [["b"], ["d"]]
    kit.settler.bring_due(2.9)
    assert [parcel.items for parcel in kit.intake.take_all()] == [["c"]]
    kit.settler.bring_due(3.0)
    assert [parcel.items for parcel in kit.intake.take_all()] == [["a"]]


def test_crash_runs_again_alone_until_max_crashes() -> None:
    """At once and in front of all others, alone in its batch; no attempt is counted, each death is."""
    kit = Kit(max_crashes=3)
    (holding,) = kit.handed("a")
    kit.intake.accept(["b"], 0.0)
    for crashes in (1, 2):
        kit.settler.crash(kit.worker, holding.parcel, DIED, 0.1, 0.0)
        parcel = kit.intake.take(10)
        assert parcel is not None
        assert (parcel.items, parcel.crashes, parcel.alone, parcel.attempts) == (["a"], crashes, True, 0)
        holding = Holding(1, parcel)
    kit.settler.crash(kit.worker, holding.parcel, DIED, 0.75, 0.0)
    (outcome,) = kit.ended()
    assert outcome == Outcome(
        "a", "a", Status.CRASHED, error=DIED, attempts=0, crashes=3, seconds=0.75, pid=1001, slot=0
    )
    assert kit.retried() == [("'a'", DIED.message, 0.0)] * 2
    assert kit.counts() == {"crashed": 1, "retried": 2}


def test_one_crash_is_enough_where_the_setting_says_so() -> None:
    """`max_crashes = 1`: at most once."""
    kit = Kit(max_crashes=1)
    (holding,) = kit.handed("a")
    kit.settler.crash(kit.worker, holding.parcel, DIED, 0.0, 0.0)
    assert [(outcome.status, outcome.crashes) for outcome in kit.ended()] == [(Status.CRASHED, 1)]
    assert kit.intake.waiting == 0


def test_crashes_and_attempts_are_counted_apart() -> None:
    """An item may fail, crash and fail again."""
    kit = Kit(max_attempts=2, retry_delay=0)
    kit.settle(kit.handed("a"), failed(1))
    (holding,) = kit.again(1)
    kit.settler.crash(kit.worker, holding.parcel, DIED, 0.0, 0.0)
    kit.settle(kit.again(1), failed(3))
    assert [(outcome.attempts, outcome.crashes) for outcome in kit.ended()] == [(2, 1)]


def test_bystanders_of_a_kill_are_brought_back_uncounted() -> None:
    """What ran beside an item whose time was up runs again as if nothing had been."""
    kit = Kit()
    (holding,) = kit.handed("a")
    kit.settler.bring_back(holding.parcel)
    parcel = kit.intake.take(1)
    assert parcel is not None
    assert (parcel.items, parcel.is_fresh) == (["a"], True)
    assert (kit.counts(), kit.events) == ({}, [])


def test_item_that_cannot_be_sent_fails_without_a_run() -> None:
    """No attempt, no process."""
    kit = Kit(collects=True, max_attempts=5)
    (holding,) = kit.handed("a")
    error = ErrorInfo("TypeError", "cannot be pickled")
    kit.settler.fail_unsent(holding.parcel, error)
    assert kit.ended() == [Outcome("a", "a", Status.FAILED, error=error)]
    assert [finished.outcome for finished in kit.finished] == kit.ended()
    assert kit.counts() == {"failed": 1}


def test_released_items_are_told_one_by_one() -> None:
    """At the end of a run each item gets its own outcome."""
    kit = Kit(collects=True)
    (holding,) = kit.handed("a", "b")
    kit.settler.release(holding.parcel)
    expected = [Outcome("a", "a", Status.RELEASED), Outcome("b", "b", Status.RELEASED)]
    assert kit.ended() == [finished.outcome for finished in kit.finished] == expected
    assert kit.counts() == {"released": 2}


def test_release_may_say_who_was_at_it_and_why() -> None:
    """An item that was running when the run was ended by force."""
    kit = Kit()
    (holding,) = kit.handed("a")
    kit.settler.release(holding.parcel, DIED, kit.worker)
    assert kit.ended() == [Outcome("a", "a", Status.RELEASED, error=DIED, pid=1001, slot=0)]


def test_nothing_runs_again_once_the_run_is_stopping() -> None:
    """What would is released instead: after a failure, a `Retry`, a crash."""
    kit = Kit(max_attempts=5, max_crashes=5)
    holdings = [*kit.handed("a"), *kit.handed("b"), *kit.handed("c")]
    kit.settler.is_stopping = True
    kit.settle(holdings[:2], failed(1), retry(2, 5.0))
    kit.settler.crash(kit.worker, holdings[2].parcel, DIED, 0.0, 0.0)
    assert [(outcome.item, outcome.status) for outcome in kit.ended()] == [
        ("a", Status.RELEASED),
        ("b", Status.RELEASED),
        ("c", Status.RELEASED),
    ]
    assert (kit.intake.waiting, kit.settler.delayed, kit.counts()) == (0, 0, {"released": 3})


def test_delayed_items_are_released_at_the_end() -> None:
    """What waits for its next run does not wait on."""
    kit = Kit()
    kit.settle(kit.handed("a", "b"), retry(1, 5.0), retry(2, 3.0))
    kit.settler.release_delayed()
    assert sorted(str(outcome.item) for outcome in kit.ended()) == ["a", "b"]
    assert (kit.settler.delayed, kit.settler.next_due(), kit.counts()) == (0, None, {"released": 2, "retried": 2})


def test_keys_are_let_go_as_items_end() -> None:
    """Once its window has passed, an item may come again as soon as it has ended, however it ended."""
    kit = Kit(window=10.0, max_crashes=1)
    holdings = [kit.handed(name)[0] for name in ("done", "failed", "crashed", "released", "unsent", "waiting")]
    parcels = [holding.parcel for holding in holdings]
    kit.intake.expire(10.0, lambda: parcels)
    assert kit.intake.remembered == 6
    kit.settle(holdings[:2], failed(2))
    kit.settler.crash(kit.worker, parcels[2], DIED, 0.0, 0.0)
    kit.settler.release(parcels[3])
    kit.settler.fail_unsent(parcels[4], DIED)
    assert kit.intake.remembered == 1
    assert kit.intake.accept(["done", "failed", "crashed", "released", "unsent", "waiting"], 10.0) == 5


def test_item_that_runs_again_keeps_its_key() -> None:
    """It has not ended, so it is a duplicate, also beyond the window."""
    kit = Kit(window=10.0)
    kit.settle(kit.handed("a"), retry(1, 50.0))
    kit.intake.expire(10.0, kit.settler.delayed_parcels)
    assert kit.intake.accept(["a"], 10.0) == 0


def carried(worker: Worker, ordinal: int) -> socket.socket:
    """Have an item carry a socket."""
    ours, theirs = socket.socketpair()
    theirs.close()
    worker.carried[ordinal] = [ours]
    return ours


def test_sockets_are_closed_once_their_item_has_ended() -> None:
    """Done, failed, with a result: the main process' copy is closed; that of an item that runs again is not."""
    kit = Kit(collects=True)
    (holding,) = kit.handed("done", "failed", "result", "again")
    sockets = [carried(kit.worker, ordinal) for ordinal in range(1, 5)]
    kit.settle([holding], failed(2), Record(3, 0.0, RecordKind.RESULT, b"x"), retry(4, 0.0))
    assert [sock.fileno() >= 0 for sock in sockets] == [False, False, False, True]
    assert kit.worker.carried == {}
    sockets[3].close()


def test_socket_that_cannot_be_closed_hurts_nobody() -> None:
    """The user may have closed its number already."""
    kit = Kit()
    (holding,) = kit.handed("a", "b")
    first, second = carried(kit.worker, 1), carried(kit.worker, 2)
    os.close(first.fileno())
    kit.settle([holding])
    assert second.fileno() == -1
    assert kit.counts() == {"done": 2}


def test_retry_of_a_large_parcel_leaves_the_rest() -> None:
    """Of a hundred items one runs again: a parcel of its own, with the key it had."""
    kit = Kit()
    (holding,) = kit.handed(*range(100))
    kit.settle([holding], retry(51, 1.0))
    (parcel,) = kit.settler.delayed_parcels()
    assert isinstance(parcel, Parcel)
    assert (parcel.items, parcel.key(0), kit.counts()) == ([50], 50, {"done": 99, "retried": 1})
