"""Typed code as users write it: it is never run, only checked. Every way of using the public face stands here once."""

import asyncio
import functools
import socket
from collections.abc import AsyncIterator, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypedDict

from pydantic_settings import SettingsConfigDict

import quasiqueue
from quasiqueue import (
    DONE,
    CollectorError,
    CrashLoopError,
    ErrorInfo,
    Event,
    ExitCode,
    Outcome,
    QuasiQueue,
    QuasiQueueError,
    QueueClosed,
    QueueFull,
    Reject,
    Retry,
    RunSummary,
    Settings,
    SettingsError,
    Stats,
    Status,
    UsageError,
    WorkerStartError,
    WorkerState,
    WorkerStats,
    WriterError,
    run_queues,
)

# Settings.


class MySettings(Settings):
    """Settings with fields of one's own, a changed default and a prefix."""

    model_config = SettingsConfigDict(env_prefix="MY_QUEUE_")

    database: str = "sqlite://"
    num_processes: int = 8


class OldSettings(Settings):
    """The older form of the same."""

    class Config:
        """Options."""

        prefix = "OLD_QUEUE_"


settings = MySettings(lookup_block_size=50, item_timeout=None, prevent_requeuing_time=60, start_method="spawn")
database: str = settings.database
processes: int = settings.num_processes
by_name: object = settings["num_processes"]
limit: float | None = settings.item_timeout


# Contexts.


class Context(TypedDict):
    """What the readers of a worker share."""

    connection: str


def make_context() -> Context:
    """Return it."""
    return {"connection": "open"}


async def make_context_async() -> Context:
    """Return it, async."""
    return {"connection": "open"}


def context_with_end(settings: MySettings) -> Iterator[Context]:
    """Yield it; close it when the worker leaves."""
    yield {"connection": settings.database}


async def context_with_end_async() -> AsyncIterator[Context]:
    """Do the same, async."""
    yield {"connection": "open"}


# Readers.


def read(item: int) -> None:
    """Read an item."""


def read_text(text: str) -> int:
    """Read a text."""
    return len(text)


def read_and_return(number: int) -> str:
    """Return something for the collector."""
    return str(number)


def read_with_context(item: int, ctx: Context) -> None:
    """Use what the worker shares."""
    ctx["connection"].upper()


def read_with_settings(item: int, ctx: Context, settings: MySettings) -> None:
    """Use the settings too."""
    settings.database.upper()


def read_or_not(item: int) -> None:
    """Ask for another run, or give up."""
    if item < 0:
        raise Reject("negative")
    if item == 0:
        raise Retry
    raise Retry(delay=2.5)


async def read_async(item: int) -> str:
    """Read an item, async."""
    await asyncio.sleep(0)
    return str(item)


async def read_async_with_context(item: int, ctx: Context) -> None:
    """Read an item, async, with what the worker shares."""


class Reader:
    """A reader with a state."""

    def __call__(self, item: int) -> None:
        """Read an item."""

    def method(self, item: int) -> None:
        """Read an item."""


# Writers.


def write(desired_items: int) -> list[int]:
    """Return a list."""
    return list(range(desired_items))


def write_range(desired_items: int) -> range:
    """Return any iterable."""
    return range(desired_items)


def write_sequence(desired_items: int) -> Sequence[int]:
    """Return any sequence."""
    return (1, 2, 3)


def write_nothing(desired_items: int) -> list[int] | None:
    """Have nothing now."""
    return None


def write_without_parameter() -> list[int]:
    """Take no number."""
    return [1]


def write_until_done(desired_items: int) -> "list[int] | quasiqueue._types.Done":
    """Have nothing more, ever."""
    return DONE


def generate(desired_items: int) -> Iterator[int]:
    """Yield items."""
    yield from range(desired_items)


def generate_with_settings(desired_items: int, settings: MySettings) -> Iterator[int | None]:
    """Yield items and pauses."""
    yield 1
    yield None


async def write_async(desired_items: int) -> list[int]:
    """Return a list, async."""
    return [desired_items]


async def write_async_nothing(desired_items: int) -> list[int] | None:
    """Have nothing now, async."""
    return None


async def generate_async(desired_items: int) -> AsyncIterator[int]:
    """Yield items, async."""
    yield desired_items


# Collectors and keys.


def collect(outcomes: list[Outcome[int]]) -> None:
    """Take finished items."""
    for outcome in outcomes:
        item: int = outcome.item
        key: Hashable = outcome.key
        status: Status = outcome.status
        result: object = outcome.result
        error: ErrorInfo | None = outcome.error
        numbers: tuple[int, int, float, int | None, int | None] = (
            outcome.attempts,
            outcome.crashes,
            outcome.seconds,
            outcome.pid,
            outcome.slot,
        )
        print(item + 1, key, status is Status.DONE, status == "failed", result, numbers)
        if error is not None:
            print(error.type, error.message, error.traceback, error.exit_code, error.signal, error.stack)
            memory: int | None = error.peak_memory
            print(memory)


async def collect_async(outcomes: list[Outcome[int]]) -> None:
    """Do the same, async."""


def collect_with_settings(outcomes: list[Outcome[int]], settings: MySettings) -> None:
    """Use the settings too."""


def last_digit(item: int) -> int:
    """Return what makes two items the same."""
    return item % 10


def never_the_same(item: int) -> None:
    """Have no duplicates."""


# Queues of every kind.

plain: QuasiQueue[int] = QuasiQueue("plain", read, write)
inferred = QuasiQueue("inferred", read_and_return, write_range)
inferred.put(5)

queues: list[QuasiQueue[int]] = [
    QuasiQueue("a", read_async, write_async),
    QuasiQueue("b", read_with_context, generate, make_context),
    QuasiQueue("c", read_async_with_context, generate_async, context=make_context_async),
    QuasiQueue("d", read_with_settings, generate_with_settings, context_with_end, settings=settings),
    QuasiQueue("e", read_with_context, write_nothing, context=context_with_end_async),
    QuasiQueue("f", Reader(), write_without_parameter),
    QuasiQueue("g", Reader().method, write_until_done),
    QuasiQueue("h", functools.partial(read_with_context, ctx={"connection": ""}), write_sequence),
    QuasiQueue("i", read_or_not, write_async_nothing),
    QuasiQueue("j", read, [1, 2, 3]),
    QuasiQueue("k", read, range(10)),
    QuasiQueue("l", read, generate(5)),
    QuasiQueue("m", read, generate_async(5)),
    QuasiQueue("n", read_and_return, write, collector=collect, key=last_digit),
    QuasiQueue("o", read_and_return, write, collector=collect_async, key=never_the_same),
    QuasiQueue("p", read_and_return, write, None, collect_with_settings, None, OldSettings()),
]
texts: QuasiQueue[str] = QuasiQueue("texts", read_text, ["a"], key=lambda item: item[0])


@dataclass(frozen=True)
class Job:
    """Items may be anything."""

    connection: socket.socket
    data: dict[str, list[int]]


def read_job(job: Job) -> None:
    """Read one."""
    job.connection.close()


jobs: QuasiQueue[Job] = QuasiQueue("jobs", read_job, list[Job]())


# What a queue does.


def use(queue: QuasiQueue[int]) -> int:
    """Call every method of the blocking face."""
    name: str = queue.name
    in_force: Settings = queue.settings
    queue.subscribe(on_event)
    try:
        accepted: bool = queue.put(5)
    except QueueFull:
        accepted = False
    except QueueClosed:
        raise
    queue.wake()
    queue.pause()
    queue.resume()
    queue.scale(4)
    queue.recycle()
    look(queue.stats())
    queue.stop()
    queue.stop(force=True)
    queue.stop(True)
    summary: RunSummary = queue.run()
    print(name, in_force.num_processes, accepted)
    return ExitCode.OK if summary.ok else ExitCode.ITEMS_FAILED


def look(stats: Stats) -> None:
    """Look at how a run stands."""
    sizes: tuple[int, int, int] = (stats.waiting, stats.handed, stats.running)
    rate: float = stats.rate
    workers: tuple[WorkerStats, ...] = stats.workers
    for worker in workers:
        pid: int | None = worker.pid
        print(worker.slot, pid, worker.state is WorkerState.READY, worker.done, worker.seconds, worker.memory)
    print(sizes, rate, stats.paused, stats.done + stats.failed + stats.released)


def on_event(event: Event) -> None:
    """Take an event."""
    print(event.queue)


async def inside_a_program() -> None:
    """Await a run among others, and tell its ends apart."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(plain.main())
        await asyncio.sleep(1)
        plain.stop()
    summary: RunSummary = task.result()
    failures: tuple[Outcome[object], ...] = summary.failures
    counts: int = summary.done + summary.failed + summary.timed_out + summary.crashed + summary.released
    rates: float = summary.items_per_second + summary.seconds
    print(failures, counts, rates, summary.duplicates, summary.retried, summary.recycled, summary.restarted)
    try:
        await plain.main()
    except (WriterError, CollectorError, CrashLoopError, WorkerStartError) as error:
        ours: QuasiQueueError = error
        print(ours)
    except (UsageError, SettingsError):
        raise


def several() -> list[RunSummary]:
    """Run queues of different items together."""
    return run_queues(plain, texts, jobs)
