"""One worker as the main process sees it: its line, its ledger, its scoreboard, what it has been told.

A plain record shared by the dispatcher (what it holds) and the supervisor (its life); `Line` connects its channel to
the loop. Invariant: once it is gone nothing is sent to it and its descriptors are closed.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._wire.channel import Channel, LineClosed
from .._wire.codec import Bytes
from .._wire.frames import Frame
from .._wire.messages import URGENT, Kind
from .._wire.scoreboard import Scoreboard
from ..events import WorkerState
from .ledger import Ledger


class Line:
    """The main process' end of one line, on the loop.

    Args:
        channel: the end.
        on_frame: gets each frame as it comes.
        on_closed: called once when the other end is gone.
        bell: descriptor of our end of the worker's bell, ours from now on; None where nobody listens.
        after_reading: called by the loop's wake-up after its frames, or the end, have been told.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        on_frame: Callable[[Frame], None],
        on_closed: Callable[[], None],
        bell: int | None = None,
        after_reading: Callable[[], None] = lambda: None,
    ) -> None:
        self._channel = channel
        self._on_frame = on_frame
        self._on_closed = on_closed
        self._bell = bell
        self._after_reading = after_reading
        self._loop = asyncio.get_running_loop()
        self.is_open = True
        self._is_writing = False
        self._loop.add_reader(channel.fileno(), self._wake)

    @property
    def has_unsent(self) -> bool:
        """True while the socket takes no more."""
        return self._channel.has_unsent

    def send(self, kind: Kind, parts: Sequence[Bytes] = (), *, descriptors: Sequence[int] = ()) -> None:
        """Sends a message, now or as soon as the socket takes it; rings if it is urgent. Does nothing once closed."""
        if not self.is_open:
            return
        try:
            sent = self._channel.send(kind, parts, descriptors=descriptors)
        except LineClosed:
            return  # reading finds the end too, after everything that the other side still said
        if not sent and not self._is_writing:
            self._is_writing = True
            self._loop.add_writer(self._channel.fileno(), self._write)
        if kind in URGENT and self._bell is not None:
            with contextlib.suppress(OSError):  # the worker is gone
                os.write(self._bell, b"!")

    def _write(self) -> None:
        try:
            done = self._channel.flush()
        except LineClosed:
            done = True
        if done:
            self._is_writing = False
            self._loop.remove_writer(self._channel.fileno())

    def _wake(self) -> None:
        self.read()
        self._after_reading()

    def read(self) -> bool:
        """Reads once. Returns True if something came."""
        if not self.is_open:
            return False
        try:
            frames = self._channel.receive()
        except LineClosed:
            self.close()
            self._on_closed()
            return False
        for frame in frames:
            self._on_frame(frame)
        return bool(frames)

    def drain(self) -> None:
        """Reads everything that a process which has ended still said."""
        while self.is_open and self.read():
            pass

    def close(self) -> None:
        """Closes the line. May be called twice."""
        if self.is_open:
            self.is_open = False
            self._loop.remove_reader(self._channel.fileno())
            if self._is_writing:
                self._loop.remove_writer(self._channel.fileno())
            self._channel.close()
            if self._bell is not None:
                os.close(self._bell)
                self._bell = None


@dataclass(slots=True)
class Kill:
    """A worker's way down the ladder: stacks, TERM, KILL.

    Attributes:
        reason: why, for events and outcomes.
        next_at: when the next rung is due, in patient seconds.
        timed_out: ordinals whose time was up; the others it runs are not to blame.
        stage: what was done so far: 0 nothing, 1 stacks asked for, 2 TERM, 3 KILL.
        stack: the stacks, once they were read.
    """

    reason: str
    next_at: float
    timed_out: frozenset[int] = frozenset()
    stage: int = 0
    stack: str = ""

    @property
    def is_cause(self) -> bool:
        """True if the worker's end is due to it: an item's time was up, or a signal that ends processes was sent."""
        return bool(self.timed_out) or self.stage > 1


@dataclass(eq=False, slots=True)
class Worker:
    """One worker.

    Attributes:
        serial: its number in this run; never used twice.
        slot: its place in the pool.
        line: the way to it.
        board: its scoreboard.
        lanes: items that it may run at once.
        is_async: whether its reader is async.
        max_jobs: items that it may be handed in all; None: any number.
        due_at_jobs: items after which its successor should take over; None: never.
        ledger: what it holds.
        started_at: when it was asked for, in the supervisor's patient seconds.
        state: where it is in its life.
        pid: its process, once known.
        returned: how many items it has given back.
        finished: how many items it has finished.
        carried: sockets and files that went out with an item, by ordinal.
        is_recalled: True while it was asked to give items back and has not answered.
        since: for each ordinal that runs, when it was first seen running.
        age: how long the longest running of them had been seen running at the last look.
        heard_at: when it last reported, or was handed an item while it held none; monotonic seconds.
        cancelled: for each ordinal that was cancelled, when.
        kill: set once it is on its way down the ladder.
        has_left: True once it said that it is done.
        is_aborted: True if it was ended while it was starting, because nobody needed it any more.
        leaving_since: when it was told to go.
        slow_told: ordinals that a warning was given for.
        start_error: (type, message, traceback) of a context that failed.
        refusal: what the system said as it refused the worker something it cannot do without.
        ready_after: seconds that it took to be ready; None until it was.
        takes: True while it has its slot's place; a successor is ready before it has it.
        ahead: those that had this place before and are leaving; the slot's own list.
    """

    serial: int
    slot: int
    line: Line
    board: Scoreboard
    lanes: int
    is_async: bool
    max_jobs: int | None
    due_at_jobs: int | None
    started_at: float
    ledger: Ledger = field(default_factory=Ledger)
    state: WorkerState = WorkerState.STARTING
    pid: int | None = None
    returned: int = 0
    finished: int = 0
    carried: dict[int, list[Any]] = field(default_factory=dict)
    is_recalled: bool = False
    since: dict[int, float] = field(default_factory=dict)
    age: float = 0.0
    heard_at: float = 0.0
    cancelled: dict[int, float] = field(default_factory=dict)
    kill: Kill | None = None
    has_left: bool = False
    is_aborted: bool = False
    leaving_since: float | None = None
    slow_told: set[int] = field(default_factory=set)
    start_error: tuple[str, str, str] | None = None
    refusal: str = ""
    ready_after: float | None = None
    takes: bool = False
    ahead: "list[Worker]" = field(default_factory=list)

    @property
    def jobs(self) -> int:
        """How many items it was handed and did not give back."""
        return self.ledger.handed - self.returned

    @property
    def jobs_left(self) -> int | None:
        """How many more items it may be handed; None: any number."""
        return None if self.max_jobs is None else max(0, self.max_jobs - self.jobs)

    @property
    def free_lanes(self) -> int:
        """How many items it may run at once while those before it in its place still run some."""
        if not self.ahead:
            return self.lanes
        return max(0, self.lanes - sum(len(worker.ledger) for worker in self.ahead))

    @property
    def can_take(self) -> bool:
        """True if it may be handed items at all at this moment."""
        return (
            self.takes
            and self.state is WorkerState.READY
            and self.kill is None
            and not self.is_recalled
            and self.jobs_left != 0
            and not self.line.has_unsent
            and self.free_lanes > 0
        )

    @property
    def has_said_end(self) -> bool:
        """True once it told that it is about to end, and why; what it still does is the program's own."""
        return self.has_left or self.start_error is not None or bool(self.refusal)

    @property
    def may_be_recalled(self) -> bool:
        """True if it can be asked for what it has not begun."""
        return self.state in (WorkerState.READY, WorkerState.LEAVING) and self.kill is None and not self.is_recalled

    def look(self, now: float) -> None:
        """Looks at the scoreboard: which items run, and since when."""
        running = self.board.progress().running
        if running != self.since.keys():
            self.since = {ordinal: self.since.get(ordinal, now) for ordinal in running}
            self.slow_told &= running
            self.cancelled = {ordinal: at for ordinal, at in self.cancelled.items() if ordinal in running}
        self.age = now - min(self.since.values()) if self.since else 0.0

    def close(self) -> None:
        """Lets go of everything it held in this process."""
        self.state = WorkerState.GONE
        self.line.close()
        self.board.close()
