"""What a run takes in the main process beyond the items that wait and the keys that are remembered.

Peak resident memory of the main process after a run, less what it had before, in the settings of the other workloads.
De-duplication is off, because what remembered keys take is a row of its own; of items that are large, as many as can
wait are taken off.
"""

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from quasiqueue import QuasiQueue, Settings

from ..support import Figures, Scale, Workload, all_done, nothing

MIB = 1 << 20


def forget_peak() -> None:
    """Lets the system's note of the peak begin anew. Linux only, like `peak`."""
    Path("/proc/self/clear_refs").write_text("5")


def peak() -> int:
    """Returns the most bytes that this process has had in memory since; `ru_maxrss` would include its parent's."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    if found is None:
        raise RuntimeError("this system does not tell a process' peak memory")
    return int(found[1]) * 1024


def _growth(
    count: int, items: Iterable[object], reader: Callable[[object], object] = nothing, **settings: object
) -> float:
    forget_peak()
    before = peak()
    queue = QuasiQueue("memory", reader, items, settings=Settings(prevent_requeuing_time=0, **settings))  # type: ignore[arg-type]
    all_done(queue.run(), count)
    return (peak() - before) / MIB


def small(scale: Scale, **settings: object) -> Figures:
    """No-op integers."""
    count = scale.pick(2_000_000, 500_000, 500)
    return {"beyond_mib": _growth(count, range(count), max_jobs_per_process=None, **settings)}


def defaults(scale: Scale) -> Figures:
    """No-op integers, all settings but de-duplication at their defaults."""
    count = scale.pick(100_000, 20_000, 500)
    return {"beyond_mib": _growth(count, range(count))}


def large(scale: Scale) -> Figures:
    """Items of 1 MiB; at most sixteen wait."""
    count, waiting = scale.pick(1000, 200, 4), 16

    def items() -> Iterator[bytes]:
        body = bytes(MIB - 8)
        for number in range(count):
            yield number.to_bytes(8) + body

    return {"beyond_mib": _growth(count, items(), max_queue_size=waiting) - min(count, waiting)}


def tasks(scale: Scale) -> Figures:
    """An async reader with 100 tasks per process."""
    count = scale.pick(50_000, 20_000, 500)

    async def reader(_: object) -> None:
        await asyncio.sleep(0.01)

    sizes = {"concurrent_tasks_per_process": 100, "max_queue_size": 2000, "max_jobs_per_process": None}
    return {"beyond_mib": _growth(count, range(count), reader, **sizes)}


WORKLOAD = Workload(
    "peak memory of the main process beyond waiting items and remembered keys; MiB",
    {
        "quasiqueue": partial(small, max_queue_size=100_000, lookup_block_size=10_000),
        "quasiqueue, defaults": defaults,
        "quasiqueue, items of 1 MiB": large,
        "quasiqueue, async reader": tasks,
    },
)
