"""Keeps the slots filled with healthy workers: starts, replaces, follows each to its end.

It is told of starts, messages and ends, and looks at the clock once per tick. Time limits are measured in patient
seconds: a tick that comes late (the machine slept, the main process was stopped) counts as half a second at most, so
nobody is killed for time that did not pass for them. Invariant: every process that was started is followed until its
end has been reported, and its items are settled then.
"""

import random
import signal
from collections.abc import Callable

from .._wire.frames import Frame
from .._wire.messages import Kind, unpack_values
from ..errors import QuasiQueueError, WorkerStartError
from ..events import (
    ErrorInfo,
    Event,
    Notice,
    WorkerDied,
    WorkerLeft,
    WorkerReady,
    WorkerRecycling,
    WorkerStarted,
    WorkerState,
)
from ..settings import Settings
from . import policy
from .births import Births
from .deaths import DeathRecord, explain, settle_running
from .ledger import Autopsy, Holding
from .limits import LAST_RUNG, Limits
from .settler import Settler
from .slot import Due, Slot
from .starter import Death, Starter
from .tally import Tally
from .texts import item_text
from .worker import Kill, Worker

LONGEST_TICK = 0.5
LINE_SECONDS = 2.0
"""Seconds between the end of a line and the report of its worker's end; longer, and the worker has lost its line."""

_FIRST_GUESS_OF_STARTUP = 0.05


class Supervisor:
    """Supervises one run.

    Args:
        settings: the settings in force.
        queue: the queue's name, for events.
        is_async: whether the reader is async.
        workers: those that are alive, by serial number; kept here, read by the dispatcher.
        tally: counts recycles and restarts, and tells whether items end.
        settler: settles what a dead worker was running.
        publish: takes events.
        on_frame: gets every frame of a worker that is about items.
        on_death: takes a dead worker's ledger apart; returns what became of its items.
        limits: watches the limits.
        seconds_per_item: gives what was measured.
        at_hand: gives how many items can be handed out now.
        is_last: tells whether no items will follow them.
        fail: ends the run with an error.
        on_change: called after anything here may have changed what is to be done.
        turn: called after a worker has said something: does what is to be done.
        chance: for jitter.
        wall: gives monotonic seconds.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        queue: str,
        is_async: bool,
        workers: dict[int, Worker],
        tally: Tally,
        settler: Settler,
        publish: Callable[[Event], None],
        on_frame: Callable[[Worker, Frame], None],
        on_death: Callable[[Worker], Autopsy],
        limits: Limits,
        seconds_per_item: Callable[[], float | None],
        at_hand: Callable[[], int],
        is_last: Callable[[], bool],
        fail: Callable[[QuasiQueueError], None],
        on_change: Callable[[], None],
        turn: Callable[[], None],
        chance: random.Random,
        wall: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._tally = tally
        self._settler = settler
        self._publish = publish
        self._on_frame = on_frame
        self._on_death = on_death
        self._limits = limits
        self._seconds_per_item = seconds_per_item
        self._at_hand = at_hand
        self._is_last = is_last
        self._fail = fail
        self._on_change = on_change
        self._wall = wall
        self._last_tick = wall()
        self.now = 0.0
        """Patient seconds since the run began."""
        self.slots: list[Slot] = []
        self.workers = workers
        self._births = Births(
            settings,
            queue=queue,
            is_async=is_async,
            publish=publish,
            on_frame=self._route,
            on_closed=self._on_closed,
            turn=turn,
            chance=chance,
        )
        self._startup = _FIRST_GUESS_OF_STARTUP
        self._deaths = DeathRecord(settings, queue=queue)
        self.is_stopping = False
        """True once nothing is started or replaced any more."""
        self._is_starter_lost = False
        self.starter: Starter

    # What others ask for.

    def scale(self, wanted: int) -> None:
        """Sets the number of slots; workers of slots that go finish what they hold."""
        while len(self.slots) < wanted:
            self.slots.append(Slot(len(self.slots)))
        while len(self.slots) > wanted:
            slot = self.slots.pop()
            for worker in (slot.worker, slot.successor):
                if worker is not None:
                    self._let_go(worker)

    def recycle(self, reason: str = "recycle()") -> None:
        """Has every worker replaced, one after the other."""
        for slot in self.slots:
            if slot.worker is not None:
                slot.replace_reason = slot.replace_reason or reason

    def kill_all(self, reason: str, *, at_once: bool) -> None:
        """Sends every worker down the ladder; `at_once` skips to its last rung."""
        for worker in self.workers.values():
            if worker.kill is None:
                worker.kill = Kill(f"worker {worker.pid} {reason}", self.now)
            if at_once and worker.kill.stage < LAST_RUNG:
                worker.kill.stage = LAST_RUNG
                worker.kill.next_at = self.now
            self._limits.step_down(worker, self.starter, self.now)

    def abort(self, worker: Worker) -> None:
        """Ends a worker that is not ready yet and is no longer wanted."""
        worker.is_aborted = True
        worker.board.allow_terminate()  # it looks there itself, in case the signal comes too early for it
        if worker.pid is not None:
            self.starter.signal(worker.pid, signal.SIGTERM)

    def dump_stacks(self) -> None:
        """Has every worker write its stacks to its scoreboard."""
        for worker in self.workers.values():
            if worker.pid is not None:
                self.starter.signal(worker.pid, signal.SIGQUIT)

    # The clock.

    def tick(self) -> None:
        """Looks at everything that depends on time."""
        now = self._wall()
        gap, self._last_tick = max(now - self._last_tick, 0.0), now
        self.now += min(gap, LONGEST_TICK)
        self.starter.poll()
        if gap > LONGEST_TICK:  # what workers said meanwhile comes before any judgement of them
            for worker in list(self.workers.values()):
                worker.line.read()
        for worker in list(self.workers.values()):
            worker.look(self.now)
            self._limits.check(worker, self.now)
            self._limits.step_down(worker, self.starter, self.now)
        self._limits.check_memory(self.slots, self.now)

    def turn(self) -> bool:
        """Does for each slot what is due. Returns True if a worker may take items now that could not before."""
        if self.is_stopping:
            return False
        has_swapped = False
        replacing = sum(slot.successor is not None and bool(slot.replace_reason) for slot in self.slots)
        starting = sum(
            slot.successor is not None and slot.successor.state is WorkerState.STARTING for slot in self.slots
        )
        at_once = policy.successors_at_once(len(self.slots))
        pace = self._pace()
        for slot in self.slots:
            due = slot.due(self.now, pace)
            if due is Due.SWAP:
                has_swapped = True
                if (old := slot.swap()) is not None:
                    self._let_go(old)
                due = slot.due(self.now, pace)
            if due is Due.START:
                if (worker := self._start(slot)) is not None:
                    slot.fill(worker)
            elif due is Due.SUCCESSOR and starting < at_once and not (slot.replace_reason and replacing):
                starting += 1
                replacing += bool(slot.replace_reason)
                self._prepare_successor(slot)
        return has_swapped

    def _pace(self) -> policy.Pace:
        return policy.Pace(
            seconds_per_item=self._seconds_per_item(),
            rate=self._tally.rate(self._wall()) / max(len(self.slots), 1),
            startup=self._startup,
            at_hand=self._at_hand(),
            is_last=self._is_last(),
        )

    # Starting and replacing.

    def _start(self, slot: Slot) -> Worker | None:
        try:
            worker, ends = self._births.make(slot, self.now)
        except OSError as error:  # out of descriptors or memory: fewer workers for now
            self._refused(slot, str(error))
            return None
        self.workers[worker.serial] = worker
        self.starter.start_worker(worker.serial, slot.index, ends)
        return worker if worker.serial in self.workers else None

    def _prepare_successor(self, slot: Slot) -> None:
        old = slot.worker
        if old is not None and old.pid is not None:
            reason = slot.replace_reason or f"{old.jobs} of {old.max_jobs} items"
            self._publish(WorkerRecycling(self._queue, slot.index, old.pid, reason))
        slot.successor = self._start(slot)

    def _let_go(self, worker: Worker) -> None:
        """Tells a worker to finish what it holds and go."""
        worker.takes = False
        worker.leaving_since = self.now
        if worker.state is not WorkerState.GONE:
            worker.state = WorkerState.LEAVING
            worker.line.send(Kind.LEAVE)

    def _refused(self, slot: Slot, reason: str) -> None:
        error = self._births.refused(slot, reason, alive=len(self.workers), now=self.now)
        if error is not None:
            self._fail(error)

    # What starters and workers report.

    def on_started(self, serial: int, pid: int) -> None:
        """A process was created. Told twice, by the starter and by the worker itself: either may be the first."""
        if (worker := self.workers.get(serial)) is not None and worker.pid is None:
            worker.pid = pid
            self._publish(WorkerStarted(self._queue, worker.slot, pid))

    def on_not_started(self, serial: int, reason: str) -> None:
        """The system refused a process."""
        if serial not in self.workers:
            return
        slot = self._withdraw(self.workers[serial])
        if slot is not None and not self.is_stopping:
            self._refused(slot, reason)
        self._on_change()

    def on_lost(self) -> None:
        """The template process is gone. Workers finish; their lines tell of their ends from now on."""
        self._is_starter_lost = True
        for worker in list(self.workers.values()):
            if worker.pid is None:
                self._withdraw(worker)
            elif not worker.line.is_open:
                self.on_exited(worker.serial, Death(-signal.SIGKILL))
        self._fail(
            WorkerStartError(
                f"The template process of queue {self._queue!r} is gone (somebody killed it?), so no worker can be "
                "started any more. What the workers were running has been finished; start the queue again."
            )
        )
        self._on_change()

    def _withdraw(self, worker: Worker) -> Slot | None:
        """Lets go of a worker that never came to be. Returns its slot if it had its place."""
        del self.workers[worker.serial]
        slot = self._forget(worker)
        self._on_death(worker)
        worker.close()
        return slot

    def _on_closed(self, worker: Worker) -> None:
        """A line ended: its worker has said so, or has died and that is about to be reported, or has lost it."""
        if self._is_starter_lost:
            self.on_exited(worker.serial, Death(0 if worker.has_left else -signal.SIGKILL))
        elif worker.kill is None and not worker.has_said_end:
            worker.kill = Kill(f"worker {worker.pid} has lost its line", self.now + LINE_SECONDS)

    def _route(self, worker: Worker, frame: Frame) -> None:
        match frame.kind:
            case Kind.READY:
                self._on_ready(worker, *unpack_values(frame.body))
            case Kind.START_FAILED:
                kind, message, trace = unpack_values(frame.body)
                worker.start_error = (kind, message, trace)
            case Kind.NOT_STARTED:
                (worker.refusal,) = unpack_values(frame.body)
            case Kind.TROUBLE:
                kind, message, trace = unpack_values(frame.body)
                text = f"The end of the context failed in worker {worker.pid}: {kind}: {message}\n{trace}"
                self._publish(Notice(self._queue, text, warning=True))
            case Kind.LEFT:
                worker.has_left = True
            case _:
                self._on_frame(worker, frame)

    def _on_ready(self, worker: Worker, pid: int, seconds: float) -> None:
        self.on_started(worker.serial, pid)
        self._births.succeeded()
        worker.ready_after = seconds
        self._startup = max(0.6 * self._startup, seconds + 0.01)
        if worker.state is WorkerState.STARTING:
            worker.state = WorkerState.READY
        self._publish(WorkerReady(self._queue, worker.slot, pid, seconds))
        self._limits.warn_if_born_large(pid)
        self._on_change()

    def on_exited(self, serial: int, death: Death) -> None:
        """A worker has ended: settles its items, and explains its death if it was one."""
        worker = self.workers.pop(serial, None)
        if worker is None:
            return
        worker.line.drain()
        worker.look(self.now)
        slot = self._forget(worker)
        found = self._on_death(worker)
        was_leaving = worker.state is WorkerState.LEAVING
        if worker.is_aborted or (worker.has_left and death.code == 0 and was_leaving):
            self._publish(WorkerLeft(self._queue, worker.slot, worker.pid or 0, worker.finished))
            self._tally.recycled += not self.is_stopping
        elif worker.refusal:
            self._publish(WorkerLeft(self._queue, worker.slot, worker.pid or 0, 0))
            if slot is not None and not self.is_stopping:
                self._refused(slot, worker.refusal)
        else:
            self._bury(worker, found.running, slot, explain(worker, death))
        worker.close()
        self._on_change()

    def _forget(self, worker: Worker) -> Slot | None:
        """Takes a worker out of its slot. Returns the slot if the worker had its place."""
        return next((slot for slot in self.slots if slot.forget(worker)), None)

    # Deaths.

    def _bury(self, worker: Worker, running: list[Holding], slot: Slot | None, error: ErrorInfo) -> None:
        items = tuple(item_text(holding.parcel.items[0]) for holding in running)
        self._publish(WorkerDied(self._queue, worker.slot, worker.pid or 0, error.message, items))
        settle_running(
            worker, running, error, self._settler, is_stopping=self.is_stopping, now=self.now, wall=self._wall()
        )
        if self.is_stopping or self._is_starter_lost:
            return
        self._tally.restarted += 1
        was_timed_out = worker.kill is not None and bool(worker.kill.timed_out)
        if not was_timed_out:
            too_many = self._deaths.count(error, ended=self._tally.ended, now=self.now)
            if too_many is not None:
                self._fail(too_many)
        if slot is not None:
            slot.start_at = self.now + (0.0 if was_timed_out else self._deaths.pause())

    @property
    def has_urgent(self) -> bool:
        """True while something is being waited for whose next step depends on the clock."""
        return any(
            worker.kill is not None or worker.state in (WorkerState.STARTING, WorkerState.LEAVING)
            for worker in self.workers.values()
        ) or any(slot.worker is None for slot in self.slots)
