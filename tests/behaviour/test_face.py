"""The face: which callables work, what the methods do, what comes back."""

import asyncio
import functools
import itertools
import logging
import multiprocessing
import os
import threading
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from quasiqueue import (
    DONE,
    CollectorError,
    CrashLoopError,
    Event,
    QuasiQueue,
    QueueClosed,
    QueueFull,
    Reject,
    Retry,
    RunSummary,
    Settings,
    UsageError,
    WorkerState,
    run_queues,
)
from quasiqueue.events import (
    CollectorFailed,
    ItemEnded,
    ItemRetried,
    RunEnded,
    RunStarted,
    StopRequested,
    WorkerDied,
    WorkerLeft,
    WorkerReady,
    WorkerRecycling,
    WorkerStarted,
)

from .support import ALL_ONCE, Basket, Gate, Ledger, quick, running

# ---- readers and contexts, at the top of the module so that spawned workers can import them


def double(item: int) -> int:
    return 2 * item


async def double_async(item: int) -> int:
    await asyncio.sleep(0)
    return 2 * item


def with_settings(anything: int, *, settings: Settings) -> tuple[int, str]:
    return anything, settings.start_method


async def with_settings_async(anything: int, settings: Settings) -> tuple[int, str]:
    return anything, settings.start_method


class Multiplier:
    """A reader that is an object."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def __call__(self, thing: int) -> int:
        return self.factor * thing


def add(thing: int, settled: dict[str, int]) -> int:
    return thing + settled["more"]


async def add_async(thing: int, settled: dict[str, int]) -> int:
    return thing + settled["more"]


def plain_context() -> dict[str, int]:
    return {"more": 100}


async def async_context() -> dict[str, int]:
    await asyncio.sleep(0)
    return {"more": 100}


def generator_context(ledger: Ledger) -> Iterator[dict[str, int]]:
    ledger.note("begin", os.getpid())
    yield {"more": 100}
    ledger.note("finish", os.getpid())


async def async_generator_context(ledger: Ledger) -> AsyncIterator[dict[str, int]]:
    ledger.note("begin", os.getpid())
    yield {"more": 100}
    await asyncio.sleep(0)
    ledger.note("finish", os.getpid())


def context_with_settings(settings: Settings) -> dict[str, int]:
    return {"more": settings.max_queue_size}


def no_context() -> None:
    return None


def process_name(_item: int) -> tuple[str, str]:
    record = logging.LogRecord("name", logging.INFO, "path", 1, "text", None, None)
    return multiprocessing.current_process().name, logging.Formatter("%(processName)s").format(record)


def noting(ledger: Ledger, item: object) -> None:
    ledger.note("end", item)


def fails_until(ledger: Ledger, runs: int, item: int) -> str:
    ledger.note("run", item)
    if ledger.items("run").count(item) < runs:
        raise ValueError(f"item {item} is not ready")
    return "ready"


def asks_again(ledger: Ledger, runs: int, item: int) -> str:
    ledger.note("run", item)
    if ledger.items("run").count(item) < runs:
        raise Retry(delay=0.01)
    return "ready"


def rejects(ledger: Ledger, item: int) -> None:
    ledger.note("run", item)
    raise Reject(f"item {item} is of no use")


def waits_at(gate: Gate, ledger: Ledger, item: object) -> None:
    ledger.note("start", item)
    gate.wait()
    ledger.note("end", item)


def pid_of_worker(_item: object) -> int:
    return os.getpid()


# ---- readers


@pytest.mark.parametrize("reader", [double, double_async, Multiplier(2), functools.partial(Multiplier(1).__call__)])
def test_reader_of_every_kind_is_called_once_per_item(reader: Callable[[int], int]) -> None:
    """Sync and async functions, objects and partials are readers; the parameter's name is the user's."""
    basket = Basket()
    summary = QuasiQueue("face", reader, [1, 2, 3], collector=basket, settings=quick("fork")).run()
    factor = 1 if isinstance(reader, functools.partial) else 2
    assert basket.results() == {1: factor, 2: 2 * factor, 3: 3 * factor}
    assert (summary.done, summary.ok) == (3, True)


@pytest.mark.parametrize("reader", [with_settings, with_settings_async])
def test_reader_with_settings_gets_them(reader: Callable[..., object], start_method: str) -> None:
    """A parameter named `settings` gets the settings in force, in every worker."""
    basket = Basket()
    QuasiQueue("face", reader, [7], collector=basket, settings=quick(start_method)).run()
    assert basket.results() == {7: (7, start_method)}


def test_reader_that_is_a_closure_or_lambda_works_under_fork() -> None:
    """Workers are forked, so whatever can be called is a reader."""
    basket, more = Basket(), 5
    QuasiQueue("face", lambda item: item + more, [1, 2], collector=basket, settings=quick("fork")).run()
    assert basket.results() == {1: 6, 2: 7}


def test_reader_under_its_queues_name(start_method: str) -> None:
    """The queue's name stands in the worker's process name and so in logging's `%(processName)s`."""
    basket = Basket()
    QuasiQueue("Acme mail", process_name, [1], collector=basket, settings=quick(start_method)).run()
    ((name, logged),) = basket.results().values()
    assert name.startswith("Acme mail")
    assert logged == name


# ---- writers


def give(desired_items: int) -> list[object]:
    return [1, 2, 3, DONE]


async def give_async(_: int) -> list[object]:
    return [1, 2, 3, DONE]


def generate(how_many: int) -> Iterator[object]:
    yield from (1, 2, 3)
    yield DONE


async def generate_async(how_many: int) -> AsyncIterator[object]:
    for item in (1, 2, 3, DONE):
        yield item


def give_without_parameters() -> list[object]:
    return [1, 2, 3, DONE]


async def generate_async_without_parameters() -> AsyncIterator[object]:
    for item in (1, 2, 3, DONE):
        yield item


def give_by_settings(settings: Settings) -> list[object]:
    return [*range(1, settings.num_processes + 3), DONE]


async def generate_by_settings(n: int, settings: Settings) -> AsyncIterator[object]:
    for item in (*range(1, settings.num_processes + 3), DONE):
        yield item


class Iterable:
    def __iter__(self) -> Iterator[int]:
        return iter((1, 2, 3))


class AsyncIterable:
    def __aiter__(self) -> AsyncIterator[int]:
        return self.items()

    async def items(self) -> AsyncIterator[int]:
        for item in (1, 2, 3):
            await asyncio.sleep(0)
            yield item


@pytest.mark.parametrize(
    "writer",
    [
        give,
        give_async,
        generate,
        generate_async,
        give_without_parameters,
        generate_async_without_parameters,
        give_by_settings,
        generate_by_settings,
        functools.partial(give, 9),
        lambda: [1, 2, 3, DONE],
        [1, 2, 3],
        (1, 2, 3),
        range(1, 4),
        {1, 2, 3},
        deque([1, 2, 3]),
        Iterable(),
        AsyncIterable(),
    ],
)
def test_writer_of_every_kind_gives_its_items(writer: object, ledger: Ledger) -> None:
    """Functions and generator functions, sync and async, with and without parameters, and iterables of both kinds."""
    reader = functools.partial(noting, ledger)
    summary = QuasiQueue("face", reader, writer, settings=quick("fork")).run()
    assert ledger.check([1, 2, 3]) == ALL_ONCE
    assert summary == RunSummary(done=3, seconds=summary.seconds)


def test_writer_that_is_a_generator_is_a_finite_run(ledger: Ledger) -> None:
    """A generator or async generator that is given instead of a function runs until it is exhausted."""
    for writer in (generate(0), generate_async(0), iter([1, 2, 3])):
        ledger.path.unlink(missing_ok=True)
        QuasiQueue("face", functools.partial(noting, ledger), writer, settings=quick("fork")).run()
        assert ledger.check([1, 2, 3]) == ALL_ONCE


def test_writer_is_asked_for_what_fits(gate: Gate, ledger: Ledger) -> None:
    """`desired_items` is `lookup_block_size`, or less where less fits."""
    asked: list[int] = []
    numbers = itertools.count()

    def writer(desired_items: int) -> list[int]:
        asked.append(desired_items)
        return [next(numbers) for _ in range(desired_items)]

    async def scenario() -> None:
        settings = quick("fork", max_queue_size=25, lookup_block_size=10)
        queue = QuasiQueue("face", functools.partial(waits_at, gate, ledger), writer, settings=settings)
        async with running(queue) as run:
            await run.until(lambda: (queue.stats().running, queue.stats().waiting) == (1, 25))
            queue.stop()
            gate.open()
            await run.ended()

    asyncio.run(scenario())
    assert max(asked) == 10
    assert min(asked) < 10
    assert next(numbers) == 26


def test_writer_returning_done_ends_the_run_after_its_items(ledger: Ledger) -> None:
    """DONE means that nothing comes any more, ever: what was given before is finished."""
    calls = itertools.count(1)

    def writer(_: int) -> object:
        call = next(calls)
        return [call] if call <= 3 else DONE

    summary = QuasiQueue("face", functools.partial(noting, ledger), writer, settings=quick("fork")).run()
    assert ledger.check([1, 2, 3]) == ALL_ONCE
    assert (summary.done, next(calls)) == (3, 5)


def test_writer_yielding_done_is_not_asked_for_more(ledger: Ledger) -> None:
    """What stands behind a DONE in the same iterator is not taken."""
    summary = QuasiQueue("face", functools.partial(noting, ledger), lambda: [1, DONE, 2], settings=quick("fork")).run()
    assert ledger.check([1]) == ALL_ONCE
    assert summary.done == 1


def test_none_from_a_writer_means_ask_later(ledger: Ledger) -> None:
    """None, returned or given anywhere in an iterable, is a pause, never an item; what follows it is taken after it."""
    calls: list[float] = []

    def writer(_: int) -> object:
        calls.append(time.monotonic())
        if len(calls) == 1:
            return None
        if len(calls) == 2:
            return []
        if len(calls) == 3:
            return [1, None, 2]
        return DONE

    settings = quick("fork", empty_queue_sleep_time=0.1)
    began = time.monotonic()
    summary = QuasiQueue("face", functools.partial(noting, ledger), writer, settings=settings).run()
    assert ledger.items("end") == [1, 2]
    assert summary.done == 2
    assert calls[1] - calls[0] >= 0.1
    assert calls[2] - calls[1] >= 0.1
    (_, second) = ledger.lines("end")
    assert second.at - calls[2] >= 0.1
    assert time.monotonic() - began >= 0.3


# ---- contexts


@pytest.mark.parametrize("reader", [add, add_async])
@pytest.mark.parametrize("context", [plain_context, async_context])
def test_context_is_given_to_every_call(reader: Callable[..., object], context: Callable[..., object]) -> None:
    """What a sync or async context returns is the second argument of every call of a sync or async reader."""
    basket = Basket()
    QuasiQueue("face", reader, [1, 2], context=context, collector=basket, settings=quick("fork")).run()
    assert basket.results() == {1: 101, 2: 102}


def test_context_with_settings_gets_them(start_method: str) -> None:
    """A context's parameter named `settings` gets the settings in force."""
    basket, settings = Basket(), quick(start_method, max_queue_size=30)
    QuasiQueue("face", add, [1], context=context_with_settings, collector=basket, settings=settings).run()
    assert basket.results() == {1: 31}


@pytest.mark.parametrize("reader", [add, add_async])
@pytest.mark.parametrize("context", [generator_context, async_generator_context])
def test_context_that_yields_is_finished_when_its_worker_leaves(
    reader: Callable[..., object], context: Callable[..., object], ledger: Ledger
) -> None:
    """What follows a context's `yield` runs once in each worker that leaves."""
    basket = Basket()
    settings = quick("fork", max_jobs_per_process=1)
    context = functools.partial(context, ledger)
    queue = QuasiQueue("face", reader, [1, 2], context=context, collector=basket, settings=settings)
    left: list[int] = []
    queue.subscribe(lambda event: left.append(event.pid) if isinstance(event, WorkerLeft) else None)
    queue.run()
    assert basket.results() == {1: 101, 2: 102}
    assert {outcome.pid for outcome in basket.outcomes} <= set(left)
    assert sorted(ledger.items("finish")) == sorted(left)


def test_context_that_yields_is_finished_when_spawned(ledger: Ledger) -> None:
    """The same in a spawned worker."""
    basket, context = Basket(), functools.partial(generator_context, ledger)
    QuasiQueue("face", add, [1], context=context, collector=basket, settings=quick("spawn")).run()
    assert basket.results() == {1: 101}
    assert ledger.items("finish") == ledger.items("begin")


def test_context_returning_none_is_an_error(start_method: str) -> None:
    """A forgotten `return` is told at once, not by every reader call."""
    queue = QuasiQueue("face", add, [1], context=no_context, settings=quick(start_method, max_restarts=0))
    with pytest.raises(CrashLoopError, match="context returned None"):
        queue.run()


# ---- collectors


def test_collector_gets_whole_outcomes() -> None:
    """Each outcome has item, key, status, result, counts, time, process and slot."""
    basket = Basket()
    queue = QuasiQueue(
        "face", pid_of_worker, ["a"], collector=basket, key=lambda item: item.upper(), settings=quick("fork")
    )
    queue.run()
    (outcome,) = basket.outcomes
    assert (outcome.item, outcome.key, outcome.status, outcome.error) == ("a", "A", "done", None)
    assert (outcome.attempts, outcome.crashes, outcome.slot) == (1, 0, 0)
    assert outcome.result == outcome.pid
    assert outcome.pid != os.getpid()
    assert 0 <= outcome.seconds < 5


def test_collector_that_is_async_gets_results(start_method: str) -> None:
    """An async collector is awaited on the loop; it may ask for the settings."""
    got: dict[object, object] = {}

    async def collector(finished: list[object], settings: Settings) -> None:
        await asyncio.sleep(0)
        got.update({outcome.item: (outcome.result, settings.num_processes) for outcome in finished})

    QuasiQueue("face", double, [1, 2], collector=collector, settings=quick(start_method)).run()
    assert got == {1: (2, 1), 2: (4, 1)}


def test_collector_gets_failures_with_their_error() -> None:
    """A failed item's error is data: type, message and a traceback that begins in the user's code."""
    basket = Basket()

    def reader(item: int) -> float:
        return 1 / item

    summary = QuasiQueue("face", reader, [0, 1], collector=basket, settings=quick("fork")).run()
    error = basket.of(0).error
    assert (basket.of(0).status, basket.of(0).result) == ("failed", None)
    assert (error.type, error.message) == ("ZeroDivisionError", "division by zero")
    assert "return 1 / item" in error.traceback
    assert "sync_loop" not in error.traceback
    assert basket.of(1).result == 1.0
    assert [outcome.item for outcome in summary.failures] == [0]
    assert (summary.done, summary.failed, summary.ok) == (1, 1, False)


def test_collector_that_fails_gets_the_same_outcomes_again() -> None:
    """A collector that raises is called again with the same list, and nothing is lost."""
    lists: list[list[object]] = []

    def collector(outcomes: list[object]) -> None:
        lists.append([outcome.item for outcome in outcomes])
        if len(lists) == 1:
            raise OSError("the database is away")

    events: list[Event] = []
    queue = QuasiQueue("face", double, [1], collector=collector, settings=quick("fork"))
    queue.subscribe(events.append)
    assert queue.run().done == 1
    assert lists == [[1], [1]]
    (failed,) = (event for event in events if isinstance(event, CollectorFailed))
    assert (failed.error.type, failed.error.message, failed.failures) == ("OSError", "the database is away", 1)


def test_collector_that_fails_too_often_ends_the_run() -> None:
    """After `writer_max_errors` failures in a row the run ends with the user's exception as the cause."""

    def collector(_outcomes: list[object]) -> None:
        raise OSError("the database is away")

    queue = QuasiQueue("face", double, [1], collector=collector, settings=quick("fork", writer_max_errors=2))
    with pytest.raises(CollectorError, match="the database is away") as caught:
        queue.run()
    assert isinstance(caught.value.__cause__, OSError)


# ---- attempts


def test_item_fails_once_by_default(ledger: Ledger) -> None:
    """By default the reader is called once for an item that raises."""
    summary = QuasiQueue("face", functools.partial(fails_until, ledger, 5), [1], settings=quick("fork")).run()
    assert ledger.items("run") == [1]
    assert (summary.failed, summary.retried) == (1, 0)


def test_item_runs_again_up_to_max_attempts(ledger: Ledger, start_method: str) -> None:
    """With `max_attempts` an item runs again, after growing pauses, until it succeeds."""
    basket = Basket()
    settings = quick(start_method, max_attempts=3, retry_delay=0.02)
    reader = functools.partial(fails_until, ledger, 3)
    summary = QuasiQueue("face", reader, [1], collector=basket, settings=settings).run()
    assert (summary.done, summary.failed, summary.retried) == (1, 0, 2)
    assert (basket.of(1).attempts, basket.of(1).result) == (3, "ready")
    times = [line.at for line in ledger.lines("run")]
    assert times[1] - times[0] >= 0.018
    assert times[2] - times[1] >= 0.036


def test_item_fails_after_max_attempts(ledger: Ledger) -> None:
    """Its one outcome tells of the last failure and of all attempts."""
    basket = Basket()
    settings = quick("fork", max_attempts=3, retry_delay=0.001)
    reader = functools.partial(fails_until, ledger, 9)
    summary = QuasiQueue("face", reader, [1], collector=basket, settings=settings).run()
    assert (summary.done, summary.failed, summary.retried) == (0, 1, 2)
    assert (basket.of(1).attempts, basket.of(1).error.message) == (3, "item 1 is not ready")
    assert ledger.items("run") == [1, 1, 1]


def test_retry_consumes_no_attempt(ledger: Ledger) -> None:
    """A reader may ask for another run as often as it likes."""
    basket = Basket()
    reader = functools.partial(asks_again, ledger, 4)
    summary = QuasiQueue("face", reader, [1], collector=basket, settings=quick("fork")).run()
    assert (summary.done, summary.retried) == (1, 3)
    assert (basket.of(1).attempts, basket.of(1).result) == (1, "ready")
    times = [line.at for line in ledger.lines("run")]
    assert all(later - earlier >= 0.01 for earlier, later in itertools.pairwise(times))


def test_reject_fails_an_item_for_good(ledger: Ledger) -> None:
    """A rejected item has no further attempt, whatever `max_attempts` says."""
    basket = Basket()
    settings = quick("fork", max_attempts=5, retry_delay=0.001)
    QuasiQueue("face", functools.partial(rejects, ledger), [1], collector=basket, settings=settings).run()
    assert ledger.items("run") == [1]
    assert basket.of(1).status == "failed"
    assert (basket.of(1).error.type, basket.of(1).error.message) == ("Reject", "item 1 is of no use")


# ---- the summary


def test_summary_counts_by_outcome(ledger: Ledger) -> None:
    """Every accepted item is in exactly one count; at most 20 failures are kept."""

    def reader(item: int) -> None:
        ledger.note("end", item)
        if item % 2:
            raise ValueError(item)

    summary = QuasiQueue("face", reader, [*range(60), 0, 1], settings=quick("fork")).run()
    assert (summary.done, summary.failed, summary.timed_out, summary.crashed) == (30, 30, 0, 0)
    assert (summary.released, summary.duplicates, summary.retried, summary.restarted) == (0, 2, 0, 0)
    assert len(summary.failures) == 20
    assert [outcome.item for outcome in summary.failures] == list(range(1, 40, 2))
    assert summary.ok is False
    assert summary.items_per_second == summary.done / summary.seconds
    assert ledger.check(range(60)) == ALL_ONCE


async def test_stop_releases_what_waits_and_finishes_what_runs(ledger: Ledger, gate: Gate) -> None:
    """A graceful stop: the running item is finished, the others are released, and each has its outcome."""
    basket = Basket()
    queue = QuasiQueue(
        "face", functools.partial(waits_at, gate, ledger), range(50), collector=basket, settings=quick("fork")
    )
    async with running(queue) as run:
        await run.until(lambda: ledger.items("start"))
        queue.stop()
        queue.stop()
        await run.event(StopRequested)
        gate.open()
        summary = await run.ended()
    assert (ledger.items("start"), ledger.items("end")) == ([0], [0])
    assert (summary.done, summary.done + summary.released) == (1, len(basket.outcomes))
    assert Counter(outcome.status for outcome in basket.outcomes)["done"] == 1
    assert summary.ok is True


async def test_stop_by_force_kills_what_runs(ledger: Ledger, gate: Gate) -> None:
    """A forced stop does not wait: the running item is released with what is known of its end."""
    basket = Basket()
    queue = QuasiQueue("face", functools.partial(waits_at, gate, ledger), [1], collector=basket, settings=quick("fork"))
    async with running(queue) as run:
        await run.until(lambda: ledger.items("start"))
        queue.stop(force=True)
        summary = await run.ended()
    assert (summary.done, summary.released) == (0, 1)
    assert basket.of(1).status == "released"
    assert summary.seconds < 5
    assert ledger.items("end") == []


async def test_cancelling_main_leaves_nothing(ledger: Ledger, gate: Gate) -> None:
    """A cancelled `main()` ends its processes and then raises the cancellation."""
    queue = QuasiQueue("face", functools.partial(waits_at, gate, ledger), [1], settings=quick("fork"))
    task = asyncio.ensure_future(queue.main())
    async with asyncio.timeout(20):
        while not ledger.items("start"):  # noqa: ASYNC110 - a file rings no bell
            await asyncio.sleep(0.002)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def test_stop_before_main_ends_it_at_once(ledger: Ledger) -> None:
    """`stop()` before `main()` is not lost."""
    queue = QuasiQueue("face", functools.partial(noting, ledger), itertools.count(), settings=quick("fork"))
    queue.stop()
    assert queue.run().failed == 0


def test_stop_after_the_run_changes_nothing(ledger: Ledger) -> None:
    """`stop()` after the end tells of nothing that did not happen, and the next run is not stopped by it."""
    seen: list[object] = []
    queue = QuasiQueue("face", functools.partial(noting, ledger), lambda: [1, 2, DONE], settings=quick("fork"))
    queue.subscribe(seen.append)
    assert queue.run().done == 2
    queue.stop()
    queue.stop(force=True)
    assert isinstance(seen[-1], RunEnded)
    assert queue.run().done == 2


# ---- where it runs


async def test_run_inside_a_loop_is_refused() -> None:
    """`run()` blocks, so a loop that runs already gets a sentence with the way out, and nothing is left half begun."""
    queue = QuasiQueue("face", double, [1], settings=quick("fork"))
    with pytest.raises(UsageError, match=r"await queue\.main\(\) instead"):
        queue.run()
    assert (await queue.main()).done == 1


def test_main_in_a_thread_works(ledger: Ledger) -> None:
    """In a thread that is not the main one no handler is set, and all else works."""
    queue = QuasiQueue("face", functools.partial(noting, ledger), range(10), settings=quick("fork"))
    summaries: list[RunSummary] = []
    thread = threading.Thread(target=lambda: summaries.append(asyncio.run(queue.main())))
    thread.start()
    thread.join(30)
    assert summaries[0].done == 10
    assert ledger.check(range(10)) == ALL_ONCE


def test_queue_runs_twice_in_one_process(ledger: Ledger) -> None:
    """A queue whose run has ended can be run again, from the start."""
    queue = QuasiQueue("face", functools.partial(noting, ledger), lambda: [1, 2, DONE], settings=quick("fork"))
    assert queue.run().done == 2
    assert queue.run().done == 2
    assert sorted(ledger.items("end")) == [1, 1, 2, 2]


async def test_main_while_it_runs_is_refused(ledger: Ledger, gate: Gate) -> None:
    """A queue runs once at a time."""
    queue = QuasiQueue("face", functools.partial(waits_at, gate, ledger), [1], settings=quick("fork"))
    async with running(queue) as run:
        await run.until(lambda: ledger.items("start"))
        with pytest.raises(UsageError, match="runs already"):
            await queue.main()
        gate.open()
        assert (await run.ended()).done == 1


def test_run_queues_runs_all_and_gives_their_summaries(tmp_path: Path) -> None:
    """Several queues share one main process; their summaries come back in order."""
    first, second = Ledger(tmp_path / "first"), Ledger(tmp_path / "second")
    summaries = run_queues(
        QuasiQueue("first", functools.partial(noting, first), range(10), settings=quick("fork")),
        QuasiQueue("second", functools.partial(noting, second), range(20), settings=quick("fork")),
    )
    assert [summary.done for summary in summaries] == [10, 20]
    assert first.check(range(10)) == ALL_ONCE
    assert second.check(range(20)) == ALL_ONCE


def test_run_queues_stops_all_when_one_fails(ledger: Ledger) -> None:
    """The error of one queue ends the others gracefully and is raised once all have ended."""
    endless = QuasiQueue("endless", functools.partial(noting, ledger), itertools.count(), settings=quick("fork"))
    broken = QuasiQueue("broken", add, [1], context=no_context, settings=quick("fork", max_restarts=0))
    events: list[Event] = []
    endless.subscribe(events.append)
    with pytest.raises(CrashLoopError, match="broken"):
        run_queues(endless, broken)
    assert [type(event) for event in events if isinstance(event, (StopRequested, RunEnded))] == [
        StopRequested,
        RunEnded,
    ]


# ---- methods


async def test_put_offers_items_beside_the_writer(ledger: Ledger, start_method: str) -> None:
    """`put()` says True for what is new and False for a duplicate, from any thread."""
    queue = QuasiQueue("face", functools.partial(noting, ledger), lambda: None, settings=quick(start_method))
    async with running(queue) as run:
        assert queue.put(1) is True
        assert queue.put(1) is False
        assert await asyncio.to_thread(queue.put, 2) is True
        await run.until(lambda: len(ledger.items("end")) == 2)
        summary = await run.stopped()
    assert ledger.check([1, 2]) == ALL_ONCE
    assert (summary.done, summary.duplicates) == (2, 1)


def test_put_before_main_is_kept(ledger: Ledger) -> None:
    """What is put before `main()` is run by it."""
    queue = QuasiQueue("face", functools.partial(noting, ledger), lambda: DONE, settings=quick("fork"))
    assert queue.put("early") is True
    assert queue.stats().waiting == 1
    assert queue.run().done == 1
    assert ledger.items("end") == ["early"]


def test_put_without_room_raises_queue_full() -> None:
    """Without room within `queue_interaction_timeout` nothing is accepted."""
    settings = quick("fork", max_queue_size=2, queue_interaction_timeout=0.05)
    queue = QuasiQueue("face", double, lambda: DONE, settings=settings)
    assert [queue.put(1), queue.put(2)] == [True, True]
    began = time.monotonic()
    with pytest.raises(QueueFull, match="max_queue_size is 2"):
        queue.put(3)
    assert time.monotonic() - began >= 0.05
    assert queue.run().done == 2


async def test_put_waits_for_room(ledger: Ledger, gate: Gate) -> None:
    """`put()` in a thread gets the room that comes within its time."""
    settings = quick("fork", max_queue_size=1, queue_interaction_timeout=20)
    queue = QuasiQueue("face", functools.partial(waits_at, gate, ledger), lambda: None, settings=settings)
    async with running(queue) as run:
        queue.put(1)
        await run.until(lambda: ledger.items("start") == [1])
        await run.until(lambda: queue.stats().waiting == 0)
        queue.put(2)
        waiting = asyncio.ensure_future(asyncio.to_thread(queue.put, 3))
        await asyncio.sleep(0.02)
        assert not waiting.done()
        gate.open()
        assert await waiting is True
        await run.until(lambda: len(ledger.items("end")) == 3)
        assert (await run.stopped()).done == 3


def test_put_after_the_run_raises_queue_closed() -> None:
    """A queue whose run is over takes nothing more."""
    queue = QuasiQueue("face", double, [1], settings=quick("fork"))
    queue.run()
    with pytest.raises(QueueClosed):
        queue.put(2)


async def test_put_while_stopping_raises_queue_closed(ledger: Ledger, gate: Gate) -> None:
    """A queue that stops takes nothing more."""
    queue = QuasiQueue("face", functools.partial(waits_at, gate, ledger), [1], settings=quick("fork"))
    async with running(queue) as run:
        await run.until(lambda: ledger.items("start"))
        queue.stop()
        await run.until(lambda: queue.stats().workers[0].state == WorkerState.LEAVING)
        with pytest.raises(QueueClosed):
            queue.put(2)
        gate.open()
        assert (await run.ended()).done == 1


async def test_wake_ends_the_empty_sleep(ledger: Ledger) -> None:
    """`wake()` has the writer asked now, not at the end of a long `empty_queue_sleep_time`."""
    rows: list[int] = []

    def writer(_: int) -> list[int]:
        calls.append(1)
        return [rows.pop()] if rows else []

    calls: list[int] = []
    settings = quick("fork", empty_queue_sleep_time=1000)
    queue = QuasiQueue("face", functools.partial(noting, ledger), writer, settings=settings)
    async with running(queue) as run:
        await run.event(WorkerReady)
        await run.until(lambda: calls)
        rows.append(7)
        queue.wake()
        await run.until(lambda: ledger.items("end") == [7])
        assert (await run.stopped()).done == 1


async def test_wake_while_the_writer_is_asked_is_not_lost(ledger: Ledger) -> None:
    """A writer that has looked already, and found nothing, is asked once more when it is woken before it returns."""
    entered, leave = threading.Event(), threading.Event()
    rows: list[int] = []

    def writer(_: int) -> list[int]:
        given = [rows.pop()] if rows else []
        entered.set()
        leave.wait()
        return given

    settings = quick("fork", empty_queue_sleep_time=1000)
    queue = QuasiQueue("face", functools.partial(noting, ledger), writer, settings=settings)
    try:
        async with running(queue) as run:
            await run.until(entered.is_set)
            rows.append(7)
            queue.wake()
            await asyncio.sleep(0)  # the wake has been seen by the loop
            leave.set()
            await run.until(lambda: ledger.items("end") == [7])
            assert (await run.stopped()).done == 1
    finally:
        leave.set()


async def test_pause_hands_out_nothing_and_resume_goes_on(ledger: Ledger) -> None:
    """While paused items are accepted and wait; after `resume()` all are run."""
    queue = QuasiQueue("face", functools.partial(noting, ledger), lambda: None, settings=quick("fork"))
    async with running(queue) as run:
        await run.event(WorkerReady)
        queue.pause()
        await run.until(lambda: queue.stats().paused)
        for item in range(5):
            queue.put(item)
        await asyncio.sleep(0.05)
        assert (queue.stats().waiting, ledger.items("end")) == (5, [])
        queue.resume()
        await run.until(lambda: len(ledger.items("end")) == 5)
        assert queue.stats().paused is False
        assert (await run.stopped()).done == 5


async def test_scale_starts_and_ends_workers(ledger: Ledger, gate: Gate) -> None:
    """Scaled up, more items run at once; scaled down, surplus workers finish what they run."""
    queue = QuasiQueue("face", functools.partial(waits_at, gate, ledger), range(4), settings=quick("fork"))
    async with running(queue) as run:
        await run.until(lambda: len(ledger.items("start")) == 1)
        queue.scale(3)
        await run.until(lambda: len(ledger.items("start")) == 3)
        assert [worker.slot for worker in queue.stats().workers] == [0, 1, 2]
        queue.scale(1)
        await run.until(lambda: [worker.state for worker in queue.stats().workers].count(WorkerState.LEAVING) == 2)
        gate.open()
        summary = await run.ended()
    assert (summary.done, summary.restarted) == (4, 0)
    assert ledger.check(range(4)) == ALL_ONCE


def test_scale_below_one_is_refused() -> None:
    """At least one worker is needed."""
    with pytest.raises(UsageError, match=r"scale\(0\)"):
        QuasiQueue("face", double, [1], settings=quick("fork")).scale(0)


async def test_recycle_replaces_every_process(ledger: Ledger, start_method: str) -> None:
    """After `recycle()` every worker is a new process, and nothing was lost or run twice."""
    settings = quick(start_method, num_processes=2)
    queue = QuasiQueue("face", functools.partial(noting, ledger), lambda: None, settings=settings)
    async with running(queue) as run:
        await run.event(WorkerReady, 2)
        before = {worker.pid for worker in queue.stats().workers}
        queue.put(1)
        queue.recycle()
        await run.event(WorkerLeft, 2)
        await run.until(lambda: [worker.state for worker in queue.stats().workers] == [WorkerState.READY] * 2)
        after = {worker.pid for worker in queue.stats().workers}
        queue.put(2)
        await run.until(lambda: len(ledger.items("end")) == 2)
        summary = await run.stopped()
    assert (len(before), len(after), before & after) == (2, 2, set())
    assert {event.pid for event in run.all(WorkerRecycling)} == before
    assert (summary.done, summary.recycled, summary.restarted) == (2, 2, 0)


async def test_stats_tell_of_every_worker(ledger: Ledger, gate: Gate) -> None:
    """One entry per worker: slot, process, state, items done, what it runs and for how long, memory."""
    settings = quick("fork", num_processes=2)
    queue = QuasiQueue("face", functools.partial(waits_at, gate, ledger), [1, 2, 3], settings=settings)
    assert queue.stats().workers == ()
    async with running(queue) as run:
        await run.until(lambda: len(ledger.items("start")) == 2)
        await run.until(lambda: queue.stats().running == 2 and queue.stats().workers[0].seconds > 0)
        stats = queue.stats()
        assert [worker.slot for worker in stats.workers] == [0, 1]
        assert {worker.pid for worker in stats.workers} == {line.pid for line in ledger.lines("start")}
        assert [worker.state for worker in stats.workers] == [WorkerState.READY, WorkerState.READY]
        assert [(worker.done, worker.running) for worker in stats.workers] == [(0, 1), (0, 1)]
        assert all(worker.memory > 1 << 20 for worker in stats.workers)
        assert (stats.waiting, stats.running, stats.done) == (1, 2, 0)
        gate.open()
        assert (await run.ended()).done == 3
    stats = queue.stats()
    assert (stats.done, stats.waiting, stats.running, stats.workers) == (3, 0, 0, ())


# ---- events


async def test_events_come_in_order(start_method: str) -> None:
    """A run's events, from its start to its end; every one names the queue."""

    def named(events: list[Event]) -> list[type[Event]]:
        return [type(event) for event in events]

    queue = QuasiQueue("face", double, [1], settings=quick(start_method))
    async with running(queue) as run:
        summary = await run.ended()
    assert named(run.events) == [RunStarted, WorkerStarted, WorkerReady, WorkerLeft, RunEnded]
    assert {event.queue for event in run.events} == {"face"}
    assert run.events[0] == RunStarted("face", 1, start_method)
    assert run.events[-1] == RunEnded("face", summary)
    started, ready, left = run.events[1:4]
    assert started.pid == ready.pid == left.pid
    assert (started.slot, ready.slot, left.slot, left.done) == (0, 0, 0, 1)


def test_events_tell_of_retries_and_failures(ledger: Ledger) -> None:
    """A retry and the final failure are events, with the item's text and the outcome."""
    events: list[Event] = []
    settings = quick("fork", max_attempts=2, retry_delay=0.001)
    queue = QuasiQueue("face", functools.partial(fails_until, ledger, 9), ["it"], settings=settings)
    queue.subscribe(events.append)
    queue.run()
    retried, ended = (event for event in events if isinstance(event, (ItemRetried, ItemEnded)))
    assert (retried.item, retried.reason) == ("'it'", "ValueError: item it is not ready")
    assert (ended.outcome.item, ended.outcome.status, ended.outcome.attempts) == ("it", "failed", 2)


def test_subscriber_that_fails_changes_nothing(caplog: pytest.LogCaptureFixture, ledger: Ledger) -> None:
    """A failing subscriber is logged; the others and the run go on."""

    def broken(event: Event) -> None:
        raise RuntimeError("a broken subscriber")

    events: list[Event] = []
    queue = QuasiQueue("face", functools.partial(noting, ledger), range(10), settings=quick("fork"))
    queue.subscribe(broken)
    queue.subscribe(events.append)
    summary = queue.run()
    assert summary == RunSummary(done=10, seconds=summary.seconds)
    assert ledger.check(range(10)) == ALL_ONCE
    assert events[-1] == RunEnded("face", summary)
    assert "a subscriber failed on RunStarted" in caplog.text
    assert "a broken subscriber" in caplog.text


async def test_worker_that_dies_is_an_event_with_its_item(ledger: Ledger) -> None:
    """A death names its cause, the process and the items that ran."""

    def reader(item: str) -> None:
        ledger.note("start", item)
        if ledger.items("start") == ["it"]:
            os._exit(3)

    queue = QuasiQueue("face", reader, ["it"], settings=quick("fork"))
    async with running(queue) as run:
        summary = await run.ended()
    (died,) = run.all(WorkerDied)
    assert (died.slot, died.pid, died.items) == (0, ledger.lines("start")[0].pid, ("'it'",))
    assert died.cause == f"worker {died.pid} exited with code 3"
    assert (summary.done, summary.restarted, summary.retried) == (1, 1, 1)


# ---- keys


def test_key_decides_what_is_the_same(ledger: Ledger) -> None:
    """Two items with one key are the same, whatever they look like; a key of None is never the same."""
    items = ["a1", "a2", "b1", "-x", "-x"]
    queue = QuasiQueue(
        "face",
        functools.partial(noting, ledger),
        items,
        key=lambda item: None if item[0] == "-" else item[0],
        settings=quick("fork"),
    )
    summary = queue.run()
    assert sorted(ledger.items("end")) == ["-x", "-x", "a1", "b1"]
    assert (summary.done, summary.duplicates) == (4, 1)
