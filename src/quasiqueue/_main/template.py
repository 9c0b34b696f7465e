"""The main process' side of the template process: forks it, asks it for workers, hears of their ends.

Invariant: the fork happens once, before any thread of ours runs; whatever threads the user's program has by then are
named in a warning, because what they hold at that moment stays held in the copy.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import NoReturn

from .._wire.channel import Channel, socket_pair
from .._wire.frames import Frame
from .._wire.messages import Kind, pack_values, unpack_values
from .._wire.spec import WorkerSpec
from .starter import Death, Ends, StarterEvents
from .worker import Line

ChildMain = Callable[[socket.socket, WorkerSpec, int], None]
_STOP_TIMEOUT = 2.0
OUR_THREADS = "quasiqueue-"
"""How the names of our own threads begin."""


class Template:
    """Starts workers by forking them from the template process.

    Args:
        spec: what workers are made with.
        child_main: the template's room; called in the child of the fork, never returns.
        events: hears of starts and ends.
        warn: takes a sentence that somebody should read.
    """

    def __init__(
        self, spec: WorkerSpec, *, child_main: ChildMain, events: StarterEvents, warn: Callable[[str], None]
    ) -> None:
        self._spec = spec
        self._child_main = child_main
        self._events = events
        self._warn = warn
        self._line: Line | None = None
        self._pid = 0
        self._held: dict[int, Ends] = {}
        self._is_stopping = False
        self._is_lost = False

    def start(self) -> None:
        """Forks the template process. Call it on the loop. Raises OSError if the system refuses."""
        self._name_threads()
        ours, theirs = socket_pair()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # what is buffered would be written twice; a stream may be anything
                stream.flush()
        main_pid = os.getpid()
        with contextlib.ExitStack() as on_failure, warnings.catch_warnings():
            on_failure.callback(ours.close)
            on_failure.callback(theirs.close)
            warnings.simplefilter("ignore", DeprecationWarning)  # `_name_threads` has said it, with the way out
            pid = os.fork()
            on_failure.pop_all()
        if pid == 0:
            self._become_template(ours, theirs, main_pid)
        theirs.close()
        self._pid = pid
        self._line = Line(Channel(ours, blocking=False), on_frame=self._on_frame, on_closed=self._on_closed)

    def _become_template(self, ours: socket.socket, theirs: socket.socket, main_pid: int) -> NoReturn:
        try:
            # The loop is the main process' alone: it is neither used nor closed here, only forgotten.
            asyncio._set_running_loop(None)
            ours.close()
            self._child_main(theirs, self._spec, main_pid)
        finally:
            os._exit(1)

    def _name_threads(self) -> None:
        others = [
            thread.name
            for thread in threading.enumerate()
            if thread is not threading.current_thread() and not thread.name.startswith(OUR_THREADS)
        ]
        if others:
            self._warn(
                f"Threads already run ({', '.join(others[:5])}): a lock that one of them holds at this moment stays "
                "held in every worker. Start them after main() has begun, or set start_method='spawn'."
            )

    def start_worker(self, serial: int, slot: int, ends: Ends) -> None:
        """Asks for a worker."""
        # The template gets copies; ours must stay open until the frame has left.
        if self._line is None or self._is_lost:
            ends.close()
            self._events.on_not_started(serial, "the template process is gone")
            return
        self._held[serial] = ends
        self._line.send(
            Kind.START, pack_values(serial, slot), descriptors=[ends.line.fileno(), ends.bell, ends.scoreboard]
        )

    def signal(self, pid: int, number: int, *, whole_group: bool = False) -> None:
        """Has the template send a signal: it alone knows whether the number is still that worker's."""
        if self._is_lost:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                (os.killpg if whole_group else os.kill)(pid, number)
        elif self._line is not None:
            self._line.send(Kind.SIGNAL, pack_values(pid, number, whole_group))

    def poll(self) -> None:
        """Nothing to do: the template reports."""

    def _on_frame(self, frame: Frame) -> None:
        serial, *rest = unpack_values(frame.body)
        if (ends := self._held.pop(serial, None)) is not None:
            ends.close()
        match frame.kind:
            case Kind.STARTED:
                self._events.on_started(serial, rest[0])
            case Kind.NOT_STARTED:
                self._events.on_not_started(serial, rest[0])
            case Kind.EXITED:
                self._events.on_exited(serial, Death(*rest))

    def _let_go_of_ends(self) -> None:
        """Closes those that were sent and whose arrival nobody has told of."""
        for ends in self._held.values():
            ends.close()
        self._held.clear()

    def _on_closed(self) -> None:
        self._let_go_of_ends()
        if not self._is_stopping:
            self._is_lost = True
            self._reap()
            self._events.on_lost()

    def _reap(self) -> bool:
        if self._pid:
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(self._pid, os.WNOHANG) == (0, 0):
                    return False
            self._pid = 0
        return True

    async def stop(self) -> None:
        """Closes the line, at which the template ends, and reaps it."""
        self._is_stopping = True
        if self._line is not None:
            self._line.send(Kind.STOP)  # another queue's template may hold a copy of our end, so closing is not enough
            self._line.close()
        self._let_go_of_ends()
        until = time.monotonic() + _STOP_TIMEOUT
        while not self._reap():
            if time.monotonic() > until:
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)  # noqa: ASYNC222 - it was killed: this returns at once
                self._pid = 0
                return
            await asyncio.sleep(0.001)
