"""No-op function, integers, every setting at its default: a queue of 300, and a new process every 200 items."""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from quasiqueue import QuasiQueue

from ..support import WORKERS, Figures, Scale, Stopwatch, Workload, all_done, in_blocks, nothing
from .noop import raw


def quasiqueue(scale: Scale) -> Figures:
    """The writer is a range."""
    return _run(scale, range)


def quasiqueue_function(scale: Scale) -> Figures:
    """The writer is a function that gives as many as it is asked for: ten, by default."""
    return _run(scale, lambda count: in_blocks(range(count)))


def _run(scale: Scale, writer_for: Callable[[int], Any]) -> Figures:
    count = scale.pick(100_000, 20_000, 500)
    QuasiQueue("warm-up", nothing, range(100)).run()
    queue = QuasiQueue("defaults", nothing, writer_for(count))
    with Stopwatch() as watch:
        summary = queue.run()
    all_done(summary, count)
    return {"items_per_second": count / watch.seconds, "processes_replaced": summary.recycled}


def forks(scale: Scale) -> Figures:
    """No queue at all: two processes at a time, forked from this one, that call the function 200 times and end."""
    count, share = scale.pick(100_000, 20_000, 800), 200
    with Stopwatch() as watch:
        for number in range(count // share):
            if number >= WORKERS:
                os.wait()
            if os.fork() == 0:
                for item in range(share):
                    nothing(item)
                os._exit(0)
        for _ in range(WORKERS):
            os.wait()
    return {"items_per_second": count / watch.seconds}


WORKLOAD = Workload(
    "no-op function, integers, all settings at their defaults; items per second",
    {
        "quasiqueue": quasiqueue,
        "quasiqueue, writer is a function": quasiqueue_function,
        "a bare fork every 200 items, no queue": forks,
        "multiprocessing.Queue, raw": partial(raw, kind="Queue"),
    },
)
