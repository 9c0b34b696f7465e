"""What workloads share: sizes, stopwatch, a millisecond of work, notes that survive a process, bare processes.

Workloads hand `measure.py` a `Workload`; everything here runs in the fresh process of one measurement. Invariant:
times are taken on the monotonic clock, which all processes of a machine share.
"""

import multiprocessing
import os
import struct
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any, TypeVar

from quasiqueue import DONE, QuasiQueue, RunSummary, WorkerState
from quasiqueue._types import Done
from quasiqueue.events import RunStarted

T = TypeVar("T")

WORKERS = 2
"""Everywhere, and for every system."""

FORK = multiprocessing.get_context("fork")
"""Peers get it wherever they let us choose: it is their quickest way to start."""

Figures = dict[str, float]


class Scale(StrEnum):
    """How much is measured: the real thing, a quick look, or just enough for a test."""

    FULL = "full"
    QUICK = "quick"
    TINY = "tiny"

    def pick(self, full: T, quick: T, tiny: T) -> T:
        """Returns the size that belongs to this scale."""
        return {Scale.FULL: full, Scale.QUICK: quick, Scale.TINY: tiny}[self]


@dataclass(frozen=True, slots=True)
class Workload:
    """One thing to measure, on several systems.

    Attributes:
        about: what is measured, in one sentence.
        systems: for each system a function that measures it once.
    """

    about: str
    systems: Mapping[str, Callable[[Scale], Figures]]


class Stopwatch:
    """Takes the seconds that its block takes."""

    seconds = 0.0

    def __enter__(self) -> "Stopwatch":
        self._began = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.monotonic() - self._began


class Notes:
    """Rows of integers that any process may write down, also one that is killed later.

    Args:
        width: integers per row.
    """

    def __init__(self, width: int) -> None:
        self._row = struct.Struct(f"{width}q")
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  # open as long as this lives
        os.set_inheritable(self._file.fileno(), True)

    def write(self, *numbers: int) -> None:
        """Adds one row. One call of the system, so rows never mix."""
        self._file.write(self._row.pack(*numbers))

    def rows(self) -> list[tuple[int, ...]]:
        """Returns all rows so far."""
        size = os.fstat(self._file.fileno()).st_size
        return list(self._row.iter_unpack(os.pread(self._file.fileno(), size, 0)))


def nothing(item: object) -> None:
    """The no-op function."""


def spin(seconds: float) -> None:
    """Works until this thread has used that many seconds of CPU, however often it was interrupted."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def one_millisecond(item: object) -> None:
    """An item that takes one millisecond of CPU."""
    spin(0.001)


def exhaust(results: Iterable[object]) -> None:
    """Takes all results and keeps none."""
    deque(results, maxlen=0)


def all_done(summary: RunSummary, count: int) -> None:
    """Checks that a figure is worth something. Raises RuntimeError if items are missing."""
    if summary.done != count:
        raise RuntimeError(f"{summary.done} of {count} items were done: {summary.failures[:1]}")


def in_blocks(items: Iterable[T]) -> Callable[[int], "list[T] | Done"]:
    """Returns a writer that gives as many of the items as it is asked for, in a list."""
    left = iter(items)
    return lambda desired_items: list(islice(left, desired_items)) or DONE


def scripted(answers: Iterator[object]) -> Callable[[], object]:
    """Returns a writer that gives one answer after the other, each only when it is asked again."""
    return lambda: next(answers, DONE)


def run_beside(queue: QuasiQueue[Any], work: Callable[[], None]) -> RunSummary:
    """Runs a queue, and beside it, in a thread that begins when all workers are ready, `work`; then stops the queue."""

    def work_and_stop() -> None:
        try:
            while [worker.state for worker in queue.stats().workers] != [WorkerState.READY] * WORKERS:
                time.sleep(0.01)
            work()
        finally:
            queue.stop(force=True)

    thread = threading.Thread(target=work_and_stop)
    queue.subscribe(lambda event: thread.start() if isinstance(event, RunStarted) else None)
    try:
        return queue.run()
    finally:
        thread.join()


def bare_seconds(work: Callable[[], object], feed: Callable[[], object] = lambda: None) -> float:
    """Returns how long two plain processes take for `work`, from when both are there until both have ended.

    Args:
        work: what each of them does.
        feed: what this process does meanwhile.
    """
    gate = FORK.Barrier(WORKERS + 1)

    def body() -> None:
        gate.wait()
        work()

    processes = [FORK.Process(target=body) for _ in range(WORKERS)]
    for process in processes:
        process.start()
    gate.wait()
    with Stopwatch() as watch:
        feed()
        for process in processes:
            process.join()
    if any(process.exitcode for process in processes):
        raise RuntimeError("a plain process failed")
    return watch.seconds
