"""The feeder, turn by turn: how many it asks for, when it pauses, when it ends."""

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from types import SimpleNamespace

import pytest

from quasiqueue import DONE, Event, WriterError
from quasiqueue._callables import plan_writer
from quasiqueue._main import feeder as room
from quasiqueue._main import source
from quasiqueue._main.feeder import Feeder
from quasiqueue._main.intake import Intake
from quasiqueue._main.source import Source
from quasiqueue.events import WriterFailed, WriterSlow

from .support import make_settings

LATER = 1e9
"""A time by which every pause is over."""


class Inline:
    """Runs calls at once, in place of the writer's thread, and counts them."""

    calls = 0

    async def call(self, function: Callable[[], object]) -> object:
        """Run it."""
        self.calls += 1
        return function()


class Kit:
    """A feeder and what surrounds it. Its clock stands still unless a test sets it."""

    def __init__(
        self,
        writer: object,
        monkeypatch: pytest.MonkeyPatch,
        *,
        key: Callable[[object], Hashable] | None = None,
        **settings: object,
    ) -> None:
        values = {
            "max_queue_size": 100,
            "lookup_block_size": 10,
            "empty_queue_sleep_time": 7.0,
            "full_queue_sleep_time": 9.0,
        }
        self.settings = make_settings(**{**values, **settings})
        self.intake = Intake(
            capacity=self.settings.max_queue_size, window=self.settings.prevent_requeuing_time, key=key
        )
        self.events: list[Event] = []
        self.turns = 0
        self.now = 1000.0
        self.rests: list[float] = []
        self.thread = Inline()
        clock = SimpleNamespace(monotonic=lambda: self.now)
        for module in (room, source):
            monkeypatch.setattr(module, "time", clock)
        self.feeder = Feeder(
            self.intake,
            Source(plan_writer(writer), self.settings),
            settings=self.settings,
            thread=self.thread,  # type: ignore[arg-type]
            publish=self.events.append,
            on_items=self._count,
            queue="q",
        )
        self.feeder.is_hungry = lambda: False
        self.feeder._rest = self._rest  # type: ignore[method-assign]

    def _count(self) -> None:
        self.turns += 1

    async def _rest(self, seconds: float) -> None:
        self.rests.append(seconds)
        self.now += seconds

    async def turn(self) -> None:
        """One turn, now."""
        await self.feeder.turn(self.now)

    def taken(self) -> list[object]:
        """Empty the backlog, as the dispatcher would."""
        return [item for parcel in self.intake.take_all() for item in parcel.items]


@pytest.fixture
def kit(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Kit]:
    """Return what makes a kit."""
    return lambda writer, **more: Kit(writer, monkeypatch, **more)


async def test_writer_is_asked_for_a_block_or_what_fits(kit: Callable[..., Kit]) -> None:
    """`desired_items` is `lookup_block_size`, or less where there is less room; it stops when the queue is full."""
    asked: list[int] = []

    def writer(desired: int) -> range:
        asked.append(desired)
        return range(len(asked) * 100, len(asked) * 100 + desired)

    own = kit(writer, max_queue_size=25)
    await own.turn()
    assert asked == [10, 10, 5]
    assert own.intake.room() == 0
    assert own.feeder.is_waiting_for_room is False


async def test_full_queue_is_rested_for(kit: Callable[..., Kit]) -> None:
    """While there is no room the writer is not asked, for as long as the setting says or until there is room."""
    own = kit(range, max_queue_size=10)
    await own.turn()
    waits: list[bool] = []

    async def rest(seconds: float) -> None:
        own.rests.append(seconds)
        waits.append(own.feeder.is_waiting_for_room)

    own.feeder._rest = rest  # type: ignore[method-assign]
    await own.turn()
    assert (own.rests, waits, own.feeder.is_waiting_for_room) == ([9.0], [True], False)


async def test_room_is_told_once_the_queue_is_half_empty(kit: Callable[..., Kit]) -> None:
    """The bell rings for a feeder that waits for room, at half, not before; and only for one that waits."""
    own = kit(lambda desired: None, max_queue_size=10)
    own.intake.accept(list(range(10)), 0.0)
    own.feeder.is_waiting_for_room = True
    own.intake.take(4)
    own.feeder.tell_room()
    assert own.feeder._bell.is_set() is False
    own.intake.take(1)
    own.feeder.tell_room()
    assert own.feeder._bell.is_set() is True
    own.feeder._bell.clear()
    own.feeder.is_waiting_for_room = False
    own.feeder.tell_room()
    assert own.feeder._bell.is_set() is False


@pytest.mark.parametrize("answer", [None, [], (), [None], [1, 1, 1]])
async def test_nothing_new_is_followed_by_a_pause(kit: Callable[..., Kit], answer: object) -> None:
    """None, an empty list and a list of duplicates: asked again after `empty_queue_sleep_time`, not before."""
    calls: list[float] = []

    def writer(_desired: int) -> object:
        calls.append(own.now)
        return answer

    own = kit(writer)
    own.intake.accept([1], own.now)
    await own.turn()
    assert calls == [1000.0]
    own.now = 1006.0
    await own.turn()
    assert (calls, own.rests) == ([1000.0], [1.0])
    await own.turn()
    assert calls == [1000.0, 1007.0]


async def test_one_new_item_in_a_call_is_enough_to_go_on(kit: Callable[..., Kit]) -> None:
    """A call that brought something is followed by the next call at once."""
    answers = [[1, 2], [2, 3], [3], None]
    own = kit(lambda desired: answers.pop(0))
    await own.turn()
    assert answers == [None]
    assert own.taken() == [1, 2, 3]


async def test_call_of_many_blocks_counts_as_one(kit: Callable[..., Kit], monkeypatch: pytest.MonkeyPatch) -> None:
    """Something new in the first block, duplicates in the last: that call brought something."""
    monkeypatch.setattr(room, "BLOCK", 3)
    answers = [[1, 2, 3, 1, 2, 3, 1], None]
    own = kit(lambda desired: answers.pop(0))
    await own.turn()
    assert (answers, own.taken()) == ([], [1, 2, 3])


async def test_call_that_ended_behind_a_pause_is_over(kit: Callable[..., Kit]) -> None:
    """What an earlier call brought says nothing about a later one that brings only duplicates."""
    answers = [[1, None], [1], [2]]
    own = kit(lambda desired: answers.pop(0))
    await own.turn()
    own.now = 1007.0
    await own.turn()
    assert answers == [[2]]
    own.now = 1013.9
    await own.turn()
    assert own.rests[-1] == pytest.approx(0.1)
    await own.turn()
    assert answers == []


async def test_endless_generator_of_duplicates_is_paused(
    kit: Callable[..., Kit], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten thousand duplicates in a row, drawn in blocks of what there is room for, count as nothing new."""
    monkeypatch.setattr(room, "QUANTUM", LATER)
    drawn = 0

    def same(_desired: int) -> Iterator[int]:
        nonlocal drawn
        while True:
            drawn += 1
            yield 1

    own = kit(same)
    await own.turn()
    assert (drawn, own.intake.duplicates, own.taken()) == (100 + 102 * 99, 100 + 102 * 99 - 1, [1])
    await own.turn()
    assert (drawn, own.rests) == (100 + 102 * 99, [7.0])


async def test_wake_ends_a_pause(kit: Callable[..., Kit]) -> None:
    """The writer is asked at once, and the bell is rung for a feeder that rests."""
    answers = [None, [1], None]
    own = kit(lambda desired: answers.pop(0))
    await own.turn()
    own.feeder.wake()
    assert own.feeder._bell.is_set() is True
    await own.turn()
    assert (answers, own.rests, own.taken()) == ([], [], [1])


async def test_wake_while_the_writer_is_at_work_is_not_lost(kit: Callable[..., Kit]) -> None:
    """A row that is inserted after the writer looked and before it returned is found without a pause; once."""
    calls: list[int] = []

    def writer(_desired: int) -> None:
        calls.append(1)
        if len(calls) == 1:
            own.feeder.wake()

    own = kit(writer)
    await own.turn()
    await own.turn()
    assert (len(calls), own.rests) == (2, [])
    await own.turn()
    assert (len(calls), own.rests) == (2, [7.0])


async def test_hungry_workers_get_the_first_item_at_once(kit: Callable[..., Kit]) -> None:
    """While somebody waits, the loop is told after the first item of a generator; the turn goes on in blocks."""
    told: list[int] = []
    own = kit(iter(range(1000)), max_queue_size=50)
    own.feeder.is_hungry = lambda: own.intake.backlog == 0
    own.feeder.tell_items = lambda: told.append(own.intake.backlog)
    await own.turn()
    assert told == [1, 50]


async def test_turn_in_the_thread_lasts_a_millisecond(kit: Callable[..., Kit]) -> None:
    """Then the loop gets the interpreter, whatever the writer still has."""

    def writer(_desired: int) -> list[float]:
        own.now += 0.0004
        return [own.now]

    own = kit(writer)
    await own.turn()
    assert own.taken() == pytest.approx([1000.0004, 1000.0008, 1000.0012])


class Numbers(list[int]):
    """Somebody's own container: iterating over it may do anything."""


@pytest.mark.parametrize(
    ("writer", "key", "calls"),
    [
        (list(range(30)), None, 1),
        (range(30), None, 1),
        ([float(number) for number in range(30)], None, 1),
        ([str(number) for number in range(30)], None, 3),
        (range(30), lambda item: item, 3),
        (Numbers(range(30)), None, 3),
        (iter(range(30)), None, 3),
    ],
    ids=["list", "range", "floats", "texts", "own key", "own container", "iterator"],
)
async def test_numbers_in_a_container_are_taken_without_the_thread(
    kit: Callable[..., Kit],
    monkeypatch: pytest.MonkeyPatch,
    writer: object,
    key: Callable[[object], Hashable] | None,
    calls: int,
) -> None:
    """Once it is open. Where taking, or telling the keys, may take long or run user code, the thread does it."""
    monkeypatch.setattr(room, "QUANTUM", 0.0)
    monkeypatch.setattr(room, "BLOCK", 10)
    own = kit(writer, key=key)
    for _ in range(3):
        await own.turn()
    assert ([float(str(item)) for item in own.taken()], own.thread.calls) == (list(range(30)), calls)


async def test_container_that_changes_meanwhile_is_an_error_like_any_other(
    kit: Callable[..., Kit], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was taken out of it stays accepted; the writer is asked again after a pause."""
    monkeypatch.setattr(room, "QUANTUM", 0.0)
    monkeypatch.setattr(room, "BLOCK", 2)
    own = kit(lambda _desired: numbers)
    numbers = {1, 2, 3, 4}
    await own.turn()
    numbers.add(5)
    await own.turn()
    assert (own.taken(), own.thread.calls) == ([1, 2], 1)
    assert [(type(event), event.error.type) for event in own.events if isinstance(event, WriterFailed)] == [
        (WriterFailed, "RuntimeError")
    ]


@pytest.mark.parametrize(
    ("writer", "items"),
    [
        (lambda desired: DONE, []),
        (lambda desired: [1, DONE], [1]),
        (lambda desired: [1, None, 2, DONE, 3], [1, 2]),
        ([1], [1]),
        ([], []),
    ],
)
async def test_feeder_ends_with_its_source(kit: Callable[..., Kit], writer: object, items: list[object]) -> None:
    """DONE in any form, and an iterable that is exhausted; the loop is told after every turn and at the end."""
    own = kit(writer)
    await own.feeder.run()
    assert own.feeder.has_ended is True
    assert own.taken() == items
    assert own.turns == (4 if items == [1, 2] else 2)


async def test_closed_door_ends_the_feeder(kit: Callable[..., Kit]) -> None:
    """What a writer gives while the run stops is not taken, and it is not asked again."""

    def writer(_desired: int) -> list[int]:
        own.intake.close()
        return [1]

    own = kit(writer)
    await own.feeder.run()
    assert (own.feeder.has_ended, own.taken()) == (True, [])


async def test_writer_that_raises_is_asked_after_growing_pauses(kit: Callable[..., Kit]) -> None:
    """Each failure is told, with its number and the pause that follows; a success begins anew."""
    answers: list[object] = [ValueError("one"), ValueError("two"), [1], ValueError("three"), None]

    def writer(_desired: int) -> object:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    own = kit(writer)
    while answers:
        await own.turn()
    told = [
        (event.error.message, event.failures, event.pause) for event in own.events if isinstance(event, WriterFailed)
    ]
    assert told == [("one", 1, 0.1), ("two", 2, 0.2), ("three", 1, 0.1)]
    assert own.rests == pytest.approx([0.1, 0.2, 0.1])
    assert own.taken() == [1]


async def test_writer_that_fails_too_often_ends_the_run(kit: Callable[..., Kit]) -> None:
    """After `writer_max_errors` failures in a row, with the last as the cause."""
    last = LookupError("no table")

    def writer(_desired: int) -> object:
        raise last

    own = kit(writer, writer_max_errors=3)
    with pytest.raises(WriterError) as caught:
        await own.feeder.run()
    assert caught.value.__cause__ is last
    assert str(caught.value) == (
        "The writer of queue 'q' failed 3 times in a row. The last error was LookupError: no table. "
        "Its traceback is above; see to the cause, or raise writer_max_errors."
    )
    assert [event.failures for event in own.events if isinstance(event, WriterFailed)] == [1, 2]


async def test_items_before_an_error_are_accepted(kit: Callable[..., Kit]) -> None:
    """A generator that raises after two items has given two."""

    def writer(_desired: int) -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError

    own = kit(writer)
    await own.turn()
    assert own.taken() == [1, 2]
    assert [event.failures for event in own.events if isinstance(event, WriterFailed)] == [1]


async def test_finite_run_that_raises_cannot_go_on(kit: Callable[..., Kit]) -> None:
    """There is nobody to ask again; what it gave is kept."""

    def items() -> Iterator[int]:
        yield 1
        raise ValueError("torn file")

    own = kit(items())
    with pytest.raises(WriterError, match=r"^The writer of queue 'q' failed once, and cannot go on: .*: torn file\."):
        await own.feeder.run()
    assert own.taken() == [1]


async def test_error_without_a_text_is_a_failure_like_any_other(kit: Callable[..., Kit]) -> None:
    """An exception whose `__str__` raises does not end the run in disorder."""

    class WordlessError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def writer(_desired: int) -> object:
        raise WordlessError

    own = kit(writer, writer_max_errors=2)
    with pytest.raises(WriterError, match=r"failed 2 times in a row\. .*__str__ raised RuntimeError"):
        await own.feeder.run()


async def test_refused_answer_ends_the_run_at_once(kit: Callable[..., Kit]) -> None:
    """What holds no items is a mistake in the program; asking again would not mend it."""
    own = kit(lambda desired: "text")
    with pytest.raises(WriterError, match=r"^The writer returned a str"):
        await own.feeder.run()
    assert own.events == []


async def test_events_are_published_on_the_loop(kit: Callable[..., Kit]) -> None:
    """A failure in the writer's thread is told by the loop, where subscribers expect to be called."""
    inside: list[bool] = []
    is_in_thread = False

    class Thread(Inline):
        async def call(self, function: Callable[[], object]) -> object:
            nonlocal is_in_thread
            is_in_thread = True
            try:
                return function()
            finally:
                is_in_thread = False

    own = kit(lambda desired: 1 // 0)
    own.feeder._thread = Thread()  # type: ignore[assignment]
    own.feeder._publish = lambda event: inside.append(is_in_thread)
    await own.turn()
    assert inside == [False]


async def test_async_writer_is_asked_on_the_loop(kit: Callable[..., Kit]) -> None:
    """One pull per turn; between turns other tasks run."""

    async def items() -> AsyncIterator[int]:
        for number in range(5):
            yield number

    own = kit(items())
    others = 0

    async def other() -> None:
        nonlocal others
        while True:
            others += 1
            await asyncio.sleep(0)

    task = asyncio.ensure_future(other())
    await own.feeder.run()
    task.cancel()
    assert own.taken() == [0, 1, 2, 3, 4]
    assert others == own.turns - 1


async def test_tick_takes_what_a_blocked_writer_has_given(kit: Callable[..., Kit]) -> None:
    """While a generator waits for its next item, the ones before it join the backlog."""
    seen: list[list[object]] = []

    def writer(_desired: int) -> Iterator[int]:
        yield 1
        yield 2
        own.feeder.tick(own.now)
        seen.append(own.taken())
        own.now += 1.0
        own.feeder.tick(own.now)
        seen.append(own.taken())

    own = kit(writer)
    assert own.feeder.is_asking is False
    own.feeder.tick(own.now)
    await own.turn()
    assert seen == [[], [1, 2]]
    assert own.feeder.is_asking is False


async def test_slow_writer_is_told_once_per_call(kit: Callable[..., Kit]) -> None:
    """After a minute at one call there is a warning, one."""

    def writer(_desired: int) -> None:
        for seconds in (59.0, 0.999, 0.001, 100.0):
            own.now += seconds
            own.feeder.tick(own.now)

    own = kit(writer)
    await own.turn()
    own.feeder.wake()
    await own.turn()
    assert [event.seconds for event in own.events if isinstance(event, WriterSlow)] == pytest.approx([60.0, 60.0])


async def test_close_ends_an_open_generator(kit: Callable[..., Kit]) -> None:
    """Its `finally` runs."""
    ended: list[bool] = []

    def writer(_desired: int) -> Iterator[int]:
        try:
            while True:
                yield len(ended)
        finally:
            ended.append(True)

    own = kit(writer, max_queue_size=5, prevent_requeuing_time=0)
    await own.turn()
    await own.feeder.close()
    assert ended == [True]
