"""The catalogue: everything that a run tells its program, as frozen dataclasses.

`Outcome` says how one item ended, `Stats` how the run stands, `RunSummary` how it went. The events are what
`subscribe()` hands to subscribers, and the project's own log lines are made from nothing else. Times are seconds as
floats, memory is bytes. Nothing here imports anything of the project.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")


class Status(StrEnum):
    """How an item ended."""

    DONE = "done"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CRASHED = "crashed"
    RELEASED = "released"


class WorkerState(StrEnum):
    """Where a worker is in its life."""

    STARTING = "starting"
    READY = "ready"
    LEAVING = "leaving"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """What went wrong with an item, as data: exceptions themselves never cross a process border.

    Attributes:
        type: name of the exception's class, or of the fault ("WorkerDied", "TimedOut").
        message: the exception's text, cut at a length that logs can bear.
        traceback: the formatted traceback, empty where there is none.
        exit_code: the worker's exit code, where it died by one.
        signal: name of the signal that killed the worker ("SIGKILL"), where one did.
        stack: the stacks of the worker's threads when it died or was stopped, as far as they could be written down.
        peak_memory: the most memory the dead worker ever had resident, in bytes.
    """

    type: str
    message: str
    traceback: str = ""
    exit_code: int | None = None
    signal: str | None = None
    stack: str = ""
    peak_memory: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome(Generic[ItemT]):
    """How one item ended. Every accepted item gets exactly one.

    Attributes:
        item: the item.
        key: its identity for de-duplication; None where it has none.
        status: done, failed, timed_out, crashed or released.
        result: the reader's return value; None unless done and a collector is there.
        error: what went wrong; None for an item that is done.
        attempts: how often the reader was called and came back or ran out of time, `Retry` not counted.
        crashes: how many workers died while they ran it.
        seconds: how long the last run took. Without a collector the clock is read once per batch, and this is the most
            it can have been.
        pid: process that ran it last; None if none did.
        slot: slot of that process.
    """

    item: ItemT
    key: Hashable
    status: Status
    result: object = None
    error: ErrorInfo | None = None
    attempts: int = 0
    crashes: int = 0
    seconds: float = 0.0
    pid: int | None = None
    slot: int | None = None


@dataclass(frozen=True, slots=True)
class RunSummary:
    """How a run went: items by outcome, what happened to workers, and the first outcomes that were not done.

    Attributes:
        done, failed, timed_out, crashed, released: items by outcome; their sum is all that was accepted.
        duplicates: offered items that were dropped because they had been accepted before.
        retried: runs beyond an item's first: after a failure, a `Retry`, a time-out or a worker's death.
        recycled: workers replaced as planned.
        restarted: workers replaced after a death.
        seconds: how long the run took.
        failures: the first 20 outcomes that were not done.
    """

    done: int = 0
    failed: int = 0
    timed_out: int = 0
    crashed: int = 0
    released: int = 0
    duplicates: int = 0
    retried: int = 0
    recycled: int = 0
    restarted: int = 0
    seconds: float = 0.0
    failures: tuple[Outcome[object], ...] = ()

    @property
    def ok(self) -> bool:
        """True if no item failed, timed out or crashed; released items are offered again by their source."""
        return not (self.failed or self.timed_out or self.crashed)

    @property
    def items_per_second(self) -> float:
        """Items done per second of the whole run."""
        return self.done / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class WorkerStats:
    """One worker as `stats()` sees it.

    Attributes:
        slot: its place in the pool.
        pid: its process; None while it is being started.
        state: starting, ready or leaving.
        done: items it has finished.
        running: items it runs at this moment.
        seconds: how long its longest running item has been running, as seen by the main process' clock.
        memory: resident memory in bytes; None where it could not be read.
    """

    slot: int
    pid: int | None
    state: WorkerState
    done: int
    running: int
    seconds: float
    memory: int | None


@dataclass(frozen=True, slots=True)
class Stats:
    """How a run stands. The counts are those of `RunSummary`.

    Attributes:
        waiting: items accepted and not started: backlog, retries that wait for their time, handed and not yet started.
        handed: of these, items that a worker already holds.
        running: items that readers run at this moment.
        rate: items done per second over the last seconds.
        paused: True between `pause()` and `resume()`.
    """

    done: int = 0
    failed: int = 0
    timed_out: int = 0
    crashed: int = 0
    released: int = 0
    duplicates: int = 0
    retried: int = 0
    recycled: int = 0
    restarted: int = 0
    seconds: float = 0.0
    waiting: int = 0
    handed: int = 0
    running: int = 0
    rate: float = 0.0
    paused: bool = False
    workers: tuple[WorkerStats, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """The base of all events.

    Attributes:
        queue: name of the queue that it happened in.
    """

    queue: str


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """`main()` has begun; workers are being started."""

    processes: int
    start_method: str


@dataclass(frozen=True, slots=True)
class RunEnded(Event):
    """`main()` is about to return."""

    summary: RunSummary


@dataclass(frozen=True, slots=True)
class StopRequested(Event):
    """The run was asked to stop. `reason` says by whom: a signal's name, `stop()`, an error."""

    reason: str
    force: bool


@dataclass(frozen=True, slots=True)
class WorkerStarted(Event):
    """A process was created for a slot; its context runs now."""

    slot: int
    pid: int


@dataclass(frozen=True, slots=True)
class WorkerReady(Event):
    """A worker's context has returned: it can take items. `seconds` is how long that took."""

    slot: int
    pid: int
    seconds: float


@dataclass(frozen=True, slots=True)
class WorkerLeft(Event):
    """A worker ended as planned after `done` items, or before any as the system refused it a thread (see `Notice`)."""

    slot: int
    pid: int
    done: int


@dataclass(frozen=True, slots=True)
class WorkerDied(Event):
    """A worker ended unasked. `cause` explains it; `items` are those it was running, as short text."""

    slot: int
    pid: int
    cause: str
    items: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkerRecycling(Event):
    """A worker is due for replacement: its successor is being started. `reason` says why it is due."""

    slot: int
    pid: int
    reason: str


@dataclass(frozen=True, slots=True)
class ItemEnded(Event):
    """An item ended other than done: failed, timed out, crashed, or released while it was running."""

    outcome: Outcome[object]


@dataclass(frozen=True, slots=True)
class ItemRetried(Event):
    """An item will run again after `delay` seconds. `reason` says why."""

    item: str
    reason: str
    delay: float


@dataclass(frozen=True, slots=True)
class ItemSlow(Event):
    """An item has been running for `seconds`, and no time limit is set."""

    slot: int
    pid: int
    item: str
    seconds: float


@dataclass(frozen=True, slots=True)
class WriterFailed(Event):
    """The writer raised, or gave something that holds no items; asked again after `pause` seconds."""

    error: ErrorInfo
    failures: int
    pause: float


@dataclass(frozen=True, slots=True)
class WriterSlow(Event):
    """The writer has been at one call for `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class CollectorFailed(Event):
    """The collector raised; it gets the same outcomes again after `pause` seconds."""

    error: ErrorInfo
    failures: int
    pause: float


@dataclass(frozen=True, slots=True)
class StacksDumped(Event):
    """Stacks were written down on request or before a kill. `slot` is None for the main process."""

    slot: int | None
    pid: int
    text: str


@dataclass(frozen=True, slots=True)
class Notice(Event):
    """Anything else worth a log line. `warning` tells whether somebody should act on it."""

    text: str
    warning: bool = field(default=False)
