"""No-op function, integers: how many items per second a system can move.

Peers are measured warm: their processes exist and have run some items. QuasiQueue's whole run is measured, the start of
its processes and their end included, and it drops duplicates, which no peer does. The peers' chunks are set by hand:
1000 items, for multiprocessing.Pool also 10,000; joblib and mpire choose for themselves as well. The slower ones get
fewer items, so that each measurement takes about a second.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

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
    in_blocks,
    nothing,
)

WARM_UP = 5_000
CHUNK = 1000


def quasiqueue(scale: Scale, *, writer_for: Callable[[range], Any] = lambda items: items) -> Figures:
    """A queue that looks far ahead and never recycles; de-duplication is on."""
    count = scale.pick(3_000_000, 500_000, 2_000)
    settings = Settings(max_queue_size=100_000, lookup_block_size=10_000, max_jobs_per_process=None)
    QuasiQueue("warm-up", nothing, range(scale.pick(WARM_UP, WARM_UP, 10)), settings=settings).run()
    queue = QuasiQueue("noop", nothing, writer_for(range(count)), settings=settings)
    with Stopwatch() as watch:
        summary = queue.run()
    all_done(summary, count)
    return {"items_per_second": count / watch.seconds}


def timed(run: Callable[[range], Iterable[object]], count: int) -> Figures:
    """Runs some items first, then measures."""
    exhaust(run(range(min(WARM_UP, count // 10))))
    with Stopwatch() as watch:
        exhaust(run(range(count)))
    return {"items_per_second": count / watch.seconds}


def pool(scale: Scale, *, chunk: int, counts: tuple[int, int, int]) -> Figures:
    """multiprocessing.Pool.imap_unordered."""
    with FORK.Pool(WORKERS) as peer:
        return timed(lambda items: peer.imap_unordered(nothing, items, chunk), scale.pick(*counts))


def executor(scale: Scale, *, chunk: int, counts: tuple[int, int, int]) -> Figures:
    """ProcessPoolExecutor.map."""
    with ProcessPoolExecutor(WORKERS, mp_context=FORK) as peer:
        return timed(lambda items: peer.map(nothing, items, chunksize=chunk), scale.pick(*counts))


def loky(scale: Scale, *, chunk: int, counts: tuple[int, int, int]) -> Figures:
    """The map of loky."""
    from loky import get_reusable_executor

    peer: Any = get_reusable_executor(max_workers=WORKERS)
    return timed(lambda items: peer.map(nothing, items, chunksize=chunk), scale.pick(*counts))


def billiard(scale: Scale, *, chunk: int, counts: tuple[int, int, int]) -> Figures:
    """The imap_unordered of billiard."""
    import billiard

    peer: Any = billiard.Pool(WORKERS)
    try:
        return timed(lambda items: peer.imap_unordered(nothing, items, chunk), scale.pick(*counts))
    finally:
        peer.terminate()


def joblib(scale: Scale, *, chunk: int | str, counts: tuple[int, int, int]) -> Figures:
    """joblib.Parallel."""
    from joblib import Parallel, delayed

    with Parallel(n_jobs=WORKERS, batch_size=chunk) as peer:
        return timed(lambda items: peer(delayed(nothing)(item) for item in items), scale.pick(*counts))


def mpire(scale: Scale, *, chunk: int | None, counts: tuple[int, int, int]) -> Figures:
    """The imap_unordered of mpire."""
    from mpire import WorkerPool

    with WorkerPool(n_jobs=WORKERS, start_method="fork", keep_alive=True) as peer:
        return timed(lambda items: peer.imap_unordered(nothing, items, chunk_size=chunk), scale.pick(*counts))


def pebble(scale: Scale, *, chunk: int, counts: tuple[int, int, int]) -> Figures:
    """The map of pebble."""
    from pebble import ProcessPool

    with ProcessPool(max_workers=WORKERS, context=FORK) as peer:
        return timed(lambda items: peer.map(nothing, items, chunksize=chunk).result(), scale.pick(*counts))


def raw(scale: Scale, *, kind: str) -> Figures:
    """A bare multiprocessing.Queue or SimpleQueue, one consumer in each process, nothing else done to the items."""
    count = scale.pick(150_000, 40_000, 500)
    queue: Any = getattr(FORK, kind)()

    def take() -> None:
        while queue.get() is not None:
            pass

    def give() -> None:
        for item in range(count):
            queue.put(item)
        for _ in range(WORKERS):
            queue.put(None)

    return {"items_per_second": count / bare_seconds(take, give)}


def faster_fifo(scale: Scale, *, block: int) -> Figures:
    """faster-fifo, one by one, or in blocks with put_many and get_many."""
    from faster_fifo import Queue

    count = scale.pick(150_000, 40_000, 500) * (4 if block > 1 else 1)
    queue: Any = Queue(max_size_bytes=10_000_000)
    forever = 1000.0

    def take() -> None:
        while None not in (taken := queue.get_many(max_messages_to_get=block, timeout=forever)):
            pass
        for _ in range(taken.count(None) - 1):  # the end of the other consumer
            queue.put(None, timeout=forever)

    def give() -> None:
        for first in range(0, count, block):
            queue.put_many(list(range(first, min(first + block, count))), timeout=forever)
        for _ in range(WORKERS):
            queue.put_many([None], timeout=forever)

    def take_one() -> None:
        while queue.get(timeout=forever) is not None:
            pass

    def give_one() -> None:
        for item in [*range(count), *[None] * WORKERS]:
            queue.put(item, timeout=forever)

    seconds = bare_seconds(take, give) if block > 1 else bare_seconds(take_one, give_one)
    return {"items_per_second": count / seconds}


_FAST = (3_000_000, 500_000, 500)
_MEDIUM = (500_000, 80_000, 500)
_SLOW = (50_000, 10_000, 100)
_SLOWEST = (15_000, 3_000, 100)

WORKLOAD = Workload(
    "no-op function, integers; items per second",
    {
        "quasiqueue": quasiqueue,
        "quasiqueue, writer is a function": partial(quasiqueue, writer_for=in_blocks),
        "quasiqueue, writer is a generator": partial(quasiqueue, writer_for=lambda items: (item for item in items)),
        "multiprocessing.Pool, one at a time": partial(pool, chunk=1, counts=_SLOW),
        "multiprocessing.Pool, chunks of 1000": partial(pool, chunk=CHUNK, counts=_FAST),
        "multiprocessing.Pool, chunks of 10,000": partial(pool, chunk=10_000, counts=_FAST),
        "ProcessPoolExecutor, one at a time": partial(executor, chunk=1, counts=_SLOWEST),
        "ProcessPoolExecutor, chunks of 1000": partial(executor, chunk=CHUNK, counts=_FAST),
        "loky, one at a time": partial(loky, chunk=1, counts=_SLOWEST),
        "loky, chunks of 1000": partial(loky, chunk=CHUNK, counts=_FAST),
        "billiard, one at a time": partial(billiard, chunk=1, counts=_SLOW),
        "billiard, chunks of 1000": partial(billiard, chunk=CHUNK, counts=_MEDIUM),
        "joblib, automatic batches": partial(joblib, chunk="auto", counts=_MEDIUM),
        "mpire, automatic chunks": partial(mpire, chunk=None, counts=_SLOWEST),
        "mpire, chunks of 1000": partial(mpire, chunk=CHUNK, counts=_MEDIUM),
        "pebble, one at a time": partial(pebble, chunk=1, counts=_SLOWEST),
        "pebble, chunks of 1000": partial(pebble, chunk=CHUNK, counts=_MEDIUM),
        "multiprocessing.Queue, raw": partial(raw, kind="Queue"),
        "multiprocessing.SimpleQueue, raw": partial(raw, kind="SimpleQueue"),
        "faster-fifo, raw": partial(faster_fifo, block=1),
        "faster-fifo, raw, blocks of 1000": partial(faster_fifo, block=CHUNK),
    },
)
