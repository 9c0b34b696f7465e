"""Every kind of writer, and what is drawn from it."""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quasiqueue import DONE, WriterError
from quasiqueue._callables import plan_writer
from quasiqueue._main import source as room
from quasiqueue._main.source import Next, Pulled, Source


class Clock:
    """A clock that stands still unless a test sets it."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        """Give the time."""
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Have the source go by a clock that stands still."""
    clock = Clock()
    monkeypatch.setattr(room, "time", clock)
    return clock


MORE, NOTHING, OVER = Next.MORE, Next.NOTHING_NOW, Next.DONE


def make_source(writer: object) -> Source:
    return Source(plan_writer(writer), "settings")


async def pulled(source: Source, desired: int = 10, *, most: int = 10, at_once: bool = False) -> Pulled:
    """Pull as the feeder does: in whichever of the two ways the source asks for."""
    if source.needs_loop:
        return await source.pull_async(desired, most=most)
    return source.pull(desired, most=most, at_once=at_once)


async def told(source: Source, pulls: int, *, most: int = 10) -> list[tuple[list[object], Next]]:
    """Return what some pulls bring; those that only pass on to the other way of pulling are not counted."""
    results: list[tuple[list[object], Next]] = []
    while len(results) < pulls:
        block = await pulled(source, most=most)
        if block.items or block.next is not MORE or block.ends_call or block.error is not None:
            results.append((block.items, block.next))
            assert block.types == set(map(type, block.items))
    return results


async def all_of(source: Source, *, most: int = 10) -> list[object]:
    """Return everything until the source is done."""
    items: list[object] = []
    while True:
        block = await pulled(source, most=most)
        items += block.items
        if block.error is not None:
            raise block.error
        if block.next is OVER:
            assert source.is_over
            return items


def answering(*answers: object) -> Callable[[int], object]:
    """Return a writer that gives these, one per call."""
    left = deque(answers)
    return lambda _desired: left.popleft()


def answering_async(*answers: object) -> Callable[[int], object]:
    left = deque(answers)

    async def writer(_desired: int) -> object:
        return left.popleft()

    return writer


async def as_async(*items: object) -> AsyncIterator[object]:
    for item in items:
        yield item


def as_generator(*items: object) -> Iterator[object]:
    yield from items


def failing(*items: object) -> Iterator[object]:
    yield from items
    raise LookupError("no more")


async def failing_async(*items: object) -> AsyncIterator[object]:
    for item in items:
        yield item
    raise LookupError("no more")


FORMS = {
    "list": lambda *items: answering(list(items), DONE),
    "tuple": lambda *items: answering(items, DONE),
    "deque": lambda *items: answering(deque(items), DONE),
    "iterator": lambda *items: answering(iter(items), DONE),
    "generator": lambda *items: answering(as_generator(*items), DONE),
    "async generator": lambda *items: answering(as_async(*items), DONE),
    "async function, list": lambda *items: answering_async(list(items), DONE),
    "async function, generator": lambda *items: answering_async(as_generator(*items), DONE),
    "async function, async generator": lambda *items: answering_async(as_async(*items), DONE),
    "plain list": lambda *items: list(items),
    "plain generator": as_generator,
    "plain async generator": as_async,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("most", [1, 3, 4, 100])
async def test_every_kind_of_writer_gives_its_items_in_order(form: str, most: int) -> None:
    """However many are taken at once, all come, once, in order; then the source is done."""
    assert await all_of(make_source(FORMS[form](*range(7))), most=most) == list(range(7))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("most", [1, 2, 3, 100])
async def test_none_means_nothing_now_wherever_it_stands(form: str, most: int) -> None:
    """It is no item: what follows it comes after a pause, in order."""
    source = make_source(FORMS[form](1, 2, None, 3, None, None, 4, 5))
    parts: list[list[object]] = [[]]
    while True:
        block = await pulled(source, most=most)
        parts[-1] += block.items
        if block.next is OVER:
            break
        if block.next is NOTHING:
            parts.append([])
    assert parts == [[1, 2], [3], [], [4, 5]]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("most", [1, 2, 3, 100])
async def test_nothing_behind_done_is_taken(form: str, most: int) -> None:
    """What stood before it comes; a None before it is a pause; what follows it is not asked for, or dropped."""
    source = make_source(FORMS[form](1, None, 2, DONE, 3, None, 4))
    assert await all_of(source, most=most) == [1, 2]
    assert source.is_over


@given(
    st.sampled_from(sorted(FORMS)),
    st.lists(st.one_of(st.integers(), st.none()), max_size=12),
    st.integers(1, 14),
)
def test_nothing_is_lost_whatever_the_pauses(form: str, given: list[int | None], most: int) -> None:
    """Items come in order, each once, with one pause per None."""

    async def drained() -> tuple[list[object], int]:
        source, items, pauses = make_source(FORMS[form](*given)), list[object](), 0
        while True:
            block = await pulled(source, most=most)
            assert len(block.items) <= most
            items += block.items
            if block.next is OVER:
                return items, pauses
            pauses += block.next is NOTHING

    items, pauses = asyncio.run(drained())
    assert items == [item for item in given if item is not None]
    # A pause at the very end of a finite run is not told: there is nothing to wait for.
    missing = 1 if form.startswith("plain") and given[-1:] == [None] else 0
    assert given.count(None) - missing <= pauses <= given.count(None)


@pytest.mark.parametrize("writer", [answering(None), answering_async(None)])
async def test_writer_that_returns_none_has_nothing_now(writer: Callable[[int], object]) -> None:
    """It is asked again after a pause."""
    block = await pulled(make_source(writer))
    assert (block.items, block.next, block.ends_call) == ([], NOTHING, True)


@pytest.mark.parametrize("writer", [answering(DONE), answering_async(DONE)])
async def test_writer_that_returns_done_is_done(writer: Callable[[int], object]) -> None:
    """There is nothing more, ever."""
    source = make_source(writer)
    block = await pulled(source)
    assert (block.items, block.next, source.is_over) == ([], OVER, True)


@pytest.mark.parametrize("answer", [[], (), iter(()), as_generator(), as_async()])
async def test_empty_answer_ends_the_call_without_items(answer: object) -> None:
    """The feeder then knows that the call brought nothing."""
    source = make_source(answering(answer))
    blocks = [await pulled(source)]
    if not blocks[-1].ends_call:
        blocks.append(await pulled(source))
    assert (blocks[-1].items, blocks[-1].next, blocks[-1].ends_call) == ([], MORE, True)


@pytest.mark.parametrize("writer", [[], (), as_generator(), as_async()])
async def test_empty_iterable_is_done(writer: object) -> None:
    """A finite run of no items."""
    assert await all_of(make_source(writer)) == []


async def test_writer_is_asked_for_what_is_desired_and_only_when_all_was_taken() -> None:
    """More than desired is taken later, before the writer is asked again."""
    asked: list[int] = []

    def writer(desired: int) -> list[object]:
        asked.append(desired)
        return ["a"] * 5

    source = make_source(writer)
    sizes = [len((await pulled(source, desired, most=2)).items) for desired in (7, 8, 9, 10)]
    assert (sizes, asked) == ([2, 2, 1, 2], [7, 10])


async def test_call_ends_with_its_last_item() -> None:
    """The end is told with the last block where it is known then, else with an empty one."""
    source = make_source(answering([1, 2, 3], [4, 5], DONE))
    blocks = [await pulled(source, most=2) for _ in range(5)]
    assert [(block.items, block.ends_call) for block in blocks] == [
        ([1, 2], False),
        ([3], True),
        ([4, 5], False),
        ([], True),
        ([], True),
    ]


async def test_call_that_ends_behind_a_pause_is_told() -> None:
    """The last block behind a None ends the call too, and so does a None at its end."""
    source = make_source(answering([1, None, 2], [3, None], DONE))
    blocks = [await pulled(source) for _ in range(3)]
    assert [(block.items, block.next, block.ends_call) for block in blocks] == [
        ([1], NOTHING, False),
        ([2], MORE, True),
        ([3], NOTHING, True),
    ]


async def test_items_behind_several_pauses_keep_their_order() -> None:
    """Blocks smaller than what waits behind the first None do not mix it up."""
    source = make_source(answering([1, None, 2, None, 3, 4, 5, 6, 7], DONE))
    first = await pulled(source, most=100)
    rest = [await pulled(source, most=3) for _ in range(4)]
    assert [first.items, *(block.items for block in rest)] == [[1], [2], [3, 4, 5], [6, 7], []]
    assert [block.next for block in rest] == [NOTHING, MORE, MORE, OVER]


@pytest.mark.parametrize("wrap", [lambda items: items, answering])
async def test_endless_generator_is_drawn_from_lazily(wrap: Callable[[object], object]) -> None:
    """Only what is taken is drawn."""
    drawn: list[int] = []

    def endless() -> Iterator[int]:
        while True:
            drawn.append(len(drawn))
            yield drawn[-1]

    source = make_source(wrap(endless()))
    assert await told(source, 3, most=4) == [([0, 1, 2, 3], MORE), ([4, 5, 6, 7], MORE), ([8, 9, 10, 11], MORE)]
    assert drawn == list(range(12))
    source.close()


async def test_hungry_pull_takes_one_item_where_taking_may_wait() -> None:
    """From a generator just one; from a list as many as there are, because that never waits."""
    source = make_source(answering(as_generator(1, 2, 3), [4, 5, 6]))
    blocks = [await pulled(source, at_once=True) for _ in range(5)]
    assert [block.items for block in blocks] == [[1], [2], [3], [], [4, 5, 6]]


async def test_endless_async_generator_lets_the_loop_in() -> None:
    """A pull returns early rather than to hold the loop: at most what was asked for, in order."""

    async def endless() -> AsyncIterator[int]:
        number = 0
        while True:
            yield number
            number += 1

    source = make_source(endless())
    items: list[object] = []
    for _ in range(3):
        items += (await pulled(source, most=5)).items
    assert items == list(range(len(items)))
    await source.close_async()


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ("text", "str, which would be taken apart into characters: return a list with it inside."),
        (b"text", "bytes, which would be taken apart into characters: return a list with it inside."),
        (bytearray(b"a"), "bytearray, which would be taken apart into characters: return a list with it inside."),
        ({"a": 1}, "dict: return a list with it inside, or its items() or keys()."),
        (5, "int, which holds no items: return a list of items, a generator, None or DONE."),
        (True, "bool, which holds no items: return a list of items, a generator, None or DONE."),
    ],
)
@pytest.mark.parametrize("form", [answering, answering_async])
async def test_answer_that_holds_no_items_is_refused(
    form: Callable[[object], object], answer: object, fault: str
) -> None:
    """In one sentence that names the fix."""
    with pytest.raises(WriterError) as caught:
        await pulled(make_source(form(answer)))
    assert str(caught.value).removeprefix("The writer returned ").removeprefix("a ") == fault


async def test_coroutine_is_refused_and_closed() -> None:
    """A plain function that returns a coroutine did not run it; no warning about that is left."""

    async def items() -> list[int]:
        return [1]

    with pytest.raises(WriterError) as caught:
        await pulled(make_source(answering(items())))
    assert str(caught.value) == "The writer returned a coroutine, so nothing ran: declare it with `async def`."


@pytest.mark.parametrize("most", [1, 2, 3, 4, 100])
@pytest.mark.parametrize(
    "form", [lambda: answering(failing(1, 2, 3), [4]), lambda: answering_async(failing(1, 2, 3), [4])]
)
async def test_items_before_an_error_are_kept(form: Callable[[], object], most: int) -> None:
    """A generator that raises after three items has given three; then the writer is asked anew."""
    source = make_source(form())
    items: list[object] = []
    errors: list[BaseException] = []
    while 4 not in items:
        block = await pulled(source, most=most)
        items += block.items
        errors += [block.error] if block.error is not None else []
    assert (items, list(map(str, errors)), source.is_over) == ([1, 2, 3, 4], ["no more"], False)


@pytest.mark.parametrize("most", [1, 2, 3, 4, 100])
@pytest.mark.parametrize("form", [failing, failing_async])
async def test_finite_run_whose_generator_raises_is_over(form: Callable[..., object], most: int) -> None:
    """Its items are kept; there is nobody to ask again."""
    source = make_source(form(1, 2, 3))
    items: list[object] = []
    block = await pulled(source, most=most)
    while block.error is None:
        items += block.items
        block = await pulled(source, most=most)
    assert items + block.items == [1, 2, 3]
    assert (type(block.error), block.next, source.is_over) == (LookupError, OVER, True)


async def test_iterator_of_another_kind_may_go_on_after_an_error() -> None:
    """An iterable that is no generator raises for one item and gives the next."""
    source = make_source(map((10).__floordiv__, [5, 2, 0, 1]))
    first, second = await pulled(source), await pulled(source)
    assert (first.items, type(first.error), first.next) == ([2, 5], ZeroDivisionError, MORE)
    assert (second.items, second.error, second.next) == ([10], None, OVER)


async def test_writers_own_writer_error_keeps_the_items_before_it() -> None:
    """Whatever a generator raises, what it gave is not lost."""

    def writer(_desired: int) -> Iterator[int]:
        yield 1
        raise WriterError("my own")

    block = await pulled(make_source(writer))
    assert (block.items, str(block.error)) == ([1], "my own")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
async def test_errors_beside_exception_are_handed_on(error: type[BaseException]) -> None:
    """What a writer raises in its thread never ends that thread."""

    def writer(_desired: int) -> Iterator[int]:
        yield 1
        raise error

    block = await pulled(make_source(writer))
    assert (block.items, type(block.error)) == ([1], error)


async def test_writer_that_raises_at_once_has_given_nothing() -> None:
    """The error comes with an empty block, and the writer can be asked again."""
    source = make_source(lambda _desired: 1 // 0)
    block = await pulled(source)
    assert (block.items, type(block.error), source.is_over) == ([], ZeroDivisionError, False)


async def test_async_writer_is_drawn_from_on_the_loop_only_where_it_must() -> None:
    """Its coroutine and its async generator on the loop; a sync generator that it returns in the thread."""
    where: list[str] = []

    def items() -> Iterator[int]:
        where.append(threading.current_thread().name)
        yield 1

    source = make_source(answering_async(items(), DONE))
    assert source.needs_loop is True
    assert (await source.pull_async(10, most=10)).items == []
    assert source.needs_loop is False
    blocks: list[Pulled] = []
    thread = threading.Thread(target=lambda: blocks.append(source.pull(10, most=10)), name="the writer's")
    thread.start()
    thread.join()
    assert (blocks[0].items, where, source.needs_loop) == ([1], ["the writer's"], True)


async def test_cancelled_pull_loses_nothing() -> None:
    """What an async generator had given before its next item was waited for comes with the next pull."""
    ready = asyncio.Event()

    async def items() -> AsyncIterator[int]:
        yield 1
        ready.set()
        await asyncio.Event().wait()

    source = make_source(items())
    task = asyncio.ensure_future(source.pull_async(10, most=10))
    await ready.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await all_of(source) == [1]


def test_harvest_takes_what_a_blocked_generator_has_given() -> None:
    """While it waits for its third item the first two are taken by another thread; the pull brings only the rest."""
    blocked, go_on = threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        yield 1
        yield 2
        blocked.set()
        go_on.wait(60.0)
        yield 3

    source = make_source(items())
    blocks: list[Pulled] = []
    thread = threading.Thread(target=lambda: blocks.append(source.pull(10, most=10)))
    thread.start()
    assert blocked.wait(60.0)
    assert (source.harvest(), source.harvest()) == ([1, 2], [])
    go_on.set()
    thread.join(60.0)
    assert (blocks[0].items, blocks[0].next) == ([3], OVER)


def test_harvested_items_count_towards_the_most() -> None:
    """A pull that was harvested knows an end from a full block."""
    blocked, go_on = threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        yield 1
        blocked.set()
        go_on.wait(60.0)
        yield 2
        yield 3

    source = make_source(items())
    blocks: list[Pulled] = []
    thread = threading.Thread(target=lambda: blocks.append(source.pull(10, most=2)))
    thread.start()
    assert blocked.wait(60.0)
    assert source.harvest() == [1]
    go_on.set()
    thread.join(60.0)
    assert (blocks[0].items, blocks[0].next, blocks[0].ends_call) == ([2], MORE, False)
    last = source.pull(10, most=2)
    assert (last.items, last.next) == ([3], OVER)


@pytest.mark.parametrize("mark", [None, DONE])
def test_harvest_stops_at_what_is_no_item(mark: object) -> None:
    """None and DONE are left for the pull, which knows what they mean."""
    source = make_source(answering())
    source._inlet.extend([1, mark])
    assert (source.harvest(), source.harvest()) == ([1], [])
    assert source._drain() == [mark]


async def test_generator_is_not_drawn_from_beyond_a_pause() -> None:
    """What stands behind a None or DONE is not even asked for before its time."""
    reached: list[int] = []

    def writer(_desired: int) -> Iterator[object]:
        yield 1
        yield None
        reached.append(2)
        yield 2
        yield DONE
        reached.append(3)

    source = make_source(writer)
    first = await pulled(source)
    assert (first.items, first.next, reached) == ([1], NOTHING, [])
    second = await pulled(source)
    assert (second.items, second.next, reached) == ([2], OVER, [2])
    source.close()


async def test_items_of_a_slow_generator_do_not_wait_for_more(clock: Clock) -> None:
    """The clock is looked at every sixteenth item; a generator known to be slow gives its items on one by one."""

    def items() -> Iterator[int]:
        for number in range(20):
            clock.now += 0.0004
            yield number
        for number in range(20, 30):
            yield number

    source = make_source(items())
    blocks = [[*range(16)], [16], [17], [18], [19], [20], [*range(21, 30)]]
    assert await told(source, 7, most=100) == [*((block, MORE) for block in blocks[:-1]), (blocks[-1], OVER)]


async def test_items_of_a_slow_async_generator_do_not_wait_for_more(clock: Clock) -> None:
    """A block is given on after a millisecond, however few items it holds."""

    async def items() -> AsyncIterator[int]:
        for number in range(6):
            clock.now += 0.0004
            yield number

    assert await told(make_source(items()), 3) == [([0, 1, 2], MORE), ([3, 4, 5], MORE), ([], OVER)]


@pytest.mark.parametrize("form", ["sync", "async"])
async def test_close_runs_an_open_generators_finally(form: str) -> None:
    """A generator that is not exhausted is ended; closing twice, or with none open, does nothing."""
    ended: list[str] = []

    def sync_items() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            ended.append("sync")

    async def async_items() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            ended.append("async")

    source = make_source(sync_items() if form == "sync" else async_items())
    await pulled(source, most=1)
    assert ended == []
    for _ in range(2):
        source.close()
        await source.close_async()
    assert ended == [form]
    make_source(answering()).close()
