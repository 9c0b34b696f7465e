"""The timer of the next look at everything that depends on time.

What is due sooner moves it forward; what is due later waits for the look before it. Beside that there is one look that
can be put off, because what it is for may turn out to be needless.
"""

import asyncio
import math
import time
from collections.abc import Callable


class Ticker:
    """One timer, and the watch. Make it on the loop.

    Args:
        tick: called when one of them is due; nothing is due then until it is wound again.
    """

    def __init__(self, tick: Callable[[], None]) -> None:
        self._tick = tick
        self._loop = asyncio.get_running_loop()
        self._due_at = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._watch: asyncio.TimerHandle | None = None

    def wind(self, at: float) -> None:
        """Has a tick come at this monotonic time, if none comes sooner."""
        if at < self._due_at:
            self._cancel_timer()
            self._due_at = at
            self._timer = self._call_at(at)

    def watch(self, at: float) -> None:
        """Has a tick come at this monotonic time too, instead of the last that was asked for here; infinity: none."""
        if self._watch is not None:
            self._watch.cancel()
        self._watch = None if at == math.inf else self._call_at(at)

    def _call_at(self, at: float) -> asyncio.TimerHandle:
        return self._loop.call_later(max(0.0, at - time.monotonic()), self._ring)

    def _ring(self) -> None:
        self.stop()
        self._tick()

    def stop(self) -> None:
        """Takes back the ticks that would come. May be called twice."""
        self._cancel_timer()
        self.watch(math.inf)

    def _cancel_timer(self) -> None:
        self._due_at = math.inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
