"""The face: `QuasiQueue` and `run_queues`. Looks at what the user gave, once, and passes calls on to the runtime."""

import asyncio
import logging
import os
import pickle
import sys
from collections.abc import AsyncIterable, Awaitable, Callable, Hashable, Iterable, Sequence
from multiprocessing import process
from signal import Signals
from typing import Any, Concatenate, Generic, TypeAlias

from ._callables import plan_collector, plan_context, plan_key, plan_reader, plan_writer
from ._main.logbook import Logbook
from ._main.signals import SignalHandlers
from ._rooms import Plans, start_method
from ._runtime import Runtime
from ._types import Done
from .errors import QueueClosed, UsageError
from .events import Event, ItemT, Outcome, RunSummary, Stats
from .settings import Settings, prefix_for, settings_for

if os.name != "posix":
    raise ImportError(
        "QuasiQueue runs on Linux and macOS: it needs process groups, Unix sockets and descriptor passing."
    )

Given: TypeAlias = "Iterable[ItemT | Done | None] | AsyncIterable[ItemT | Done | None] | Done | None"
Writer: TypeAlias = "Callable[..., Given[ItemT] | Awaitable[Given[ItemT]]]"


class QuasiQueue(Generic[ItemT]):
    """A set of worker processes kept busy with what a writer gives.

    Args:
        name: a non-empty string. It stands in process titles, in `multiprocessing.current_process().name`, in log
            lines, and makes the prefix of the environment variables.
        reader: `reader(item)`, or `reader(item, ctx)` with a context; sync or async. Called once per item, in a worker.
        writer: `writer(desired_items)`, sync or async, returning or yielding items; or any iterable or async iterable,
            for a run that ends when it is exhausted. Called in the main process.
        context: `context()`, sync or async, returning or yielding once what every reader call of a worker gets.
        collector: `collector(outcomes)`, sync or async: gets finished items in lists, in the main process.
        key: `key(item)`: what makes two items the same; None: this item is never a duplicate.
        settings: the settings; by default they are read from the environment with this queue's prefix.

    Raises:
        UsageError: something given cannot be called as described; the message names the fix.
        SettingsError: a setting in the environment has a wrong value.
    """

    def __init__(
        self,
        name: str,
        reader: Callable[[ItemT], object] | Callable[Concatenate[ItemT, ...], object],
        writer: "Writer[ItemT] | Iterable[ItemT] | AsyncIterable[ItemT]",
        context: Callable[..., object] | None = None,
        collector: Callable[[list[Outcome[ItemT]]], object]
        | Callable[Concatenate[list[Outcome[ItemT]], ...], object]
        | None = None,
        key: Callable[[ItemT], Hashable] | None = None,
        settings: Settings | None = None,
    ) -> None:
        prefix_for(name)  # refuses what is no name
        if settings is not None and not isinstance(settings, Settings):
            raise UsageError(f"settings= takes a quasiqueue.Settings, not a {type(settings).__name__}.")
        self._name = " ".join(name.split())
        self._plans = Plans(
            reader=plan_reader(reader, has_context=context is not None),
            writer=plan_writer(writer),
            context=plan_context(context),
            collector=plan_collector(collector),
            key=plan_key(key),
        )
        self._settings = settings_for(name) if settings is None else settings
        if start_method(self._settings) == "spawn":
            _refuse_unspawnable(self._plans, self._settings)
        self._subscribers: list[Callable[[Event], object]] = [Logbook(logging.getLogger("quasiqueue")).write]
        self._runtime = self._new_runtime()
        self._is_running = False
        self._process = os.getpid()

    def _new_runtime(self) -> Runtime:
        return Runtime(self._name, self._plans, self._settings, self._subscribers)

    @property
    def name(self) -> str:
        """The queue's name."""
        return self._name

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._settings

    async def main(self) -> RunSummary:
        """Runs until stopped or done; can be awaited inside any asyncio program, also in a thread.

        In the main thread it handles SIGTERM, SIGINT, SIGHUP, SIGQUIT and SIGUSR1 and puts the old handlers back at the
        end. Cancelling it kills the workers, in order.

        Returns:
            Counts by outcome, and the first failures.

        Raises:
            WriterError, CollectorError, CrashLoopError, WorkerStartError: the run could not go on.
        """
        return (await _run_all([self]))[0]

    def run(self) -> RunSummary:
        """Does the same, blocking, for programs that are not async. Returns and raises as `main` does."""
        return run_queues(self)[0]

    def _begin(self) -> Runtime:
        if self._is_running:
            raise UsageError(f"Queue {self._name!r} runs already: wait for main() to return before calling it again.")
        _refuse_inside_spawned_import(self._name)
        if self._runtime.has_ended:
            self._runtime = self._new_runtime()
        self._is_running = True
        self._process = os.getpid()
        return self._runtime

    def _here(self, method: str) -> Runtime:
        """Returns the runtime, if this is the process it runs in."""
        if self._is_running and os.getpid() != self._process:
            raise UsageError(
                f"{method} was called in a worker, which has only a copy of queue {self._name!r}: return what the main "
                "process needs to know, and have a collector call it there."
            )
        return self._runtime

    def stop(self, force: bool = False) -> None:
        """Ends the run: the writer is not asked again, workers finish what they run, the rest is released.

        Safe from any thread, and twice. Before `main()` it makes that end at once.

        Args:
            force: kill the workers now, whatever they run.
        """
        runtime = self._here("stop()")
        if self._is_running:
            runtime.call_soon(lambda: runtime.stop(force=force, reason="stop()"))
        else:
            runtime.stop(force=force, reason="stop()")

    def put(self, item: ItemT) -> bool:
        """Offers one item beside the writer, from any thread; before `main()` too.

        Returns:
            True; False if it is a duplicate.

        Raises:
            QueueFull: no room within `queue_interaction_timeout`; nothing was accepted.
            QueueClosed: the run is stopping or over.
        """
        runtime = self._here("put()")
        if runtime.has_ended:
            raise QueueClosed(f"The run of queue {self._name!r} is over: put items before or while it runs.")
        return runtime.put(item)

    def wake(self) -> None:
        """Asks the writer now, instead of at the end of its sleep. From any thread."""
        runtime = self._here("wake()")
        runtime.call_soon(runtime.wake)

    def pause(self) -> None:
        """Stops handing out items; what workers hold is finished. From any thread, while `main()` runs."""
        runtime = self._here("pause()")
        runtime.call_soon(lambda: runtime.pause(value=True))

    def resume(self) -> None:
        """Goes on handing out items. From any thread."""
        runtime = self._here("resume()")
        runtime.call_soon(lambda: runtime.pause(value=False))

    def scale(self, n: int) -> None:
        """Changes the number of workers while running; surplus ones finish what they hold. From any thread.

        Args:
            n: workers wanted, at least 1.

        Raises:
            UsageError: n is less than 1.
        """
        if n < 1:
            raise UsageError(f"scale({n}): at least one worker is needed; pause() stops handing out items.")
        runtime = self._here("scale()")
        if self._is_running:
            runtime.call_soon(lambda: runtime.scale(n))
        else:
            runtime.scale(n)

    def recycle(self) -> None:
        """Replaces every worker, one after the other, without losing capacity. From any thread."""
        runtime = self._here("recycle()")
        runtime.call_soon(lambda: runtime.recycle("recycle()"))

    def stats(self) -> Stats:
        """Returns counts, rates, sizes, and one entry per worker, as of now. From any thread."""
        return self._here("stats()").stats()

    def subscribe(self, fn: Callable[[Event], object]) -> None:
        """Has a function called with every event, in the main process, on the loop: it must not block.

        A subscriber that fails is logged and changes nothing.
        """
        self._subscribers.append(fn)


def run_queues(*queues: QuasiQueue[Any]) -> list[RunSummary]:
    """Runs several queues in one main process, with one set of signal handlers, until all are done or stopped.

    A signal, or the error of one of them, stops them all.

    Returns:
        Their summaries, in order.

    Raises:
        QuasiQueueError: as `QuasiQueue.main`; the first error, once all have ended.
    """
    if asyncio._get_running_loop() is not None:
        raise UsageError("A loop runs already in this thread, so this cannot block: await queue.main() instead.")
    return asyncio.run(_run_all(queues))


async def _run_all(queues: Sequence[QuasiQueue[Any]]) -> list[RunSummary]:
    runtimes = [queue._begin() for queue in queues]

    def on_signal(number: Signals) -> None:
        for runtime in runtimes:
            runtime.on_signal(number)

    handlers = SignalHandlers(on_signal)
    try:
        await _prepare_all(runtimes)
        handlers.install()
        tasks = [asyncio.ensure_future(runtime.run()) for runtime in runtimes]
        await _all_or_none(tasks, runtimes)
        return [task.result() for task in tasks]
    finally:
        handlers.restore()
        for queue in queues:
            queue._is_running = False


async def _prepare_all(runtimes: Sequence[Runtime]) -> None:
    """Starts what runs beside the loop, for all or for none."""
    begun: list[Runtime] = []
    try:
        for runtime in runtimes:  # all template processes before the first thread
            begun.append(runtime)
            runtime.prepare()
        for runtime in runtimes:
            runtime.start_threads()
    except BaseException:
        for runtime in begun:
            await runtime.abandon()
        raise


async def _all_or_none(tasks: Sequence["asyncio.Task[RunSummary]"], runtimes: Sequence[Runtime]) -> None:
    """Waits until all have ended; the first error stops the others; a cancellation reaches all."""
    pending = set(tasks)
    try:
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_EXCEPTION)
            if any(task.exception() for task in done):
                for runtime in runtimes:
                    if not runtime.has_ended:
                        runtime.stop(force=False, reason="another queue failed")
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        raise


def _refuse_unspawnable(plans: Plans, settings: Settings) -> None:
    parts = [("reader", plans.reader.function), ("settings", settings)]
    if plans.context is not None:
        parts.append(("context", plans.context.function))
    for word, part in parts:
        try:
            pickle.dumps(part)
        except Exception as error:  # pickle raises whatever the object's own methods do
            name = getattr(part, "__qualname__", type(part).__name__)
            raise UsageError(
                f"The {word} {name} cannot be imported by a spawned worker ({error}): define it at the top of a module "
                "(no lambda, no function inside a function), or use start_method='fork' on Linux."
            ) from None
    program = getattr(sys.modules.get("__main__"), "__file__", None)
    in_program = getattr(plans.reader.function, "__module__", None) == "__main__"
    if in_program and (program is None or not os.path.isfile(program)):
        raise UsageError(
            "The reader was defined in an interactive session or on standard input, which a spawned worker cannot "
            "import: put it into a module, or use start_method='fork' on Linux."
        )


def _refuse_inside_spawned_import(name: str) -> None:
    if getattr(process.current_process(), "_inheriting", False):
        raise UsageError(
            f"Queue {name!r} was started while a spawned worker imports the program: with start_method='spawn' the "
            'lines that run the queue must stand under `if __name__ == "__main__":`.'
        )
