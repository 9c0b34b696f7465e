"""What each of the user's callables may look like, how it is called, and how the others are refused."""

import asyncio
import contextlib
import functools
import inspect
import pickle
import re
from collections import UserDict
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from quasiqueue._callables import plan_collector, plan_context, plan_key, plan_reader, plan_writer
from quasiqueue.errors import UsageError

SETTINGS = {"the": "settings"}


def echo(*args: object, **kwargs: object) -> tuple[tuple[object, ...], dict[str, object]]:
    return args, kwargs


def read(item: object) -> object:
    return ("read", item)


async def read_async(item: object) -> object:
    return ("read", item)


def read_with_context(item: object, ctx: object) -> object:
    return (item, ctx)


def yields(item: object) -> Iterator[object]:
    yield item


async def yields_async(item: object) -> AsyncIterator[object]:
    yield item


def passes_everything_on(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: object, **kwargs: object) -> object:
        return function(*args, **kwargs)

    return wrapper


class Methods:
    def read(self, item: object) -> object:
        return ("method", item)

    async def read_async(self, item: object) -> object:
        return ("method", item)

    @staticmethod
    def read_static(item: object) -> object:
        return ("static", item)

    @classmethod
    def read_class(cls, item: object) -> object:
        return ("class", item)


class Calls:
    def __call__(self, item: object) -> object:
        return ("call", item)

    def __iter__(self) -> Iterator[object]:
        return iter(())


class CallsAsync:
    async def __call__(self, item: object) -> object:
        return ("call", item)


class CallsYielding:
    def __call__(self, item: object) -> Iterator[object]:
        yield item


class Feed:
    def __aiter__(self) -> AsyncIterator[int]:
        raise AssertionError("only looked at")


class Old:
    def __getitem__(self, index: int) -> int:
        raise IndexError


def refusal(plan: Callable[..., object], given: object, **options: object) -> str:
    with pytest.raises(UsageError) as caught:
        plan(given, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


# Reader


@pytest.mark.parametrize(
    ("reader", "answer"),
    [
        (read, ("read", 1)),
        (lambda anything: ("lambda", anything), ("lambda", 1)),
        (lambda item, extra=2: (item, extra), (1, 2)),
        (lambda settings: ("item", settings), ("item", 1)),
        (lambda *items: items, (1,)),
        (lambda item, /: (item,), (1,)),
        (lambda item, *, flag=True: (item, flag), (1, True)),
        (lambda item, **rest: (item, rest), (1, {})),
        (functools.partial(read_with_context, ctx=5), (1, 5)),
        (functools.partial(read_with_context, 5), (5, 1)),
        (Methods().read, ("method", 1)),
        (Methods.read_static, ("static", 1)),
        (Methods.read_class, ("class", 1)),
        (Calls(), ("call", 1)),
        (functools.lru_cache(read), ("read", 1)),
        (passes_everything_on(read), ("read", 1)),
        (str, "1"),
        (int, 1),
        ({1: "found"}.get, "found"),
    ],
)
def test_reader_of_the_item_alone_is_bound_to_itself(reader: Callable[..., object], answer: object) -> None:
    """A reader that takes nothing but the item is called directly: what bind gives is the user's own function."""
    plan = plan_reader(reader, has_context=False)
    assert plan.function is reader
    assert plan.is_async is False
    assert plan.bind(None, SETTINGS) is reader
    assert reader(1) == answer


@pytest.mark.parametrize(
    ("reader", "answer"),
    [
        (read_with_context, (1, "ctx")),
        (lambda a, b: (a, b), (1, "ctx")),
        (lambda settings, ctx: (settings, ctx), (1, "ctx")),
        (lambda a, b=3, c=4: (a, b, c), (1, "ctx", 4)),
        (lambda *both: both, (1, "ctx")),
        (lambda item, *rest: (item, rest), (1, ("ctx",))),
        (lambda item, ctx, settings: (item, ctx, settings), (1, "ctx", SETTINGS)),
        (lambda item, ctx, settings=None: (item, ctx, settings), (1, "ctx", SETTINGS)),
        (lambda item, ctx, *, settings: (item, ctx, settings), (1, "ctx", SETTINGS)),
        (lambda item, settings, ctx: (item, ctx, settings), (1, "ctx", SETTINGS)),
        (lambda item, settings, *rest: (item, rest, settings), (1, ("ctx",), SETTINGS)),
    ],
)
def test_reader_with_a_context_gets_both_by_position(reader: Callable[..., object], answer: object) -> None:
    """Item and context go by position whatever the parameters are called; settings are not counted among them."""
    assert plan_reader(reader, has_context=True).bind("ctx", SETTINGS)(1) == answer


def test_builtin_without_a_signature_is_called_by_position() -> None:
    """Where there is nothing to inspect, the user is believed."""
    with pytest.raises(ValueError, match="no signature found"):
        inspect.signature(max)
    assert plan_reader(max, has_context=True).bind(3, SETTINGS)(7) == 7


@pytest.mark.parametrize(
    ("reader", "answer"),
    [
        (lambda item, settings: (item, settings), (1, SETTINGS)),
        (lambda item, settings=None: (item, settings), (1, SETTINGS)),
        (lambda item, *, settings: (item, settings), (1, SETTINGS)),
        (lambda *items, settings: (*items, settings), (1, SETTINGS)),
        (lambda item, extra=0, settings=None: (item, extra, settings), (1, 0, SETTINGS)),
        (passes_everything_on(lambda item, settings: (item, settings)), (1, SETTINGS)),
        (functools.partial(lambda item, extra, settings: (item, extra, settings), extra=2), (1, 2, SETTINGS)),
        (functools.partial(lambda item, settings: (item, settings), settings="own"), (1, "own")),
        (lambda item, *settings: (item, settings), (1, ())),
        (lambda item, **settings: (item, settings), (1, {})),
    ],
)
def test_reader_with_settings_gets_them_by_keyword(reader: Callable[..., object], answer: object) -> None:
    """A parameter named `settings` gets the settings, unless the user has already bound it."""
    assert plan_reader(reader, has_context=False).bind(None, SETTINGS)(1) == answer


@pytest.mark.parametrize(
    "reader",
    [
        read_async,
        functools.partial(read_async),
        functools.partial(functools.partial(read_async)),
        Methods().read_async,
        CallsAsync(),
        functools.partial(CallsAsync()),
    ],
)
def test_async_reader_is_recognised(reader: Callable[..., object]) -> None:
    """Async functions are seen through partials, bound methods and objects with an async `__call__`."""
    plan = plan_reader(reader, has_context=False)
    assert plan.is_async is True
    assert plan.bind(None, SETTINGS) is reader
    assert asyncio.run(plan.bind(None, SETTINGS)(1))[1] == 1


def test_async_reader_with_context_still_gives_a_coroutine() -> None:
    """What bind gives for an async reader is called the same way and gives the coroutine."""

    async def reader(item: object, ctx: object, *, settings: object) -> object:
        return (item, ctx, settings)

    plan = plan_reader(reader, has_context=True)
    assert plan.is_async is True
    assert asyncio.run(plan.bind("ctx", SETTINGS)(1)) == (1, "ctx", SETTINGS)


def test_wrapper_with_its_own_signature_is_taken_at_its_word() -> None:
    """A decorator that fills parameters in shows fewer than the function it wraps, and it is the one that is called."""

    @functools.wraps(read_with_context)
    def reader(item: object) -> object:
        return read_with_context(item, "filled in")

    assert plan_reader(reader, has_context=False).bind(None, SETTINGS)(1) == (1, "filled in")


@pytest.mark.parametrize(
    ("reader", "has_context", "message"),
    [
        (None, False, "The reader cannot be NoneType None, which is not callable: give a function, reader=my_reader"),
        (7, False, "The reader cannot be int 7, which is not callable: give a function, reader=my_reader"),
        (lambda: 0, False, "The reader '<lambda>' takes no positional parameter: write it as reader(item)"),
        (lambda: 0, True, "The reader '<lambda>' takes no positional parameter: write it as reader(item, ctx)"),
        (lambda *, item: 0, False, "The reader '<lambda>' takes no positional parameter: write it as reader(item)"),
        (
            read_with_context,
            False,
            "The reader 'read_with_context' needs a second parameter, 'ctx', but there is no context: "
            "give context= a function that returns it, or write it as reader(item)",
        ),
        (
            read,
            True,
            "The reader 'read' takes only the item although a context was given: "
            "write it as reader(item, ctx), or leave context= out",
        ),
        (
            lambda item, settings: 0,
            True,
            "The reader '<lambda>' takes only the item although a context was given: "
            "write it as reader(item, ctx), or leave context= out",
        ),
        (
            lambda settings, item: 0,
            False,
            "The reader '<lambda>' needs a second parameter, 'item', but there is no context: "
            "give context= a function that returns it, or write it as reader(item)",
        ),
        (
            lambda a, b, c: 0,
            True,
            "The reader '<lambda>' needs 'c', which nobody gives it: "
            "write it as reader(item, ctx), or give the rest defaults or functools.partial",
        ),
        (
            lambda a, b, c: 0,
            False,
            "The reader '<lambda>' needs 'b', 'c', which nobody gives it: "
            "write it as reader(item), or give the rest defaults or functools.partial",
        ),
        (
            lambda item, ctx, settings, /: 0,
            True,
            "The reader '<lambda>' needs 'settings', which nobody gives it: "
            "write it as reader(item, ctx), or give the rest defaults or functools.partial",
        ),
        (
            lambda item, *, db: 0,
            False,
            "The reader '<lambda>' needs 'db', which nobody gives it: "
            "write it as reader(item), or give the rest defaults or functools.partial",
        ),
    ],
)
def test_reader_that_cannot_be_called_is_refused(reader: object, has_context: bool, message: str) -> None:
    """The sentence says what is wrong with the reader and what to write instead."""
    assert refusal(plan_reader, reader, has_context=has_context) == message


@pytest.mark.parametrize(
    ("reader", "name"),
    [
        (yields, "yields"),
        (yields_async, "yields_async"),
        (functools.partial(yields), "yields"),
        (CallsYielding(), "CallsYielding"),
    ],
)
def test_generator_function_as_reader_is_refused(reader: object, name: str) -> None:
    """Calling a generator function runs nothing of its body, so it cannot be a reader."""
    assert refusal(plan_reader, reader, has_context=False) == (
        f"The reader {name!r} is a generator function, whose body would never run: "
        "return a value instead of yielding, or do the work in a plain function"
    )


def test_coroutine_object_is_refused_as_reader_and_writer() -> None:
    """Someone who calls the async function is told to pass it."""
    with contextlib.closing(read_async(1)) as coroutine:
        assert refusal(plan_reader, coroutine, has_context=False).endswith("pass the function, not its call")
        assert refusal(plan_writer, coroutine).endswith("pass the function, not its call")
        assert refusal(plan_context, coroutine).endswith("pass the function, not its call")


# Writer


@pytest.mark.parametrize(
    ("writer", "answer"),
    [
        (lambda desired_items: desired_items, 9),
        (lambda whatever: whatever, 9),
        (lambda: "no parameters", "no parameters"),
        (lambda n=3: n, 9),
        (lambda *args: args, (9,)),
        (lambda **kwargs: kwargs, {}),
        (lambda settings: settings, SETTINGS),
        (lambda *, settings: settings, SETTINGS),
        (lambda n, settings: (n, settings), (9, SETTINGS)),
        (lambda settings, n: (n, settings), (9, SETTINGS)),
        (lambda settings, *args: (args, settings), ((9,), SETTINGS)),
        (lambda n, /, *, settings=None: (n, settings), (9, SETTINGS)),
        (functools.partial(lambda db, n: (db, n), "db"), ("db", 9)),
        (Calls(), ("call", 9)),
        (echo, ((9,), {})),
        (range, range(9)),
    ],
)
def test_writer_function_is_asked_by_position(writer: Callable[..., object], answer: object) -> None:
    """`desired_items` goes by position if there is a place for it, `settings` to the parameter of that name."""
    plan = plan_writer(writer)
    assert plan.is_function is True
    assert plan.is_async is False
    assert plan.source is writer
    assert plan.ask(9, SETTINGS) == answer


@pytest.mark.parametrize(
    ("writer", "is_async"),
    [
        (read, False),
        (yields, False),
        (read_async, True),
        (yields_async, True),
        (functools.partial(yields_async), True),
        (CallsAsync(), True),
        (CallsYielding(), False),
    ],
)
def test_writer_function_of_each_kind_is_recognised(writer: Callable[..., object], is_async: bool) -> None:
    """Async functions and async generator functions are async; generator functions are not."""
    plan = plan_writer(writer)
    assert (plan.is_function, plan.is_async) == (True, is_async)


def test_writer_gives_back_what_its_function_returns() -> None:
    """`ask` adds nothing: a generator function gives its generator, an async one its coroutine or async generator."""
    assert inspect.isgenerator(plan_writer(yields).ask(1, None))
    assert inspect.isasyncgen(plan_writer(yields_async).ask(1, None))
    coroutine = plan_writer(read_async).ask(1, None)
    assert inspect.iscoroutine(coroutine)
    coroutine.close()


@pytest.mark.parametrize(
    ("writer", "is_async"),
    [
        ([1, 2], False),
        ((), False),
        ({1, 2}, False),
        (range(3), False),
        (iter([1]), False),
        (yields(1), False),
        (Old(), False),
        (Feed(), True),
        (yields_async(1), True),
    ],
)
def test_iterable_as_writer_is_taken_as_it_is(writer: object, is_async: bool) -> None:
    """An iterable or async iterable stands for a finite run; it is not iterated to find out."""
    plan = plan_writer(writer)
    assert plan.source is writer
    assert (plan.is_function, plan.is_async) == (False, is_async)


@pytest.mark.parametrize(
    ("writer", "fix"),
    [
        ("url", "str 'url', whose parts would become the items: for one item, write ['url']"),
        (b"url", "bytes b'url', whose parts would become the items: for one item, write [b'url']"),
        (bytearray(b"u"), "bytearray bytearray(b'u'), whose parts would become the items: "
                          "for one item, write [bytearray(b'u')]"),
        ({"a": 1}, "dict {'a': 1}: for one item put it into a list; for its pairs, write list(mapping.items())"),
        (UserDict(a=1), "UserDict {'a': 1}: for one item put it into a list; "
                        "for its pairs, write list(mapping.items())"),
        (5, "int 5: for one item put it into a list; for a count of items, write range(count)"),
        (True, "bool True: for one item put it into a list; for a count of items, write range(count)"),
        (2.5, "float 2.5: for one item put it into a list; for a count of items, write range(count)"),
        (Decimal(1), "Decimal Decimal('1'): for one item put it into a list; for a count of items, write range(count)"),
        (None, "None: give a function writer(desired_items), or an iterable of items"),
    ],
)  # fmt: skip
def test_writer_that_holds_no_items_is_refused(writer: object, fix: str) -> None:
    """Text, bytes, mappings, numbers and None are no writers; the sentence names the fix."""
    assert refusal(plan_writer, writer) == f"The writer cannot be {fix}"


def test_writer_of_an_unknown_kind_is_refused() -> None:
    """An object that can neither be called nor iterated is refused."""
    message = refusal(plan_writer, object())
    assert re.fullmatch(
        r"The writer cannot be object <object object at 0x\w+>: "
        r"give a function writer\(desired_items\), or an iterable of items",
        message,
    )


def test_future_as_writer_is_refused() -> None:
    """A future is iterable for `await`'s sake only; its items are not what the user means."""

    async def check() -> None:
        assert refusal(plan_writer, asyncio.get_running_loop().create_future()).endswith(
            "pass the function, not its call"
        )

    asyncio.run(check())


def test_long_value_is_cut_in_a_refusal() -> None:
    """A refusal shows no more than 60 characters of the value."""
    assert refusal(plan_writer, "x" * 100).count("x") == 2 * 56


@pytest.mark.parametrize(
    ("writer", "left"), [(lambda a, b: 0, "'b'"), (lambda a, b, c: 0, "'b', 'c'"), (lambda *, db: 0, "'db'")]
)
def test_writer_with_more_parameters_is_refused(writer: object, left: str) -> None:
    """Nobody could fill a writer's second required parameter."""
    assert refusal(plan_writer, writer) == (
        f"The writer '<lambda>' needs {left}, which nobody gives it: "
        "write it as writer(desired_items), or give the rest defaults or functools.partial"
    )


# Context, collector, key


@pytest.mark.parametrize("plan", [plan_context, plan_collector, plan_key])
def test_none_stays_none(plan: Callable[[object], object]) -> None:
    """What was not given has no plan."""
    assert plan(None) is None


@pytest.mark.parametrize(
    ("context", "answer"),
    [
        (lambda: {"a": 1}, {"a": 1}),
        (dict, {}),
        (lambda settings: settings, SETTINGS),
        (lambda *, settings: settings, SETTINGS),
        (lambda size=3, settings=None: (size, settings), (3, SETTINGS)),
        (echo, ((), {})),
        (functools.partial(lambda url: url, "url"), "url"),
    ],
)
def test_context_is_called_without_positional_arguments(context: Callable[..., object], answer: object) -> None:
    """A context gets nothing but, if it has the parameter, the settings."""
    plan = plan_context(context)
    assert plan is not None
    assert (plan.is_async, plan.is_generator) == (False, False)
    assert plan.call(SETTINGS) == answer


def test_context_of_each_kind_is_recognised() -> None:
    """Plain, async, generator and async generator contexts are told apart."""

    async def coroutine() -> None: ...

    def generator() -> Iterator[None]:
        yield

    async def async_generator() -> AsyncIterator[None]:
        yield

    plans = [plan_context(function) for function in (dict, coroutine, generator, async_generator)]
    assert [(plan.is_async, plan.is_generator) for plan in plans if plan] == [
        (False, False),
        (True, False),
        (False, True),
        (True, True),
    ]


def test_context_that_cannot_be_called_is_refused() -> None:
    """A context with a required parameter, or a value instead of a function, is refused."""
    assert refusal(plan_context, lambda url: 0) == (
        "The context '<lambda>' needs 'url', which nobody gives it: "
        "write it as context(), or give the rest defaults or functools.partial"
    )
    assert refusal(plan_context, {"a": 1}) == (
        "The context cannot be dict {'a': 1}, which is not callable: give a function, context=my_context"
    )


@pytest.mark.parametrize(
    ("collector", "answer"),
    [
        (lambda outcomes: outcomes, [1]),
        (lambda settings: settings, [1]),
        (lambda outcomes, settings: (outcomes, settings), ([1], SETTINGS)),
        (lambda outcomes, *, settings: (outcomes, settings), ([1], SETTINGS)),
        (len, 1),
    ],
)
def test_collector_gets_the_outcomes_by_position(collector: Callable[..., object], answer: object) -> None:
    """A collector gets one list, and the settings where it asks for them."""
    plan = plan_collector(collector)
    assert plan is not None
    assert plan.is_async is False
    assert plan.call([1], SETTINGS) == answer


def test_async_collector_is_recognised() -> None:
    """An async collector's call gives its coroutine."""
    plan = plan_collector(read_async)
    assert plan is not None
    assert plan.is_async is True
    assert asyncio.run(plan.call([1], SETTINGS)) == ("read", [1])


def test_collector_that_cannot_be_called_is_refused() -> None:
    """Generators, missing and surplus parameters are refused."""
    assert refusal(plan_collector, yields) == (
        "The collector 'yields' is a generator function, whose body would never run: take the yield out of it"
    )
    assert refusal(plan_collector, lambda: 0) == (
        "The collector '<lambda>' takes no positional parameter: write it as collector(outcomes)"
    )
    assert refusal(plan_collector, read_with_context) == (
        "The collector 'read_with_context' needs 'ctx', which nobody gives it: "
        "write it as collector(outcomes), or give the rest defaults or functools.partial"
    )


@pytest.mark.parametrize(
    "key", [read, str, len, lambda settings: settings, functools.partial(read_with_context, ctx=1)]
)
def test_key_of_one_argument_is_returned_itself(key: Callable[..., object]) -> None:
    """A key is called once per item, so it stays the user's own function."""
    assert plan_key(key) is key


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (read_async, "The key 'read_async' is async, but a key is needed at once: write it with plain def"),
        (yields, "The key 'yields' is a generator function, whose body would never run: "
                 "return the key instead of yielding it"),
        (lambda: 0, "The key '<lambda>' takes no positional parameter: write it as key(item)"),
        (lambda item, settings: 0, "The key '<lambda>' needs 'settings', which nobody gives it: "
                                   "write it as key(item), or give the rest defaults or functools.partial"),
        ("id", "The key cannot be str 'id', which is not callable: give a function, key=my_key"),
    ],
)  # fmt: skip
def test_key_that_cannot_be_called_is_refused(key: object, message: str) -> None:
    """A key is a plain function of the item alone; it gets no settings."""
    assert refusal(plan_key, key) == message


@pytest.mark.parametrize(
    "plan",
    [
        plan_reader(read, has_context=False),
        plan_reader(read_with_context, has_context=True),
        plan_writer(read),
        plan_context(echo),
        plan_collector(read),
    ],
)
def test_plan_of_a_picklable_function_is_picklable(plan: object) -> None:
    """Plans travel to spawned workers: they hold the function and flags, and come back equal."""
    assert pickle.loads(pickle.dumps(plan)) == plan
