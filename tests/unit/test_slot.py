"""What is due for one place in the pool, in every state of it."""

import pytest

from quasiqueue._main.parcel import Parcel
from quasiqueue._main.policy import Pace
from quasiqueue._main.slot import Due, Slot
from quasiqueue._main.worker import Worker
from quasiqueue.events import WorkerState

from .support import make_worker


def due(slot: Slot, now: float = 0.0, *, seconds: float | None = None, startup: float = 0.05) -> Due:
    return slot.due(now, Pace(seconds_per_item=seconds, startup=startup, at_hand=1000))


def worked(worker: Worker, items: int) -> Worker:
    """Have a worker handed that many items, and finish them."""
    if items:
        worker.ledger.hand(Parcel(list(range(items)), None, None, True))
        worker.ledger.strike(1, items)
    return worker


def test_empty_place_wants_a_worker_once_its_pause_is_over() -> None:
    """After deaths it waits."""
    slot = Slot(0, start_at=5.0)
    assert due(slot, 4.999) is Due.NOTHING
    assert due(slot, 5.0) is Due.START


@pytest.mark.parametrize("state", [WorkerState.STARTING, WorkerState.READY])
def test_filled_place_wants_nothing(state: WorkerState) -> None:
    """A worker that starts, or that works without a limit, is left alone."""
    assert due(Slot(0, make_worker(state=state))) is Due.NOTHING


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [(0, Due.NOTHING), (8, Due.NOTHING), (9, Due.SUCCESSOR), (10, Due.SUCCESSOR), (12, Due.SUCCESSOR)],
)
def test_successor_is_wanted_shortly_before_the_end(jobs: int, expected: Due) -> None:
    """When no more is left to be handed than runs at once."""
    assert due(Slot(0, worked(make_worker(due_at_jobs=10, max_jobs=11), jobs))) is expected


def test_successor_is_wanted_earlier_where_items_are_quick() -> None:
    """So that it is ready in time: twice the 50 ms of a start are a hundred items of a millisecond."""
    slot = Slot(0, worked(make_worker(due_at_jobs=1000), 900))
    assert due(slot, seconds=0.001, startup=0.05) is Due.SUCCESSOR
    assert due(slot, seconds=0.0011, startup=0.05) is Due.NOTHING


def test_given_back_items_do_not_count() -> None:
    """What a worker returned it has not run."""
    worker = worked(make_worker(due_at_jobs=10), 10)
    worker.returned = 5
    assert due(Slot(0, worker)) is Due.NOTHING


def test_worker_that_starts_is_not_replaced_for_its_age() -> None:
    """Only one that is ready can be nearly done."""
    assert due(Slot(0, make_worker(due_at_jobs=1, state=WorkerState.STARTING))) is Due.NOTHING


def test_replacing_waits_for_the_pause() -> None:
    """A place whose workers die does not get successors faster than workers."""
    slot = Slot(0, make_worker(), replace_reason="recycle()", start_at=3.0)
    assert due(slot, 2.0) is Due.NOTHING
    assert due(slot, 3.0) is Due.SUCCESSOR


def test_successor_takes_over_once_ready_and_wanted() -> None:
    """Not while it starts, and not before the old one has done enough; on request as soon as it is ready."""
    old = worked(make_worker(1, due_at_jobs=10), 9)
    new = make_worker(2, state=WorkerState.STARTING, takes=False)
    slot = Slot(0, old, new)
    assert due(slot) is Due.NOTHING
    new.state = WorkerState.READY
    assert due(slot) is Due.NOTHING
    worked(old, 1)
    assert due(slot) is Due.SWAP
    slot = Slot(0, make_worker(1), new, replace_reason="too much memory")
    assert due(slot) is Due.SWAP
    new.state = WorkerState.STARTING
    assert due(slot) is Due.NOTHING


def test_swap_changes_places() -> None:
    """The successor takes items from now on; the reason is done with; the old one is handed out to be told."""
    old, new = make_worker(1), make_worker(2, takes=False)
    slot = Slot(0, old, new, replace_reason="recycle()")
    assert slot.swap() is old
    assert (slot.worker, slot.successor, slot.replace_reason, new.takes) == (new, None, "", True)
    assert due(slot) is Due.NOTHING


def test_worker_counts_until_it_is_gone() -> None:
    """Those that leave still run what they hold: so much less may be run by who has their place."""
    first, second, third = (make_worker(number, lanes=10, takes=False) for number in (1, 2, 3))
    slot = Slot(0)
    slot.fill(first)
    assert (slot.worker, first.takes, first.free_lanes, first.can_take) == (first, True, 10, True)
    first.ledger.hand(Parcel(list(range(6)), None, None, True))
    slot.successor = second
    slot.swap()
    assert (second.free_lanes, second.can_take) == (4, True)
    second.ledger.hand(Parcel(list(range(4)), None, None, True))
    slot.successor = third
    slot.swap()
    assert (slot.leaving, third.free_lanes, third.can_take) == ([first, second], 0, False)
    first.ledger.strike(1, 5)
    assert (third.free_lanes, third.can_take) == (5, True)
    assert slot.forget(first) is False
    assert (slot.leaving, third.free_lanes) == ([second], 6)
    slot.forget(second)
    assert third.free_lanes == 10
    assert slot.forget(third) is True
    fresh = make_worker(4, lanes=10)
    slot.fill(fresh)
    assert fresh.free_lanes == 10


@pytest.mark.parametrize(("at_hand", "is_last", "expected"), [(3, True, Due.NOTHING), (4, True, Due.SUCCESSOR)])
def test_no_successor_for_the_last_items(at_hand: int, is_last: bool, expected: Due) -> None:
    """What is left goes to the worker itself, if it may run so many."""
    slot = Slot(0, worked(make_worker(due_at_jobs=10, max_jobs=12), 9))
    assert slot.due(0.0, Pace(at_hand=at_hand, is_last=is_last)) is expected
    assert slot.due(0.0, Pace(at_hand=at_hand)) is Due.SUCCESSOR


@pytest.mark.parametrize("state", [WorkerState.STARTING, WorkerState.READY])
def test_successor_of_a_dead_worker_takes_its_place_at_once(state: WorkerState) -> None:
    """Even while it starts, and even while the place would have to wait for a fresh one."""
    old, new = make_worker(1), make_worker(2, takes=False, state=state)
    slot = Slot(0, old, new, start_at=100.0)
    slot.forget(old)
    assert due(slot, 0.0) is Due.SWAP
    assert slot.swap() is None
    assert (slot.worker, slot.successor, new.takes) == (new, None, True)


def test_dead_successor_is_forgotten() -> None:
    """The worker stays; another successor is wanted."""
    old, new = make_worker(1), make_worker(2)
    slot = Slot(0, old, new, replace_reason="recycle()")
    slot.forget(new)
    assert (slot.worker, slot.successor) == (old, None)
    assert due(slot) is Due.SUCCESSOR
    slot.forget(make_worker(3))
    assert slot.worker is old
