"""The timer of the next look at everything that depends on time.

There is one, and it is moved forward whenever something is due sooner; what is due later waits for the look before it.
"""

import asyncio
import math
import time
from collections.abc import Callable


class Ticker:
    """One timer. Make it on the loop.

    Args:
        tick: called when it is due; nothing is due then until it is wound again.
    """

    def __init__(self, tick: Callable[[], None]) -> None:
        self._tick = tick
        self._loop = asyncio.get_running_loop()
        self._due_at = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def wind(self, at: float) -> None:
        """Has a tick come at this monotonic time, if none comes sooner."""
        if at < self._due_at:
            self.stop()
            self._due_at = at
            self._timer = self._loop.call_later(max(0.0, at - time.monotonic()), self._ring)

    def _ring(self) -> None:
        self._due_at = math.inf
        self._tick()

    def stop(self) -> None:
        """Takes back the tick that would come. May be called twice."""
        self._due_at = math.inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
