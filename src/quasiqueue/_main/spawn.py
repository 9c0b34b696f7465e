"""Starts workers with multiprocessing's spawn, for programs that must not fork.

Each worker is a child of the main process and imports the program afresh. A guard process beside them ends what they
have started if the main process dies. Invariant: as for every starter; ends are found by `poll`, because nobody else
may wait for these children.
"""

import contextlib
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import DupFd

from .._wire.spec import WorkerSpec
from .starter import Death, Ends, StarterEvents

SpawnedMain = Callable[[WorkerSpec, int, socket.socket, int, int, int], None]


class Spawn:
    """Starts workers by spawning them.

    Args:
        spec: what workers are made with; everything in it can be pickled.
        child_main: first code in the child.
        guard_program: path of the program that ends what workers have started, should the main process die.
        process_name: gives a worker's name from the queue's name and the slot.
        events: hears of starts and ends.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        *,
        child_main: SpawnedMain,
        guard_program: str,
        process_name: Callable[[str, int], str],
        events: StarterEvents,
    ) -> None:
        self._spec = spec
        self._child_main = child_main
        self._guard_program = guard_program
        self._guard: subprocess.Popen[str] | None = None
        self._process_name = process_name
        self._events = events
        self._context = multiprocessing.get_context("spawn")
        self._processes: dict[int, BaseProcess] = {}

    def start(self) -> None:
        """Starts the guard. Raises OSError if the system refuses."""
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", self._guard_program],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )

    def _tell_guard(self, line: str) -> None:
        if self._guard is not None and self._guard.stdin is not None:
            with contextlib.suppress(OSError):  # somebody killed it: then the kernel's signal alone has to do
                self._guard.stdin.write(line)
                self._guard.stdin.flush()

    def start_worker(self, serial: int, slot: int, ends: Ends) -> None:
        """Starts a worker."""
        process = self._context.Process(
            target=self._child_main,
            args=(self._spec, slot, ends.line, _Descriptor(ends.bell), _Descriptor(ends.scoreboard), os.getpid()),
            name=self._process_name(self._spec.queue, slot),
            daemon=False,
        )
        try:
            process.start()
        except OSError as error:
            self._events.on_not_started(serial, str(error))
            return
        finally:
            ends.close()
        self._processes[serial] = process
        self._tell_guard(f"+{process.pid}\n")
        self._events.on_started(serial, process.pid or 0)

    def signal(self, pid: int, number: int, *, whole_group: bool = False) -> None:
        """Sends a signal. The number is the worker's own as long as `poll` has not reaped it."""
        if any(process.pid == pid and process.exitcode is None for process in self._processes.values()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if whole_group and os.getpgid(pid) == pid:
                    os.killpg(pid, number)
                else:
                    os.kill(pid, number)

    def poll(self) -> None:
        """Reaps workers that have ended, and reports them."""
        for serial, process in list(self._processes.items()):
            if (code := process.exitcode) is None:
                continue
            pid = process.pid or 0
            del self._processes[serial]
            process.close()
            # Its number is free now, but a group that still has members keeps the number of its leader.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            self._tell_guard(f"-{pid}\n")
            self._events.on_exited(serial, Death(code))

    async def stop(self) -> None:
        """Ends the guard; workers have ended."""
        if self._guard is not None:
            self._guard.communicate()
            self._guard = None


class _Descriptor:
    """A descriptor on its way to a spawned child, where it becomes one of the child's."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return _detach, (DupFd(self._number),)


def _detach(wrapped: object) -> object:
    return wrapped.detach()  # type: ignore[attr-defined]  # typeshed knows no type for what DupFd gives
