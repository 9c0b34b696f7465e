"""What the supervisor asks of whoever starts processes: the template process, or multiprocessing's spawn.

Invariant: for each `start_worker` exactly one of `on_started` and `on_not_started` is called, and after `on_started`
exactly one `on_exited`, unless the starter itself is lost.
"""

import os
import socket
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Ends:
    """What a new worker gets.

    Attributes:
        line: its end of its line.
        bell: descriptor of its end of its bell.
        scoreboard: descriptor of its scoreboard, which the main process keeps open too.
    """

    line: socket.socket
    bell: int
    scoreboard: int

    def close(self) -> None:
        """Closes what is the worker's alone: it has got its own, or will never be."""
        self.line.close()
        os.close(self.bell)


class StarterEvents(Protocol):
    """What a starter reports, on the loop. Workers are named by their serial numbers."""

    def on_started(self, serial: int, pid: int) -> None:
        """A process was created."""

    def on_not_started(self, serial: int, reason: str) -> None:
        """The system refused a process."""

    def on_exited(self, serial: int, death: "Death") -> None:
        """A process has ended and was reaped."""

    def on_lost(self) -> None:
        """The starter is gone: nothing can be started, and no end is reported, any more."""


class Starter(Protocol):
    """Starts processes, signals them, reaps them."""

    def start(self) -> None:
        """Makes it ready to start workers."""

    def start_worker(self, serial: int, slot: int, ends: Ends) -> None:
        """Starts a worker on its ends, and closes them once it has got them."""

    def signal(self, pid: int, number: int, *, whole_group: bool = False) -> None:
        """Sends a signal to a worker, or to it and all that it started; does nothing if it has ended."""

    def poll(self) -> None:
        """Looks for ends that are not reported by themselves."""

    async def stop(self) -> None:
        """Ends the starter. Workers must have ended."""


@dataclass(frozen=True, slots=True)
class Death:
    """How a process ended.

    Attributes:
        code: its exit code; negative: the number of the signal that killed it.
        peak_memory: the most memory it ever had resident, in bytes; None where the system does not tell.
    """

    code: int
    peak_memory: int | None = None
