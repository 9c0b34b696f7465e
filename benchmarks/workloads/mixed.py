"""Short items of 1 ms mixed with one of 3 s: how long a short one waits although a worker has nothing to do.

The writer notes when it gives an item, which is before it is handed out, so waits are never shown shorter than they
are. The reader notes when an item starts and ends, and where. While the long item runs on one worker, the other one has
gaps: times between the end of one item and the start of its next. The figure is the longest overlap of a single such
gap with the time that a single short item had been given and was not started: somebody waited, and a worker stood
idle. Before the long item come short ones, which teach the queue to hand out several at a time; directly behind it
comes a burst, part of which therefore lies behind the long one; more bursts follow while it runs.
"""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial

from quasiqueue import QuasiQueue, Settings

from ..support import FORK, WORKERS, Figures, Notes, Scale, Workload, exhaust, scripted

Item = tuple[int, int]
"""When it was given, and how many nanoseconds it takes."""

SHORT = 1_000_000
BEFORE, BURST = 300, 20
PAUSE = 0.2


@dataclass(frozen=True, slots=True)
class Ran:
    """One item: when it was given, started and ended, in nanoseconds, and the process that ran it."""

    given: int
    start: int
    end: int
    pid: int


def longest_idle_wait(runs: Sequence[Ran], long: Ran) -> int:
    """Returns the nanoseconds that a short item waited at most while the worker beside the long item's had a gap."""
    beside = sorted((run for run in runs if run.pid != long.pid), key=lambda run: run.start)
    longest, free_since = 0, long.start
    for begin, end in [*((run.start, run.end) for run in beside), (long.end, long.end)]:
        gap_end = min(begin, long.end)
        if gap_end > free_since:
            waits = (min(run.start, gap_end) - max(run.given, free_since) for run in runs if run is not long)
            longest = max(longest, *waits)
        free_since = max(free_since, end)
    return longest


def _notes_to_figures(notes: Notes, long_ns: int) -> Figures:
    runs = [Ran(*row) for row in notes.rows()]
    longs = [run for run in runs if run.end - run.start >= long_ns]
    if not longs:
        raise RuntimeError("the long item did not run")
    return {"longest_wait_ms": max(longest_idle_wait(runs, long) for long in longs) / 1e6}


def _run_item(notes: Notes, item: Item) -> None:
    given, nanoseconds = item
    start = time.monotonic_ns()
    time.sleep(nanoseconds / 1e9)
    notes.write(given, start, time.monotonic_ns(), os.getpid())


def _items(lengths: Sequence[int]) -> Iterator[Item]:
    for length in lengths:
        yield time.monotonic_ns(), length


def quasiqueue(scale: Scale) -> Figures:
    """Twice one long item, with a burst directly behind it and more while it runs."""
    long_ns = scale.pick(3_000_000_000, 1_500_000_000, 300_000_000)
    notes = Notes(4)

    def give() -> Iterator[Iterator[Item] | None]:
        for _ in range(scale.pick(2, 1, 1)):
            yield _items([SHORT] * BEFORE + [long_ns] + [SHORT] * BURST)
            for _ in range(int(long_ns / 1e9 / PAUSE)):
                yield None  # a pause
                yield _items([SHORT] * BURST)

    settings = Settings(empty_queue_sleep_time=PAUSE, max_jobs_per_process=None)
    QuasiQueue("mixed", partial(_run_item, notes), scripted(give()), settings=settings).run()
    return _notes_to_figures(notes, long_ns)


@cache
def _peer_notes() -> Notes:
    return Notes(4)


def _run_in_pool(item: Item) -> None:
    _run_item(_peer_notes(), item)


def pool(scale: Scale, *, chunk: int) -> Figures:
    """multiprocessing.Pool.imap_unordered: one long item and the burst directly behind it."""
    long_ns = scale.pick(3_000_000_000, 1_500_000_000, 300_000_000)
    notes = _peer_notes()  # made before the fork, so that all have the same
    with FORK.Pool(WORKERS) as peer:
        exhaust(peer.imap_unordered(_run_in_pool, _items([SHORT] * BEFORE + [long_ns] + [SHORT] * BURST), chunk))
    return _notes_to_figures(notes, long_ns)


WORKLOAD = Workload(
    "items of 1 ms mixed with one of 3 s; milliseconds that a short one waits beside an idle worker, at most",
    {
        "quasiqueue": quasiqueue,
        "multiprocessing.Pool, chunks of 10": partial(pool, chunk=10),
        "multiprocessing.Pool, one at a time": partial(pool, chunk=1),
    },
)
