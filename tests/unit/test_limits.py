"""Limits and the ladder, on a time that the test hands in; deaths and their count."""

import signal

import pytest

from quasiqueue import CrashLoopError, Settings
from quasiqueue._main.deaths import DeathRecord, explain
from quasiqueue._main.limits import Limits
from quasiqueue._main.parcel import Parcel
from quasiqueue._main.starter import Death
from quasiqueue._main.worker import Kill, Worker
from quasiqueue.events import ErrorInfo, Event, ItemSlow, StacksDumped, WorkerState

from .support import FakeBoard, make_worker


class Board(FakeBoard):
    """A scoreboard with stacks, that notes whether TERM was allowed."""

    may_terminate = False

    def stacks(self) -> str:
        """Give some."""
        return "the stacks"

    def allow_terminate(self) -> None:
        """Note it."""
        self.may_terminate = True


class Starter:
    """Keeps the signals that were asked for."""

    def __init__(self) -> None:
        self.signals: list[tuple[int, int, bool]] = []

    def signal(self, pid: int, number: int, *, whole_group: bool = False) -> None:
        """Keep one."""
        self.signals.append((pid, number, whole_group))


class Kit:
    """Limits with what surrounds them."""

    def __init__(self, **settings: object) -> None:
        self.events: list[Event] = []
        self.cancelled: list[int] = []
        self.starter = Starter()
        self.limits = Limits(
            Settings(**settings),
            queue="limits",
            publish=self.events.append,
            cancel=lambda _worker, ordinal: self.cancelled.append(ordinal),
        )

    def running(self, **changes: object) -> Worker:
        """Return a worker that has been running item "slow" since second 10."""
        worker = make_worker(board=Board(), pid=77, **changes)
        worker.ledger.hand(Parcel(["slow"], None, None, bulk=True))
        worker.since = {1: 10.0}
        return worker


def test_item_without_limit_gets_one_warning_after_a_minute() -> None:
    """The warning names the item, its worker and how long it has been running; it is given once."""
    kit = Kit()
    worker = kit.running()
    for now in (69.9, 70.0, 100.0):
        kit.limits.check(worker, now)
    assert kit.events == [ItemSlow("limits", 0, 77, "'slow'", 60.0)]
    assert worker.kill is None


def test_item_over_its_limit_puts_its_worker_on_the_ladder() -> None:
    """A sync reader cannot be cancelled: the reason names item and limit, and which ordinal is to blame."""
    kit = Kit(item_timeout=5)
    worker = kit.running()
    kit.limits.check(worker, 14.9)
    assert worker.kill is None
    kit.limits.check(worker, 15.0)
    assert worker.kill == Kill(
        "item 'slow' ran longer than item_timeout (5 s) in worker 77", 15.0, timed_out=frozenset({1})
    )


def test_async_item_over_its_limit_is_cancelled_first() -> None:
    """Only a task that goes on for another second leads to the kill."""
    kit = Kit(item_timeout=5)
    worker = kit.running(is_async=True, lanes=4)
    for now in (15.0, 15.9):
        kit.limits.check(worker, now)
    assert (kit.cancelled, worker.kill) == ([1], None)
    kit.limits.check(worker, 16.0)
    assert worker.kill is not None
    assert worker.kill.timed_out == frozenset({1})


def test_worker_that_is_not_ready_in_time_is_put_on_the_ladder() -> None:
    """`startup_timeout` counts from when it was asked for."""
    kit = Kit(startup_timeout=3)
    worker = make_worker(pid=77, state=WorkerState.STARTING, started_at=1.0)
    kit.limits.check(worker, 3.9)
    assert worker.kill is None
    kit.limits.check(worker, 4.0)
    assert worker.kill == Kill("worker 77 was not ready after startup_timeout (3 s)", 4.0)


def test_ladder_has_three_rungs() -> None:
    """Stacks; a fifth of a second later TERM, allowed on the scoreboard first; a second later KILL of the group."""
    kit = Kit()
    worker = kit.running()
    worker.kill = Kill("worker 77 must go", 20.0)
    for now in (19.9, 20.0, 20.1, 20.2, 21.1, 21.2, 99.0):
        kit.limits.step_down(worker, kit.starter, now)
    assert kit.starter.signals == [
        (77, signal.SIGQUIT, False),
        (77, signal.SIGTERM, False),
        (77, signal.SIGKILL, True),
    ]
    assert kit.events == [StacksDumped("limits", 0, 77, "worker 77 must go\nthe stacks")]
    assert worker.board.may_terminate is True
    assert (worker.kill.stage, worker.kill.stack) == (3, "the stacks")


@pytest.mark.parametrize(
    ("code", "message", "exit_code", "name"),
    [
        (-9, "worker 77 killed by SIGKILL (perhaps out of memory?)", None, "SIGKILL"),
        (-11, "worker 77 killed by SIGSEGV (a crash in native code)", None, "SIGSEGV"),
        (3, "worker 77 exited with code 3", 3, None),
    ],
)
def test_death_is_explained(code: int, message: str, exit_code: int | None, name: str | None) -> None:
    """By signal or code, with the likely cause, the stacks, and the most memory it had."""
    worker = make_worker(board=Board(), pid=77)
    assert explain(worker, Death(code, 1000)) == ErrorInfo(
        "WorkerDied", message, exit_code=exit_code, signal=name, stack="the stacks", peak_memory=1000
    )


def test_deaths_without_an_ended_item_between_them_are_a_crash_loop() -> None:
    """`max_restarts` deaths are borne, one more is not; an item that ends begins the count anew, and so does time."""
    record = DeathRecord(Settings(max_restarts=2, restart_window=10), queue="deaths")
    error = ErrorInfo("WorkerDied", "worker 1 exited with code 1", traceback="first traceback\n")
    assert [record.count(error, ended=0, now=now) for now in (0.0, 1.0)] == [None, None]
    assert [record.count(error, ended=1, now=now) for now in (2.0, 3.0)] == [None, None]
    assert [record.count(error, ended=1, now=now) for now in (12.5,)] == [None]  # the one at 2.0 is too long ago
    too_many = record.count(error, ended=1, now=12.6)
    assert isinstance(too_many, CrashLoopError)
    assert str(too_many).startswith(
        "3 workers of queue 'deaths' died within 10 s and no item was finished between them."
    )
    assert str(too_many).count("first traceback") == 1
