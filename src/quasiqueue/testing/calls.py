"""Calls the user's functions in this thread, async ones in a loop of their own that runs only meanwhile.

Sync functions are called outside of any loop, so they may run one themselves, as they may in a worker. Invariant: the
loop is the same for all calls, and is closed at the end.
"""

import asyncio
import bdb
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from types import CoroutineType
from typing import Any, TypeVar, cast

from .._callables import CollectorPlan, ReaderPlan
from .._main.source import Source
from .._worker.context import ContextLife
from ..errors import UsageError

T = TypeVar("T")

ERRORS = (Exception, SystemExit, GeneratorExit, asyncio.CancelledError)
"""What a reader may raise without stopping an inline run that keeps errors in."""


def must_come_out(error: BaseException) -> bool:
    """Tells whether an exception is meant for whoever runs the test: Ctrl-C, the end of a debugger, `pytest.fail`."""
    return isinstance(error, bdb.BdbQuit) or not isinstance(error, ERRORS)


class Calls:
    """Makes calls; a context manager."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None

    def __enter__(self) -> "Calls":
        return self

    def __exit__(self, *_: object) -> None:
        if self._runner is not None:
            self._runner.close()

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine to its end. Returns and raises what it does; UsageError if a loop runs in this thread."""
        if asyncio._get_running_loop() is not None:
            coroutine.close()
            raise UsageError(
                "A loop runs already in this thread, and the queue has async parts: call this from a test that is not "
                "async, or as `await asyncio.to_thread(run_inline, queue)`."
            )
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(coroutine)

    def close(self, source: Source) -> None:
        """Ends an open generator of the writer."""
        if self._runner is not None and asyncio._get_running_loop() is None:
            self.wait(source.close_async())
        source.close()

    @contextlib.contextmanager
    def context(self, life: ContextLife, *, instead: object) -> Iterator[object]:
        """Makes the context, gives its value, and ends it.

        Args:
            life: the queue's own.
            instead: a value to give in its place; None: none.
        """
        if instead is not None:
            yield instead
            return
        if life.is_async:
            self.wait(life.begin_async())
        else:
            life.begin()
        try:
            yield life.value
        finally:
            if life.is_async:
                self.wait(life.end_async())
            else:
                life.end()

    def read(self, plan: ReaderPlan, reader: Callable[[object], object], item: object) -> object:
        """Calls the reader. Returns and raises what it does."""
        if plan.is_async:
            return self.wait(_awaited(reader, item))
        result = reader(item)
        if type(result) is CoroutineType:
            result.close()
            raise TypeError(
                "the reader returned a coroutine, so nothing ran: declare it with `async def`, or await it inside"
            )
        return result

    def collect(self, plan: CollectorPlan, outcomes: list[object], settings: object) -> None:
        """Calls the collector. Raises what it does."""
        if plan.is_async:
            self.wait(_awaited(lambda given: plan.call(cast(list[object], given), settings), outcomes))
            return
        answer = plan.call(outcomes, settings)
        if type(answer) is CoroutineType:
            answer.close()
            raise TypeError("the collector returned a coroutine, so nothing ran: declare it with `async def`")


async def _awaited(function: Callable[[object], object], argument: object) -> object:
    result = function(argument)
    return await cast(Awaitable[object], result) if isinstance(result, Awaitable) else result
