"""Writers: lazy, endless, slow, blocked, broken. Nothing that one gave is lost, and it is never asked too often."""

import asyncio
import contextlib
import functools
import itertools
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from quasiqueue import DONE, Event, QuasiQueue, RunSummary, UsageError, WriterError
from quasiqueue.events import Notice, RunEnded, WorkerReady, WriterFailed

from .support import ALL_ONCE, LIMIT, Gate, Ledger, Program, quick, running


def noting(ledger: Ledger, item: object) -> None:
    ledger.note("end", item)


# ---- more than was asked for


async def test_writer_without_end_is_drawn_from_lazily(ledger: Ledger, gate: Gate) -> None:
    """Of an endless generator no more is taken than there is room for."""
    drawn = itertools.count()
    last = 0

    def writer(_: int) -> Iterator[int]:
        nonlocal last
        for item in drawn:
            last = item
            yield item

    def reader(item: int) -> None:
        ledger.note("start", item)
        gate.wait()

    settings = quick("fork", max_queue_size=50)
    queue = QuasiQueue("writers", reader, writer, settings=settings)
    async with running(queue) as run:
        await run.until(lambda: (queue.stats().running, queue.stats().waiting) == (1, 50))
        await asyncio.sleep(0.05)
        assert (last, queue.stats().waiting) == (50, 50)
        queue.stop()
        gate.open()
        summary = await run.ended()
    assert ledger.items("start") == [0]
    assert (summary.done, summary.released) == (1, 50)


@pytest.mark.parametrize("size", [1, 7, 300])
def test_items_beyond_the_demand_are_all_run_once(ledger: Ledger, size: int) -> None:
    """One call that gives 1000 items, through a queue of any size: none is dropped, and they are run in order."""
    settings = quick("fork", max_queue_size=size, full_queue_sleep_time=1000)
    calls = iter([range(1000), DONE])
    queue = QuasiQueue("writers", functools.partial(noting, ledger), lambda: next(calls), settings=settings)
    summary = queue.run()
    assert ledger.items("end") == list(range(1000))
    assert summary == RunSummary(done=1000, seconds=summary.seconds)


MEMORY = """
    import os
    import resource
    import sys

    import psutil

    from quasiqueue import DONE, QuasiQueue, Settings

    me = psutil.Process()
    highest = 0


    def look(extra=0):
        global highest
        highest = max(highest, me.memory_info().rss)


    def reader(item):
        pass


    {writer}

    look()
    before = highest
    settings = Settings(start_method="fork", num_processes=1, prevent_requeuing_time=0, max_jobs_per_process=None)
    queue = QuasiQueue("memory", reader, writer, settings=settings)
    summary = queue.run()
    look()
    print("done", summary.done)
    print("grown", (highest - before) >> 20)
"""

ENDLESS = """
    def writer():
        for item in range(100_000):
            if item % 10_000 == 0:
                look()
            yield {"item": item, "text": "x" * 1000}
        queue.stop()
        while True:
            yield {"item": item, "text": "x" * 1000}
"""

AT_ONCE = """
    given = [str(item) for item in range(1_000_000)]
    calls = iter([given, DONE])

    def writer(desired_items):
        look()
        return next(calls)
"""


@pytest.mark.parametrize(
    ("writer", "least", "most_grown"), [(ENDLESS, 1, 40), (AT_ONCE, 1_000_000, 60)], ids=["endless", "at_once"]
)
def test_memory_of_the_main_process_is_bounded(
    program: Callable[..., Program], writer: str, least: int, most_grown: int
) -> None:
    """An endless generator of large items, and a million items from one call, take no memory beyond what is waiting."""
    started = program(MEMORY.replace("    {writer}", writer))
    done = int(started.line("done ", 100))
    grown = int(started.line("grown ", 10))
    assert (started.ended(), started.stderr) == (0, "")
    assert done >= least
    assert grown < most_grown


# ---- writers that wait


async def test_put_goes_on_while_the_writer_blocks(ledger: Ledger) -> None:
    """A writer that does not come back keeps neither `put()` items nor `stats()` nor the stop waiting."""
    entered, leave = threading.Event(), threading.Event()

    def writer(_: int) -> None:
        entered.set()
        leave.wait()

    queue = QuasiQueue("writers", functools.partial(noting, ledger), writer, settings=quick("fork"))
    try:
        async with running(queue) as run:
            await run.until(entered.is_set)
            for item in range(100):
                assert queue.put(item) is True
            await run.until(lambda: queue.stats().done == 100)
            os.kill(os.getpid(), signal.SIGUSR1)
            await run.event(Notice)
            os.kill(os.getpid(), signal.SIGTERM)
            began = time.monotonic()
            summary = await run.ended()
            assert time.monotonic() - began < 5
    finally:
        leave.set()
    assert summary.done == 100
    assert ledger.check(range(100)) == ALL_ONCE


async def test_async_writer_that_waits_is_cancelled_at_the_end(ledger: Ledger) -> None:
    """A stop does not wait for an async writer; its `finally` blocks run."""
    told: list[str] = []

    async def writer(_: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            told.append("finally")

    queue = QuasiQueue("writers", functools.partial(noting, ledger), writer, settings=quick("fork"))
    async with running(queue) as run:
        await run.event(WorkerReady)
        queue.put(1)
        await run.until(lambda: queue.stats().done == 1)
        assert (await run.stopped()).done == 1
    assert told == ["finally"]


async def test_async_writer_that_ignores_its_cancellation_is_left_behind(ledger: Ledger) -> None:
    """The run ends without it: it was asked to end, and cannot be made to."""
    let_go = asyncio.Event()

    async def writer(_: int) -> object:
        queue.stop()
        while not let_go.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await let_go.wait()
        return DONE

    queue = QuasiQueue("writers", functools.partial(noting, ledger), writer, settings=quick("fork"))
    async with asyncio.timeout(LIMIT):
        summary = await queue.main()
    let_go.set()
    assert (summary.done, summary.released) == (0, 0)


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_item_before_a_block_is_run_at_once(ledger: Ledger, kind: str) -> None:
    """A generator that yields one item and then waits for a long time: that item does not wait with it."""
    leave = threading.Event()

    def writer() -> Iterator[object]:
        yield from range(5)
        leave.wait()
        yield 5
        yield DONE

    async def async_writer() -> AsyncIterator[object]:
        for item in range(5):
            yield item
        while not leave.is_set():  # noqa: ASYNC110 - an event of threads
            await asyncio.sleep(0.005)
        yield 5
        yield DONE

    reader = functools.partial(noting, ledger)
    queue = QuasiQueue("writers", reader, writer if kind == "sync" else async_writer, settings=quick("fork"))
    try:
        async with running(queue) as run:
            await run.until(lambda: len(ledger.items("end")) == 5)
            leave.set()
            assert (await run.ended()).done == 6
    finally:
        leave.set()
    assert ledger.check(range(6)) == ALL_ONCE


def test_open_generator_is_closed_when_the_run_stops(ledger: Ledger) -> None:
    """A generator that still has items when the queue is stopped runs its `finally` blocks."""
    told: list[str] = []

    def writer() -> Iterator[int]:
        try:
            for item in itertools.count():
                if item == 500:
                    queue.stop()
                yield item
        finally:
            told.append("finally")

    queue = QuasiQueue("writers", functools.partial(noting, ledger), writer(), settings=quick("fork"))
    queue.run()
    assert told == ["finally"]


def test_writer_that_only_repeats_itself_is_not_polled_hot(ledger: Ledger) -> None:
    """Nothing but duplicates counts as nothing: the writer is asked again after `empty_queue_sleep_time`."""
    calls: list[float] = []

    def writer(_: int) -> list[int]:
        calls.append(time.monotonic())
        if len(calls) == 5:
            queue.stop()
        return [1, 2, 3]

    settings = quick("fork", empty_queue_sleep_time=0.1)
    queue = QuasiQueue("writers", functools.partial(noting, ledger), writer, settings=settings)
    summary = queue.run()
    pauses = [later - earlier for earlier, later in itertools.pairwise(calls)]
    assert len(calls) == 5
    assert min(pauses[1:]) >= 0.1
    assert sorted(ledger.items("end")) in ([], [1, 2, 3])
    assert summary.done + summary.released == 3


def test_endless_repetition_is_not_drawn_hot(ledger: Ledger) -> None:
    """A generator that repeats one item for ever is paused too, and the loop stays free."""
    drawn = 0

    def writer() -> Iterator[int]:
        nonlocal drawn
        while True:
            drawn += 1
            yield 1

    settings = quick("fork", empty_queue_sleep_time=0.2)
    queue = QuasiQueue("writers", functools.partial(noting, ledger), writer, settings=settings)
    stopper = threading.Timer(0.5, queue.stop)
    stopper.start()
    summary = queue.run()
    stopper.join()
    assert ledger.items("end") == [1]
    assert summary.done == 1
    assert drawn < 60_000


# ---- writers that fail


def test_writer_that_recovers_is_asked_again(ledger: Ledger) -> None:
    """An exception is logged and the writer asked again after a pause that grows; a success begins the count anew."""
    calls = itertools.count(1)
    times: list[float] = []

    def writer(_: int) -> object:
        times.append(time.monotonic())
        call = next(calls)
        if call in (1, 2, 4):
            raise OSError(f"failure {call}")
        return [call] if call < 6 else DONE

    events: list[Event] = []
    settings = quick("fork", writer_max_errors=3)
    queue = QuasiQueue("writers", functools.partial(noting, ledger), writer, settings=settings)
    queue.subscribe(events.append)
    assert queue.run().done == 2
    failed = [event for event in events if isinstance(event, WriterFailed)]
    assert [(event.error.message, event.failures) for event in failed] == [
        ("failure 1", 1),
        ("failure 2", 2),
        ("failure 4", 1),
    ]
    assert "raise OSError" in failed[0].error.traceback
    assert failed[1].pause > failed[0].pause > 0
    assert times[1] - times[0] >= failed[0].pause
    assert times[2] - times[1] >= failed[1].pause
    assert ledger.check([3, 5]) == ALL_ONCE


def test_items_before_an_exception_are_kept(ledger: Ledger) -> None:
    """A generator that raises after some items: those are run, and the writer is asked again."""
    calls = itertools.count()

    def writer(_: int) -> Iterator[object]:
        call = next(calls)
        if call == 2:
            yield DONE
        yield from range(10 * call, 10 * call + 3)
        raise ValueError("in the middle")

    summary = QuasiQueue("writers", functools.partial(noting, ledger), writer, settings=quick("fork")).run()
    assert ledger.check([0, 1, 2, 10, 11, 12]) == ALL_ONCE
    assert summary.done == 6


def test_writer_that_fails_too_often_ends_the_run_after_its_items(ledger: Ledger, gate: Gate) -> None:
    """`WriterError` with the user's exception as its cause comes once the accepted items are finished."""
    calls = itertools.count()

    def writer(_: int) -> object:
        if next(calls) == 0:
            return range(20)
        gate.open()
        raise OSError("the database is away")

    def reader(item: int) -> None:
        gate.wait()
        ledger.note("end", item)

    events: list[Event] = []
    queue = QuasiQueue("writers", reader, writer, settings=quick("fork", writer_max_errors=2))
    queue.subscribe(events.append)
    with pytest.raises(WriterError, match=r"2 times in a row.*OSError: the database is away") as caught:
        queue.run()
    assert isinstance(caught.value.__cause__, OSError)
    assert ledger.check(range(20)) == ALL_ONCE
    assert isinstance(events[-1], RunEnded)
    assert (events[-1].summary.done, events[-1].summary.released) == (20, 0)


def test_iterable_that_raises_ends_the_run_after_its_items(ledger: Ledger) -> None:
    """A generator given as the writer cannot go on after an exception: its items are finished, then it is raised."""

    def items() -> Iterator[int]:
        yield from range(5)
        raise ValueError("the file is broken")

    queue = QuasiQueue("writers", functools.partial(noting, ledger), items(), settings=quick("fork"))
    with pytest.raises(WriterError, match="the file is broken") as caught:
        queue.run()
    assert isinstance(caught.value.__cause__, ValueError)
    assert ledger.check(range(5)) == ALL_ONCE


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("text", r"returned a str.*a list with it inside"),
        (b"bytes", r"returned a bytes.*a list with it inside"),
        ({"a": 1}, r"returned a dict.*a list with it inside"),
        (7, r"returned int.*a list of items"),
    ],
)
def test_writer_that_gives_no_items_gets_a_sentence_with_the_fix(given: object, sentence: str) -> None:
    """A string, a dictionary or a number is a mistake, which is told and not repeated."""
    queue = QuasiQueue("writers", print, lambda _: given, settings=quick("fork", writer_max_errors=1))
    with pytest.raises(WriterError, match=sentence):
        queue.run()


def test_writer_that_gives_a_coroutine_gets_a_sentence_with_the_fix() -> None:
    """A sync writer that returns a coroutine is awaited or told; it never runs silently empty."""

    async def items() -> list[int]:
        return [1]

    queue = QuasiQueue("writers", print, lambda _: items(), settings=quick("fork", writer_max_errors=1))
    with pytest.raises(WriterError, match=r"declare it with `async def`"):
        queue.run()


@pytest.mark.parametrize("writer", ["text", b"bytes", {"a": 1}, 7, None])
def test_writer_that_can_be_none_is_refused_at_once(writer: object) -> None:
    """What can never be a writer is refused when the queue is constructed."""
    with pytest.raises(UsageError, match="writer cannot be"):
        QuasiQueue("writers", print, writer)
