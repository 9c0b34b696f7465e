"""Faults, one test or more for each row of the table of faults that no other file of this folder covers.

A test's name begins with its row's number. What readers did is read from a ledger; times are bounds, never hopes.
"""

import asyncio
import contextlib
import ctypes
import errno
import functools
import itertools
import logging
import mmap
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from quasiqueue import (
    CollectorError,
    Event,
    Outcome,
    QuasiQueue,
    RunSummary,
    UsageError,
    WorkerStartError,
    WriterError,
    run_queues,
)
from quasiqueue.events import Notice, RunStarted, StacksDumped, StopRequested, WorkerDied, WorkerReady

from .support import ALL_ONCE, Basket, Gate, Ledger, Program, Verdict, quick, running, wait_until

START = Callable[..., Program]


def noting(ledger: Ledger, item: object) -> None:
    ledger.note("end", item)


def warnings_of(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Notice) and event.warning]


# ---- 2: native code


def null_pointer() -> None:
    ctypes.string_at(0)


def bus_error() -> None:
    with tempfile.TemporaryFile() as file:
        file.truncate(mmap.PAGESIZE)
        page = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        file.truncate(0)
        page[0]


def crash(how: str, item: int) -> int:
    if item == 3:
        {"null pointer": null_pointer, "bus error": bus_error, "abort": os.abort}[how]()
    return item


@pytest.mark.parametrize(("how", "name"), [("null pointer", "SIGSEGV"), ("bus error", "SIGBUS"), ("abort", "SIGABRT")])
def test_fault_02_crash_in_native_code(how: str, name: str, start_method: str) -> None:
    """It costs its item only, whose outcome has the signal's name and faulthandler's stack down to the reader."""
    basket = Basket()
    settings_ = quick(start_method, max_crashes=1)
    summary = QuasiQueue("faults", functools.partial(crash, how), range(6), collector=basket, settings=settings_).run()
    error = basket.of(3).error
    assert (basket.of(3).status, error.signal, error.exit_code) == ("crashed", name, None)
    assert "Fatal Python error" in error.stack
    assert error.stack.count("in crash") == 1
    assert basket.results() == {item: item for item in (0, 1, 2, 4, 5)}
    assert (summary.done, summary.crashed, summary.restarted) == (5, 1, 1)


# ---- 3: exits


@pytest.mark.parametrize(("code", "message"), [(None, ""), (0, "0"), (255, "255"), ("a farewell", "a farewell")])
def test_fault_03_sys_exit_in_a_reader_fails_its_item(code: object, message: str) -> None:
    """`SystemExit`, whatever its code, is an exception like any other: the same process runs the next item."""
    basket = Basket()

    def reader(item: int) -> int:
        if item == 1:
            sys.exit(code)
        return os.getpid()

    summary = QuasiQueue("faults", reader, range(3), collector=basket, settings=quick("fork")).run()
    assert (basket.of(1).status, basket.of(1).error.type, basket.of(1).error.message) == (
        "failed",
        "SystemExit",
        message,
    )
    assert len(set(basket.results().values())) == 1
    assert (summary.done, summary.failed, summary.restarted) == (2, 1, 0)


async def test_fault_03_worker_that_dies_idle_costs_no_item(ledger: Ledger) -> None:
    """A thread that a reader left behind ends the process while it runs nothing: no item is suspect."""

    def reader(item: int) -> None:
        ledger.note("end", item)
        if item == 0:
            threading.Timer(0.1, os._exit, [7]).start()

    queue = QuasiQueue("faults", reader, lambda: None, settings=quick("fork"))
    async with running(queue) as run:
        queue.put(0)
        died = await run.event(WorkerDied)
        await run.event(WorkerReady, 2)
        queue.put(1)
        await run.until(lambda: ledger.pid_of("end", 1))
        summary = await run.stopped()
    assert died.items == ()
    assert died.cause == f"worker {died.pid} exited with code 7"
    assert summary == RunSummary(done=2, restarted=1, seconds=summary.seconds)


# ---- 4: exceptions


class NoExceptionError(BaseException):
    """Not an `Exception`, like `KeyboardInterrupt`, but one that ends no loop and no test run."""


class TextlessError(Exception):
    """Its text never comes: its methods raise what is no `Exception`."""

    def __str__(self) -> str:
        raise NoExceptionError

    __repr__ = __str__


def in_a_cycle() -> Exception:
    first, second = ValueError("first"), KeyError("second")
    first.__cause__, second.__cause__ = second, first
    first.__context__, second.__context__ = second, first
    return first


def too_deep() -> Exception:
    error: Exception = ValueError("the innermost")
    for depth in range(20_000):
        outer = ValueError(depth)
        outer.__cause__ = error
        error = outer
    return error


def in_a_group() -> Exception:
    return ExceptionGroup("group", [ValueError("one"), ExceptionGroup("inner", [TextlessError()])])


def with_huge_text() -> Exception:
    return ValueError("x" * 100_000_000)


NASTY = [TextlessError, in_a_cycle, too_deep, in_a_group, with_huge_text]


@pytest.mark.parametrize("make", NASTY, ids=[make.__name__ for make in NASTY])
def test_fault_04_nasty_exception_fails_its_item(make: Callable[[], Exception]) -> None:
    """An exception of any shape becomes text of bounded length; its worker lives."""
    basket = Basket()

    def reader(item: int) -> int:
        if item == 1:
            raise make()
        return os.getpid()

    summary = QuasiQueue("faults", reader, range(3), collector=basket, settings=quick("fork")).run()
    error = basket.of(1).error
    assert basket.of(1).status == "failed"
    assert len(error.message) <= 10_000
    assert len(error.traceback) <= 50_000
    assert len(set(basket.results().values())) == 1
    assert (summary.done, summary.failed, summary.restarted) == (2, 1, 0)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(st.characters(exclude_categories=())), min_size=1, max_size=30))
@example(texts=["a lone \udc6d"])
def test_fault_04_message_of_any_characters_arrives(caplog: pytest.LogCaptureFixture, texts: list[str]) -> None:
    """Lone surrogates, NUL, any plane: the outcome has the message as it is, and the log can be written."""
    caplog.clear()
    basket = Basket()

    def reader(item: int) -> None:
        raise ValueError(texts[item])

    summary = QuasiQueue("faults", reader, range(len(texts)), collector=basket, settings=quick("fork")).run()
    assert (summary.failed, summary.restarted) == (len(texts), 0)
    assert {outcome.item: outcome.error.message for outcome in basket.outcomes} == dict(enumerate(texts))
    assert "item 0 failed" in caplog.text.encode("utf-8").decode()


# ---- 5: hangs


def hold_the_interpreter_lock(item: int) -> int:
    """Wait for ever in C code that does not let go of the interpreter: no Python code can run in this process."""
    if item == 1:
        mutex = ctypes.create_string_buffer(256)
        lock = ctypes.PyDLL(None).pthread_mutex_lock
        lock(mutex)
        lock(mutex)
    return item


def backtrack(item: int) -> int:
    if item == 1:
        re.match(r"(a+)+$", "a" * 64 + "b")
    return item


@pytest.mark.parametrize("reader", [hold_the_interpreter_lock, backtrack])
def test_fault_05_reader_that_hangs_in_c_is_timed_out(reader: Callable[[int], int], start_method: str) -> None:
    """Its stack is written by C code too, then it is ended whatever it holds; the others are done."""
    basket = Basket()
    events: list[Event] = []
    queue = QuasiQueue(
        "faults", reader, range(4), collector=basket, settings=quick(start_method, item_timeout=0.3, startup_timeout=30)
    )
    queue.subscribe(events.append)
    summary = queue.run()
    outcome = basket.of(1)
    assert (outcome.status, outcome.error.type) == ("timed_out", "TimedOut")
    assert reader.__name__ in outcome.error.stack
    assert [reader.__name__ in event.text for event in events if isinstance(event, StacksDumped)] == [True]
    assert basket.results() == {0: 0, 2: 2, 3: 3}
    assert (summary.done, summary.timed_out, summary.restarted) == (3, 1, 1)


# ---- 6: forks, threads, subprocesses


def test_fault_06_child_that_falls_out_of_the_reader_cannot_speak(ledger: Ledger) -> None:
    """A child forked in a reader that returns from it must not go on as a second worker."""
    basket = Basket()

    def reader(item: int) -> int:
        if item == 5:
            os.fork()
        ledger.note("end", item)
        return item

    summary = QuasiQueue("faults", reader, range(200), collector=basket, settings=quick("fork")).run()
    twice = [line.item for line in ledger.lines("end") if line.pid not in {o.pid for o in basket.outcomes}]
    assert set(twice) <= {5}
    assert ledger.check(range(200)) in (ALL_ONCE, Verdict([], [], [5]))
    assert basket.results() == {item: item for item in range(200)}
    assert (summary.done, summary.restarted) == (200, 0)


def test_fault_06_child_that_exits_cleanly_is_no_worker(ledger: Ledger) -> None:
    """A child forked in a reader that calls `sys.exit` ends; the item's outcome is its parent's."""
    basket = Basket()

    def reader(item: int) -> int:
        if item == 5 and os.fork() == 0:
            sys.exit(9)
        ledger.note("end", item)
        return item

    summary = QuasiQueue("faults", reader, range(50), collector=basket, settings=quick("fork")).run()
    assert ledger.check(range(50)) == ALL_ONCE
    assert basket.results() == {item: item for item in range(50)}
    assert (summary.done, summary.failed, summary.restarted) == (50, 0, 0)


def test_fault_06_threads_that_never_end_do_not_hold_up_the_end(ledger: Ledger) -> None:
    """Threads that a reader leaves running cost `graceful_shutdown_timeout` at the end, and no item."""

    def reader(item: int) -> None:
        threading.Thread(target=threading.Event().wait).start()
        ledger.note("end", item)

    began = time.monotonic()
    settings_ = quick("fork", graceful_shutdown_timeout=0.5)
    summary = QuasiQueue("faults", reader, range(5), settings=settings_).run()
    assert time.monotonic() - began < 5.5
    assert ledger.check(range(5)) == ALL_ONCE
    assert (summary.done, summary.crashed, summary.released) == (5, 0, 0)


def test_fault_06_daemon_of_a_reader_holds_nothing_of_ours(ledger: Ledger, gate: Gate) -> None:
    """A process that left the worker's group by a double fork is the reader's own: it holds up nothing."""

    def reader(item: int) -> None:
        if item == 0:
            if (child := os.fork()) == 0:
                os.setsid()
                if os.fork() == 0:
                    ledger.note("daemon", os.getpid())
                    with contextlib.suppress(TimeoutError):
                        gate.wait()
                os._exit(0)
            os.waitpid(child, 0)
            wait_until(lambda: ledger.items("daemon"))
        ledger.note("end", item)

    summary = QuasiQueue("faults", reader, range(20), settings=quick("fork")).run()
    gate.open()
    (daemon,) = ledger.items("daemon")
    wait_until(lambda: not psutil.pid_exists(daemon) or psutil.Process(daemon).status() == psutil.STATUS_ZOMBIE)
    assert ledger.check(range(20)) == ALL_ONCE
    assert (summary.done, summary.restarted) == (20, 0)


# ---- 7: a reader that spoils its process


def close_low_descriptors() -> None:
    os.closerange(0, 256)


def change_folder() -> None:
    os.chdir("/")


def change_umask() -> None:
    os.umask(0o777)


def change_handlers() -> None:
    for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)


def lower_limits() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))


SPOILS = [close_low_descriptors, change_folder, change_umask, change_handlers, lower_limits]


@pytest.mark.parametrize("spoil", SPOILS, ids=[spoil.__name__ for spoil in SPOILS])
def test_fault_07_reader_spoils_its_process_and_goes_on(spoil: Callable[[], None]) -> None:
    """The line lies out of the way, and no setting of the process matters to it: all items are done."""
    basket = Basket()

    def reader(item: int) -> int:
        if item == 3:
            spoil()
        return item

    settings_ = quick("fork", graceful_shutdown_timeout=2)
    summary = QuasiQueue("faults", reader, range(300), collector=basket, settings=settings_).run()
    assert basket.results() == {item: item for item in range(300)}
    assert summary == RunSummary(done=300, seconds=summary.seconds)


@pytest.mark.parametrize("ignores_term", [False, True])
def test_fault_07_reader_closes_every_descriptor(ledger: Ledger, start_method: str, ignores_term: bool) -> None:
    """A lost line is its worker's death, soon: the item is crashed, the others are done, nothing hangs."""
    basket = Basket()
    began = time.monotonic()
    reader = functools.partial(closes_all, ledger, ignores_term)
    settings_ = quick(start_method, max_crashes=1)
    summary = QuasiQueue("faults", reader, range(20), collector=basket, settings=settings_).run()
    assert time.monotonic() - began < 20
    assert basket.of(3).status == "crashed"
    assert ledger.items("start").count(3) == 1
    assert ledger.check(set(range(20)) - {3}) == ALL_ONCE
    assert (summary.done, summary.crashed, summary.restarted) == (19, 1, 1)


def closes_all(ledger: Ledger, ignores_term: bool, item: int) -> None:
    ledger.note("start", item)
    if item == 3:
        if ignores_term:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.closerange(0, 1 << 16)
        threading.Event().wait()
    ledger.note("end", item)


# ---- 8: output


def test_fault_08_output_of_readers_arrives_untouched(program: START) -> None:
    """Python's and C's output, half lines, megabytes: every byte arrives, none of it is changed."""
    started = program("""
        import ctypes
        import os

        from quasiqueue import QuasiQueue, Settings

        LINE = "x" * 1000


        def reader(item):
            print("python", item, LINE, flush=True)
            os.write(1, b"written %d %s\\n" % (item, LINE.encode()))
            ctypes.CDLL(None).puts(b"puts %d %s" % (item, LINE.encode()))
            ctypes.CDLL(None).fflush(None)
            print("half", end="", flush=True)
            print(" line", item, flush=True)


        # Half lines of two processes would be mixed, as anywhere: one process, never replaced.
        settings = Settings(num_processes=1, max_jobs_per_process=None)
        QuasiQueue("loud", reader, range(2000), settings=settings).run()
        print("ended")
    """)
    assert started.ended() == 0
    line = "x" * 1000
    for item in range(2000):
        for beginning in (
            f"python {item} {line}",
            f"written {item} {line}",
            f"puts {item} {line}",
            f"half line {item}",
        ):
            assert beginning in started.lines
    assert len(started.lines) == 8001
    assert started.stderr == ""


# ---- 9: contexts


def test_fault_09_nothing_is_handed_to_a_worker_before_it_is_ready(ledger: Ledger, tmp_path: Path) -> None:
    """While one worker's context takes its time, the other one runs everything."""

    def context() -> dict[str, int]:
        try:
            (tmp_path / "first").touch(exist_ok=False)
        except FileExistsError:
            wait_until(lambda: len(ledger.items("end")) == 100)
        ledger.note("ready", os.getpid())
        return {}

    def reader(item: int, _ctx: object) -> None:
        ledger.note("end", item)

    settings_ = quick("fork", num_processes=2)
    summary = QuasiQueue("faults", reader, range(100), context=context, settings=settings_).run()
    (first,) = {line.pid for line in ledger.lines("end")}
    assert first == ledger.items("ready")[0]
    assert ledger.check(range(100)) == ALL_ONCE
    assert (summary.done, summary.restarted) == (100, 0)


# ---- 10: poison


def test_fault_10_one_poison_in_10000(ledger: Ledger) -> None:
    """One item kills its worker every time: it is crashed after `max_crashes`, the 9,999 others run exactly once."""
    basket = Basket()
    poison = 7000

    def reader(item: int) -> None:
        descriptor = pens.setdefault(os.getpid(), 0) or os.open(ledger.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        pens[os.getpid()] = descriptor
        os.write(descriptor, f"start\t{item}\t{os.getpid()}\t{time.monotonic():.6f}\n".encode())
        if item == poison:
            os.kill(os.getpid(), signal.SIGKILL)

    pens: dict[int, int] = {}
    events: list[Event] = []
    settings_ = quick("fork", num_processes=2, max_queue_size=5000, lookup_block_size=1000)
    queue = QuasiQueue("faults", reader, range(10_000), collector=basket, settings=settings_)
    queue.subscribe(events.append)
    summary = queue.run()
    outcome = basket.of(poison)
    assert (outcome.status, outcome.crashes, outcome.attempts) == ("crashed", 3, 0)
    assert outcome.error.signal == "SIGKILL"
    assert outcome.error.peak_memory > 1 << 20
    assert ledger.items("start").count(poison) == 3
    assert ledger.check(range(10_000), "start") == Verdict([], [], [poison])
    assert [event.items for event in events if isinstance(event, WorkerDied)] == [(str(poison),)] * 3
    assert {o.crashes for o in basket.outcomes if o.item != poison} == {0}
    assert (summary.done, summary.crashed, summary.retried, summary.restarted) == (9999, 1, 2, 3)


# ---- 11: writers


@pytest.mark.timeout(30)
@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("error", [NoExceptionError, GeneratorExit, asyncio.CancelledError, StopIteration])
def test_fault_11_writer_raises_what_is_no_exception(ledger: Ledger, error: type[BaseException], kind: str) -> None:
    """It counts as the writer's failure like any other: accepted items are finished, then `WriterError`."""
    calls = itertools.count()

    def writer() -> list[int]:
        if (call := next(calls)) == 0:
            return [0, 1, 2]
        raise error(f"call {call}")

    async def writer_async() -> list[int]:
        return writer()

    settings_ = quick("fork", writer_max_errors=2)
    reader = functools.partial(noting, ledger)
    queue = QuasiQueue("faults", reader, writer if kind == "sync" else writer_async, settings=settings_)
    with pytest.raises(WriterError, match="failed 2 times in a row"):
        queue.run()
    assert next(calls) == 3
    assert ledger.check(range(3)) == ALL_ONCE


# ---- 14: items


class Elementwise:
    """Compares like numpy's arrays: the answer is an object whose truth cannot be told; and it has no hash."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, numbers: list[int]) -> None:
        self.numbers = numbers

    def __eq__(self, other: object) -> "Elementwise":  # type: ignore[override]
        return Elementwise([0])

    def __bool__(self) -> bool:
        raise ValueError("the truth value of an array is ambiguous")


class HashExits:
    """Its hash raises what is no `Exception`."""

    def __hash__(self) -> int:
        raise NoExceptionError("no hash")

    def __eq__(self, other: object) -> bool:
        return self is other


class ReducesToNonsense:
    """What its `__reduce__` gives means nothing to pickle."""

    def __reduce__(self) -> str:
        return "there is no such name"


class Silent:
    """Cannot be pickled, and its exception has no text either."""

    def __reduce__(self) -> str:
        raise TextlessError

    def __repr__(self) -> str:
        raise TextlessError


def nested() -> list[object]:
    """Return a list too deep for `repr`, `hash` and pickle."""
    item: list[object] = []
    for _ in range(100_000):
        item = [item]
    return item


RUNS, FAILS = "done", "failed"


@pytest.mark.parametrize(
    ("make", "status"),
    [
        (lambda: Elementwise([1, 2]), RUNS),
        (HashExits, RUNS),
        (ReducesToNonsense, FAILS),
        (Silent, FAILS),
        (nested, FAILS),
        (threading.Lock, FAILS),
        (lambda: (number for number in range(3)), FAILS),
    ],
    ids=["elementwise", "hash exits", "reduces to nonsense", "silent", "nested", "lock", "generator"],
)
def test_fault_14_nasty_item_costs_nobody_else(ledger: Ledger, make: Callable[[], object], status: str) -> None:
    """It runs or fails alone, whatever its own methods do in the main process; the others run once."""
    basket = Basket()
    nasty = make()

    def reader(item: object) -> None:
        if isinstance(item, int):
            ledger.note("end", item)

    items = [*range(20), nasty, *range(20, 40)]
    summary = QuasiQueue("faults", reader, items, collector=basket, settings=quick("fork")).run()
    assert ledger.check(range(40)) == ALL_ONCE
    (outcome,) = (outcome for outcome in basket.outcomes if outcome.item is nasty)
    assert outcome.status == status
    assert (summary.done, summary.failed, summary.restarted) == (40 + (status == RUNS), int(status == FAILS), 0)


# ---- 16: sockets


def test_fault_16_thousands_of_connections(ledger: Ledger) -> None:
    """3,000 TCP connections, on workers that crash now and then: each is answered, and descriptors stay flat."""
    total, in_flight = 3000, 50
    answers: list[int] = []
    counts: list[int] = []
    waiting: list[tuple[int, socket.socket]] = []

    def reader(item: tuple[int, socket.socket]) -> None:
        number, connection = item
        if number % 500 == 250 and number not in ledger.items("crash"):
            ledger.note("crash", number)
            os._exit(1)
        connection.sendall(number.to_bytes(4, "big"))
        if number % 100 == 0:
            ledger.note("descriptors", len(os.listdir("/dev/fd")))

    def farewell() -> None:
        number, client = waiting.pop(0)
        with client:
            answer = client.recv(4)
            answers.append(int.from_bytes(answer, "big") - number)
            assert client.recv(1) == b""

    def connections(listener: socket.socket) -> Iterator[tuple[int, socket.socket]]:
        for number in range(total):
            client = socket.create_connection(listener.getsockname(), timeout=20)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # no TIME_WAIT
            waiting.append((number, client))
            yield number, listener.accept()[0]
            if len(waiting) > in_flight:
                farewell()
            if number % 100 == 0:
                counts.append(len(os.listdir("/dev/fd")))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        before = len(os.listdir("/dev/fd"))
        settings_ = quick("fork", num_processes=2, max_queue_size=20, max_restarts=20)
        summary = QuasiQueue("faults", reader, connections(listener), settings=settings_).run()
        while waiting:
            farewell()
    assert answers == [0] * total
    assert (summary.done, summary.restarted, summary.crashed) == (total, 6, 0)
    assert max(counts) <= before + 2 * in_flight + 60
    assert max(ledger.items("descriptors")) <= before + 2 * in_flight + 60


# ---- 18: the template


async def test_fault_18_killed_template_loses_nothing_silently(ledger: Ledger, gate: Gate) -> None:
    """What runs is finished, what waits is released, every accepted item has its outcome, and the error is clear."""
    basket = Basket()

    def reader(item: int) -> None:
        ledger.note("start", item)
        gate.wait()
        ledger.note("end", item)

    queue = QuasiQueue("faults", reader, range(50), collector=basket, settings=quick("fork", num_processes=2))
    async with running(queue) as run:
        await run.until(lambda: len(ledger.items("start")) == 2)
        (template,) = (child for child in psutil.Process().children() if "template" in " ".join(child.cmdline()))
        template.kill()
        await run.event(StopRequested)
        gate.open()
        with pytest.raises(WorkerStartError, match=r"template process of queue 'faults' is gone"):
            await run.ended()
    done = {outcome.item for outcome in basket.outcomes if outcome.status == "done"}
    released = {outcome.item for outcome in basket.outcomes if outcome.status == "released"}
    assert sorted(outcome.item for outcome in basket.outcomes) == list(range(50))
    assert done | released == set(range(50))
    assert ledger.check(done) == ALL_ONCE
    assert ledger.check(done, "start") == ALL_ONCE


def test_fault_18_template_killed_before_any_worker_is_ready(ledger: Ledger) -> None:
    """Workers that were never started are no deaths: the error names the template, everything is released."""
    basket = Basket()
    events: list[Event] = []

    def kill_template(event: Event) -> None:
        events.append(event)
        if isinstance(event, RunStarted):
            (template,) = (child for child in psutil.Process().children() if "tracker" not in " ".join(child.cmdline()))
            template.kill()

    settings_ = quick("fork", num_processes=10, max_restarts=1)
    queue = QuasiQueue("faults", functools.partial(noting, ledger), range(5), collector=basket, settings=settings_)
    queue.subscribe(kill_template)
    with pytest.raises(WorkerStartError, match=r"template process of queue 'faults' is gone"):
        queue.run()
    assert {outcome.status for outcome in basket.outcomes} <= {"released"}
    assert len(basket.outcomes) == queue.stats().released
    assert [event for event in events if isinstance(event, WorkerDied)] == []
    assert (queue.stats().done, queue.stats().restarted) == (0, 0)


# ---- 20: the main process is stopped


def test_fault_20_stopped_main_process_loses_nothing(program: START, tmp_path: Path) -> None:
    """Stopped for longer than `item_timeout` and `startup_timeout`: no worker is killed, no item runs twice."""
    started = program("""
        import os
        import time

        from quasiqueue import QuasiQueue, Settings


        def reader(item):
            with open(os.path.join(os.environ["FOLDER"], "ledger"), "ab", buffering=0) as file:
                file.write(b"end\\t%d\\t%d\\t%f\\n" % (item, os.getpid(), time.monotonic()))
            time.sleep(0.2)


        settings = Settings(num_processes=2, item_timeout=1.5, startup_timeout=1.5, max_jobs_per_process=3)
        queue = QuasiQueue("stopped", reader, range(40), settings=settings)
        queue.subscribe(lambda event: print(type(event).__name__, flush=True))
        summary = queue.run()
        print("summary", summary.done, summary.timed_out, summary.crashed, summary.restarted, summary.retried)
    """)
    started.line("WorkerReady")
    for _ in range(2):
        started.line("WorkerRecycling")
        started.signal(signal.SIGSTOP)
        time.sleep(2.0)  # what is tested: time passes, and the main process does not see it pass
        started.signal(signal.SIGCONT)
    assert started.line("summary") == "40 0 0 0 0"
    assert started.ended() == 0
    assert Ledger(tmp_path / "program0" / "ledger").check(range(40)) == ALL_ONCE


# ---- 21: the wall clock


def test_fault_21_wall_clock_jumps(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wall clock jumps by a day, to and fro, at every look: no limit, no pause and no window takes notice."""
    jumps = itertools.count()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 86_400 * (-1) ** next(jumps))

    def reader(item: int) -> None:
        ledger.note("end", item)
        time.sleep(0.005)

    settings_ = quick("fork", num_processes=2, item_timeout=10, prevent_requeuing_time=100, max_jobs_per_process=20)
    summary = QuasiQueue("faults", reader, [*range(100), *range(100)], settings=settings_).run()
    assert ledger.check(range(100)) == ALL_ONCE
    assert (summary.done, summary.duplicates, summary.timed_out, summary.restarted) == (100, 100, 0, 0)
    assert 0.2 < summary.seconds < 20


# ---- 22: out of descriptors, processes, memory

LIMITED = """
    import logging
    import os
    import resource
    import time

    from quasiqueue import QuasiQueue, Settings, WorkerStartError
    from quasiqueue.events import Notice, WorkerReady


    # Opened before anything is limited; workers inherit it.
    LEDGER = os.open(os.path.join(os.environ["FOLDER"], "ledger"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)


    def reader(item):
        os.write(LEDGER, b"end\\t%d\\t%d\\t%f\\n" % (item, os.getpid(), time.monotonic()))
        time.sleep(0.005)


    def descriptors():
        return len(os.listdir("/dev/fd"))


    def tell(event):
        if isinstance(event, Notice) and event.warning:
            print("warning", event.text, flush=True)
        elif isinstance(event, WorkerReady):
            print("ready", event.slot, flush=True)
"""


def test_fault_22_out_of_descriptors_means_fewer_workers(program: START, tmp_path: Path) -> None:
    """The main process has descriptors for some of its workers: those run all items, a warning tells of the others."""
    started = program(
        LIMITED
        + """
    before = descriptors()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before + 20, hard))
    queue = QuasiQueue("limited", reader, range(300), settings=Settings(num_processes=20))
    queue.subscribe(tell)
    summary = queue.run()
    print("summary", summary.done, summary.failed, summary.crashed, summary.restarted)
    print("left", descriptors() - before)
    """
    )
    assert "could not be started" in started.line("warning")
    assert started.line("summary") == "300 0 0 0"
    assert started.line("left") == "0"
    assert started.ended() == 0
    assert 1 <= len({line for line in started.lines if line.startswith("ready")}) < 20
    assert Ledger(tmp_path / "program0" / "ledger").check(range(300)) == ALL_ONCE


@pytest.mark.parametrize("room", [15, 16, 17])
def test_fault_22_workers_come_once_there_are_descriptors(program: START, room: int) -> None:
    """As soon as the limit is raised, the missing workers are started; refused starts have left nothing open."""
    started = program(
        LIMITED
        + """
    def raise_the_limit(event):
        if isinstance(event, Notice) and event.warning:
            warnings.append(event)
            if len(warnings) == 6:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


    def writer():
        yield from range(10)
        while sum(worker.state == "ready" for worker in queue.stats().workers) < 6:
            time.sleep(0.01)

    warnings = []
    before = descriptors()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Each remainder has its own step at which a start is refused: one worker needs several descriptors, one by one.
    resource.setrlimit(resource.RLIMIT_NOFILE, (before + int(os.environ["ROOM"]), hard))
    queue = QuasiQueue("limited", reader, writer(), settings=Settings(num_processes=6))
    queue.subscribe(tell)
    queue.subscribe(raise_the_limit)
    summary = queue.run()
    print("summary", summary.done, summary.failed, summary.restarted)
    print("left", descriptors() - before)
    """,
        ROOM=str(room),
    )
    assert started.line("summary") == "10 0 0"
    assert started.line("left") == "0"
    assert started.ended() == 0


def test_fault_22_without_any_worker_the_run_ends(program: START) -> None:
    """Where not one worker can be started, ever, the run ends with an error that names the limit."""
    started = program(
        LIMITED
        + """
    queue = QuasiQueue("limited", reader, range(3), settings=Settings(num_processes=2, max_restarts=2))


    def take_all(event):
        if type(event).__name__ == "RunStarted":
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors(), hard))


    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    queue.subscribe(take_all)
    queue.subscribe(tell)
    try:
        queue.run()
    except WorkerStartError as error:
        print("error", error)
    """
    )
    assert "No worker of queue 'limited' can be started" in started.line("error")
    assert started.ended() == 0


@pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="needs to become an ordinary user")
def test_fault_22_out_of_processes_means_fewer_workers(program: START, tmp_path: Path) -> None:
    """An ordinary user may start few processes: those run all items, a warning tells of the others."""
    started = program(
        LIMITED
        + """
    import ctypes  # what is imported later cannot be read any more where Python lies in the home of root
    import setproctitle

    QuasiQueue("warm", reader, [0]).run()
    # Threads count: main and its writer's, the template, two for each worker.
    resource.setrlimit(resource.RLIMIT_NPROC, (6, 6))
    os.setgroups([])
    somebody = 1_000_000 + os.getpid()  # nobody else's number, whose processes would count
    os.setgid(somebody)
    os.setuid(somebody)
    queue = QuasiQueue("limited", reader, range(1, 200), settings=Settings(num_processes=20))
    queue.subscribe(tell)
    summary = queue.run()
    print("summary", summary.done, summary.failed, summary.crashed, summary.restarted)
    """
    )
    assert "could not be started" in started.line("warning")
    assert started.line("summary") == "199 0 0 0"
    assert started.ended() == 0
    assert "Traceback" not in started.stderr
    assert Ledger(tmp_path / "program0" / "ledger").check(range(200)) == ALL_ONCE


REFUSED_THREADS = """
    import _thread

    def refuse(*arguments):
        if os.getpid() != main:
            with open(os.path.join(os.environ["FOLDER"], "refused"), "a+b", buffering=0) as file:
                file.write(b".")
                file.seek(0)
                if len(file.read()) <= int(os.environ["TIMES"]):
                    raise RuntimeError("can't start new thread")
        return real(*arguments)


    main, real = os.getpid(), _thread.start_new_thread
    _thread.start_new_thread = refuse
    queue = QuasiQueue("limited", reader, range(50), settings=Settings(num_processes=3, max_restarts=2))
    queue.subscribe(tell)
    try:
        summary = queue.run()
        print("summary", summary.done, summary.failed, summary.crashed, summary.restarted)
    except WorkerStartError as error:
        print("error", error)
"""


@pytest.mark.parametrize("times", [1, 3, 4])
def test_fault_22_worker_that_is_refused_its_thread_is_tried_again(program: START, tmp_path: Path, times: int) -> None:
    """A worker that cannot have a thread counts as one that could not be started, be it all of them at once."""
    started = program(LIMITED + REFUSED_THREADS, TIMES=str(times))
    assert "could not be started (can't start new thread)" in started.line("warning")
    assert started.line("summary") == "50 0 0 0"
    assert (started.ended(), "Traceback" in started.stderr) == (0, False)
    assert Ledger(tmp_path / "program0" / "ledger").check(range(50)) == ALL_ONCE


def test_fault_22_without_any_thread_the_run_ends(program: START) -> None:
    """Where no worker can ever have its thread, the run ends with an error that says so."""
    started = program(LIMITED + REFUSED_THREADS, TIMES="1000")
    assert "No worker of queue 'limited' can be started (can't start new thread)" in started.line("error")
    assert started.ended() == 0


@pytest.mark.parametrize("refused", ["first", "second"])
def test_fault_22_queue_that_cannot_begin_leaves_nothing(monkeypatch: pytest.MonkeyPatch, refused: str) -> None:
    """Where the template of one queue is refused, no queue runs, the other's template goes, and no item is lost."""
    forks = itertools.count()
    real = os.fork

    def fork() -> int:
        if next(forks) == ["first", "second"].index(refused):
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return real()

    monkeypatch.setattr(os, "fork", fork)
    queues = [QuasiQueue(name, print, [1], settings=quick("fork")) for name in ("first", "second")]
    for queue in queues:
        queue.put(2)
    with pytest.raises(WorkerStartError, match=f"Queue '{refused}' cannot be started .*temporarily unavailable"):
        run_queues(*queues)
    monkeypatch.setattr(os, "fork", real)
    assert [summary.done for summary in run_queues(*queues)] == [2, 2]


@pytest.mark.parametrize("word", ["writer", "collector"])
def test_fault_22_queue_without_its_thread_cannot_begin(
    start_method: str, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    """Where the main process cannot have a thread that it needs, the run ends before it begins."""
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == f"quasiqueue-{word}":
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    queue = QuasiQueue("narrow", print, [1], collector=lambda outcomes: None, settings=quick(start_method))
    with pytest.raises(WorkerStartError, match=r"Queue 'narrow' cannot be started .can't start new thread"):
        queue.run()


# ---- 23: full devices


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_fault_23_full_log_device_stops_nothing(program: START, tmp_path: Path) -> None:
    """Log and stderr of every process are full, the temporary folder is missing: every item has its outcome."""
    started = program(
        """
        import logging
        import os
        import sys
        import time

        os.dup2(os.open("/dev/full", os.O_WRONLY), 2)
        logging.basicConfig(filename="/dev/full", level=logging.DEBUG)

        from quasiqueue import QuasiQueue, Settings


        def reader(item):
            with open(os.path.join(os.environ["FOLDER"], "ledger"), "ab", buffering=0) as file:
                file.write(b"end\\t%d\\t%d\\t%f\\n" % (item, os.getpid(), time.monotonic()))
            logging.warning("item %d", item)
            if item == 7:
                os._exit(1)
            if item % 10 == 3:
                raise ValueError(item)


        settings = Settings(num_processes=2, max_jobs_per_process=20, max_crashes=1)
        summary = QuasiQueue("full", reader, range(100), settings=settings).run()
        print("summary", summary.done, summary.failed, summary.crashed, summary.restarted, flush=True)
        os._exit(0)  # an orderly exit would flush stderr, and complain
        """,
        TMPDIR="/nowhere",
    )
    assert started.line("summary") == "89 10 1 1"
    assert started.ended() == 0
    assert Ledger(tmp_path / "program0" / "ledger").check(range(100)) == ALL_ONCE


# ---- 24: interrupted system calls


@pytest.mark.parametrize("where", ["main", "workers"])
def test_fault_24_interrupted_system_calls(program: START, tmp_path: Path, where: str) -> None:
    """A signal every millisecond, in the main process and in each worker, over 20,000 items: nothing happens."""
    started = program(
        """
        import atexit
        import os
        import signal
        import time

        from quasiqueue import QuasiQueue, Settings

        TEXT = b"y" * 100


        def interrupt():
            signal.signal(signal.SIGALRM, lambda number, frame: None)
            signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
            atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)  # Python puts its handlers back after that


        def context():
            if os.environ["WHERE"] == "workers":
                interrupt()
            return os.open(os.path.join(os.environ["FOLDER"], "ledger"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)


        def reader(item, ledger):
            number, _ = item
            os.write(ledger, b"end\\t%d\\t%d\\t%f\\n" % (number, os.getpid(), time.monotonic()))
            return item


        def collector(outcomes):
            wrong.extend(outcome for outcome in outcomes if outcome.result != outcome.item)


        wrong = []
        if os.environ["WHERE"] == "main":
            interrupt()
        items = ((number, TEXT * (number % 500 == 0) * 1000) for number in range(20_000))
        settings = Settings(num_processes=2, max_queue_size=2000, max_jobs_per_process=2000)
        summary = QuasiQueue("interrupted", reader, items, context, collector, settings=settings).run()
        print("summary", summary.done, summary.failed, summary.crashed, summary.restarted, len(wrong))
        """,
        WHERE=where,
    )
    assert started.line("summary", limit=90) == "20000 0 0 0 0"
    assert started.ended() == 0
    assert started.stderr == ""
    assert Ledger(tmp_path / "program0" / "ledger").check(range(20_000)) == ALL_ONCE


# ---- 25: locks held by other threads


async def test_fault_25_threads_that_log_while_workers_start(ledger: Ledger, tmp_path: Path) -> None:
    """Eight threads of the main process hold logging's locks all the time while 50 workers die and are replaced."""
    log = logging.getLogger("faults.25")
    log.propagate = False
    handler = logging.FileHandler(tmp_path / "log")
    log.addHandler(handler)
    over = threading.Event()

    def shout() -> None:
        while not over.is_set():
            log.warning("held")
            time.sleep(0)

    def reader(item: int) -> None:
        log.warning("item %d", item)
        ledger.note("start", item)
        if item % 2:
            os._exit(1)
        ledger.note("end", item)

    threads = [threading.Thread(target=shout) for _ in range(8)]
    settings_ = quick("fork", num_processes=2, max_crashes=1, max_restarts=100)
    queue = QuasiQueue("faults", reader, lambda: None, settings=settings_)
    try:
        async with running(queue) as run:
            await run.event(WorkerReady)
            for thread in threads:
                thread.start()
            for item in range(100):
                queue.put(item)
            await run.until(lambda: queue.stats().done + queue.stats().crashed == 100)
            summary = await run.stopped()
    finally:
        over.set()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
        handler.close()
    assert ledger.check(range(100), "start") == ALL_ONCE
    assert (summary.done, summary.crashed, summary.restarted) == (50, 50, 50)


# ---- 27 and 28: recycling


async def test_fault_27_recycling_all_at_once_keeps_all_but_one_ready(ledger: Ledger) -> None:
    """`recycle()` of four workers with a slow context: all but one at most are ready at every moment."""

    def context() -> dict[str, int]:
        time.sleep(0.1)  # what is tested: a start that takes its time
        return {}

    def reader(item: int, _ctx: object) -> None:
        ledger.note("end", item)
        time.sleep(0.001)

    settings_ = quick("fork", num_processes=4)
    queue = QuasiQueue("faults", reader, itertools.count(), context=context, settings=settings_)
    samples: list[int] = []
    async with running(queue) as run:
        await run.event(WorkerReady, 4)
        old = {worker.pid for worker in queue.stats().workers}
        queue.recycle()
        while old & {worker.pid for worker in queue.stats().workers}:
            samples.append(sum(worker.state == "ready" for worker in queue.stats().workers))
            await asyncio.sleep(0.001)
        summary = await run.stopped()
    assert min(samples) >= 3
    assert (summary.recycled, summary.restarted) == (4, 0)
    ended = ledger.items("end")  # no order across workers: what was released may have a lower number
    assert (len(ended), len(set(ended))) == (summary.done, summary.done)


async def test_fault_28_recycling_waits_for_async_items_in_flight(ledger: Ledger, gate: Gate) -> None:
    """Workers that are replaced while each runs four items: all of these end where they began."""
    basket = Basket()

    async def reader(item: int) -> int:
        ledger.note("start", item)
        await gate.wait_async()
        return os.getpid()

    settings_ = quick("fork", num_processes=2, concurrent_tasks_per_process=4)
    queue = QuasiQueue("faults", reader, range(8), collector=basket, settings=settings_)
    async with running(queue) as run:
        await run.until(lambda: len(ledger.items("start")) == 8)
        queue.recycle()
        await run.event(WorkerReady, 4)
        gate.open()
        summary = await run.ended()
    assert basket.results() == {line.item: line.pid for line in ledger.lines("start")}
    assert ledger.check(range(8), "start") == ALL_ONCE
    assert (summary.done, summary.failed, summary.restarted) == (8, 0, 0)


# ---- 29: collectors


async def test_fault_29_slow_collector_slows_the_writer_down(gate: Gate) -> None:
    """While the collector does not come back, a bounded number of items is drawn and of results kept."""
    drawn = itertools.count()
    given: list[int] = []

    def collector(outcomes: list[Outcome[int]]) -> None:
        gate.wait()
        given.extend(outcome.item for outcome in outcomes)

    queue = QuasiQueue("faults", lambda item: item, drawn, collector=collector, settings=quick("fork", num_processes=2))
    async with running(queue) as run:
        await run.until(lambda: queue.stats().done >= 1000)
        seen = -1
        while seen != (seen := queue.stats().done):  # noqa: ASYNC110 - until it stands still, which rings no bell
            await asyncio.sleep(0.2)
        stalled = next(drawn)
        gate.open()
        await run.until(lambda: len(given) > stalled + 1000)
        summary = await run.stopped()
    # 1000 outcomes are with the collector, as many wait for it, 300 items wait, and two batches may be on the way.
    assert stalled <= 6000
    assert sorted(given) == sorted(set(given))
    assert len(given) == summary.done + summary.released


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_fault_29_hanging_collector_does_not_hold_up_the_end(gate: Gate, kind: str) -> None:
    """A collector that never comes back: the stop is bounded, and a warning tells how many outcomes it did not get."""
    entered = threading.Event()

    def collector(_outcomes: list[Outcome[int]]) -> None:
        entered.set()
        gate.wait()

    async def collector_async(_outcomes: list[Outcome[int]]) -> None:
        entered.set()
        await asyncio.Event().wait()

    queue = QuasiQueue(
        "faults",
        lambda item: item,
        itertools.count(),
        collector=collector if kind == "sync" else collector_async,
        settings=quick("fork", graceful_shutdown_timeout=1),
    )
    async with running(queue) as run:
        await run.until(entered.is_set)
        began = time.monotonic()
        summary = await run.stopped()
        took = time.monotonic() - began
    gate.open()
    assert took < 6
    assert any("collector did not come to an end" in text for text in warnings_of(run.events))
    assert summary.done > 0


async def test_fault_29_collector_that_hangs_after_the_last_item_yields_to_a_stop() -> None:
    """A run that is done waits for its collector; a stop that comes then is bounded all the same."""
    never = threading.Event()
    queue = QuasiQueue("faults", abs, [1, 2], collector=lambda _outcomes: never.wait(), settings=quick("fork"))
    async with running(queue) as run:
        await run.until(lambda: queue.stats().done == 2 and not queue.stats().workers)
        summary = await run.stopped()
    never.set()
    assert (summary.done, summary.released) == (2, 0)


async def test_fault_29_failing_collector_ends_the_run_in_order(ledger: Ledger) -> None:
    """After `writer_max_errors` in a row: `CollectorError` with the cause, workers gone, every item counted."""

    def collector(_outcomes: list[Outcome[int]]) -> None:
        raise LookupError("the disk is away")

    settings_ = quick("fork", writer_max_errors=2)
    queue = QuasiQueue("faults", functools.partial(noting, ledger), range(500), collector=collector, settings=settings_)
    async with running(queue) as run:
        with pytest.raises(CollectorError) as caught:
            await run.ended()
    assert isinstance(caught.value.__cause__, LookupError)
    stats = queue.stats()
    assert stats.done == len(ledger.items("end"))
    assert stats.workers == ()


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("error", [NoExceptionError, asyncio.CancelledError])
def test_fault_29_collector_raises_what_is_no_exception(ledger: Ledger, error: type[BaseException], kind: str) -> None:
    """It counts as a failure like any other: the collector gets the same outcomes again, and all of them once."""
    basket = Basket()
    calls = itertools.count()

    def collector(outcomes: list[Outcome[int]]) -> None:
        if next(calls) == 0:
            raise error("the first call")
        basket(outcomes)

    async def collector_async(outcomes: list[Outcome[int]]) -> None:
        collector(outcomes)

    queue = QuasiQueue(
        "faults",
        functools.partial(noting, ledger),
        range(50),
        collector=collector if kind == "sync" else collector_async,
        settings=quick("fork"),
    )
    summary = queue.run()
    assert sorted(outcome.item for outcome in basket.outcomes) == list(range(50))
    assert ledger.check(range(50)) == ALL_ONCE
    assert summary.done == 50


# ---- 30: the program's own children


async def test_fault_30_own_children_are_not_touched(ledger: Ledger) -> None:
    """A subprocess of the program, started while the queue runs, outlives a forced stop and is reaped by its owner."""
    queue = QuasiQueue("faults", functools.partial(noting, ledger), itertools.count(), settings=quick("fork"))
    async with running(queue) as run:
        await run.event(WorkerReady)
        command = [sys.executable, "-c", "import sys; sys.exit(int(sys.stdin.read()))"]
        child = subprocess.Popen(command, stdin=subprocess.PIPE)  # noqa: ASYNC220 - a program may well do this
        queue.stop(force=True)
        await run.ended()
    assert child.poll() is None
    child.communicate(b"42")
    assert child.returncode == 42


# ---- 31: all kinds of programs

PROGRAM_C = """
import os
from quasiqueue import QuasiQueue
results = []
queue = QuasiQueue("c", lambda item: item * 2, range(5), collector=lambda outcomes: results.extend(outcomes))
for _ in range({runs}):
    summary = queue.run()
    queue = QuasiQueue("c", lambda item: item * 2, range(5), collector=lambda outcomes: results.extend(outcomes))
print(sorted(outcome.result for outcome in results), summary.done)
"""


@pytest.mark.parametrize("how", ["argument", "standard input", "interactive"])
def test_fault_31_program_without_a_file(how: str) -> None:
    """`python -c`, a program on standard input, and an interactive session: two runs each, results and no noise."""
    text = PROGRAM_C.format(runs=2)
    arguments = {"argument": ["-c", text], "standard input": ["-"], "interactive": ["-q", "-i"]}[how]
    if how == "interactive":  # a block ends with an empty line
        text = text.replace("\nprint", "\n\nprint")
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        input="" if how == "argument" else text,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "[0, 0, 2, 2, 4, 4, 6, 6, 8, 8] 5\n"
    assert done.stderr.replace(">>> ", "").replace("... ", "").strip() == ""


async def test_fault_31_two_queues_at_once_in_one_loop(tmp_path: Path) -> None:
    """Two `main()` side by side, awaited by a program with a loop of its own: each has its items and workers."""
    ledgers = [Ledger(tmp_path / "first"), Ledger(tmp_path / "second")]
    queues = [
        QuasiQueue(ledger.path.name, functools.partial(noting, ledger), range(100), settings=quick("fork"))
        for ledger in ledgers
    ]
    summaries = await asyncio.gather(*(queue.main() for queue in queues))
    assert [summary.done for summary in summaries] == [100, 100]
    assert [ledger.check(range(100)) for ledger in ledgers] == [ALL_ONCE, ALL_ONCE]
    pids = [{line.pid for line in ledger.lines("end")} for ledger in ledgers]
    assert not pids[0] & pids[1]


def test_fault_31_two_queues_at_once_in_threads(tmp_path: Path) -> None:
    """Two threads, each with a loop and a queue of its own, again and again."""
    ledgers = [Ledger(tmp_path / f"ledger{number}") for number in range(6)]

    def work(mine: list[Ledger]) -> None:
        for ledger in mine:
            QuasiQueue("thread", functools.partial(noting, ledger), range(50), settings=quick("fork")).run()

    threads = [threading.Thread(target=work, args=(mine,)) for mine in (ledgers[:3], ledgers[3:])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [thread.is_alive() for thread in threads] == [False, False]
    assert [ledger.check(range(50)) for ledger in ledgers] == [ALL_ONCE] * 6


async def test_fault_31_handlers_of_the_program_are_put_back() -> None:
    """A program's own handlers, the loop's among them, are as they were after the run."""
    got: list[int] = []
    both = asyncio.Event()
    loop = asyncio.get_running_loop()

    def note(number: int) -> None:
        got.append(number)
        if len(got) == 2:
            both.set()

    loop.add_signal_handler(signal.SIGUSR1, note, 1)
    old = signal.signal(signal.SIGHUP, lambda number, frame: loop.call_soon_threadsafe(note, 2))
    try:
        await QuasiQueue("faults", lambda item: None, range(3), settings=quick("fork")).main()
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGHUP)
        async with asyncio.timeout(10):
            await both.wait()
    finally:
        loop.remove_signal_handler(signal.SIGUSR1)
        signal.signal(signal.SIGHUP, old)
    assert sorted(got) == [1, 2]


# ---- 32: names

NAMES = {
    "two words": "TWO_WORDS_",
    "a/b\\c": "A_B_C_",
    "größe 北京 \N{PARTY POPPER}": "GR",
    "x" * 300: "X" * 300 + "_",
    "9 lives; rm -rf $HOME": "_9_LIVES__RM__RF__HOME_",
    "line\nbreak\ttab": "LINE_BREAK_TAB_",
    "50%s%d": "50_S_D_",
}


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
async def test_fault_32_names_of_every_kind(
    name: str, monkeypatch: pytest.MonkeyPatch, ledger: Ledger, gate: Gate
) -> None:
    """Spaces, slashes, unicode, 300 characters: the run works, titles are one line, the environment is found."""
    prefix = re.sub(r"[^A-Z0-9_]", "_", name.upper()) + "_"
    prefix = f"_{prefix}" if prefix[0].isdigit() else prefix
    assert prefix.startswith(NAMES[name]) or prefix == f"_{NAMES[name]}"
    monkeypatch.setenv(f"{prefix}NUM_PROCESSES", "1")
    monkeypatch.setenv(f"{prefix}LOOKUP_BLOCK_SIZE", "7")

    def reader(item: int) -> None:
        logging.getLogger("faults").info("%s", item)
        ledger.note("start", item)
        gate.wait()

    queue = QuasiQueue(name, reader, range(3))
    assert (queue.settings.num_processes, queue.settings.lookup_block_size) == (1, 7)
    async with running(queue) as run:
        await run.until(lambda: ledger.items("start"))
        title = " ".join(psutil.Process(ledger.pid_of("start", 0)).cmdline())
        gate.open()
        summary = await run.ended()
    assert title.startswith("quasiqueue ")
    assert len(title.splitlines()) == 1
    assert " ".join(name.split())[:10] in title
    assert summary == RunSummary(done=3, seconds=summary.seconds)


@pytest.mark.parametrize("name", ["", "  ", "\n", None, 7, b"bytes"])
def test_fault_32_what_is_no_name_is_refused(name: object) -> None:
    """An empty name, or what is no text, is refused in a sentence."""
    with pytest.raises(UsageError, match="The queue's name cannot be"):
        QuasiQueue(name, lambda item: None, [1])


# ---- 33: long runs


def test_fault_33_nothing_grows_in_the_main_process(program: START) -> None:
    """200,000 items with recycling: memory, descriptors and threads are flat between a third and the end."""
    started = program("""
        import os
        import threading

        import psutil

        from quasiqueue import QuasiQueue, Settings


        def reader(item):
            pass


        def items():
            for number in range(200_000):
                if number in (70_000, 199_000):
                    process = psutil.Process()
                    values = (process.memory_info().rss >> 20, len(os.listdir("/dev/fd")), threading.active_count())
                    print("sizes", *values, flush=True)
                yield number


        settings = Settings(num_processes=2, max_queue_size=2000, max_jobs_per_process=5000, prevent_requeuing_time=1)
        summary = QuasiQueue("soak", reader, items(), settings=settings).run()
        print("summary", summary.done, summary.recycled > 30, summary.restarted)
    """)
    first, last = (list(map(int, started.line("sizes", limit=60).split())) for _ in range(2))
    assert started.line("summary", limit=60) == "200000 True 0"
    assert started.ended() == 0
    assert last[0] - first[0] <= 20
    assert last[1] - first[1] <= 24
    assert last[2] == first[2]
