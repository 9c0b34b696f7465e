"""A thread of ours that runs the user's blocking functions for the loop, one call at a time.

The writer has one and the collector has one. Both are daemon threads, because a call that never comes back must not
keep the program from ending. Invariant: the result of a call reaches the loop, or the loop has gone.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class CallThread:
    """Runs calls in a thread.

    Args:
        name: the thread's name.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Starts the thread, if it does not run yet. Raises RuntimeError if the system refuses."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            thread.start()
            self._thread = thread

    async def call(self, function: Callable[[], T]) -> T:
        """Runs a function in the thread and waits for it. Returns what it returns; raises what it raises.

        If the waiting task is cancelled, the function goes on and its result is dropped.
        """
        self.start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def run() -> None:
            try:
                result = function()
            except BaseException as error:  # the user's callable: what it raised goes to whoever waits for it
                deliver(_fail, error)
            else:
                deliver(_succeed, result)

        def deliver(how: Callable[..., None], value: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and with it whoever waited
                loop.call_soon_threadsafe(how, future, value)

        self._calls.put(run)
        return await future

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()

    def stop(self) -> None:
        """Lets the thread end after the call that it is at. Does not wait; `join` does."""
        self._calls.put(None)

    def join(self, timeout: float) -> None:
        """Waits for the thread to end, at most `timeout` seconds."""
        if self._thread is not None:
            self._thread.join(timeout)


def is_being_cancelled() -> bool:
    """Tells whether the current task was asked to end: a CancelledError is then no failure of the user's code."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _succeed(future: "asyncio.Future[T]", value: T) -> None:
    if not future.done():
        future.set_result(value)


def _fail(future: "asyncio.Future[T]", error: BaseException) -> None:
    if not future.done():
        # A future cannot carry StopIteration, and these two would end the loop instead of the call.
        if isinstance(error, (StopIteration, KeyboardInterrupt, SystemExit)):
            wrapped = RuntimeError(f"{type(error).__name__} was raised: {error}")
            wrapped.__cause__ = error
            error = wrapped
        future.set_exception(error)
