"""One run of a queue: builds the rooms, connects them, turns them, stops them in order.

The only file that knows every room. `QuasiQueue` makes a runtime per run and passes calls on to it; signals, lines and
timers wake it, and each wake ends in `turn`. Invariant: all decisions happen on the loop's thread.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Sequence
from signal import Signals

from ._main import policy
from ._main.intake import Intake
from ._main.overview import make_stats, own_stacks, status_line
from ._main.shutdown import Shutdown
from ._main.tally import Counts
from ._main.ticker import Ticker
from ._main.worker import Worker
from ._rooms import Plans, build_rooms, start_method
from ._wire.frames import Frame
from ._wire.messages import Kind, unpack_ordinal, unpack_report
from .errors import QuasiQueueError
from .events import (
    Event,
    ItemEnded,
    Notice,
    Outcome,
    RunEnded,
    RunStarted,
    RunSummary,
    StacksDumped,
    Stats,
    Status,
    StopRequested,
)
from .settings import Settings

_SAMPLE_SECONDS = 0.25
_STACK_SECONDS = 0.2
_LOOK_SECONDS = 0.1
_log = logging.getLogger("quasiqueue")


class Runtime:
    """One run.

    Args:
        name: the queue's name.
        plans: the user's callables.
        settings: the settings in force.
        subscribers: get every event.
    """

    def __init__(
        self, name: str, plans: Plans, settings: Settings, subscribers: Sequence[Callable[[Event], object]]
    ) -> None:
        self._name = name
        self._plans = plans
        self._settings = settings
        self._subscribers = subscribers
        self._intake = Intake(capacity=settings.max_queue_size, window=settings.prevent_requeuing_time, key=plans.key)
        self._wanted = settings.num_processes
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn_is_due = False
        self._error: QuasiQueueError | None = None
        self._stop_reason = ""
        self._sampled_at = 0.0
        self._shutdown: Shutdown | None = None
        self._force = False
        self._pending_stop = False
        self.has_ended = False

    # The run.

    def prepare(self) -> None:
        """Builds the rooms and starts the template process. Call it on the loop, before any thread of ours runs.

        Raises WorkerStartError if the system refuses.
        """
        self._loop = asyncio.get_running_loop()
        self._ending = asyncio.Event()
        self._ticker = Ticker(self._tick)
        self._rooms = build_rooms(self._name, self._plans, self._settings, self._intake, self)
        self._rooms.start_starter()

    def start_threads(self) -> None:
        """Starts the threads, after every queue's `prepare`. Raises WorkerStartError if the system refuses."""
        self._rooms.start_threads()

    async def abandon(self) -> None:
        """Undoes `prepare` and `start_threads`, of which one has failed. What was put is kept for another try."""
        self._loop = None
        self._rooms.stop_threads()
        await self._rooms.starter.stop()

    async def run(self) -> RunSummary:
        """Runs until stopped or done, after `prepare` and `start_threads`. Returns the summary.

        Raises:
            QuasiQueueError: WriterError, CollectorError, CrashLoopError or WorkerStartError, after an orderly end.
        """
        self.publish(RunStarted(self._name, self._wanted, start_method(self._settings)))
        feeding = asyncio.ensure_future(self._rooms.feeder.run())
        feeding.add_done_callback(self._on_feeding_done)
        collecting = None if self._rooms.collector is None else asyncio.ensure_future(self._rooms.collector.run())
        if collecting is not None:
            collecting.add_done_callback(self._on_collecting_done)
        self._rooms.supervisor.scale(self._wanted)
        self._rooms.supervisor.turn()
        self._tick()
        if self._pending_stop:
            self.stop(force=self._force, reason="stop()")
        cancelled: asyncio.CancelledError | None = None
        try:
            await self._ending.wait()
        except asyncio.CancelledError as error:
            cancelled = error
            self.stop(force=True, reason="cancelled")
        await self._shut_down(feeding, collecting)
        summary = RunSummary(**self._counts(), failures=tuple(self._rooms.tally.failures))
        self.publish(RunEnded(self._name, summary))
        if cancelled is not None:
            raise cancelled
        if self._error is not None:
            raise self._error
        return summary

    async def _shut_down(self, feeding: "asyncio.Task[None]", collecting: "asyncio.Task[None] | None") -> None:
        self._shutdown = Shutdown(
            intake=self._intake,
            feeder=self._rooms.feeder,
            feeding=feeding,
            dispatcher=self._rooms.dispatcher,
            settler=self._rooms.settler,
            supervisor=self._rooms.supervisor,
            starter=self._rooms.starter,
            close_collector=lambda seconds: self._close_collector(collecting, seconds),
            timeout=self._settings.graceful_shutdown_timeout,
        )
        if self._force:
            self._shutdown.force()
        # Shielded: a second cancellation must not leave processes behind.
        ending = asyncio.ensure_future(self._shutdown.run())
        while not ending.done():
            try:
                await asyncio.shield(ending)
            except asyncio.CancelledError:
                self._shutdown.force()
        ending.result()
        self._ticker.stop()
        self.has_ended = True
        self._rooms.stop_threads()

    async def _close_collector(self, collecting: "asyncio.Task[None] | None", seconds: float) -> None:
        if self._rooms.collector is None or collecting is None:
            return
        self._rooms.collector.close()
        until: float | None = None
        while not collecting.done() and (until is None or time.monotonic() < until):
            await asyncio.wait({collecting}, timeout=_LOOK_SECONDS)
            if until is None and self._stop_reason:  # a run that is done waits as long as it takes, until it is stopped
                until = time.monotonic() + seconds
        if not collecting.done():
            collecting.cancel()
            text = f"The collector did not come to an end; {self._rooms.collector.left} outcomes were not given to it."
            self.publish(Notice(self._name, text, warning=True))

    def _on_feeding_done(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            # What was accepted is finished first; then `run` raises this.
            self._error = self._error or _as_ours(error)
            self._rooms.feeder.has_ended = True
            self.schedule_turn()

    def _on_collecting_done(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(_as_ours(error))

    # Turning.

    def schedule_turn(self) -> None:
        """Has one turn run soon, however often it is asked for. On the loop only."""
        if not self._turn_is_due and self._loop is not None:
            self._turn_is_due = True
            self._loop.call_soon(self._turn_if_due)

    def _turn_if_due(self) -> None:
        if self._turn_is_due:
            self.turn()

    def turn_now(self) -> None:
        """Has a turn run as soon as the loop can; from any thread."""
        self.call_soon(self.turn)

    def turn(self) -> None:
        """Does all that can be done now: hands out, starts workers, lets the writer in, looks for the end."""
        self._turn_is_due = False
        if self.has_ended:
            return
        self._rooms.dispatcher.turn(time.monotonic())  # first of all: an item may be waiting for just this
        if self._rooms.supervisor.turn():
            self._rooms.dispatcher.turn(time.monotonic())
        self._rooms.feeder.tell_room()
        self._intake.tell_room()
        if self._shutdown is not None:
            self._shutdown.tell_progress()
        elif self._is_done():
            self._ending.set()
        self._wind()

    def _is_done(self) -> bool:
        return (
            self._rooms.feeder.has_ended
            and not self._intake.waiting
            and self._rooms.dispatcher.holds_nothing()
            and self._intake.close(only_if_empty=True)
        )

    def _tick(self) -> None:
        """Looks at everything that depends on time."""
        now = time.monotonic()
        self._rooms.supervisor.tick()
        if self._shutdown is None:
            self._rooms.dispatcher.recall()
            self._rooms.feeder.tick(now)
        if (expiry := self._intake.next_expiry()) is not None and now >= expiry:
            self._intake.expire(now, self._rooms.dispatcher.held_parcels)
        if now >= self._sampled_at + _SAMPLE_SECONDS:
            self._sampled_at = now
            self._rooms.tally.sample(now)
        self.turn()

    def _wind(self) -> None:
        """Sets the timer of the next tick, if it is not due soon enough already."""
        if self._loop is None or self.has_ended:
            return
        now = time.monotonic()
        held = self._rooms.dispatcher.held
        quiet_at = held.quiet_since + policy.STUCK_ANYWAY  # put off and off as long as all of them go on reporting
        self._ticker.watch(quiet_at if quiet_at > now else math.inf)
        interval = policy.tick_interval(
            held_behind=held.behind > 0 and (held.someone_idle or quiet_at <= now),
            someone_idle=held.someone_idle,
            has_running=held.items > 0,
            limit=self._settings.item_timeout if held.items else None,
            urgent=self._rooms.supervisor.has_urgent,
        )
        due = [
            now + interval,
            self._rooms.settler.next_due(),
            self._intake.next_expiry(),
            None if self._intake.backlog else self._rooms.feeder.next_harvest(now),
        ]
        self._ticker.wind(min(when for when in due if when is not None))

    # What workers and starters say.

    def on_frame(self, worker: Worker, frame: Frame) -> None:
        if frame.kind == Kind.REPORT:
            self._rooms.dispatcher.on_report(worker, unpack_report(frame.body), time.monotonic())
        elif frame.kind == Kind.RETURNED:
            self._rooms.dispatcher.on_returned(worker, unpack_ordinal(frame.body))

    def on_spoiled(self, outcome: Outcome[object]) -> None:
        """Counts an item anew that was done, and whose result then could not be unpickled. From any thread."""

        def count_anew() -> None:
            self._rooms.tally.count(Status.DONE, -1)
            self._rooms.tally.count(outcome.status)
            self._rooms.tally.keep(outcome)
            self.publish(ItemEnded(self._name, outcome))

        self.call_soon(count_anew)

    # What the user and signals ask for. On the loop, unless said otherwise.

    def call_soon(self, function: Callable[[], object]) -> None:
        """Runs a function on the loop; from any thread. Does nothing once the loop has ended."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(function)

    def put(self, item: object) -> bool:
        """See `QuasiQueue.put`. From any thread."""
        accepted = self._intake.put(item, timeout=self._settings.queue_interaction_timeout)
        self.turn_now()
        return accepted

    def stop(self, *, force: bool, reason: str) -> None:
        """Ends the run. Does nothing once it has ended."""
        if self.has_ended:
            return
        if self._loop is None:
            self._pending_stop, self._force = True, force
            return
        if not self._stop_reason or force:
            self.publish(StopRequested(self._name, reason, force))
        self._stop_reason = self._stop_reason or reason
        self._force = self._force or force
        # From this moment, not from the first step of the end: nothing more is handed out, no worker started.
        self._rooms.dispatcher.is_stopping = self._rooms.supervisor.is_stopping = True
        self._ending.set()
        if force and self._shutdown is not None:
            self._shutdown.force()

    def fail(self, error: QuasiQueueError) -> None:
        """Ends the run with an error."""
        self._error = self._error or error
        self.stop(force=False, reason=type(error).__name__)

    def on_signal(self, number: Signals) -> None:
        """Does what contract and documentation say of each signal."""
        match number:
            case Signals.SIGTERM | Signals.SIGINT:
                self.stop(force=bool(self._stop_reason), reason=number.name)
            case Signals.SIGHUP:
                self.recycle("SIGHUP")
            case Signals.SIGQUIT:
                self._dump_stacks()
            case Signals.SIGUSR1:
                self.publish(Notice(self._name, status_line(self.stats())))

    def _dump_stacks(self) -> None:
        self.publish(StacksDumped(self._name, None, *own_stacks()))
        before = {worker: len(worker.board.stacks()) for worker in self._rooms.supervisor.workers.values()}
        self._rooms.supervisor.dump_stacks()

        def read() -> None:
            for worker, begin in before.items():
                if worker.board.descriptor >= 0:
                    self.publish(StacksDumped(self._name, worker.slot, worker.pid or 0, worker.board.stacks()[begin:]))

        if self._loop is not None:
            self._loop.call_later(_STACK_SECONDS, read)

    def wake(self) -> None:
        """Has the writer asked now."""
        if self._loop is not None:
            self._rooms.feeder.wake()

    def pause(self, *, value: bool) -> None:
        """Stops or goes on handing out items."""
        self._rooms.dispatcher.is_paused = value
        self.schedule_turn()

    def scale(self, wanted: int) -> None:
        """Sets the number of workers."""
        self._wanted = wanted
        if self._loop is not None and self._shutdown is None:
            self._rooms.supervisor.scale(wanted)
            self.schedule_turn()

    def recycle(self, reason: str) -> None:
        """Has every worker replaced."""
        self._rooms.supervisor.recycle(reason)
        self.schedule_turn()

    # What it tells.

    def publish(self, event: Event) -> None:
        """Gives an event to every subscriber. One that fails is logged and changes nothing."""
        for subscriber in tuple(self._subscribers):
            try:
                subscriber(event)
            except Exception:  # the user's callable
                _log.exception("%s: a subscriber failed on %s", self._name, type(event).__name__)

    def _counts(self) -> Counts:
        return self._rooms.tally.counts(time.monotonic(), duplicates=self._intake.duplicates)

    def stats(self) -> Stats:
        """See `QuasiQueue.stats`. From any thread."""
        if self._loop is None:
            return Stats(waiting=self._intake.waiting)
        return make_stats(
            self._counts(),
            list(self._rooms.supervisor.workers.values()),
            backlog=self._intake.backlog,
            delayed=self._rooms.settler.delayed,
            rate=self._rooms.tally.rate(time.monotonic()),
            paused=self._rooms.dispatcher.is_paused,
        )


def _as_ours(error: BaseException) -> QuasiQueueError:
    if isinstance(error, QuasiQueueError):
        return error
    ours = QuasiQueueError(
        f"A part of QuasiQueue failed: {type(error).__name__}: {error}. This is a defect of ours; please report it "
        "with its traceback."
    )
    ours.__cause__ = error
    return ours
