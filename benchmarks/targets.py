"""The twelve targets as data: which figure of which workload is compared with what, and how much is wanted.

`report.py` reads it. A target may have several rows. Invariant: every bound is either a figure of ours alone, or a
ratio to a peer's figure of the same run.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Goal:
    """What is wanted.

    Attributes:
        bound: the figure, or its ratio to the peer's, to be reached.
        against: the peer; None: the figure itself is judged.
    """

    bound: float
    against: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """One row.

    Attributes:
        number: of the target; None for what is wanted beside the twelve.
        what: what is measured, for the table.
        workload, figure: where the figure stands.
        unit: of the figure.
        better: whether more of it is better, or less.
        goal, far: the target, and what is hoped for.
        system: which of our own systems is judged.
    """

    number: int | None
    what: str
    workload: str
    figure: str
    unit: str
    better: Literal["more", "less"]
    goal: Goal
    far: Goal | None = None
    system: str = "quasiqueue"


RAW = "multiprocessing.Queue, raw"
_RATE = "items/s"

TARGETS = (
    Target(
        1,
        "no-op integers, de-duplication on, large queue, no recycling",
        "noop",
        "items_per_second",
        _RATE,
        "more",
        Goal(1.3, "ProcessPoolExecutor, chunks of 1000"),
        Goal(1.0, "multiprocessing.Pool, chunks of 1000"),
    ),
    Target(
        2,
        "no-op integers, all settings at their defaults",
        "defaults",
        "items_per_second",
        _RATE,
        "more",
        Goal(0.5, RAW),
        Goal(1.0, RAW),
    ),
    Target(
        2,
        "the same, the writer a function",
        "defaults",
        "items_per_second",
        _RATE,
        "more",
        Goal(0.5, RAW),
        Goal(1.0, RAW),
        system="quasiqueue, writer is a function",
    ),
    Target(
        3,
        "1 ms of CPU per item, no recycling: work done / (workers x time)",
        "busy",
        "share",
        "",
        "more",
        Goal(0.97),
        Goal(0.99),
        system="quasiqueue, never recycled",
    ),
    Target(3, "the same, all settings at their defaults", "busy", "share", "", "more", Goal(0.97), Goal(0.99)),
    Target(
        4,
        "short items beside one of 3 s: longest wait next to an idle worker",
        "mixed",
        "longest_wait_ms",
        "ms",
        "less",
        Goal(60.0),
        Goal(10.0),
    ),
    Target(
        5,
        "a generator yields an item to an idle queue -> its reader starts, median",
        "latency",
        "median_ms",
        "ms",
        "less",
        Goal(0.3),
        Goal(0.1),
    ),
    Target(5, "the same, 99th percentile", "latency", "p99_ms", "ms", "less", Goal(2.0)),
    Target(
        5,
        "put() to an idle queue -> its reader starts, median",
        "latency",
        "median_ms",
        "ms",
        "less",
        Goal(0.3),
        Goal(0.1),
        system="quasiqueue, put()",
    ),
    Target(5, "the same, 99th percentile", "latency", "p99_ms", "ms", "less", Goal(2.0), system="quasiqueue, put()"),
    Target(6, "main() -> first reader call", "startup", "first_item_ms", "ms", "less", Goal(60.0), Goal(20.0)),
    Target(
        7,
        "recycling every 200 items of 1 ms, against never",
        "recycling",
        "items_per_second",
        _RATE,
        "more",
        Goal(0.95, "quasiqueue, never recycled"),
        Goal(0.99, "quasiqueue, never recycled"),
    ),
    Target(
        8,
        "memory per remembered key (1,000,000 integers)",
        "keys",
        "bytes_per_key",
        "bytes",
        "less",
        Goal(150),
        Goal(64),
    ),
    Target(
        9,
        "CPU of all processes while idle",
        "idle",
        "percent_of_a_core",
        "% of a core",
        "less",
        Goal(0.5),
        Goal(0.1),
    ),
    Target(
        9,
        "CPU of all processes while the queue is full",
        "idle",
        "percent_of_a_core",
        "% of a core",
        "less",
        Goal(0.5),
        Goal(0.1),
        system="quasiqueue, queue full",
    ),
    Target(
        10,
        "items of 1 MiB of bytes, de-duplication on",
        "large",
        "mib_per_second",
        "MiB/s",
        "more",
        Goal(1.5, RAW),
        Goal(0.5, "memory copy"),
    ),
    Target(
        10,
        "the same, de-duplication off",
        "large",
        "mib_per_second",
        "MiB/s",
        "more",
        Goal(1.5, RAW),
        Goal(0.5, "memory copy"),
        system="quasiqueue, without de-duplication",
    ),
    Target(
        11,
        "asyncio.sleep(0.01), 2 x 100 tasks: share of the ideal 20,000 per second",
        "async",
        "share_of_ideal",
        "",
        "more",
        Goal(0.9),
        Goal(0.97),
    ),
    Target(
        12,
        "memory after 10,000,000 items against after 1,000,000, window 1 s, at 400,000 per second",
        "soak",
        "growth_mib",
        "MiB",
        "less",
        Goal(5.0),
        Goal(0.0),
    ),
    Target(
        12,
        "the same, in bursts of 1,000,000 at full speed, each forgotten before the next",
        "soak",
        "growth_mib",
        "MiB",
        "less",
        Goal(5.0),
        Goal(0.0),
        system="quasiqueue, bursts at full speed",
    ),
    Target(
        None,
        "main process' memory beyond waiting items and remembered keys: no-op integers",
        "memory",
        "beyond_mib",
        "MiB",
        "less",
        Goal(64.0),
        system="quasiqueue",
    ),
    Target(
        None,
        "the same, all settings at their defaults",
        "memory",
        "beyond_mib",
        "MiB",
        "less",
        Goal(64.0),
        system="quasiqueue, defaults",
    ),
    Target(
        None,
        "the same, items of 1 MiB",
        "memory",
        "beyond_mib",
        "MiB",
        "less",
        Goal(64.0),
        system="quasiqueue, items of 1 MiB",
    ),
    Target(
        None,
        "the same, async reader",
        "memory",
        "beyond_mib",
        "MiB",
        "less",
        Goal(64.0),
        system="quasiqueue, async reader",
    ),
)

SHOWN_PEERS = {
    "busy": "two plain processes, no queue",
    "mixed": "multiprocessing.Pool, chunks of 10",
    "latency": RAW,
    "startup": "multiprocessing.Pool",
    "keys": "a plain set",
    "async": "two plain processes, no queue",
}
"""Peers that stand beside figures which are judged by themselves."""

FIGURES = {
    "noop": ("items_per_second", "more"),
    "defaults": ("items_per_second", "more"),
    "busy": ("share", "more"),
    "mixed": ("longest_wait_ms", "less"),
    "latency": ("median_ms", "less"),
    "startup": ("first_item_ms", "less"),
    "recycling": ("items_per_second", "more"),
    "keys": ("bytes_per_key", "less"),
    "idle": ("percent_of_a_core", "less"),
    "large": ("mib_per_second", "more"),
    "async": ("share_of_ideal", "more"),
    "soak": ("growth_mib", "less"),
    "memory": ("beyond_mib", "less"),
    "rows": ("items_per_second", "more"),
    "rooms": ("ns_per_item", "less"),
    "growth": ("items_per_second", "more"),
}
"""For the tables of all systems: the main figure of each workload."""
