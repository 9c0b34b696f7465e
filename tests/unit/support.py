"""Stand-ins for what surrounds a room: a worker that is no process, settings that no environment changes."""

import os
from collections.abc import Callable, Sequence

from quasiqueue import Settings
from quasiqueue._main.worker import Worker
from quasiqueue._wire.scoreboard import Progress
from quasiqueue.events import WorkerState


class FakeLine:
    """A line that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, tuple[object, ...]]] = []
        self.is_open = True
        self.has_unsent = False

    def send(self, kind: int, parts: Sequence[object] = (), *, descriptors: Sequence[int] = ()) -> None:
        """Keep a message."""
        self.sent.append((int(kind), tuple(parts)))

    def close(self) -> None:
        """Close it."""
        self.is_open = False


class FakeBoard:
    """A scoreboard that is filled by hand."""

    def __init__(self) -> None:
        self.started = 0
        self.running: set[int] = set()

    def progress(self) -> Progress:
        """Give what was filled in."""
        return Progress(max([self.started, *self.running]), frozenset(self.running))

    def close(self) -> None:
        """Have nothing to close."""


def make_worker(serial: int = 1, **changes: object) -> Worker:
    """Return a worker that is ready and takes items; it has a line and a board that do nothing."""
    values: dict[str, object] = {
        "serial": serial,
        "slot": serial - 1,
        "line": FakeLine(),
        "board": FakeBoard(),
        "lanes": 1,
        "is_async": False,
        "max_jobs": None,
        "due_at_jobs": None,
        "started_at": 0.0,
        "state": WorkerState.READY,
        "pid": 1000 + serial,
        "takes": True,
    }
    return Worker(**{**values, **changes})


def make_settings(**values: object) -> Settings:
    """Return settings with these values and the defaults."""
    return Settings(**values)


def open_descriptors() -> int:
    """Return how many descriptors this process has open."""
    return len(os.listdir("/dev/fd"))


def raises(error: BaseException) -> Callable[..., object]:
    """Return a function that raises this."""

    def function(*_arguments: object, **_keywords: object) -> object:
        raise error

    return function
