"""The stand-in for a runtime: one run of a queue with neither workers nor threads, on a virtual clock.

It takes the runtime's place in the queue for the time of the run, so that `put()`, `stop()` and the others reach it.
The rooms that decide are the engine's: the door, the source, the settler; what dispatcher and collector do with
processes and real time is done here in a plain loop, one turn after the other. Invariant: every accepted item ends in
exactly one outcome, unless an exception ends the run.
"""

import os
import pickle
import random
import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import cast

from .._main import policy
from .._main.intake import Intake
from .._main.parcel import Parcel
from .._main.settler import Finished, Settler
from .._main.source import Source
from .._main.tally import Counts, Tally
from .._main.texts import error_info, item_text
from .._main.worker import Line, Worker
from .._rooms import Plans
from .._runtime import Runtime
from .._wire.codec import ItemBlob, encode_item
from .._wire.messages import RecordKind
from .._wire.scoreboard import Record, Scoreboard
from .._worker.context import ContextLife
from .._worker.failures import describe
from ..errors import CollectorError, Reject, Retry, UsageError
from ..events import (
    CollectorFailed,
    Event,
    Outcome,
    RunEnded,
    RunStarted,
    RunSummary,
    Stats,
    Status,
    StopRequested,
)
from ..settings import Settings
from .calls import ERRORS, Calls, must_come_out
from .clock import VirtualClock
from .feeding import InlineFeeder

_REQUESTS = (Retry, Reject)


class ClockedIntake(Intake):
    """The door, with another clock: `put` reads one of its own."""

    def __init__(
        self, clock: VirtualClock, *, capacity: int, window: float, key: Callable[[object], Hashable] | None
    ) -> None:
        super().__init__(capacity=capacity, window=window, key=key)
        self._clock = clock

    def accept(self, items: list[object], now: float, *, types: set[type] | None = None) -> int:
        """Takes in what is no duplicate, now on the virtual clock."""
        return super().accept(items, self._clock.now(), types=types)


class NoJitter(random.Random):
    """Chance that leaves every pause as long as it is."""

    def random(self) -> float:
        """Returns 0."""
        return 0.0


class Bench(Runtime):
    """One inline run.

    Args:
        name, plans, settings, subscribers: as for a runtime.
        clock: the time.
        most: items to accept from the writer; None: any number.
        idle_rounds: how often in a row it may say that it has nothing.
        raise_errors: whether the user's exceptions come out.
    """

    def __init__(
        self,
        name: str,
        plans: Plans,
        settings: Settings,
        subscribers: Sequence[Callable[[Event], object]],
        *,
        clock: VirtualClock,
        most: int | None,
        idle_rounds: int,
        raise_errors: bool,
    ) -> None:
        super().__init__(name, plans, settings, subscribers)
        self._clock = clock
        self._raise_errors = raise_errors
        self._caught: tuple[type[BaseException], ...] = _REQUESTS if raise_errors else ERRORS
        self._intake: Intake = ClockedIntake(
            clock, capacity=settings.max_queue_size, window=settings.prevent_requeuing_time, key=plans.key
        )
        self._tally = Tally(clock.now())
        self._settler = Settler(
            self._intake,
            self._tally,
            settings=settings,
            publish=self.publish,
            collect=self._keep,
            queue=name,
            chance=NoJitter(),
        )
        self._worker = Worker(
            serial=1,
            slot=0,
            line=cast(Line, None),  # it is this process: there is no line to it
            board=cast(Scoreboard, None),
            lanes=1,
            is_async=plans.reader.is_async,
            max_jobs=None,
            due_at_jobs=None,
            started_at=clock.now(),
            pid=os.getpid(),
        )
        self._calls = Calls()
        self._feeder = InlineFeeder(
            self._intake,
            Source(plans.writer, settings),
            settings=settings,
            clock=clock,
            calls=self._calls,
            publish=self.publish,
            queue=name,
            most=most,
            idle_rounds=idle_rounds,
            raise_errors=raise_errors,
        )
        self._reader: Callable[[object], object] = plans.reader.function
        self._result: object = None
        self._uncollected: list[Outcome[object]] = []
        self.outcomes: list[Outcome[object]] = []
        self._thread = threading.get_ident()
        self._is_reading = False
        self._is_paused = False
        self._stopped = False

    # The run.

    def take_over(self, runtime: Runtime) -> None:
        """Takes what was put into the queue before, and a stop that was asked for."""
        for parcel in runtime._intake.take_all():
            self._intake.accept(list(parcel.items), 0.0)
        for refused in runtime._intake.take_refused():
            self._intake.accept([refused.item], 0.0)
        self._stopped = runtime._pending_stop

    def run_inline(self, ctx: object) -> RunSummary:
        """Runs to the end. Returns the summary; raises as `testing.run_inline` does."""
        self.publish(RunStarted(self._name, 1, "inline"))
        life = ContextLife(self._plans.context, self._settings)
        with self._calls:
            try:
                with self._calls.context(life, instead=ctx) as value:
                    self._reader = self._plans.reader.bind(value, self._settings)
                    while self._inline_turn():
                        pass
                self._release()
            finally:
                self.has_ended = True
                self._intake.close()
                self._feeder.close()
        summary = RunSummary(**self._counts(), failures=tuple(self._tally.failures))
        self.publish(RunEnded(self._name, summary))
        if self._feeder.error is not None:
            raise self._feeder.error
        return summary

    def _inline_turn(self) -> bool:
        """Does the next thing: runs an item, asks the writer, or lets time pass. Returns False at the end."""
        if self._stopped:
            return False
        now = self._clock.now()
        if (expiry := self._intake.next_expiry()) is not None and now >= expiry:
            self._intake.expire(now, self._settler.delayed_parcels)
        self._fail_refused()
        self._settler.bring_due(now)
        self._intake.elsewhere = self._settler.delayed
        if not self._is_paused and (parcel := self._intake.take(1)) is not None:
            self._run_item(parcel)
            self._feeder.tell_run()
        elif self._uncollected:
            self._give_to_collector()
        elif self._feeder.may_ask() and now >= self._feeder.resume_at:
            self._feeder.turn()
        else:
            return self._pass_time(now)
        return True

    def _pass_time(self, now: float) -> bool:
        due = [self._settler.next_due(), self._feeder.resume_at if self._feeder.may_ask() else None]
        times = [at for at in due if at is not None and at > now]
        if times:
            self._clock.advance(min(times) - now)
        return bool(times)

    def _release(self) -> None:
        self._intake.close()  # what a collector would put now could not have an outcome
        self._settler.is_stopping = True
        self._fail_refused()
        for parcel in self._intake.take_all():
            self._settler.release(parcel)
        self._settler.release_delayed()
        if self._uncollected:
            self._give_to_collector()

    # Items.

    def _fail_refused(self) -> None:
        for refused in self._intake.take_refused():
            if self._raise_errors:
                raise refused.error
            self._settler.fail_unsent(Parcel([refused.item], None, None, bulk=False), error_info(refused.error))

    def _run_item(self, parcel: Parcel) -> None:
        ordinal = self._worker.ledger.hand(parcel)
        (holding,) = self._worker.ledger.strike(ordinal, ordinal)
        blob = None
        if not parcel.bulk:
            try:
                encoded = encode_item(parcel.items[0])
            except Exception as error:  # the item's own methods
                if self._raise_errors:
                    raise
                told = error_info(error)
                text = f"The item {item_text(parcel.items[0])} cannot be pickled: {told.message}"
                self._settler.fail_unsent(parcel, replace(told, message=text))
                return
            self._worker.carried[ordinal] = encoded.carried
            blob = ItemBlob(b"".join(encoded.parts), [os.dup(number) for number in encoded.descriptors()])
        began = self._clock.now()
        self._is_reading = True
        try:
            self._read(parcel.items[0] if blob is None else blob.decode())
            kind, payload = RecordKind.RESULT, b""
        except self._caught as error:
            if must_come_out(error):
                raise
            kind, said = describe(error)
            payload = bytes(said)
        finally:
            self._is_reading = False
        now = self._clock.now()
        self._settler.settle(self._worker, holding, {ordinal: Record(ordinal, now - began, kind, payload)}, now)

    def _read(self, item: object) -> None:
        result = self._calls.read(self._plans.reader, self._reader, item)
        if self._plans.collector is not None:  # otherwise no result is sent back, and none has to be one that can be
            result = pickle.loads(pickle.dumps(result, pickle.HIGHEST_PROTOCOL))
        self._result = result

    def _keep(self, finished: Sequence[Finished]) -> None:
        for one in finished:
            is_done = one.outcome.status is Status.DONE
            outcome = replace(one.outcome, result=self._result) if is_done else one.outcome
            self._result = None
            self.outcomes.append(outcome)
            if self._plans.collector is not None:
                self._uncollected.append(outcome)

    def _give_to_collector(self) -> None:
        outcomes, self._uncollected = self._uncollected, []
        plan = self._plans.collector
        failures = 0
        while plan is not None:
            try:
                self._calls.collect(plan, list(outcomes), self._settings)
                return
            except Exception as error:
                if self._raise_errors or must_come_out(error):
                    raise
                failures += 1
                self._back_off(error, failures)

    def _back_off(self, error: Exception, failures: int) -> None:
        told = error_info(error)
        if failures >= self._settings.writer_max_errors:
            raise CollectorError(
                f"The collector of queue {self._name!r} failed {failures} times in a row with the same outcomes. The "
                f"last error was {told.type}: {told.message}."
            ) from error
        pause = policy.growing_pause(failures)
        self.publish(CollectorFailed(self._name, told, failures, pause))
        self._clock.advance(pause)

    # What the user asks for while it runs.

    def call_soon(self, function: Callable[[], object]) -> None:
        """Runs a function, now."""
        function()

    def _refuse_in_reader(self, word: str) -> None:
        if self._is_reading and threading.get_ident() == self._thread:
            raise UsageError(
                f"{word}() was called by the reader, which has only a copy of the queue in a real run, where nothing "
                "would happen: return what is to be done, and have a collector do it."
            )

    def put(self, item: object) -> bool:
        """See `QuasiQueue.put`."""
        self._refuse_in_reader("put")
        return self._intake.put(item, timeout=0.0)

    def stop(self, *, force: bool, reason: str) -> None:
        """Ends the run after the item that runs."""
        self._refuse_in_reader("stop")
        if not self._stopped:
            self.publish(StopRequested(self._name, reason, force))
        self._stopped = True

    def wake(self) -> None:
        """Has the writer asked now."""
        self._feeder.wake()

    def pause(self, *, value: bool) -> None:
        """Stops or goes on handing out items; a run that can do nothing else ends."""
        self._is_paused = value

    def scale(self, wanted: int) -> None:
        """Does nothing: there are no workers."""

    def recycle(self, reason: str) -> None:
        """Does nothing: there are no workers."""

    def _counts(self) -> Counts:
        return self._tally.counts(self._clock.now(), duplicates=self._intake.duplicates)

    def stats(self) -> Stats:
        """See `QuasiQueue.stats`."""
        waiting = self._intake.backlog + self._settler.delayed
        return Stats(**self._counts(), waiting=waiting, running=int(self._is_reading), paused=self._is_paused)
