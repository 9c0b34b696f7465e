"""Workers: how they die, are replaced, recycled and limited, and that no item pays for it but the one to blame."""

import asyncio
import atexit
import functools
import itertools
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from types import FrameType

import pytest

from quasiqueue import CrashLoopError, Event, QuasiQueue, RunSummary, Settings, WorkerState
from quasiqueue._main.supervisor import LINE_SECONDS
from quasiqueue._wire.child import FROM_OUTSIDE
from quasiqueue.events import (
    ItemRetried,
    StacksDumped,
    StopRequested,
    WorkerDied,
    WorkerReady,
    WorkerRecycling,
    WorkerStarted,
)

from .support import ALL_ONCE, Basket, Gate, Ledger, Verdict, is_gone, quick, running, wait_until

# ---- readers, at the top of the module so that spawned workers can import them


def noting_both(ledger: Ledger, item: object) -> None:
    ledger.note("start", item)
    ledger.note("end", item)


def waits_the_first_time(ledger: Ledger, item: int) -> None:
    """Item 5 waits to be killed, the first time it runs."""
    ledger.note("start", item)
    if item == 5 and ledger.items("start").count(5) == 1:
        threading.Event().wait()
    ledger.note("end", item)


async def waits_the_first_time_async(ledger: Ledger, item: int) -> None:
    ledger.note("start", item)
    if item == 5 and ledger.items("start").count(5) == 1:
        await asyncio.Event().wait()
    ledger.note("end", item)


def exits_hard(ledger: Ledger, code: int, item: int) -> None:
    ledger.note("start", item)
    if item == 5:
        os._exit(code)
    ledger.note("end", item)


def raises(ledger: Ledger, item: tuple[str, int]) -> int:
    ledger.note("start", item)
    match item[0]:
        case "exit":
            raise SystemExit(3)
        case "interrupt":
            raise KeyboardInterrupt
        case "generator":
            raise GeneratorExit
        case "cancel":
            raise asyncio.CancelledError
        case "unpicklable":
            raise UnpicklableError("no way through", threading.Lock())
        case "silent":
            raise SilentError
        case "huge":
            raise ValueError("x" * (20 << 20))
    ledger.note("end", item)
    return os.getpid()


async def raises_async(ledger: Ledger, item: tuple[str, int]) -> int:
    return raises(ledger, item)


class UnpicklableError(Exception):
    """Holds a lock."""


class SilentError(Exception):
    """Has no text that could be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def gives_what_cannot_be_pickled(item: int) -> object:
    return (lambda: item) if item == 1 else item


class Spoiled:
    """Can be pickled and not unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return spoil, ()


def spoil() -> None:
    raise RuntimeError("spoiled")


def gives_what_cannot_be_unpickled(item: int) -> object:
    return Spoiled() if item == 1 else item


def spins(ledger: Ledger, item: int) -> None:
    ledger.note("start", item)
    while item == 1:
        pass
    ledger.note("end", item)


def blocks(ledger: Ledger, item: int) -> None:
    ledger.note("start", item)
    if item == 1:
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()
    ledger.note("end", item)


async def sleeps(ledger: Ledger, item: int) -> None:
    ledger.note("start", item)
    try:
        if item == 1:
            await asyncio.Event().wait()
    except asyncio.CancelledError:
        ledger.note("cancelled", item)
        raise
    ledger.note("end", item)


async def sleeps_on(ledger: Ledger, item: int) -> None:
    ledger.note("start", item)
    while item == 1:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ledger.note("cancelled", item)
    ledger.note("end", item)


def context_that_fails_and_ends_slowly() -> None:
    atexit.register(time.sleep, LINE_SECONDS + 1.0)
    atexit.register(os.closerange, 3, 1 << 16)  # comes before the other
    raise LookupError("the database is away")


def broken_context() -> dict[str, int]:
    raise LookupError("the database is away")


def with_context(item: int, ctx: object) -> None:
    pass


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    os.kill(pid, number)


# ---- deaths


@pytest.mark.parametrize("reader", [waits_the_first_time, waits_the_first_time_async])
async def test_killed_worker_loses_nothing(reader: Callable[..., object], ledger: Ledger, start_method: str) -> None:
    """A worker is killed from outside while it runs item 5: that one runs again, all others run exactly once."""
    settings = quick(start_method, concurrent_tasks_per_process=1)
    queue = QuasiQueue("workers", functools.partial(reader, ledger), range(40), settings=settings)
    async with running(queue) as run:
        await run.until(lambda: 5 in ledger.items("start"))
        victim = ledger.pid_of("start", 5)
        kill(victim)
        summary = await run.ended()
    assert ledger.check(range(40)) == ALL_ONCE
    assert ledger.check(range(40), "start") == Verdict([], [], [5])
    (died,) = run.all(WorkerDied)
    assert (died.pid, died.items) == (victim, ("5",))
    assert "SIGKILL" in died.cause
    assert summary == RunSummary(done=40, retried=1, restarted=1, seconds=summary.seconds)


async def test_killed_workers_one_after_the_other_lose_nothing(ledger: Ledger) -> None:
    """Workers are killed again and again at any moment: nothing is lost, and what ran twice was on a dying worker."""
    deaths = 0
    given = 0

    def writer() -> Iterator[int]:
        nonlocal given
        while deaths < 15:
            yield given
            given += 1

    settings = quick("fork", num_processes=2, max_crashes=100, max_restarts=1000)
    queue = QuasiQueue("workers", functools.partial(noting_both, ledger), writer(), settings=settings)
    async with running(queue) as run:
        while deaths < 15:
            done = queue.stats().done
            await run.until(lambda: queue.stats().done > done + 100)  # noqa: B023
            workers = queue.stats().workers
            kill(next(worker.pid for worker in workers if worker.state is WorkerState.READY))
            await run.event(WorkerDied, deaths + 1)
            deaths += 1
        summary = await run.ended()
    suspects = sum(len(died.items) for died in run.all(WorkerDied))
    verdict = ledger.check(range(given))
    assert (verdict.lost, verdict.unexpected) == ([], [])
    assert len(verdict.duplicated) <= suspects <= 15
    assert summary == RunSummary(done=given, retried=suspects, restarted=15, seconds=summary.seconds)


@pytest.mark.parametrize("code", [0, 1, 3, 255])
def test_worker_that_exits_hard_costs_only_its_item(ledger: Ledger, code: int) -> None:
    """`os._exit` in a reader, again and again: the item is `crashed` after `max_crashes`, the others are unharmed."""
    basket = Basket()
    reader = functools.partial(exits_hard, ledger, code)
    settings = quick("fork", max_crashes=2)
    summary = QuasiQueue("workers", reader, range(20), collector=basket, settings=settings).run()
    assert ledger.check(set(range(20)) - {5}) == ALL_ONCE
    assert ledger.check(range(20), "start") == Verdict([], [], [5])
    outcome = basket.of(5)
    assert (outcome.status, outcome.crashes, outcome.attempts) == ("crashed", 2, 0)
    assert (outcome.error.type, outcome.error.exit_code, outcome.error.signal) == ("WorkerDied", code, None)
    assert f"exited with code {code}" in outcome.error.message
    assert outcome.pid == ledger.pid_of("start", 5)
    assert (summary.done, summary.crashed, summary.retried, summary.restarted) == (19, 1, 1, 2)


def test_worker_that_exits_hard_when_spawned_costs_only_its_item(ledger: Ledger) -> None:
    """The same in a spawned worker; with `max_crashes = 1` the item is tried at most once."""
    basket = Basket()
    reader = functools.partial(exits_hard, ledger, 3)
    summary = QuasiQueue("workers", reader, range(20), collector=basket, settings=quick("spawn", max_crashes=1)).run()
    assert ledger.check(set(range(20)) - {5}) == ALL_ONCE
    assert ledger.items("start").count(5) == 1
    assert (basket.of(5).status, basket.of(5).error.exit_code) == ("crashed", 3)
    assert (summary.done, summary.crashed, summary.restarted) == (19, 1, 1)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
def test_worker_that_crashes_in_native_code_tells_its_stack(number: signal.Signals) -> None:
    """The outcome names the signal, the most memory used, and the Python code that was running."""
    basket = Basket()

    def the_guilty_reader(_item: int) -> None:
        os.kill(os.getpid(), number)

    settings = quick("fork", max_crashes=1)
    QuasiQueue("workers", the_guilty_reader, [1], collector=basket, settings=settings).run()
    error = basket.of(1).error
    assert (error.signal, error.exit_code) == (number.name, None)
    assert "the_guilty_reader" in error.stack
    assert error.peak_memory > 1 << 20


# ---- what readers raise


@pytest.mark.parametrize("reader", [raises, raises_async])
def test_reader_may_raise_anything_and_its_worker_lives(
    reader: Callable[..., object], ledger: Ledger, start_method: str
) -> None:
    """Whatever a reader raises fails its item, as text; the same process goes on with the next."""
    basket = Basket()
    kinds = ["exit", "interrupt", "generator", "cancel", "unpicklable", "silent", "huge"]
    items = [pair for kind in kinds for pair in ((kind, 1), ("fine", kinds.index(kind)))]
    reader = functools.partial(reader, ledger)
    summary = QuasiQueue("workers", reader, items, collector=basket, settings=quick(start_method)).run()
    errors = {kind: basket.of((kind, 1)).error for kind in kinds}
    assert {kind: error.type for kind, error in errors.items()} == {
        "exit": "SystemExit",
        "interrupt": "KeyboardInterrupt",
        "generator": "GeneratorExit",
        "cancel": "CancelledError",
        "unpicklable": "UnpicklableError",
        "silent": "SilentError",
        "huge": "ValueError",
    }
    assert errors["exit"].message == "3"
    assert "no way through" in errors["unpicklable"].message
    assert len(errors["huge"].message) <= 10_000
    assert len(errors["huge"].traceback) <= 50_000
    assert all("in raises" in error.traceback for kind, error in errors.items() if kind != "silent")
    assert len(set(basket.results().values())) == 1
    assert (summary.done, summary.failed, summary.restarted) == (7, 7, 0)
    assert sorted(ledger.items("end")) == [("fine", number) for number in range(7)]


@pytest.mark.parametrize(
    ("reader", "word"), [(gives_what_cannot_be_pickled, "pickle"), (gives_what_cannot_be_unpickled, "spoiled")]
)
def test_result_that_cannot_travel_fails_its_item(reader: Callable[..., object], word: str, start_method: str) -> None:
    """A result that cannot be pickled, or unpickled, fails its item by name; the others keep theirs."""
    basket = Basket()
    summary = QuasiQueue("workers", reader, [0, 1, 2], collector=basket, settings=quick(start_method)).run()
    assert basket.results() == {0: 0, 2: 2}
    assert (basket.of(1).status, basket.of(1).result) == ("failed", None)
    assert word in basket.of(1).error.message
    assert (summary.done, summary.failed, summary.restarted) == (2, 1, 0)


def test_result_is_not_sent_without_a_collector() -> None:
    """Without a collector a result that cannot be pickled harms nobody."""
    summary = QuasiQueue("workers", gives_what_cannot_be_pickled, [0, 1, 2], settings=quick("fork")).run()
    assert (summary.done, summary.ok) == (3, True)


# ---- recycling


def takes_a_while(_item: int) -> tuple[float, float]:
    """Return when it began and when it ended, on the clock that all processes share."""
    began = time.monotonic()
    time.sleep(0.01)
    return began, time.monotonic()


async def takes_a_while_async(_item: int) -> tuple[float, float]:
    """Do the same as a task."""
    began = time.monotonic()
    await asyncio.sleep(0.01)
    return began, time.monotonic()


@pytest.mark.parametrize(("processes", "jobs"), [(1, 1), (1, 3), (2, 7), (1, 20)])
@pytest.mark.parametrize(("reader", "tasks"), [(takes_a_while, 1), (takes_a_while_async, 5)])
def test_no_more_items_run_at_once_than_the_settings_say(
    reader: Callable[..., object], tasks: int, processes: int, jobs: int
) -> None:
    """However many workers are just being replaced: who follows runs what those who leave do not run any more."""
    basket = Basket()
    settings = quick("fork", num_processes=processes, max_jobs_per_process=jobs, concurrent_tasks_per_process=tasks)
    summary = QuasiQueue("workers", reader, range(100), collector=basket, settings=settings).run()
    assert summary.done == 100
    spans = basket.results().values()
    at_once = [sum(began <= moment < ended for began, ended in spans) for moment, _ in spans]
    assert max(at_once) <= processes * tasks


async def test_idle_queue_has_no_successors(ledger: Ledger) -> None:
    """A few quick items are no reason to replace anybody, even where a worker takes long to be ready."""
    given = [[1, 2, 3, 4, 5]]

    def context() -> dict[str, int]:
        time.sleep(0.3)
        return {}

    reader = lambda item, _ctx: ledger.note("end", item)  # noqa: E731 - a closure, as short as can be
    writer = lambda _: given.pop() if given else None  # noqa: E731
    queue = QuasiQueue("workers", reader, writer, context, settings=quick("fork", max_jobs_per_process=200))
    async with running(queue) as run:
        await run.until(lambda: queue.stats().done == 5)
        assert (await run.stopped()).recycled == 0
    assert run.all(WorkerRecycling) == []


@pytest.mark.parametrize("jobs", [1, 7])
def test_worker_runs_at_most_max_jobs_per_process(ledger: Ledger, jobs: int) -> None:
    """No process runs more items than that, however small they are; each is replaced as planned, none as a death."""
    settings = quick("fork", num_processes=2, max_jobs_per_process=jobs)
    summary = QuasiQueue("workers", functools.partial(noting_both, ledger), range(100), settings=settings).run()
    counts = Counter(line.pid for line in ledger.lines("end"))
    assert max(counts.values()) <= jobs
    assert len(counts) >= 100 // jobs
    assert ledger.check(range(100)) == ALL_ONCE
    assert (summary.done, summary.restarted, summary.retried) == (100, 0, 0)
    assert 0 < summary.recycled <= len(counts)  # those that leave at the end of the run are not counted


def test_spawned_worker_runs_at_most_max_jobs_per_process(ledger: Ledger) -> None:
    """The same with spawned workers."""
    settings = quick("spawn", max_jobs_per_process=5)
    summary = QuasiQueue("workers", functools.partial(noting_both, ledger), range(12), settings=settings).run()
    counts = Counter(line.pid for line in ledger.lines("end"))
    assert max(counts.values()) <= 5
    assert ledger.check(range(12)) == ALL_ONCE
    assert (summary.done, summary.restarted, summary.retried) == (12, 0, 0)


def test_recycling_cancels_no_async_item(ledger: Ledger) -> None:
    """6 items per process, 4 at once: a worker that is due finishes all that it runs."""

    async def reader(item: int) -> None:
        ledger.note("start", item)
        await asyncio.sleep(0.003 * (item % 4))
        ledger.note("end", item)

    settings = quick("fork", num_processes=2, max_jobs_per_process=6, concurrent_tasks_per_process=4)
    summary = QuasiQueue("workers", reader, range(120), settings=settings).run()
    assert ledger.check(range(120), "start") == ALL_ONCE
    assert ledger.check(range(120)) == ALL_ONCE
    assert max(Counter(line.pid for line in ledger.lines("start")).values()) <= 6
    assert (summary.done, summary.restarted, summary.failed) == (120, 0, 0)


def ready(queue: QuasiQueue) -> int:
    """How many workers are ready."""
    return sum(worker.state is WorkerState.READY for worker in queue.stats().workers)


async def test_recycling_keeps_all_but_one_worker_ready(ledger: Ledger) -> None:
    """All workers are due at about the same time, again and again: at every moment all but one at most are ready."""

    def context() -> dict[str, int]:
        time.sleep(0.02)  # what is tested: a start that takes its time
        return {}

    def reader(_item: int, _ctx: object) -> None:
        time.sleep(0.002)

    settings = quick("fork", num_processes=4, max_jobs_per_process=20)
    queue = QuasiQueue("workers", reader, range(1200), context=context, settings=settings)
    samples: list[int] = []
    async with running(queue) as run:
        await run.until(lambda: ready(queue) == 4)
        while queue.stats().waiting > 100:
            samples.append(ready(queue))
            await asyncio.sleep(0.001)
        summary = await run.ended()
    assert min(samples) >= 3
    assert len(samples) >= 100
    assert (summary.done, summary.restarted) == (1200, 0)
    assert summary.recycled >= 40


async def test_worker_above_its_memory_is_recycled_after_its_item(ledger: Ledger) -> None:
    """A reader that leaks gets a new process once it is above `max_memory_per_process`; no item is lost."""
    kept: list[bytes] = []

    def reader(item: int) -> int:
        kept.append(os.urandom(1 << 20) * 30)
        ledger.note("end", item)
        return os.getpid()

    settings = quick("fork", max_memory_per_process=100)
    queue = QuasiQueue("workers", reader, lambda: None, settings=settings)
    async with running(queue) as run:
        await run.event(WorkerReady)
        for item in itertools.count():
            queue.put(item)
            await run.until(lambda: ledger.pid_of("end", item))  # noqa: B023
            if run.all(WorkerRecycling):
                break
            if item >= 4:
                await run.event(WorkerRecycling)
                break
        await run.event(WorkerReady, 2)
        queue.put(1000)
        await run.until(lambda: ledger.pid_of("end", 1000))
        summary = await run.stopped()
    assert "max_memory_per_process is 100" in run.all(WorkerRecycling)[0].reason
    assert ledger.check([*range(item + 1), 1000]) == ALL_ONCE
    assert summary.done == item + 2
    assert summary.restarted == 0


# ---- limits


@pytest.mark.parametrize("reader", [spins, blocks])
def test_item_that_runs_too_long_is_timed_out(reader: Callable[..., object], ledger: Ledger, start_method: str) -> None:
    """Its worker is killed and replaced; the outcome tells where it was; the others are unharmed."""
    basket = Basket()
    settings = quick(start_method, item_timeout=0.3)
    events: list[Event] = []
    queue = QuasiQueue("workers", functools.partial(reader, ledger), range(5), collector=basket, settings=settings)
    queue.subscribe(events.append)
    summary = queue.run()
    assert ledger.check({0, 2, 3, 4}) == ALL_ONCE
    assert ledger.check(range(5), "start") == ALL_ONCE
    outcome = basket.of(1)
    assert (outcome.status, outcome.attempts, outcome.error.type) == ("timed_out", 1, "TimedOut")
    assert reader.__name__ in outcome.error.stack
    assert "item_timeout (0.3 s)" in outcome.error.message
    assert 0.3 <= outcome.seconds < 5
    assert reader.__name__ in next(event.text for event in events if isinstance(event, StacksDumped))
    assert (summary.done, summary.timed_out, summary.crashed, summary.restarted) == (4, 1, 0, 1)


def test_async_item_that_runs_too_long_is_cancelled(ledger: Ledger) -> None:
    """Its task is cancelled; the worker lives and the items beside it go on."""
    basket = Basket()
    queue = QuasiQueue(
        "workers",
        functools.partial(sleeps, ledger),
        range(5),
        collector=basket,
        settings=quick("fork", item_timeout=0.3),
    )
    summary = queue.run()
    assert ledger.check({0, 2, 3, 4}) == ALL_ONCE
    assert ledger.items("cancelled") == [1]
    assert (basket.of(1).status, basket.of(1).error.type) == ("timed_out", "TimedOut")
    assert (summary.done, summary.timed_out, summary.restarted) == (4, 1, 0)


def test_async_item_that_ignores_its_cancellation_is_killed(ledger: Ledger) -> None:
    """Then its worker goes down; what else it ran is run again and nothing is held against it."""
    basket = Basket()
    queue = QuasiQueue(
        "workers",
        functools.partial(sleeps_on, ledger),
        range(5),
        collector=basket,
        settings=quick("fork", item_timeout=0.3),
    )
    summary = queue.run()
    assert ledger.check({0, 2, 3, 4}) == ALL_ONCE
    assert ledger.items("cancelled")[:1] == [1]
    assert (basket.of(1).status, basket.of(1).crashes) == ("timed_out", 0)
    assert (summary.done, summary.timed_out, summary.restarted) == (4, 1, 1)


def test_item_that_times_out_runs_again_up_to_max_attempts(ledger: Ledger) -> None:
    """A time-out is an attempt."""
    basket = Basket()
    settings = quick("fork", item_timeout=0.1, max_attempts=2, retry_delay=0.01)
    reader = functools.partial(blocks, ledger)
    summary = QuasiQueue("workers", reader, [1], collector=basket, settings=settings).run()
    assert ledger.items("start") == [1, 1]
    assert (basket.of(1).status, basket.of(1).attempts) == ("timed_out", 2)
    assert (summary.timed_out, summary.retried, summary.restarted) == (1, 1, 2)


def test_worker_that_is_not_ready_in_time_is_killed(ledger: Ledger) -> None:
    """A context that hangs is bounded by `startup_timeout`, and its stack is in the error; no item is handed out."""

    def the_hanging_context() -> None:
        ledger.note("start", 0)
        threading.Event().wait()

    settings = quick("fork", startup_timeout=1.0, max_restarts=1)
    queue = QuasiQueue("workers", with_context, [1], context=the_hanging_context, settings=settings)
    began = time.monotonic()
    with pytest.raises(CrashLoopError, match=r"startup_timeout \(1 s\)") as caught:
        queue.run()
    assert time.monotonic() - began < 30
    assert "the_hanging_context" in str(caught.value)
    assert len(ledger.items("start")) == 2
    assert (queue.stats().done, queue.stats().released) == (0, 1)


def test_context_that_raises_at_every_start_ends_the_run(start_method: str) -> None:
    """`CrashLoopError` after `max_restarts` further starts, with the first traceback once, and the item released."""
    events: list[Event] = []
    settings = quick(start_method, max_restarts=2)
    queue = QuasiQueue("workers", with_context, [1], context=broken_context, settings=settings)
    queue.subscribe(events.append)
    with pytest.raises(CrashLoopError) as caught:
        queue.run()
    text = str(caught.value)
    assert text.count("Traceback (most recent call last)") == 1
    assert "in broken_context" in text
    assert "LookupError: the database is away" in text
    assert "max_restarts" in text
    assert len([event for event in events if isinstance(event, WorkerStarted)]) == 3
    assert queue.stats().released == 1


def test_worker_whose_context_failed_may_take_its_time_to_end() -> None:
    """It has said why it ends: a line that goes long before its process does hides nothing of that."""
    settings = quick("spawn", max_restarts=0)
    queue = QuasiQueue("workers", with_context, [1], context=context_that_fails_and_ends_slowly, settings=settings)
    with pytest.raises(CrashLoopError, match=r"The last one: the context failed in worker \d+: LookupError"):
        queue.run()


def test_run_that_is_ending_starts_no_worker() -> None:
    """From the moment at which the run is to end, also while an async writer takes its time to end, none is started."""
    events: list[Event] = []

    async def writer(_: int) -> AsyncIterator[int]:
        yield 1
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.3)  # longer than the pause after a third death

    settings = quick("fork", max_restarts=2)
    queue = QuasiQueue("workers", with_context, writer, context=broken_context, settings=settings)
    queue.subscribe(events.append)
    with pytest.raises(CrashLoopError):
        queue.run()
    kinds = [type(event) for event in events]
    assert kinds.count(WorkerStarted) == 3
    assert WorkerStarted not in kinds[kinds.index(StopRequested) :]


def test_context_that_raises_is_tried_a_bounded_number_of_times() -> None:
    """With default settings a broken context is not tried for ever: six starts, pauses between them, then the end."""
    events: list[Event] = []
    queue = QuasiQueue("workers", with_context, [1], context=broken_context, settings=Settings(start_method="fork"))
    queue.subscribe(events.append)
    with pytest.raises(CrashLoopError):
        queue.run()
    assert 6 <= len([event for event in events if isinstance(event, WorkerStarted)]) <= 12


# ---- who runs what


async def test_items_behind_a_long_one_go_to_the_idle_worker(ledger: Ledger, gate: Gate) -> None:
    """What was handed out behind an item that turns out to be long is run by another worker at once."""

    def reader(item: int) -> None:
        ledger.note("start", item)
        if item == 2000:
            gate.wait()
        ledger.note("end", item)

    settings = quick("fork", num_processes=2, max_queue_size=5000)
    queue = QuasiQueue("workers", reader, range(4000), settings=settings)
    async with running(queue) as run:
        await run.until(lambda: ledger.path.exists() and ledger.path.read_bytes().count(b"end\t") == 3999)
        last = max(line.at for line in ledger.lines("end"))
        began = next(line.at for line in ledger.lines("start") if line.item == 2000)
        gate.open()
        summary = await run.ended()
    assert last - began < 5
    assert ledger.check(range(4000)) == ALL_ONCE
    assert ledger.check(range(4000), "start") == ALL_ONCE
    assert summary.retried == 0


async def test_items_behind_a_long_one_are_run_although_nobody_is_ever_idle(ledger: Ledger, gate: Gate) -> None:
    """They are given back, and come before what is younger, as soon as the worker that is busy can take more."""

    def reader(item: int) -> None:
        if item == 300:
            gate.wait()
        elif 300 < item <= 310:
            ledger.note("end", item)
        else:
            time.sleep(0.001)  # the work

    settings = quick("fork", num_processes=2, max_queue_size=1000)
    queue = QuasiQueue("workers", reader, itertools.count(), settings=settings)
    async with running(queue) as run:
        await run.until(lambda: len(ledger.lines("end")) == 10)
        assert gate.is_open() is False
        gate.open()
        queue.stop()
        assert (await run.ended()).ok
    assert ledger.check(range(301, 311)) == ALL_ONCE


@pytest.mark.parametrize("collector", [None, Basket()], ids=["counts", "outcomes"])
async def test_outcomes_do_not_wait_for_a_long_item(ledger: Ledger, gate: Gate, collector: Basket | None) -> None:
    """Items that were run are counted and given to the collector although a later one of their batch takes long."""

    def reader(item: int) -> None:
        if item == 2000:
            gate.wait()

    settings = quick("fork", num_processes=2, max_queue_size=5000)
    queue = QuasiQueue("workers", reader, range(4000), collector=collector, settings=settings)
    async with running(queue) as run:
        await run.until(lambda: (queue.stats().done, queue.stats().waiting) == (3999, 0))
        await run.until(lambda: collector is None or len(collector.outcomes) == 3999)
        gate.open()
        assert (await run.ended()).done == 4000


async def test_suspect_runs_alone(ledger: Ledger) -> None:
    """An item that was on a dying worker runs alone in its batch: when it kills again, no other was behind it."""

    def reader(item: int) -> None:
        ledger.note("start", item)
        if item == 50:
            os._exit(1)
        ledger.note("end", item)

    queue = QuasiQueue("workers", reader, range(100), settings=quick("fork", max_crashes=3))
    async with running(queue) as run:
        summary = await run.ended()
    assert [event.items for event in run.all(WorkerDied)] == [("50",)] * 3
    assert [event.item for event in run.all(ItemRetried)] == ["50", "50"]
    assert ledger.check(set(range(100)) - {50}) == ALL_ONCE
    assert (summary.done, summary.crashed) == (99, 1)


async def test_grandchildren_of_a_dead_worker_are_gone(ledger: Ledger) -> None:
    """What a reader has started ends with its worker, however that ended."""

    def reader(item: str) -> None:
        child = os.fork()
        if child == 0:
            signal.pause()
            os._exit(0)
        ledger.note("child", child)
        if item == "dies":
            os._exit(1)

    queue = QuasiQueue("workers", reader, ["dies"], settings=quick("fork", max_crashes=1))
    async with running(queue) as run:
        summary = await run.ended()
    assert summary.crashed == 1
    (child,) = ledger.items("child")
    wait_until(lambda: is_gone(child))


async def test_grandchildren_of_a_worker_that_leaves_are_gone(ledger: Ledger) -> None:
    """The same for a worker that leaves as planned, and for a child that has left the worker's line alone."""

    def reader(_item: str) -> None:
        child = os.fork()
        if child == 0:
            signal.pause()
            os._exit(0)
        ledger.note("child", child)

    queue = QuasiQueue("workers", reader, ["leaves"], settings=quick("fork"))
    async with running(queue) as run:
        summary = await run.ended()
    assert (summary.done, summary.restarted) == (1, 0)
    (child,) = ledger.items("child")
    wait_until(lambda: is_gone(child))


def test_children_of_a_reader_end_by_signals(start_method: str) -> None:
    """What a worker ignores, it does not teach its children: TERM ends them, also in their first moment."""
    basket = Basket()
    queue = QuasiQueue("workers", ends_children, range(3), collector=basket, settings=quick(start_method))
    queue.run()
    assert [outcome.result for outcome in basket.outcomes] == [Counter({-signal.SIGTERM: 20})] * 3


def ends_children(_item: int) -> Counter[int | None]:
    codes: Counter[int | None] = Counter()
    for _ in range(20):
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        child.start()
        child.terminate()
        child.join()
        codes[child.exitcode] += 1
    return codes


def test_children_of_a_reader_keep_handlers_of_the_users() -> None:
    """A handler that the reader has set is inherited, as in any program; the others are Python's own."""
    basket = Basket()

    def reader(_item: int) -> list[str]:
        signal.signal(signal.SIGHUP, the_users)
        told, tell = os.pipe()
        if os.fork() == 0:
            handlers = [signal.getsignal(number) for number in FROM_OUTSIDE]
            os.write(tell, "\n".join(str(getattr(handler, "__name__", handler)) for handler in handlers).encode())
            os._exit(0)
        os.wait()
        return os.read(told, 4096).decode().split()

    QuasiQueue("workers", reader, [1], collector=basket, settings=quick("fork")).run()
    plain = str(signal.SIG_DFL)
    assert dict(zip(FROM_OUTSIDE, basket.of(1).result, strict=True)) == {
        **dict.fromkeys(FROM_OUTSIDE, plain),
        signal.SIGINT: "default_int_handler",
        signal.SIGHUP: "the_users",
    }


def the_users(_number: int, _frame: FrameType | None) -> None:
    """Stands for any handler."""


def test_workers_draw_different_random_numbers() -> None:
    """Forked workers do not share random state."""
    basket = Basket()

    def reader(_item: int) -> float:
        import random

        return random.random()

    settings = quick("fork", max_jobs_per_process=1)
    QuasiQueue("workers", reader, range(8), collector=basket, settings=settings).run()
    assert len(set(basket.results().values())) == 8
