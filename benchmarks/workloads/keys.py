"""What the main process keeps in memory for every key that it remembers. The integer itself, 32 bytes, is included."""

from collections.abc import Iterator

import psutil

from quasiqueue import QuasiQueue, Settings

from ..support import Figures, Scale, Workload, all_done, nothing, scripted

WARM_UP = 1000


def resident() -> int:
    """Returns the bytes that this process has in memory."""
    return int(psutil.Process().memory_info().rss)


def quasiqueue(scale: Scale) -> Figures:
    """Growth from a queue that has run some items to one that remembers a million keys and has nothing left to do."""
    count = scale.pick(1_000_000, 1_000_000, 20_000)
    sizes: list[int] = []

    def give() -> Iterator[range | None]:
        yield range(-WARM_UP, 0)
        while queue.stats().done < WARM_UP:
            yield None
        sizes.append(resident())
        yield range(count)
        while queue.stats().done < WARM_UP + count:
            yield None
        sizes.append(resident())

    settings = Settings(
        max_queue_size=10_000, lookup_block_size=10_000, max_jobs_per_process=None, empty_queue_sleep_time=0.05
    )
    queue = QuasiQueue("keys", nothing, scripted(give()), settings=settings)
    all_done(queue.run(), WARM_UP + count)
    return {"bytes_per_key": (sizes[1] - sizes[0]) / count}


def plain_set(scale: Scale) -> Figures:
    """A set of the same integers: the least that exact de-duplication takes in Python."""
    count = scale.pick(1_000_000, 1_000_000, 20_000)
    before = resident()
    keys = set()
    for number in range(count):
        keys.add(number)
    return {"bytes_per_key": (resident() - before) / len(keys)}


WORKLOAD = Workload(
    "memory of the main process per remembered key; bytes",
    {"quasiqueue": quasiqueue, "a plain set": plain_set},
)
