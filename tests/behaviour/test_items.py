"""Items: whatever can be pickled goes to a worker whole, what cannot fails alone, and duplicates are dropped."""

import asyncio
import contextlib
import functools
import gc
import hashlib
import itertools
import math
import os
import socket
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quasiqueue import DONE, QuasiQueue, RunSummary
from quasiqueue.events import ItemRetried, WorkerReady

from .support import ALL_ONCE, Basket, Gate, Ledger, quick, running

# ---- at the top of the module, so that spawned workers can import it


def shown(item: object) -> str:
    return repr(item)


def noting(ledger: Ledger, item: object) -> None:
    ledger.note("end", item)


def digest(item: bytes) -> tuple[int, str]:
    return len(item), hashlib.sha256(item).hexdigest()


def greet(connection: socket.socket) -> int:
    connection.sendall(b"hello from a worker")
    return connection.fileno()


def greet_in_tuple(item: tuple[int, socket.socket]) -> None:
    number, connection = item
    connection.sendall(b"%d" % number)


def read_all(file: object) -> str:
    return file.read()


def answer_number(ledger: Ledger, item: tuple[int, socket.socket]) -> int:
    number, connection = item
    connection.sendall(number.to_bytes(4, "big"))
    count = len(os.listdir("/dev/fd"))
    ledger.note("descriptors", count)
    return number


def fail_on_unpickling(message: str) -> object:
    raise ValueError(message)


class Unopenable:
    """Can be pickled; what comes out raises."""

    def __init__(self, message: str) -> None:
        self.message = message

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return fail_on_unpickling, (self.message,)


class Incomparable:
    """Raises at every comparison and when hashed."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        raise TypeError("never compare me")

    def __hash__(self) -> int:
        raise TypeError("never hash me")


class BadlyEqual:
    """Has a hash, and an `__eq__` that raises."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        raise TypeError("never compare me")

    def __hash__(self) -> int:
        return 1


class UglyText:
    """Fails when it is to be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")


class Plain:
    """Nothing special."""


class Unpicklable:
    """Raises when it is pickled."""

    def __reduce__(self) -> tuple[object, ...]:
        raise LookupError("no pickle of me")


def number_of(item: object) -> object:
    return getattr(item, "number", item)


# ---- all that can be pickled


def test_item_of_every_kind_arrives_whole(start_method: str) -> None:
    """No value has a meaning of its own: "close", None inside a tuple, NaN, a dict, an exception are items."""
    items = ["close", (None,), float("nan"), {"a": [1, {2}]}, b"", "", 0, (), 10**100, ValueError("x"), int, Ellipsis]
    basket = Basket()
    summary = QuasiQueue("items", shown, items, collector=basket, settings=quick(start_method)).run()
    assert sorted(outcome.result for outcome in basket.outcomes) == sorted(map(repr, items))
    assert (summary.done, summary.duplicates, summary.ok) == (len(items), 0, True)


def test_nan_is_the_same_only_as_itself(ledger: Ledger) -> None:
    """As in a dictionary: one NaN object offered twice is a duplicate, two are not."""
    nan = float("nan")
    basket = Basket()
    queue = QuasiQueue("items", math.isnan, [nan, nan, float("nan")], collector=basket, settings=quick("fork"))
    summary = queue.run()
    assert [outcome.result for outcome in basket.outcomes] == [True, True]
    assert summary.duplicates == 1


def test_item_of_100_mebibytes_arrives_whole(start_method: str) -> None:
    """Size has no limit of its own; the items behind it are run too."""
    big = b"\x5a" * (100 << 20)
    basket = Basket()
    QuasiQueue("items", digest, [big, b"small"], collector=basket, settings=quick(start_method)).run()
    results = [outcome.result for outcome in basket.outcomes]
    assert results == [
        (len(big), hashlib.sha256(big).hexdigest()),
        (5, hashlib.sha256(b"small").hexdigest()),
    ]


def test_many_tiny_items_are_each_run_once(ledger: Ledger) -> None:
    """Batches of any size: 20,000 items, each exactly once."""
    basket = Basket()
    settings = quick("fork", num_processes=2, max_queue_size=5000)
    summary = QuasiQueue("items", shown, range(20_000), collector=basket, settings=settings).run()
    assert summary.done == 20_000
    assert Counter(outcome.item for outcome in basket.outcomes) == Counter(range(20_000))
    assert all(outcome.result == repr(outcome.item) for outcome in basket.outcomes)


# ---- what fails


def test_item_that_cannot_be_pickled_fails_by_name(ledger: Ledger, start_method: str) -> None:
    """Only that item fails, with a sentence that names it; the others go on."""
    basket = Basket()
    nameless = lambda: 1  # noqa: E731 - what is tested
    reader = functools.partial(noting, ledger)
    items = [*range(10), nameless, *range(10, 20)]
    summary = QuasiQueue("items", reader, items, collector=basket, settings=quick(start_method)).run()
    assert ledger.check(range(20)) == ALL_ONCE
    assert (summary.done, summary.failed) == (20, 1)
    outcome = basket.of(nameless)
    assert (outcome.status, outcome.pid, outcome.attempts) == ("failed", None, 0)
    assert repr(nameless) in outcome.error.message
    assert "cannot be pickled" in outcome.error.message


def test_item_whose_unpickling_raises_fails_alone(ledger: Ledger, start_method: str) -> None:
    """It fails in the worker with its own error, and the worker lives."""
    basket = Basket()
    broken = Unopenable("out of order")
    reader = functools.partial(noting, ledger)
    items = [*range(5), broken, *range(5, 10)]
    summary = QuasiQueue("items", reader, items, collector=basket, settings=quick(start_method)).run()
    assert ledger.check(range(10)) == ALL_ONCE
    assert (summary.done, summary.failed, summary.restarted) == (10, 1, 0)
    error = basket.of(broken).error
    assert (error.type, error.message) == ("ValueError", "out of order")
    assert "fail_on_unpickling" in error.traceback


@pytest.mark.parametrize("kind", [Incomparable, BadlyEqual])
def test_item_whose_comparison_raises_is_run(kind: type) -> None:
    """Items speak for themselves by their pickle where their own methods raise; nothing of ours breaks."""
    basket = Basket()
    items = [kind(1), kind(2), kind(3)]
    summary = QuasiQueue("items", number_of, items, collector=basket, settings=quick("fork")).run()
    assert sorted(outcome.result for outcome in basket.outcomes) == [1, 2, 3]
    assert (summary.done, summary.duplicates) == (3, 0)


def test_item_that_cannot_be_shown_fails_like_any_other() -> None:
    """An item whose `__repr__` raises still gets its outcome."""

    def reader(_item: object) -> None:
        raise ValueError("no")

    summary = QuasiQueue("items", reader, [UglyText()], settings=quick("fork")).run()
    assert (summary.failed, summary.failures[0].error.message) == (1, "no")


# ---- sockets and files


def pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    ours.settimeout(5)
    return ours, theirs


def test_socket_as_item_is_talked_on_and_closed(start_method: str) -> None:
    """The worker gets the connection; once the item has ended nobody holds it any more, so the peer sees its end."""
    ours, theirs = pair()
    with ours:
        summary = QuasiQueue("items", greet, [theirs], settings=quick(start_method)).run()
        assert ours.recv(100) == b"hello from a worker"
        assert ours.recv(100) == b""
    assert theirs.fileno() == -1
    assert summary == RunSummary(done=1, seconds=summary.seconds)


async def test_socket_is_closed_as_soon_as_its_item_has_ended(start_method: str) -> None:
    """The peer sees the end while the queue still runs, also where the socket is inside a tuple."""
    queue = QuasiQueue("items", greet_in_tuple, lambda: None, settings=quick(start_method))
    async with running(queue) as run:
        await run.event(WorkerReady)
        ours, theirs = pair()
        with ours:
            queue.put((42, theirs))
            await run.until(lambda: queue.stats().done == 1)
            assert ours.recv(100) == b"42"
            assert theirs.fileno() == -1
            ours.settimeout(5)
            assert await asyncio.to_thread(ours.recv, 100) == b""
        assert (await run.stopped()).done == 1


def test_open_file_as_item_is_read(tmp_path: Path) -> None:
    """An open file goes to the worker with its position, and is closed afterwards."""
    path = tmp_path / "text"
    path.write_text("first\nsecond\n")
    file = path.open()
    assert file.read(6) == "first\n"
    basket = Basket()
    QuasiQueue("items", read_all, [file], collector=basket, settings=quick("fork")).run()
    assert [outcome.result for outcome in basket.outcomes] == ["second\n"]
    assert file.closed


def test_1000_sockets_leave_the_number_of_descriptors_flat(ledger: Ledger) -> None:
    """1000 connections are served; main process and worker hold only those that are under way."""
    counts: list[int] = []
    answers: list[int] = []
    with contextlib.ExitStack() as stack:
        peers: list[socket.socket] = []

        def farewell() -> None:
            with peers.pop(0) as peer:
                answers.append(int.from_bytes(peer.recv(4), "big"))
                assert peer.recv(4) == b""

        def writer() -> Iterator[tuple[int, socket.socket]]:
            for number in range(1000):
                ours, theirs = pair()
                peers.append(stack.enter_context(ours))
                if len(peers) > 40:
                    farewell()
                counts.append(len(os.listdir("/dev/fd")))
                yield number, theirs

        settings = quick("fork", max_queue_size=10)
        before = len(os.listdir("/dev/fd"))
        reader = functools.partial(answer_number, ledger)
        summary = QuasiQueue("items", reader, writer(), settings=settings).run()
        while peers:
            farewell()
    assert summary.done == 1000
    assert answers == list(range(1000))
    assert max(counts) <= before + 120
    assert max(ledger.items("descriptors")) <= before + 120


def test_socket_of_an_item_that_runs_again_is_open(ledger: Ledger) -> None:
    """A retry after a failure, and one after its worker's death, still has the connection."""
    ours, theirs = pair()

    def reader(connection: socket.socket) -> None:
        ledger.note("run", 1)
        runs = len(ledger.items("run"))
        connection.sendall(b"%d" % runs)
        if runs == 1:
            raise ValueError("not yet")
        if runs == 2:
            os._exit(1)

    settings = quick("fork", max_attempts=2, retry_delay=0.001)
    with ours:
        summary = QuasiQueue("items", reader, [theirs], settings=settings).run()
        assert b"".join(iter(lambda: ours.recv(100), b"")) == b"123"
    assert (summary.done, summary.retried, summary.restarted) == (1, 2, 1)


# ---- duplicates


async def test_duplicate_while_its_twin_waits_or_runs_is_dropped(ledger: Ledger, gate: Gate) -> None:
    """An item that waits or runs is never accepted a second time, however short the window."""

    def reader(item: int) -> None:
        ledger.note("start", item)
        gate.wait()

    settings = quick("fork", prevent_requeuing_time=0.001)
    queue = QuasiQueue("items", reader, lambda: None, settings=settings)
    async with running(queue) as run:
        assert (queue.put(1), queue.put(2)) == (True, True)
        await run.until(lambda: ledger.items("start") == [1])
        await run.until(lambda: queue.stats().seconds > 0.05)
        assert (queue.put(1), queue.put(2)) == (False, False)
        gate.open()
        await run.until(lambda: queue.stats().done == 2)
        assert (await run.stopped()).duplicates == 2
    assert ledger.check([1, 2], "start") == ALL_ONCE


async def test_duplicate_within_the_window_is_dropped_and_after_it_accepted(ledger: Ledger) -> None:
    """An item that has ended is accepted again once `prevent_requeuing_time` has passed, not before."""
    settings = quick("fork", prevent_requeuing_time=0.5)
    queue = QuasiQueue("items", functools.partial(noting, ledger), lambda: None, settings=settings)
    async with running(queue) as run:
        await run.event(WorkerReady)
        began = queue.stats().seconds
        assert queue.put("it") is True
        await run.until(lambda: queue.stats().done == 1)
        is_early = queue.stats().seconds - began < 0.4
        assert not is_early or queue.put("it") is False
        await run.until(lambda: queue.put("it"))
        assert queue.stats().seconds - began >= 0.5
        await run.until(lambda: queue.stats().done == 2)
        await run.stopped()
    assert ledger.items("end") == ["it", "it"]


def test_window_of_zero_accepts_everything(ledger: Ledger) -> None:
    """With `prevent_requeuing_time = 0` nothing is a duplicate."""
    settings = quick("fork", prevent_requeuing_time=0)
    summary = QuasiQueue("items", functools.partial(noting, ledger), [1] * 50, settings=settings).run()
    assert ledger.items("end") == [1] * 50
    assert (summary.done, summary.duplicates) == (50, 0)


def test_duplicates_are_what_dictionaries_say(ledger: Ledger) -> None:
    """`1 == True == 1.0`; text and bytes differ; equal tuples are the same."""
    items = [1, True, 1.0, "1", b"1", (1, 2), (True, 2.0), "1"]
    summary = QuasiQueue("items", functools.partial(noting, ledger), items, settings=quick("fork")).run()
    assert ledger.items("end") == [1, "1", b"1", (1, 2)]
    assert summary.duplicates == 4


def test_unhashable_duplicates_are_found(ledger: Ledger) -> None:
    """Lists, dicts and sets are compared by what they hold."""
    items = [{"a": 1}, {"a": 1}, [1], [1], {"a": 2}, bytearray(b"x"), bytearray(b"x")]
    basket = Basket()
    summary = QuasiQueue("items", shown, items, collector=basket, settings=quick("fork")).run()
    assert [outcome.item for outcome in basket.outcomes] == [{"a": 1}, [1], {"a": 2}, bytearray(b"x")]
    assert summary.duplicates == 3


def test_sockets_are_never_duplicates() -> None:
    """Each connection is an item of its own."""
    pairs = [pair() for _ in range(3)]
    summary = QuasiQueue("items", greet, [theirs for _, theirs in pairs], settings=quick("fork")).run()
    for ours, _ in pairs:
        ours.close()
    assert (summary.done, summary.duplicates) == (3, 0)


def test_key_that_raises_fails_its_item(ledger: Ledger) -> None:
    """The item fails with what the key raised; the others go on."""
    basket = Basket()
    reader = functools.partial(noting, ledger)
    queue = QuasiQueue(
        "items", reader, [1, 2, 0, 4], key=lambda item: 12 // item, collector=basket, settings=quick("fork")
    )
    summary = queue.run()
    assert ledger.check([1, 2, 4]) == ALL_ONCE
    assert (summary.done, summary.failed) == (3, 1)
    assert (basket.of(0).error.type, basket.of(0).pid) == ("ZeroDivisionError", None)


def test_key_that_cannot_be_hashed_fails_its_item() -> None:
    """A key must be hashable: the item's error says so."""
    queue = QuasiQueue("items", shown, [1], key=lambda item: [item], settings=quick("fork"))
    summary = queue.run()
    assert (summary.done, summary.failed) == (0, 1)
    assert "unhashable type: 'list'" in summary.failures[0].error.message


async def test_retried_item_keeps_its_duplicates_out(ledger: Ledger, gate: Gate) -> None:
    """An item that waits for its next attempt is still the same item: no twin of it is accepted."""

    def reader(item: str) -> None:
        ledger.note("run", item)
        if not gate.is_open():
            raise ValueError("not yet")

    settings = quick("fork", max_attempts=2, retry_delay=0.3, prevent_requeuing_time=0.01)
    queue = QuasiQueue("items", reader, lambda: None, settings=settings)
    async with running(queue) as run:
        queue.put("it")
        await run.event(ItemRetried)
        gate.open()
        assert queue.stats().seconds < 0.3 or ledger.items("run") == ["it"]
        assert queue.put("it") is False
        await run.until(lambda: queue.stats().done == 1)
        assert (await run.stopped()).duplicates == 1


def test_writer_function_and_iterable_see_the_same_duplicates(ledger: Ledger) -> None:
    """Duplicates between calls of a writer are dropped like those within one."""
    calls = itertools.count(1)

    def writer() -> object:
        call = next(calls)
        return [1, 2, call] if call < 4 else DONE

    summary = QuasiQueue("items", functools.partial(noting, ledger), writer, settings=quick("fork")).run()
    assert sorted(ledger.items("end")) == [1, 2, 3]
    assert (summary.done, summary.duplicates) == (3, 6)


def test_items_beside_one_that_cannot_be_pickled_are_let_go() -> None:
    """Nothing of them is left in a cycle, where their sockets, say, would stay open until garbage is collected."""
    given: list[weakref.ref[Plain]] = []

    def writer() -> Iterator[object]:
        for number in range(100):
            item = Plain() if number != 50 else Unpicklable()
            if isinstance(item, Plain):
                given.append(weakref.ref(item))
            yield item

    queue = QuasiQueue("items", shown, writer(), settings=quick("fork", num_processes=1, prevent_requeuing_time=0))
    gc.collect()
    gc.disable()
    try:
        summary = queue.run()
        assert [ended() for ended in given] == [None] * 99
    finally:
        gc.enable()
    assert (summary.done, summary.failed) == (99, 1)
