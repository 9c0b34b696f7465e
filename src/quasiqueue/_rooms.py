"""Builds the rooms of one run and connects them.

The runtime names what the rooms shall call; this file knows which room takes what. Invariant: nothing runs yet when
`build_rooms` returns: no process, no thread, no task.
"""

import random
import sys
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Protocol

from ._callables import CollectorPlan, ContextPlan, ReaderPlan, WriterPlan
from ._main.collector import Collector
from ._main.dispatcher import Dispatcher
from ._main.feeder import Feeder
from ._main.intake import Intake
from ._main.ledger import Autopsy
from ._main.limits import Limits
from ._main.settler import Settler
from ._main.source import Source
from ._main.spawn import Spawn
from ._main.starter import Starter, StarterEvents
from ._main.supervisor import Supervisor
from ._main.tally import Tally
from ._main.template import Template
from ._main.threads import CallThread
from ._main.worker import Worker
from ._template import guard
from ._template.process import run_template
from ._wire.frames import Frame
from ._wire.spec import WorkerSpec
from ._worker.entry import process_name, run_spawned_worker, run_worker
from ._worker.process import set_title
from .errors import QuasiQueueError, WorkerStartError
from .events import Event, Notice, Outcome
from .settings import Settings


@dataclass(frozen=True, slots=True)
class Plans:
    """The user's callables, looked at once."""

    reader: ReaderPlan
    writer: WriterPlan
    context: ContextPlan | None
    collector: CollectorPlan | None
    key: Callable[[object], Hashable] | None


def start_method(settings: Settings) -> str:
    """Returns how workers are started: "fork" or "spawn"."""
    if settings.start_method != "auto":
        return settings.start_method
    return "spawn" if sys.platform == "darwin" else "fork"


class Hooks(Protocol):
    """What the rooms call."""

    def publish(self, event: Event) -> None:
        """Gives an event to every subscriber."""

    def turn(self) -> None:
        """Runs one turn; on the loop."""

    def schedule_turn(self) -> None:
        """Has one turn run soon."""

    def turn_now(self) -> None:
        """Has a turn run as soon as the loop can; from any thread."""

    def fail(self, error: QuasiQueueError) -> None:
        """Ends the run with an error."""

    def on_frame(self, worker: Worker, frame: Frame) -> None:
        """Takes a frame that is about items."""

    def on_spoiled(self, outcome: Outcome[object]) -> None:
        """Takes an outcome that was counted as done and whose result cannot be unpickled; from any thread."""


@dataclass(frozen=True, slots=True)
class Rooms:
    """The rooms of one run.

    Attributes:
        queue: the queue's name.
        threads: for the user's blocking functions.
        needed_threads: those of them that the run cannot do without; another starts with the first call that needs it.
    """

    queue: str
    tally: Tally
    settler: Settler
    dispatcher: Dispatcher
    supervisor: Supervisor
    feeder: Feeder
    collector: Collector | None
    starter: Starter
    threads: tuple[CallThread, ...]
    needed_threads: tuple[CallThread, ...]

    def start_starter(self) -> None:
        """Starts what starts workers. Raises WorkerStartError if the system refuses."""
        try:
            self.starter.start()
        except OSError as error:
            raise self._refused(error) from error

    def start_threads(self) -> None:
        """Starts the needed threads: now, as the workers could become as many as the system allows.

        Raises WorkerStartError if the system refuses.
        """
        try:
            for thread in self.needed_threads:
                thread.start()
        except RuntimeError as error:
            raise self._refused(error) from error

    def stop_threads(self) -> None:
        """Lets the threads end, and waits a moment for them."""
        for thread in self.threads:
            thread.stop()
            thread.join(0.2)

    def _refused(self, error: Exception) -> WorkerStartError:
        return WorkerStartError(
            f"Queue {self.queue!r} cannot be started ({error}). The system is out of processes, memory or descriptors: "
            "raise its limits."
        )


def build_rooms(name: str, plans: Plans, settings: Settings, intake: Intake, hooks: Hooks) -> Rooms:
    """Builds the rooms. Call it on the loop.

    Args:
        name: the queue's name.
        plans: the user's callables.
        settings: the settings in force.
        intake: the door; it exists before the run, because items may be put then.
        hooks: what the rooms call.
    """
    chance = random.Random()
    is_async = plans.reader.is_async
    tally = Tally(time.monotonic())
    writer_thread = CallThread("quasiqueue-writer")
    collector_thread = CallThread("quasiqueue-collector")
    collector = None
    if plans.collector is not None:
        collector = Collector(
            plans.collector,
            settings=settings,
            thread=collector_thread,
            publish=hooks.publish,
            on_room=hooks.schedule_turn,
            on_spoiled=hooks.on_spoiled,
            queue=name,
        )
    settler = Settler(
        intake,
        tally,
        settings=settings,
        publish=hooks.publish,
        collect=None if collector is None else collector.put,
        queue=name,
        chance=chance,
    )
    workers: dict[int, Worker] = {}
    dispatcher = Dispatcher(
        intake,
        settler,
        workers=workers.values(),
        is_async=is_async,
        may_collect=(lambda: True) if collector is None else collector.has_room,
    )

    def on_death(worker: Worker) -> Autopsy:
        return dispatcher.on_death(worker, time.monotonic())

    supervisor = Supervisor(
        settings=settings,
        queue=name,
        is_async=is_async,
        workers=workers,
        tally=tally,
        settler=settler,
        publish=hooks.publish,
        on_frame=hooks.on_frame,
        on_death=on_death,
        limits=Limits(settings, queue=name, publish=hooks.publish, cancel=dispatcher.cancel),
        seconds_per_item=lambda: dispatcher.seconds_per_item,
        at_hand=lambda: intake.backlog,
        is_last=lambda: feeder.has_ended,
        fail=hooks.fail,
        on_change=hooks.schedule_turn,
        turn=hooks.turn,
        chance=chance,
        wall=time.monotonic,
    )
    feeder = Feeder(
        intake,
        Source(plans.writer, settings),
        settings=settings,
        thread=writer_thread,
        publish=hooks.publish,
        on_items=hooks.schedule_turn,
        queue=name,
    )
    feeder.is_hungry = dispatcher.is_hungry
    feeder.tell_items = hooks.turn_now
    starter = _make_starter(name, plans, settings, supervisor, hooks)
    supervisor.starter = starter
    needed_threads = [] if plans.writer.is_async else [writer_thread]
    if plans.collector is not None and not plans.collector.is_async:
        needed_threads.append(collector_thread)
    return Rooms(
        queue=name,
        tally=tally,
        settler=settler,
        dispatcher=dispatcher,
        supervisor=supervisor,
        feeder=feeder,
        collector=collector,
        starter=starter,
        threads=(writer_thread, collector_thread),
        needed_threads=tuple(needed_threads),
    )


def _make_starter(name: str, plans: Plans, settings: Settings, events: StarterEvents, hooks: Hooks) -> Starter:
    spec = WorkerSpec(
        queue=name,
        reader=plans.reader,
        context=plans.context,
        settings=settings,
        lanes=settings.concurrent_tasks_per_process if plans.reader.is_async else 1,
        keep_results=plans.collector is not None,
    )
    if start_method(settings) == "spawn":
        return Spawn(
            spec,
            child_main=run_spawned_worker,
            guard_program=guard.__file__,
            process_name=process_name,
            events=events,
        )
    return Template(
        spec,
        child_main=lambda line, spec, main_pid: run_template(
            line, spec, main_pid, run_worker=run_worker, process_name=process_name, set_title=set_title
        ),
        events=events,
        warn=lambda text: hooks.publish(Notice(name, text, warning=True)),
    )
