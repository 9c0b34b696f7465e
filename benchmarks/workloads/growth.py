"""How QuasiQueue's throughput changes with the number of workers and of items, the items' size, and the window.

No peers here: these are the lines of the charts. All else is as in the no-op workload.
"""

from collections.abc import Callable, Iterable
from functools import partial

from quasiqueue import QuasiQueue, Settings

from ..support import WORKERS, Figures, Scale, Stopwatch, Workload, all_done, nothing

COUNTS = (10_000, 100_000, 1_000_000, 5_000_000)
WORKER_COUNTS = (1, 2, 4, 8)
SIZES = (10, 100, 1_000, 10_000, 100_000)
WINDOWS = (0.0, 0.1, 1.0, 300.0)


def run(items: Iterable[object], count: int, *, workers: int = WORKERS, window: float = 300.0) -> Figures:
    """Throughput of one whole run."""
    settings = Settings(
        num_processes=workers,
        max_queue_size=100_000,
        lookup_block_size=10_000,
        max_jobs_per_process=None,
        prevent_requeuing_time=window,
    )
    queue = QuasiQueue("growth", nothing, items, settings=settings)
    with Stopwatch() as watch:
        summary = queue.run()
    all_done(summary, count)
    return {"items_per_second": count / watch.seconds}


def by_workers(scale: Scale, *, workers: int) -> Figures:
    """More or fewer workers."""
    count = scale.pick(1_000_000, 100_000, 500)
    return run(range(count), count, workers=workers)


def by_items(scale: Scale, *, items: int) -> Figures:
    """More or fewer items."""
    count = min(items, scale.pick(5_000_000, 300_000, 500))
    return run(range(count), count)


def by_size(scale: Scale, *, size: int) -> Figures:
    """Longer items: bytes, each different from the others."""
    most = scale.pick(100_000_000, 20_000_000, 100_000)
    count = max(20, min(scale.pick(500_000, 50_000, 500), most // size))
    body = bytes(size - 8)
    return run((number.to_bytes(8) + body for number in range(count)), count)


def by_window(scale: Scale, *, window: float) -> Figures:
    """A longer or shorter time in which an item is a duplicate."""
    count = scale.pick(2_000_000, 200_000, 500)
    return run(range(count), count, window=window)


_SYSTEMS: dict[str, Callable[[Scale], Figures]] = {
    **{f"workers: {value}": partial(by_workers, workers=value) for value in WORKER_COUNTS},
    **{f"items: {value}": partial(by_items, items=value) for value in COUNTS},
    **{f"bytes per item: {value}": partial(by_size, size=value) for value in SIZES},
    **{f"window in seconds: {value:g}": partial(by_window, window=value) for value in WINDOWS},
}
WORKLOAD = Workload("no-op function, one thing changed at a time; items per second", _SYSTEMS)
