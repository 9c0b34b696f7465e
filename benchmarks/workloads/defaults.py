"""No-op function, integers, every setting at its default: a queue of 300, and a new process every 200 items."""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import count as count_up
from itertools import islice
from typing import Any

from quasiqueue import DONE, QuasiQueue
from quasiqueue._types import Done

from ..support import Figures, Scale, Stopwatch, Workload, all_done, nothing
from .noop import raw


def quasiqueue(scale: Scale) -> Figures:
    """The writer is a range."""
    return _run(scale, range)


def quasiqueue_function(scale: Scale) -> Figures:
    """The writer is a function that gives as many as it is asked for: ten, by default."""

    def writer_for(count: int) -> Callable[[int], object]:
        numbers = count_up()

        def writer(desired_items: int) -> Iterable[int] | Done:
            block = [number for number in islice(numbers, desired_items) if number < count]
            return block or DONE

        return writer

    return _run(scale, writer_for)


def _run(scale: Scale, writer_for: Callable[[int], Any]) -> Figures:
    count = scale.pick(100_000, 20_000, 500)
    QuasiQueue("warm-up", nothing, range(100)).run()
    queue = QuasiQueue("defaults", nothing, writer_for(count))
    with Stopwatch() as watch:
        summary = queue.run()
    all_done(summary, count)
    return {"items_per_second": count / watch.seconds, "processes_replaced": summary.recycled}


WORKLOAD = Workload(
    "no-op function, integers, all settings at their defaults; items per second",
    {
        "quasiqueue": quasiqueue,
        "quasiqueue, writer is a function": quasiqueue_function,
        "multiprocessing.Queue, raw": partial(raw, kind="Queue"),
    },
)
