"""The main process' signals: handlers that only enqueue, and the old ones back at the end.

Invariant: after `restore` every handler is as it was before `install`. In a thread that is not the main one nothing is
installed, because Python allows it nowhere else.
"""

import asyncio
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1)


class SignalHandlers:
    """Hands signals to the loop.

    Args:
        on_signal: called on the loop with each signal that arrives.
    """

    def __init__(self, on_signal: Callable[[signal.Signals], None]) -> None:
        self._on_signal = on_signal
        self._old: dict[signal.Signals, Any] = {}

    def install(self) -> None:
        """Installs the handlers. Call it on the loop."""
        if threading.current_thread() is not threading.main_thread():
            return
        loop = asyncio.get_running_loop()

        def enqueue(number: int, _frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self._on_signal, signal.Signals(number))

        for number in HANDLED:
            self._old[number] = signal.getsignal(number)
            signal.signal(number, enqueue)

    def restore(self) -> None:
        """Puts the old handlers back. May be called twice."""
        for number, old in self._old.items():
            # None: it was not installed from Python, so it cannot be put back from Python either.
            signal.signal(number, signal.SIG_DFL if old is None else old)
        self._old = {}
