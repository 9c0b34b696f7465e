"""An item given to an idle queue: how long until its reader starts.

Each item is the time at which it was given; the reader compares it with the clock first of all. Items come one at a
time, 5 ms apart, so that nothing runs and nothing waits when the next one comes. The first ones do not count.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache

from quasiqueue import QuasiQueue

from ..support import FORK, WORKERS, Figures, Notes, Scale, Workload, bare_seconds, run_beside, scripted

PAUSE = 0.005


@cache
def _notes() -> Notes:
    """Made before the first fork, so that all processes have the same."""
    return Notes(1)


def arrive(given: int) -> None:
    """The reader, and every peer's function."""
    waited = time.monotonic_ns() - given
    _notes().write(waited)


def _count(scale: Scale) -> int:
    return scale.pick(1000, 150, 40)


def _figures(scale: Scale) -> Figures:
    skipped = _count(scale) // 10
    waits = [row[0] / 1e6 for row in _notes().rows()][skipped:]
    if len(waits) < _count(scale) - skipped:
        raise RuntimeError(f"only {len(waits)} items arrived")
    return {"median_ms": statistics.median(waits), "p99_ms": statistics.quantiles(waits, n=100)[98]}


def _one_at_a_time(scale: Scale) -> Iterator[int]:
    time.sleep(0.1)
    for _ in range(_count(scale)):
        time.sleep(PAUSE)
        yield time.monotonic_ns()


def _give(scale: Scale, give: Callable[[int], object]) -> None:
    for given in _one_at_a_time(scale):
        give(given)


def from_writer(scale: Scale) -> Figures:
    """The writer is a generator that waits, and yields one item."""
    _notes()
    QuasiQueue("latency", arrive, _one_at_a_time(scale)).run()
    return _figures(scale)


def from_function(scale: Scale) -> Figures:
    """The writer is a function that waits, and returns a list of one item."""
    _notes()
    given = _one_at_a_time(scale)
    QuasiQueue("latency", arrive, scripted([item] for item in given)).run()
    return _figures(scale)


def from_put(scale: Scale) -> Figures:
    """A thread calls put(); the writer has nothing."""
    _notes()
    queue = QuasiQueue("latency", arrive, lambda: None)

    def give() -> None:
        _give(scale, queue.put)
        time.sleep(0.2)

    run_beside(queue, give)
    return _figures(scale)


def pool(scale: Scale) -> Figures:
    """multiprocessing.Pool.apply_async."""
    _notes()
    with FORK.Pool(WORKERS) as peer:
        _give(scale, lambda given: peer.apply_async(arrive, (given,)))
        peer.close()
        peer.join()
    return _figures(scale)


def executor(scale: Scale) -> Figures:
    """ProcessPoolExecutor.submit."""
    _notes()
    with ProcessPoolExecutor(WORKERS, mp_context=FORK) as peer:
        _give(scale, lambda given: peer.submit(arrive, given))
    return _figures(scale)


def raw(scale: Scale) -> Figures:
    """A bare multiprocessing.Queue."""
    _notes()
    queue = FORK.Queue()

    def take() -> None:
        while (given := queue.get()) is not None:
            arrive(given)

    def give() -> None:
        _give(scale, queue.put)
        for _ in range(WORKERS):
            queue.put(None)

    bare_seconds(take, give)
    return _figures(scale)


WORKLOAD = Workload(
    "an item given to an idle queue; milliseconds until its reader starts",
    {
        "quasiqueue": from_writer,
        "quasiqueue, writer is a function": from_function,
        "quasiqueue, put()": from_put,
        "multiprocessing.Pool.apply_async": pool,
        "ProcessPoolExecutor.submit": executor,
        "multiprocessing.Queue, raw": raw,
    },
)
