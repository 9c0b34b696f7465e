"""How a run stands: `Stats`, the status line, the main process' own stacks.

Made from what the rooms count, whenever somebody asks, from any thread.
"""

import os
import sys
import threading
import traceback
from collections.abc import Iterable

from ..events import Stats, WorkerStats
from .memory import resident_memory
from .tally import Counts
from .worker import Worker


def make_stats(
    counts: Counts, workers: Iterable[Worker], *, backlog: int, delayed: int, rate: float, paused: bool
) -> Stats:
    """Returns the statistics.

    Args:
        counts: the tally's.
        workers: all that are alive.
        backlog: accepted items that no worker holds.
        delayed: items that wait for their next run.
        rate: items done per second.
        paused: whether handing out is paused.
    """
    workers = list(workers)
    running = sum(len(worker.since) for worker in workers)
    handed = max(0, sum(len(worker.ledger) for worker in workers) - running)
    return Stats(
        **counts,
        waiting=backlog + delayed + handed,
        handed=handed,
        running=running,
        rate=rate,
        paused=paused,
        workers=tuple(map(_worker_stats, workers)),
    )


def _worker_stats(worker: Worker) -> WorkerStats:
    return WorkerStats(
        slot=worker.slot,
        pid=worker.pid,
        state=worker.state,
        done=worker.finished,
        running=len(worker.since),
        seconds=worker.age,
        memory=None if worker.pid is None else resident_memory(worker.pid),
    )


def status_line(stats: Stats) -> str:
    """Returns one line for the log."""
    workers = ", ".join(f"{worker.slot}:{worker.state} {worker.pid}" for worker in stats.workers)
    return (
        f"{stats.done} done at {stats.rate:.0f}/s, {stats.failed} failed, {stats.waiting} waiting, "
        f"{stats.running} running, workers {workers or 'none'}"
    )


def own_stacks() -> tuple[int, str]:
    """Returns this process' number and the stacks of all its threads."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    stacks = [
        f"Thread {names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in sys._current_frames().items()
    ]
    return os.getpid(), "\n".join(stacks)
