"""Items as they come out of a database: small dictionaries; how many per second a system can move.

Each is made on the way in, with four fields, and thrown away by a no-op function. QuasiQueue compares every one with
all that it has seen, by a digest, which no peer does; it is measured without that too.
"""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

from quasiqueue import QuasiQueue, Settings

from ..support import FORK, WORKERS, Figures, Scale, Stopwatch, Workload, all_done, bare_seconds, exhaust, nothing
from .noop import CHUNK

Row = dict[str, Any]


def rows(count: int) -> Iterator[Row]:
    """Yields rows."""
    for number in range(count):
        yield {"id": number, "url": f"https://host.example/{number}", "priority": 0.5, "visited": False}


def _count(scale: Scale) -> int:
    return scale.pick(200_000, 60_000, 500)


def quasiqueue(scale: Scale, *, window: float = 300.0) -> Figures:
    """The writer is a generator; the queue looks far ahead and never recycles."""
    settings = Settings(max_queue_size=20_000, max_jobs_per_process=None, prevent_requeuing_time=window)
    queue = QuasiQueue("rows", nothing, rows(_count(scale)), settings=settings)
    with Stopwatch() as watch:
        summary = queue.run()
    all_done(summary, _count(scale))
    return {"items_per_second": _count(scale) / watch.seconds}


def pool(scale: Scale, *, chunk: int) -> Figures:
    """multiprocessing.Pool.imap_unordered."""
    count = scale.pick(50_000, 10_000, 100) if chunk == 1 else _count(scale)
    with FORK.Pool(WORKERS) as peer:
        exhaust(peer.imap_unordered(nothing, rows(WORKERS * chunk), chunk))
        with Stopwatch() as watch:
            exhaust(peer.imap_unordered(nothing, rows(count), chunk))
    return {"items_per_second": count / watch.seconds}


def executor(scale: Scale) -> Figures:
    """ProcessPoolExecutor.map."""
    with ProcessPoolExecutor(WORKERS, mp_context=FORK) as peer:
        exhaust(peer.map(nothing, rows(WORKERS * CHUNK), chunksize=CHUNK))
        with Stopwatch() as watch:
            exhaust(peer.map(nothing, rows(_count(scale)), chunksize=CHUNK))
    return {"items_per_second": _count(scale) / watch.seconds}


def raw(scale: Scale) -> Figures:
    """A bare multiprocessing.Queue."""
    queue: Any = FORK.Queue()

    def take() -> None:
        while queue.get() is not None:
            pass

    def give() -> None:
        for row in rows(_count(scale)):
            queue.put(row)
        for _ in range(WORKERS):
            queue.put(None)

    return {"items_per_second": _count(scale) / bare_seconds(take, give)}


WORKLOAD = Workload(
    "no-op function, dictionaries of four small fields; items per second",
    {
        "quasiqueue": quasiqueue,
        "quasiqueue, without de-duplication": partial(quasiqueue, window=0.0),
        "multiprocessing.Pool, one at a time": partial(pool, chunk=1),
        "multiprocessing.Pool, chunks of 1000": partial(pool, chunk=CHUNK),
        "ProcessPoolExecutor, chunks of 1000": executor,
        "multiprocessing.Queue, raw": raw,
    },
)
