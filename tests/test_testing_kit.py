"""The kit for users' tests: inline runs on a virtual clock, readers that break on purpose, every item ended once."""

import asyncio
import contextlib
import functools
import inspect
import os
import pickle
import signal
import socket
import tempfile
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from quasiqueue import DONE, Outcome, QuasiQueue, Reject, Retry, Settings
from quasiqueue._callables import plan_reader
from quasiqueue.errors import CollectorError, QueueClosed, QueueFull, UsageError, WriterError
from quasiqueue.events import ItemRetried, RunEnded, RunStarted
from quasiqueue.testing import (
    InjectedFault,
    OutcomeRecorder,
    VirtualClock,
    assert_settled,
    fail_on,
    hang_on,
    kill_on,
    perform,
    run_inline,
)

# Readers at the top, because spawned workers import them.


def double(item):
    return 2 * item


async def double_async(item):
    await asyncio.sleep(0)
    return 2 * item


def add(item, ctx):
    return item + ctx["more"]


async def add_async(item, settings, ctx):
    return item + ctx["more"] + settings.max_attempts


def give_more(settings):
    return {"more": 10 * settings.max_attempts}


def is_odd(item):
    return item % 2 == 1


def injects(function):
    """A decorator that gives the reader something of its own, so its real signature is not the one it shows."""

    @functools.wraps(function)
    def wrapper(item):
        return function(item, {"more": 5})

    return wrapper


added_to_five = injects(add)


def failing(item):
    raise KeyError(item)


def empty_after(*blocks: object) -> Callable[[int], object]:
    """A writer that gives these, one per call, and then has nothing."""
    left = list(blocks)
    return lambda desired_items: left.pop(0) if left else None


def quick(**values: object) -> Settings:
    return Settings(**{"num_processes": 1, "max_jobs_per_process": None, **values})


def statuses(outcomes: list[Outcome]) -> list[tuple[object, str]]:
    return [(outcome.item, outcome.status.value) for outcome in outcomes]


# ---- the clock


def test_virtual_clock_moves_only_when_told() -> None:
    """It starts where it was told to and moves on by what it was told; it never goes back."""
    clock = VirtualClock(100.0)
    clock.advance(0.5)
    clock.advance(0)
    assert clock.now() == 100.5
    assert repr(clock) == "VirtualClock(100.5)"
    for wrong in (-1, float("nan")):
        with pytest.raises(ValueError, match="time goes forward only"):
            clock.advance(wrong)


# ---- inline runs


def test_inline_run_brings_outcomes_and_summary() -> None:
    """A finite run is run to its end, in order, in this process and thread, and the queue can be run again."""
    threads = []

    def reader(item):
        threads.append((os.getpid(), threading.get_ident()))
        return double(item)

    queue = QuasiQueue("inline", reader, [1, 2, 3])
    run = run_inline(queue)
    assert statuses(run.outcomes) == [(1, "done"), (2, "done"), (3, "done")]
    assert run.results() == {1: 2, 2: 4, 3: 6}
    assert (run.summary.done, run.summary.ok, run.summary.seconds) == (3, True, 0.0)
    assert [(one.pid, one.slot, one.attempts) for one in run.outcomes] == [(os.getpid(), 0, 1)] * 3
    assert set(threads) == {(os.getpid(), threading.get_ident())}
    run.assert_each_once([1, 2, 3])
    assert run_inline(queue).summary.done == 3


def test_inline_run_starts_nothing() -> None:
    """Neither a thread nor a descriptor is left, with async parts too."""
    before = threading.active_count(), set(os.listdir("/dev/fd"))
    run_inline(QuasiQueue("inline", double_async, [1, 2]))
    assert (threading.active_count(), set(os.listdir("/dev/fd"))) == before


async def agen(desired_items) -> AsyncIterator[int]:
    for item in (1, 2, 3):
        await asyncio.sleep(0)
        yield item
    yield DONE


def gen(desired_items) -> Iterator[int]:
    yield from (1, 2, 3)
    yield DONE


async def coroutine(desired_items) -> list[object]:
    return [1, 2, 3, DONE]


class Iterates:
    async def __aiter__(self) -> AsyncIterator[int]:
        for item in (1, 2, 3):
            yield item


@pytest.mark.parametrize(
    "writer",
    [gen, agen, coroutine, lambda: [1, 2, 3, DONE], (1, 2, 3), range(1, 4), Iterates(), lambda n: Iterates()],
    ids=["generator", "async generator", "coroutine", "no demand", "tuple", "range", "async iterable", "gives async"],
)
@pytest.mark.parametrize("reader", [double, double_async])
def test_inline_run_takes_writers_and_readers_of_every_kind(writer, reader) -> None:
    """Whatever a queue takes, an inline run takes."""
    run = run_inline(QuasiQueue("inline", reader, writer))
    assert run.results() == {1: 2, 2: 4, 3: 6}


def test_inline_run_makes_and_ends_each_kind_of_context() -> None:
    """The context is made once, before the first item, and ended after the last one."""
    steps: list[object] = []

    def plain():
        steps.append("begin")
        return {"more": 10}

    async def plain_async():
        return plain()

    def yields():
        yield plain()
        steps.append("end")

    async def yields_async():
        yield plain()
        steps.append("end")

    def reader(item, ctx):
        steps.append(item)
        return add(item, ctx)

    async def reader_async(item, ctx):
        return reader(item, ctx)

    for context, ends in ((plain, False), (plain_async, False), (yields, True), (yields_async, True)):
        for one in (reader, reader_async):
            steps.clear()
            run = run_inline(QuasiQueue("inline", one, [1, 2], context))
            assert run.results() == {1: 11, 2: 12}
            assert steps == ["begin", 1, 2, "end"][: 4 if ends else 3]


def test_inline_run_ends_context_and_generator_when_the_reader_raises() -> None:
    """An exception of the reader comes out as it is, with its traceback; context and writer are closed on its way."""
    steps = []

    def context():
        yield {}
        steps.append("context")

    def writer(desired_items):
        try:
            yield from range(100)
        finally:
            steps.append("writer")

    def reader(item, ctx):
        failing(item)

    queue = QuasiQueue("inline", reader, writer, context)
    with pytest.raises(KeyError) as caught:
        run_inline(queue)
    assert traceback.extract_tb(caught.tb)[-1].name == "failing"
    assert steps == ["context", "writer"]
    assert caught.value.__context__ is None
    assert queue.stats().waiting == 0


def test_inline_run_can_replace_the_context() -> None:
    """A test gives a stand-in for the context, and the real one is not called; a queue without context takes none."""
    queue = QuasiQueue("inline", add, [1], lambda: 1 / 0)
    assert run_inline(queue, ctx={"more": 4}).results() == {1: 5}
    assert perform(queue, 1, ctx={"more": 4}) == 5
    for call in (lambda one: run_inline(one, ctx={}), lambda one: perform(one, 1, ctx={})):
        with pytest.raises(UsageError, match="takes no context"):
            call(QuasiQueue("inline", double, [1]))


def test_inline_run_gives_settings_to_who_asks() -> None:
    """A parameter named `settings` gets the queue's, wherever it stands."""
    queue = QuasiQueue("inline", add_async, [1], give_more, settings=quick(max_attempts=3))
    assert run_inline(queue).results() == {1: 34}
    assert perform(queue, 2) == 35


def test_inline_run_stops_asking_an_endless_writer() -> None:
    """No more than `max_items` are taken, and of a generator no more than that are drawn."""
    drawn = []

    def writer(desired_items):
        for number in range(10**9):
            drawn.append((number, desired_items))
            yield number

    assert run_inline(QuasiQueue("inline", double, writer), max_items=25).summary.done == 25
    assert drawn == [(number, 10) for number in range(25)]
    assert run_inline(QuasiQueue("inline", double, writer), max_items=0).summary.done == 0


def test_inline_run_asks_as_often_as_it_was_told_to() -> None:
    """It ends when the writer has had nothing `idle_rounds` times in a row; the pauses pass on the clock only."""
    asked = []

    def writer(desired_items):
        asked.append((clock.now(), desired_items))
        return {3: [1], 5: []}.get(len(asked))

    clock = VirtualClock()
    queue = QuasiQueue("inline", double, writer, settings=quick(empty_queue_sleep_time=60, lookup_block_size=7))
    began = time.monotonic()
    run = run_inline(queue, idle_rounds=3, clock=clock)
    assert time.monotonic() - began < 5
    assert asked == [(60.0 * minute, 7) for minute in (0, 1, 2, 2, 3, 4)]
    assert (run.summary.done, run.summary.seconds) == (1, 240.0)
    with pytest.raises(UsageError, match="idle_rounds=0"):
        run_inline(queue, idle_rounds=0)


def test_inline_run_tries_again_on_the_virtual_clock() -> None:
    """With errors kept in, a failing item has its attempts, with doubling pauses without jitter that take no time."""
    clock, runs, events = VirtualClock(), [], []

    def reader(item):
        runs.append((item, clock.now()))
        if item == 2:
            failing(item)

    settings = quick(max_attempts=4, retry_delay=60, retry_delay_max=100)
    queue = QuasiQueue("inline", reader, [1, 2, 3], settings=settings)
    queue.subscribe(events.append)
    run = run_inline(queue, raise_errors=False, clock=clock)
    assert runs == [(1, 0.0), (2, 0.0), (3, 0.0), (2, 60.0), (2, 160.0), (2, 260.0)]
    (failed,) = run.by_status("failed")
    assert (failed.item, failed.attempts, failed.error.type, failed.error.message) == (2, 4, "KeyError", "2")
    assert "in failing\n    raise KeyError(item)" in failed.error.traceback
    assert failed.error.traceback.splitlines()[1].endswith("in reader")
    assert (run.summary.done, run.summary.failed, run.summary.retried, run.summary.seconds) == (2, 1, 3, 260.0)
    assert run.summary.failures == (failed,)
    assert [type(event) for event in events if isinstance(event, RunStarted | RunEnded)] == [RunStarted, RunEnded]
    assert [event.delay for event in events if isinstance(event, ItemRetried)] == [60.0, 100.0, 100.0]


@pytest.mark.parametrize("raise_errors", [True, False])
def test_inline_run_honours_retry_and_reject(raise_errors: bool) -> None:
    """`Retry` counts no attempt, `Reject` fails the item for good, whether errors come out or not."""
    times = []

    def reader(item):
        if item == "no":
            raise Reject("never")
        times.append(clock.now())
        if len(times) < 3:
            raise Retry(delay=5)

    clock = VirtualClock(1000)
    queue = QuasiQueue("inline", reader, ["later", "no"], settings=quick(max_attempts=9))
    run = run_inline(queue, raise_errors=raise_errors, clock=clock)
    assert times == [1000.0, 1005.0, 1010.0]
    assert statuses(run.outcomes) == [("no", "failed"), ("later", "done")]
    assert [(one.attempts, one.error and one.error.message) for one in run.outcomes] == [(1, "never"), (1, None)]


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit(), asyncio.CancelledError(), ValueError("x")])
@pytest.mark.parametrize("is_async", [False, True])
def test_inline_run_keeps_in_what_a_worker_survives(error: BaseException, is_async: bool) -> None:
    """What fails an item in a worker fails it here, for readers of both kinds."""

    def reader(item):
        raise error

    async def reader_async(item):
        raise error

    run = run_inline(QuasiQueue("inline", reader_async if is_async else reader, [1]), raise_errors=False)
    assert [one.error.type for one in run.by_status("failed")] == [type(error).__name__]


def test_inline_run_lets_the_end_of_the_test_out() -> None:
    """Ctrl-C, the end of a debugger and `pytest.fail` end the run even if errors are kept in."""
    import bdb

    for error in (KeyboardInterrupt, bdb.BdbQuit, pytest.fail.Exception):

        def reader(item, error=error):
            raise error

        with pytest.raises(error):
            run_inline(QuasiQueue("inline", reader, [1]), raise_errors=False)


def test_inline_run_drops_duplicates_as_long_as_the_window_says() -> None:
    """`prevent_requeuing_time` passes on the clock; only duplicates count as nothing now."""
    clock, times = VirtualClock(), []
    settings = quick(prevent_requeuing_time=100, empty_queue_sleep_time=40)
    queue = QuasiQueue("inline", lambda item: times.append((item, clock.now())), lambda n: [1, 2, 1], settings=settings)
    run = run_inline(queue, idle_rounds=4, max_items=4, clock=clock)
    assert times == [(1, 0.0), (2, 0.0), (1, 120.0), (2, 120.0)]
    # The surplus of the first call, three calls of duplicates only; what is beyond `max_items` is not drawn.
    assert run.summary.duplicates == 1 + 3 * 3


def test_inline_run_uses_the_key() -> None:
    """The user's key tells duplicates; where it raises, the item fails, or the exception comes out."""

    def key(item):
        return 1 // item % 2

    queue = QuasiQueue("inline", str, [2, 3, 0], key=key)
    with pytest.raises(ZeroDivisionError):
        run_inline(queue)
    run = run_inline(queue, raise_errors=False)
    assert statuses(run.outcomes) == [(0, "failed"), (2, "done")]
    assert run.summary.duplicates == 1


def test_inline_run_calls_the_collector_when_nothing_is_left_to_run() -> None:
    """It gets outcomes in lists, in the order in which items ended, before the writer is asked again."""
    lists = []
    queue = QuasiQueue("inline", double, empty_after([1, 2], [3]), None, lists.append)
    run = run_inline(queue)
    assert [[one.result for one in outcomes] for outcomes in lists] == [[2, 4], [6]]
    assert [one for outcomes in lists for one in outcomes] == run.outcomes

    async def collector(outcomes, settings):
        lists.append(settings)

    lists.clear()
    queue = QuasiQueue("inline", double, [1], None, collector)
    run_inline(queue)
    assert lists == [queue.settings]


def test_inline_run_calls_a_failing_collector_again() -> None:
    """With errors kept in it gets the same outcomes after a pause, until it failed `writer_max_errors` times."""
    clock, calls = VirtualClock(), []

    def collector(outcomes):
        calls.append((clock.now(), [one.item for one in outcomes]))
        if len(calls) < 3:
            raise OSError("disk")

    queue = QuasiQueue("inline", double, [1], None, collector, settings=quick(writer_max_errors=3))
    with pytest.raises(OSError, match="disk"):
        run_inline(queue, clock=clock)
    calls.clear()
    run_inline(queue, clock=clock, raise_errors=False)
    assert calls == [(0.0, [1]), (0.1, [1]), (pytest.approx(0.3), [1])]
    calls.clear()
    with pytest.raises(CollectorError, match="failed 2 times") as caught:
        run_inline(
            QuasiQueue("inline", double, [1], None, collector, settings=quick(writer_max_errors=2)), raise_errors=False
        )
    assert isinstance(caught.value.__cause__, OSError)


def test_inline_run_treats_writer_errors_as_asked() -> None:
    """The writer's exception comes out, or it is asked again after growing pauses, until it failed too often."""
    clock, asked = VirtualClock(), []

    def writer(desired_items):
        asked.append(clock.now())
        if len(asked) < 3:
            raise OSError("database")
        return [1, DONE]

    queue = QuasiQueue("inline", double, writer, settings=quick(writer_max_errors=3))
    with pytest.raises(OSError, match="database"):
        run_inline(queue)
    asked.clear()
    assert run_inline(queue, raise_errors=False, clock=clock).summary.done == 1
    assert asked == [0.0, 0.1, pytest.approx(0.3)]
    asked.clear()
    with pytest.raises(WriterError, match=r"failed 2 times in a row\. The last error was OSError: database"):
        run_inline(QuasiQueue("i", double, writer, settings=quick(writer_max_errors=2)), raise_errors=False)


def test_inline_run_finishes_what_came_before_the_writer_broke() -> None:
    """What a generator gave before it raised is run; the error ends the run afterwards."""

    def items():
        yield 1
        raise OSError("gone")

    seen = []
    with pytest.raises(WriterError, match="once, and cannot go on"):
        run_inline(QuasiQueue("inline", seen.append, items()), raise_errors=False)
    assert seen == [1]
    for raise_errors in (True, False):
        with pytest.raises(WriterError, match="return a list with it inside"):
            run_inline(QuasiQueue("inline", double, lambda n: "text"), raise_errors=raise_errors)


def test_inline_run_takes_what_was_put() -> None:
    """`put()` works before the run and from writer and collector; a full queue and duplicates are told as ever."""

    def collector(outcomes):
        (outcome,) = outcomes
        answers.append((queue.put(outcome.item), queue.put(min(outcome.item + 1, 3))))

    answers = []
    queue = QuasiQueue("inline", double, [2], None, collector, settings=quick(max_queue_size=2))
    queue.put(1)
    run = run_inline(queue)
    assert [one.item for one in run.outcomes] == [1, 2, 3]
    assert answers == [(False, True), (False, True), (False, False)]
    assert run.summary.duplicates == 5

    def writer(desired_items):
        queue.put(1)
        queue.put(2)
        with pytest.raises(QueueFull):
            queue.put(3)
        return DONE

    queue = QuasiQueue("inline", double, writer, settings=quick(max_queue_size=2))
    assert run_inline(queue).summary.done == 2
    assert queue.put(7) is True
    assert run_inline(queue, max_items=0).results() == {7: 14}


def test_inline_run_refuses_calls_that_a_worker_could_not_make() -> None:
    """A reader that puts or stops speaks to a copy in a real run, where nothing comes of it; here it is told so."""
    queue = QuasiQueue("inline", lambda item: queue.put(2), [1])
    with pytest.raises(UsageError, match=r"put\(\) was called by the reader"):
        run_inline(queue)
    queue = QuasiQueue("inline", lambda item: queue.stop(), [1])
    with pytest.raises(UsageError, match=r"stop\(\) was called by the reader"):
        run_inline(queue)


def test_inline_run_can_be_stopped_and_releases_the_rest() -> None:
    """After `stop()` nothing more is run, and what was accepted has its outcome all the same."""
    recorder = OutcomeRecorder()
    queue = QuasiQueue(
        "inline", failing, range(30), None, recorder, settings=quick(lookup_block_size=3, max_attempts=2)
    )
    queue.subscribe(lambda event: queue.stop() if isinstance(event, ItemRetried) and event.item == "1" else None)
    run = run_inline(queue, raise_errors=False)
    assert statuses(run.outcomes) == [(2, "released"), (0, "released"), (1, "released")]
    recorder.assert_each_once([0, 1, 2])
    queue.stop()
    assert run_inline(queue).outcomes == []


def test_inline_run_refuses_what_comes_after_its_end() -> None:
    """A collector that puts items while the rest is released is told that nothing is accepted any more."""
    told = []

    def collector(outcomes):
        if outcomes[0].status == "released":
            with contextlib.suppress(QueueClosed):
                queue.put("late")
                told.append("accepted")
            told.append("closed")
        queue.stop()

    queue = QuasiQueue("inline", str, empty_after([1, 2], [3]), None, collector)
    queue.subscribe(lambda event: queue.pause() if isinstance(event, RunStarted) else None)
    run = run_inline(queue)
    assert statuses(run.outcomes) == [(1, "released"), (2, "released"), (3, "released")]
    assert told == ["closed"]


def test_inline_run_shows_its_state() -> None:
    """`stats()`, `wake()`, `pause()`, `scale()` and `recycle()` can be called meanwhile."""
    seen = []

    def collector(outcomes):
        stats = queue.stats()
        seen.append((stats.done, stats.waiting, stats.workers))
        queue.scale(3)
        queue.recycle()
        queue.wake()
        if stats.done == 2:
            queue.pause()

    queue = QuasiQueue("inline", double, empty_after([1], None, [2], [3, 4]), None, collector)
    run = run_inline(queue, idle_rounds=2)
    assert seen[:2] == [(1, 0, ()), (2, 0, ())]
    assert statuses(run.outcomes) == [(1, "done"), (2, "done"), (3, "released"), (4, "released")]


def test_inline_run_hands_over_copies() -> None:
    """The reader gets what a worker would get: a copy of the item and a socket of its own; ours is closed then."""

    def reader(item):
        item["sock"].sendall(b"hello")
        item["sock"].close()
        item["sock"] = None

    ours, theirs = socket.socketpair()
    item = {"sock": theirs}
    run = run_inline(QuasiQueue("inline", reader, [item]))
    assert run.summary.done == 1
    assert item["sock"] is theirs
    assert theirs.fileno() == -1
    assert ours.recv(9) == b"hello"
    assert ours.recv(9) == b""
    ours.close()


def test_inline_run_finds_what_cannot_be_pickled() -> None:
    """An item that no worker could get fails; so does a result, if there is a collector that it would be sent to."""
    item = [lambda: 1]
    with pytest.raises((pickle.PicklingError, AttributeError)):
        run_inline(QuasiQueue("inline", str, [item]))
    (failed,) = run_inline(QuasiQueue("inline", str, [item]), raise_errors=False).outcomes
    assert (failed.status, failed.attempts) == ("failed", 0)
    assert "cannot be pickled" in failed.error.message
    assert run_inline(QuasiQueue("inline", lambda item: threading.Lock(), [1])).summary.done == 1
    with pytest.raises(TypeError, match="cannot pickle"):
        run_inline(QuasiQueue("inline", lambda item: threading.Lock(), [1], None, OutcomeRecorder()))


def test_inline_run_in_a_running_loop() -> None:
    """Sync parts run there, and may run loops of their own; async ones are refused, with the way out."""

    async def main():
        assert run_inline(QuasiQueue("inline", double, [1])).summary.done == 1
        with pytest.raises(UsageError, match=r"asyncio\.to_thread"):
            run_inline(QuasiQueue("inline", double_async, [1]))
        queue = QuasiQueue("inline", double_async, agen)
        assert (await asyncio.to_thread(run_inline, queue)).results() == {1: 2, 2: 4, 3: 6}

    asyncio.run(main())
    queue = QuasiQueue("inline", lambda item, ctx: asyncio.run(double_async(item)), agen, lambda: {})
    assert run_inline(queue).summary.done == 3


def test_inline_run_refuses_a_queue_that_runs() -> None:
    """One queue runs once at a time, inline or not."""
    queue = QuasiQueue("inline", double, [1], None, lambda outcomes: run_inline(queue))
    with pytest.raises(UsageError, match="runs already"):
        run_inline(queue)


def test_perform_runs_one_item_and_nothing_else() -> None:
    """The reader's return value comes back, and whatever it raises comes out; the context ends in either case."""
    ends = []

    async def context():
        yield {"more": 1}
        ends.append(1)

    assert perform(QuasiQueue("one", add, [], context), 5) == 6
    assert perform(QuasiQueue("one", double_async, []), 5) == 10
    with pytest.raises(TypeError):
        perform(QuasiQueue("one", add, [], context), "text")
    assert ends == [1, 1]
    with pytest.raises(Retry):
        perform(QuasiQueue("one", fail_on(double, 5, error=Retry(delay=3)), []), 5)
    thing = object()
    assert perform(QuasiQueue("one", lambda item: item, []), thing) is thing
    with pytest.raises(TypeError, match="returned a coroutine"):
        perform(QuasiQueue("one", lambda item: double_async(item + 1), []), 1)


# ---- outcomes


def outcome_of(item: object, status: str = "done") -> Outcome:
    from quasiqueue import Status

    return Outcome(item, item if not isinstance(item, dict) else None, Status(status))


def test_assertion_names_lost_unexpected_and_doubled_items() -> None:
    """Each kind stands on a line of its own, with the items and how the surplus ended."""
    outcomes = [outcome_of(1), outcome_of(2), outcome_of(2, "failed"), outcome_of(9, "crashed")]
    with pytest.raises(AssertionError) as caught:
        assert_settled(outcomes, [1, 2, 3, "x"])
    assert str(caught.value).splitlines() == [
        "4 accepted items should have one outcome each, and there are 4 outcomes:",
        "  lost (2): 3, 'x'",
        "  unexpected (1): 9 (crashed)",
        "  doubled (1): 2 (done, failed)",
    ]
    assert_settled(outcomes[:2], [2, 1])
    assert_settled([outcome_of(1), outcome_of(1)], [1, 1])
    assert_settled([outcome_of({"a": 1})], [{"a": 1}])
    with pytest.raises(AssertionError, match=r"lost \(1\): 1$"):
        assert_settled([outcome_of(1)], [1, 1])


def test_assertion_cuts_long_lists() -> None:
    """Twenty items are named, the others are counted."""
    with pytest.raises(AssertionError, match=r"lost \(1000\): 0, 1, .*, 19, and 980 more$"):
        assert_settled([], range(1000))


def test_assertion_tells_sockets_apart() -> None:
    """What has no identity but itself is the same only as the same object."""
    one, other = socket.socketpair()
    with one, other:
        assert_settled([outcome_of(one), outcome_of(other)], [other, one])
        with pytest.raises(AssertionError, match=r"unexpected \(1\)"):
            assert_settled([outcome_of(one)], [other])


def test_recorder_keeps_outcomes_and_passes_them_on() -> None:
    """It can be asked by status and for results; a collector behind it that fails leaves nothing doubled."""
    calls = []

    def then(outcomes):
        calls.append(len(outcomes))
        if len(calls) == 1:
            raise OSError

    recorder = OutcomeRecorder(then=then)
    queue = QuasiQueue("recorded", fail_on(double, 2), [1, 2, 3], None, recorder)
    run_inline(queue, raise_errors=False)
    assert calls == [3, 3]
    assert recorder.results() == {1: 2, 3: 6}
    assert [(one.item, one.error.type) for one in recorder.by_status("failed")] == [(2, "InjectedFault")]
    with pytest.raises(ValueError, match="lost"):
        recorder.by_status("lost")
    recorder.assert_each_once([1, 2, 3])
    with pytest.raises(AssertionError, match=r"unexpected \(1\): 3 \(done\)"):
        recorder.assert_each_once([1, 2])


# ---- faults, without processes


def test_fail_on_fails_as_often_as_it_was_told_to() -> None:
    """Errors that a test names come instead of the reader, by value or by predicate; then the reader runs."""
    reader = fail_on(fail_on(double, 2, times=2, error=OSError("disk")), is_odd, error=Reject("odd"))
    queue = QuasiQueue("faulty", reader, [1, 2], settings=quick(max_attempts=5))
    run = run_inline(queue, raise_errors=False)
    assert [(one.item, one.status, one.attempts) for one in run.outcomes] == [(1, "failed", 1), (2, "done", 3)]
    assert run.results() == {2: 4}
    with pytest.raises(UsageError, match="times=0"):
        fail_on(double, 1, times=0)


def test_raised_error_does_not_grow() -> None:
    """An error object that is raised again and again does not collect tracebacks."""
    error = OSError("disk")
    reader = fail_on(double, 1, error=error)
    lengths = []
    for _ in range(3):
        with pytest.raises(OSError, match="disk"):
            reader(1)
        lengths.append(len(traceback.extract_tb(error.__traceback__)))
    assert len(set(lengths)) == 1


@pytest.mark.parametrize("reader", [double, double_async, add, add_async, added_to_five, int, functools.partial(add)])
@pytest.mark.parametrize("wrap", [kill_on, hang_on, fail_on])
def test_wrapper_looks_like_its_reader(reader, wrap) -> None:
    """The queue sees the same signature, kind and name, when it was pickled and when it was wrapped again, too."""
    has_context = reader in (add, add_async) or isinstance(reader, functools.partial)
    plan = plan_reader(reader, has_context=has_context)
    wrapped = wrap(wrap(reader, 99), 98, times=2)
    for one in (wrapped, pickle.loads(pickle.dumps(wrapped))) if reader is not added_to_five else (wrapped,):
        seen = plan_reader(one, has_context=has_context)
        assert (seen.is_async, seen.settings_at) == (plan.is_async, plan.settings_at)
        assert getattr(one, "__name__", None) == getattr(reader, "__name__", None)
        if reader is not int:
            assert inspect.signature(one) == inspect.signature(reader, follow_wrapped=False)


def test_wrapper_refuses_to_hurt_the_process_that_made_it() -> None:
    """Killing and hanging are for workers: an inline run would take the test along."""
    for wrap, word in ((kill_on, "kill_on would kill"), (hang_on, "hang_on would stop")):
        with pytest.raises(UsageError, match=word):
            run_inline(QuasiQueue("faulty", wrap(double, 1), [1]))


def test_count_of_strokes_is_kept_in_a_folder_that_goes() -> None:
    """It is made with the first stroke, shared with copies that were pickled, and removed with the wrapper."""

    def folders() -> set[str]:
        return {name for name in os.listdir(tempfile.gettempdir()) if name.startswith("quasiqueue-testing-")}

    before = folders()
    reader = fail_on(double, 1, times=3)
    assert folders() == before
    copies = [pickle.loads(pickle.dumps(reader)) for _ in range(4)]
    results = []
    for copy in copies * 2:
        with contextlib.suppress(InjectedFault):
            results.append(copy(1))
    assert results == [2] * 5
    assert len(folders() - before) == 1
    del reader
    assert folders() == before


# ---- faults, with real workers


@pytest.fixture(params=["fork", "spawn"])
def start_method(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("reader", [double, double_async])
def test_killed_worker_runs_its_item_again(reader, start_method: str) -> None:
    """`times` holds over all workers, though those that were killed remember nothing."""
    recorder = OutcomeRecorder()
    settings = quick(start_method=start_method, max_crashes=3)
    queue = QuasiQueue("killed", kill_on(reader, 13, times=2), range(10, 20), None, recorder, settings=settings)
    summary = queue.run()
    recorder.assert_each_once(range(10, 20))
    assert recorder.results() == {item: 2 * item for item in range(10, 20)}
    assert (summary.restarted, [one.crashes for one in recorder.outcomes if one.item == 13]) == (2, [2])


def test_item_that_always_kills_crashes(start_method: str) -> None:
    """Without `times` it strikes every time, with the signal that was asked for."""
    recorder = OutcomeRecorder()
    settings = quick(start_method=start_method, max_crashes=2)
    reader = kill_on(add, is_odd, signal=signal.SIGABRT)
    QuasiQueue("poison", reader, [2, 3, 4], give_more, recorder, settings=settings).run()
    recorder.assert_each_once([2, 3, 4])
    assert [(one.item, one.crashes, one.error.signal) for one in recorder.by_status("crashed")] == [(3, 2, "SIGABRT")]
    assert recorder.results() == {2: 12, 4: 14}


@pytest.mark.parametrize("reader", [double, double_async])
def test_hanging_item_times_out(reader, start_method: str) -> None:
    """A reader that hangs runs into `item_timeout`; the next attempt, without the fault, succeeds."""
    recorder = OutcomeRecorder()
    settings = quick(start_method=start_method, item_timeout=0.6, max_attempts=2, retry_delay=0)
    queue = QuasiQueue("hanging", hang_on(reader, 3, times=1), [1, 2, 3, 4], None, recorder, settings=settings)
    summary = queue.run()
    recorder.assert_each_once([1, 2, 3, 4])
    assert recorder.results() == {1: 2, 2: 4, 3: 6, 4: 8}
    assert (summary.retried, summary.done) == (1, 4)


def test_faults_can_be_combined(start_method: str) -> None:
    """A failure before a kill before a hang: each strikes at its own items, and every item ends once."""
    reader = hang_on(kill_on(fail_on(double, 1), 2, times=1), 3, times=1)
    recorder = OutcomeRecorder()
    settings = quick(start_method=start_method, num_processes=2, item_timeout=0.6)
    QuasiQueue("all of it", reader, range(6), None, recorder, settings=settings).run()
    recorder.assert_each_once(range(6))
    assert sorted(statuses(recorder.outcomes)) == [
        (0, "done"),
        (1, "failed"),
        (2, "done"),
        (3, "timed_out"),
        (4, "done"),
        (5, "done"),
    ]


def test_wrapper_around_what_spawn_cannot_import_is_refused() -> None:
    """The queue's own sentence about it is what the user reads."""
    with pytest.raises(UsageError, match="cannot be imported by a spawned worker"):
        QuasiQueue("spawned", kill_on(double, lambda item: True), [1], settings=quick(start_method="spawn"))


def test_nothing_of_the_engine_imports_the_kit() -> None:
    """Programs in production do not load it."""
    import subprocess
    import sys

    text = "import sys, quasiqueue; print([name for name in sys.modules if name.startswith('quasiqueue.testing')])"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert done.stdout == "[]\n"
