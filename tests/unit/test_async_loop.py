"""The async loop of a worker, as far as it can be seen without a process."""

import asyncio
from types import SimpleNamespace

from quasiqueue._worker.async_loop import AsyncLoop


def test_line_thread_that_is_late_finds_nobody_and_says_nothing() -> None:
    """The bell may be heard after the worker's event loop has ended: there is nothing to wake or cancel any more."""
    inbox, board = SimpleNamespace(), SimpleNamespace(cells=[0])

    async def make() -> AsyncLoop:
        return AsyncLoop(inbox, None, board, reader=print, keep_results=False)  # type: ignore[arg-type]

    loop = asyncio.run(make())
    loop.wake()
    loop.cancel(1)
    assert (inbox.on_change, inbox.on_cancel) == (loop.wake, loop.cancel)
