"""An async reader that sleeps for 10 ms, 100 at once in each of 2 processes: 20,000 items per second would be ideal.

What two plain processes reach with 100 endless tasks each is the limit of asyncio itself: its timers are late.
"""

import asyncio

from quasiqueue import QuasiQueue, Settings

from ..support import WORKERS, Figures, Scale, Stopwatch, Workload, all_done, bare_seconds

TASKS = 100
SLEEP = 0.01
IDEAL = WORKERS * TASKS / SLEEP


async def sleep(_: object) -> None:
    """The reader."""
    await asyncio.sleep(SLEEP)


def _count(scale: Scale) -> int:
    return scale.pick(200_000, 20_000, 400)


def _figures(count: int, seconds: float) -> Figures:
    return {"share_of_ideal": count / seconds / IDEAL, "items_per_second": count / seconds}


def quasiqueue(scale: Scale) -> Figures:
    """The whole run, start and end included; room for a few rounds of items, and no recycling."""
    count = _count(scale)
    settings = Settings(
        concurrent_tasks_per_process=TASKS, max_queue_size=2000, lookup_block_size=1000, max_jobs_per_process=None
    )
    queue = QuasiQueue("async", sleep, range(count), settings=settings)
    with Stopwatch() as watch:
        summary = queue.run()
    all_done(summary, count)
    return _figures(count, watch.seconds)


def lanes(scale: Scale) -> Figures:
    """Two plain processes, no queue."""
    count = _count(scale)

    async def lane() -> None:
        for _ in range(count // WORKERS // TASKS):
            await asyncio.sleep(SLEEP)

    async def all_lanes() -> None:
        await asyncio.gather(*(lane() for _ in range(TASKS)))

    return _figures(count, bare_seconds(lambda: asyncio.run(all_lanes())))


WORKLOAD = Workload(
    "asyncio.sleep(0.01), 100 tasks in each of 2 processes; share of 20,000 items per second",
    {"quasiqueue": quasiqueue, "two plain processes, no queue": lanes},
)
