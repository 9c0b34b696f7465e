"""Items of one millisecond of CPU: how much of the workers' time is work.

An item spins until its thread has used one millisecond of CPU by the system's own account, so a slow or shared machine
makes items longer in time, never smaller in work. The share is work done / (workers x seconds of the whole run). What
two plain processes reach that only spin, without any queue, is the limit of the machine at that moment.
"""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from quasiqueue import QuasiQueue, Settings

from ..support import (
    FORK,
    WORKERS,
    Figures,
    Scale,
    Stopwatch,
    Workload,
    all_done,
    bare_seconds,
    exhaust,
    one_millisecond,
)

ITEM_SECONDS = 0.001


def _count(scale: Scale) -> int:
    return scale.pick(20_000, 1000, 50)


def _share(count: int, seconds: float) -> Figures:
    return {"share": count * ITEM_SECONDS / (WORKERS * seconds)}


def quasiqueue(scale: Scale, *, max_jobs: int | None) -> Figures:
    """With the default settings, or without recycling."""
    count = _count(scale)
    queue = QuasiQueue("busy", one_millisecond, range(count), settings=Settings(max_jobs_per_process=max_jobs))
    with Stopwatch() as watch:
        summary = queue.run()
    all_done(summary, count)
    return _share(count, watch.seconds)


def pool(scale: Scale) -> Figures:
    """multiprocessing.Pool.imap_unordered with chunks of 10, warm."""
    with FORK.Pool(WORKERS) as peer:
        return _timed(lambda items: peer.imap_unordered(one_millisecond, items, 10), _count(scale))


def executor(scale: Scale) -> Figures:
    """ProcessPoolExecutor.map with chunks of 10, warm."""
    with ProcessPoolExecutor(WORKERS, mp_context=FORK) as peer:
        return _timed(lambda items: peer.map(one_millisecond, items, chunksize=10), _count(scale))


def _timed(run: Callable[[range], object], count: int) -> Figures:
    exhaust(run(range(20)))  # type: ignore[arg-type]
    with Stopwatch() as watch:
        exhaust(run(range(count)))  # type: ignore[arg-type]
    return _share(count, watch.seconds)


def limit(scale: Scale) -> Figures:
    """Two plain processes, half of the work each, no queue at all."""
    count = _count(scale)

    def work() -> None:
        for item in range(count // WORKERS):
            one_millisecond(item)

    return _share(count, bare_seconds(work))


WORKLOAD = Workload(
    "items of 1 ms of CPU; work done / (workers x time)",
    {
        "quasiqueue": partial(quasiqueue, max_jobs=200),
        "quasiqueue, never recycled": partial(quasiqueue, max_jobs=None),
        "multiprocessing.Pool, chunks of 10": pool,
        "ProcessPoolExecutor, chunks of 10": executor,
        "two plain processes, no queue": limit,
    },
)
