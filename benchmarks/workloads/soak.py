"""Memory of the main process late in a long run against early in it; keys are remembered for one second.

Twice: at a steady pace, looked at while it runs (at any moment one second's keys are remembered); and in bursts at full
speed, ten of one size, looked at after the pause that follows each, in which every key is forgotten.
"""

import statistics
import time
from collections.abc import Callable, Iterator

from quasiqueue import QuasiQueue, Settings

from ..support import Figures, Scale, Workload, all_done, nothing, scripted
from .keys import resident

BLOCK = 4000
MIB = 1 << 20


def _sizes(scale: Scale) -> tuple[int, int]:
    return scale.pick((1_000_000, 10_000_000), (50_000, 500_000), (10_000, 20_000))


def _window(scale: Scale) -> float:
    return scale.pick(1.0, 0.25, 0.1)


def _run(writer: Iterator[int] | Callable[[], object], scale: Scale) -> None:
    settings = Settings(
        max_queue_size=100_000,
        lookup_block_size=10_000,
        max_jobs_per_process=None,
        prevent_requeuing_time=_window(scale),
        empty_queue_sleep_time=_window(scale) / 4,
    )
    all_done(QuasiQueue("soak", nothing, writer, settings=settings).run(), _sizes(scale)[1])


def steady(scale: Scale) -> Figures:
    """At a fixed pace; each size is the median of those in the half second before its number of items is reached."""
    early, late = _sizes(scale)
    pace = scale.pick(400_000, 400_000, 100_000)
    samples: list[tuple[int, int]] = []

    def give() -> Iterator[int]:
        began = time.monotonic()
        for first in range(0, late, BLOCK):
            samples.append((first, resident()))
            yield from range(first, min(first + BLOCK, late))
            time.sleep(max(0.0, began + (first + BLOCK) / pace - time.monotonic()))

    def size_at(count: int) -> float:
        return statistics.median(size for at, size in samples if count - pace / 2 <= at <= count)

    _run(give(), scale)
    return {"growth_mib": (size_at(late) - size_at(early)) / MIB, "early_mib": size_at(early) / MIB}


def in_bursts(scale: Scale) -> Figures:
    """As fast as it goes, with pauses; each size is taken when all keys are forgotten."""
    burst, all_items = _sizes(scale)
    sizes: list[int] = []

    def give() -> Iterator[range | None]:
        for first in range(0, all_items, burst):
            yield range(first, first + burst)
            until = time.monotonic() + 1.5 * _window(scale)
            while time.monotonic() < until:
                yield None
            sizes.append(resident())

    _run(scripted(give()), scale)
    return {"growth_mib": (sizes[-1] - sizes[0]) / MIB, "early_mib": sizes[0] / MIB}


WORKLOAD = Workload(
    "memory of the main process after 10,000,000 items against after 1,000,000; MiB more",
    {"quasiqueue": steady, "quasiqueue, bursts at full speed": in_bursts},
)
