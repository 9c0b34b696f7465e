"""Looks at each of the user's callables once, and says how it wants to be called.

`QuasiQueue` hands over the reader, writer, context, collector and key as the user gave them. What goes on are small
frozen plans, one class per kind: the function and a few flags, nothing else, so that a plan can be pickled whenever the
user's function can. A callable that cannot be called as the documentation says is refused here, in one sentence that
names the fix.

Invariant: inspection happens here and only once. Whoever holds a plan never looks at a signature again, and an item
costs no more than the user's own call wherever the reader takes nothing but the item.
"""

import functools
import inspect
import reprlib
import sys
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from dataclasses import dataclass
from numbers import Number
from typing import TypeAlias, cast

from .errors import UsageError

if sys.version_info >= (3, 14):
    from annotationlib import Format

    # Annotations that only exist for type checkers (`if TYPE_CHECKING:`) must not be evaluated.
    _signature_of = functools.partial(inspect.signature, annotation_format=Format.FORWARDREF)
else:
    _signature_of = inspect.signature

_Function: TypeAlias = Callable[..., object]

_BY_KEYWORD = -1
"""In `settings_at`: settings go by keyword. Other numbers are a place among the positional arguments; None: none."""


@dataclass(frozen=True, slots=True)
class ReaderPlan:
    """How to call the reader.

    Attributes:
        function: the reader as the user gave it.
        is_async: calling it gives a coroutine.
        has_context: it takes the context as its second argument.
        settings_at: where it takes the settings.
    """

    function: _Function
    is_async: bool
    has_context: bool
    settings_at: int | None

    def bind(self, context: object, settings: object) -> Callable[[object], object]:
        """Give the callable of one argument, the item. It is the user's own function where nothing is to be added."""
        function = self.function
        if not self.has_context:
            return function if self.settings_at is None else functools.partial(function, settings=settings)
        if self.settings_at is None:
            return lambda item: function(item, context)
        if self.settings_at == _BY_KEYWORD:
            return lambda item: function(item, context, settings=settings)
        return lambda item: function(item, settings, context)


@dataclass(frozen=True, slots=True)
class WriterPlan:
    """How to ask the writer, or what to iterate over.

    Attributes:
        source: the function, or the iterable that was given instead of one.
        is_function: False for an iterable; then `ask` is not to be called.
        is_async: an async function, async generator function or async iterable.
        takes_demand: it takes `desired_items`.
        settings_at: where it takes the settings.
    """

    source: object
    is_function: bool
    is_async: bool
    takes_demand: bool = False
    settings_at: int | None = None

    def ask(self, desired_items: int, settings: object) -> object:
        """Call the function and return what it returns: a coroutine, generator, list, None, ..."""
        arguments = (desired_items,) if self.takes_demand else ()
        return _call(cast(_Function, self.source), arguments, self.settings_at, settings)


@dataclass(frozen=True, slots=True)
class ContextPlan:
    """How to call the context.

    Attributes:
        function: the context as the user gave it.
        is_async: an async function or async generator function.
        is_generator: it yields the value once; what follows the `yield` runs when the worker leaves.
        settings_at: where it takes the settings.
    """

    function: _Function
    is_async: bool
    is_generator: bool
    settings_at: int | None

    def call(self, settings: object) -> object:
        """Call it and return what it returns: the value, a coroutine, a generator or an async generator."""
        return _call(self.function, (), self.settings_at, settings)


@dataclass(frozen=True, slots=True)
class CollectorPlan:
    """How to call the collector.

    Attributes:
        function: the collector as the user gave it.
        is_async: calling it gives a coroutine.
        settings_at: where it takes the settings.
    """

    function: _Function
    is_async: bool
    settings_at: int | None

    def call(self, outcomes: list[object], settings: object) -> object:
        """Call it with a list of outcomes; the return value is a coroutine if it is async, else of no interest."""
        return _call(self.function, (outcomes,), self.settings_at, settings)


def plan_reader(reader: object, *, has_context: bool) -> ReaderPlan:
    """Look at the reader. Its first positional parameter is the item, whatever it is called.

    Raises:
        UsageError: it cannot be called as `reader(item)`, or as `reader(item, ctx)` where there is a context.
    """
    function = _function("reader", reader)
    _refuse_generator("reader", function, "return a value instead of yielding, or do the work in a plain function")
    shape = _shape_of(function, item_first=True)
    if has_context and not shape.takes(2) and shape.takes(1):
        raise UsageError(
            f"{_named('reader', function)} takes only the item although a context was given: "
            "write it as reader(item, ctx), or leave context= out"
        )
    if not has_context and shape.required == 2 and not shape.keywords:
        raise UsageError(
            f"{_named('reader', function)} needs a second parameter, {shape.positional[1]!r}, but there is no context: "
            "give context= a function that returns it, or write it as reader(item)"
        )
    given = 2 if has_context else 1
    shape.check("reader", function, given, "reader(item, ctx)" if has_context else "reader(item)")
    return ReaderPlan(function, is_coroutine(function), has_context, shape.settings_at(given))


def plan_writer(writer: object) -> WriterPlan:
    """Look at the writer: a function, or any iterable or async iterable. What can be called is called.

    Raises:
        UsageError: it is neither, or cannot be called as `writer(desired_items)` or `writer()`.
    """
    if not callable(writer):
        return _plan_items(writer)
    shape = _shape_of(writer, item_first=False)
    given = 1 if shape.takes(1) else 0
    shape.check("writer", writer, given, "writer(desired_items)")
    is_async = is_coroutine(writer) or _is_async_generator(writer)
    return WriterPlan(writer, True, is_async, takes_demand=bool(given), settings_at=shape.settings_at(given))


def plan_context(context: object) -> ContextPlan | None:
    """Look at the context; None stays None.

    Raises:
        UsageError: it cannot be called as `context()`.
    """
    if context is None:
        return None
    function = _function("context", context)
    shape = _shape_of(function, item_first=False)
    shape.check("context", function, 0, "context()")
    is_async_generator = _is_async_generator(function)
    return ContextPlan(
        function,
        is_async=is_async_generator or is_coroutine(function),
        is_generator=is_async_generator or _is_generator(function),
        settings_at=shape.settings_at(0),
    )


def plan_collector(collector: object) -> CollectorPlan | None:
    """Look at the collector; None stays None. Its first positional parameter is the list of outcomes.

    Raises:
        UsageError: it cannot be called as `collector(outcomes)`.
    """
    if collector is None:
        return None
    function = _function("collector", collector)
    _refuse_generator("collector", function, "take the yield out of it")
    shape = _shape_of(function, item_first=True)
    shape.check("collector", function, 1, "collector(outcomes)")
    return CollectorPlan(function, is_coroutine(function), shape.settings_at(1))


def plan_key(key: object) -> Callable[[object], object] | None:
    """Look at the key and return it as it is; None stays None.

    Raises:
        UsageError: it is not a plain function of one argument.
    """
    if key is None:
        return None
    function = _function("key", key)
    _refuse_generator("key", function, "return the key instead of yielding it")
    if is_coroutine(function):
        raise UsageError(f"{_named('key', function)} is async, but a key is needed at once: write it with plain def")
    _shape_of(function, item_first=True, has_settings=False).check("key", function, 1, "key(item)")
    return function


@dataclass(frozen=True, slots=True)
class _Shape:
    """A signature as far as it matters here. `settings` stands apart and is counted nowhere else."""

    positional: tuple[str, ...] = ()
    required: int = 0
    is_open: bool = True
    keywords: tuple[str, ...] = ()
    settings_index: int | None = None

    def takes(self, count: int) -> bool:
        return self.is_open or len(self.positional) >= count

    def settings_at(self, given: int) -> int | None:
        """By place only where the settings stand before an argument that is given by position; else by keyword."""
        if self.settings_index is None:
            return None
        return self.settings_index if 0 <= self.settings_index < given else _BY_KEYWORD

    def check(self, argument: str, function: _Function, given: int, wanted: str) -> None:
        if not self.takes(given):
            raise UsageError(f"{_named(argument, function)} takes no positional parameter: write it as {wanted}")
        if left := (*self.positional[given : self.required], *self.keywords):
            raise UsageError(
                f"{_named(argument, function)} needs {', '.join(map(repr, left))}, which nobody gives it: "
                f"write it as {wanted}, or give the rest defaults or functools.partial"
            )


def _shape_of(function: _Function, *, item_first: bool, has_settings: bool = True) -> _Shape:
    signature = read_signature(function)
    if signature is None:
        return _Shape()
    positional: list[str] = []
    keywords: list[str] = []
    required = 0
    is_open = False
    settings_index: int | None = None
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    for index, (name, parameter) in enumerate(signature.parameters.items()):
        needed = parameter.default is inspect.Parameter.empty
        is_settings = (
            name == "settings"
            and has_settings
            and parameter.kind is not inspect.Parameter.POSITIONAL_ONLY
            and not (item_first and index == 0 and parameter.kind in by_place)
        )
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            is_open = True
        elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
            continue
        elif is_settings:
            # Settings that the user has bound by functools.partial stay the user's.
            if name not in _bound_keywords(function):
                settings_index = index if parameter.kind in by_place else _BY_KEYWORD
        elif parameter.kind in by_place:
            positional.append(name)
            required += needed
        elif needed:
            keywords.append(name)
    return _Shape(tuple(positional), required, is_open, tuple(keywords), settings_index)


def read_signature(function: _Function) -> inspect.Signature | None:
    """Returns the signature that a call meets; None where there is none to see, as with many builtins.

    A wrapper made with `functools.wraps` shows the wrapped function's signature, which is only true of wrappers that
    pass everything on.
    """
    for follow_wrapped in (False, True):
        try:
            signature = _signature_of(function, follow_wrapped=follow_wrapped)
        except (TypeError, ValueError):
            continue
        kinds = {parameter.kind for parameter in signature.parameters.values()}
        if follow_wrapped or not {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD} <= kinds:
            return signature
    return None


def _plan_items(writer: object) -> WriterPlan:
    if writer is None:
        raise UsageError("The writer cannot be None: give a function writer(desired_items), or an iterable of items")
    if isinstance(writer, AsyncIterable):
        return WriterPlan(writer, False, True)
    if inspect.isawaitable(writer):
        raise UsageError(f"{_what(writer)}: pass the function, not its call")
    if isinstance(writer, str | bytes | bytearray | memoryview):
        raise UsageError(f"{_what(writer)}, whose parts would become the items: for one item, write [{_short(writer)}]")
    if isinstance(writer, Mapping):
        raise UsageError(
            f"{_what(writer)}: for one item put it into a list; for its pairs, write list(mapping.items())"
        )
    if isinstance(writer, Number):
        raise UsageError(f"{_what(writer)}: for one item put it into a list; for a count of items, write range(count)")
    # Looked at, not tried: `iter()` may already start work, and sequences need no more than `__getitem__`.
    if isinstance(writer, Iterable) or hasattr(type(writer), "__getitem__"):
        return WriterPlan(writer, False, False)
    raise UsageError(f"{_what(writer)}: give a function writer(desired_items), or an iterable of items")


def _what(writer: object) -> str:
    return f"The writer cannot be {type(writer).__name__} {_short(writer)}"


def _function(argument: str, given: object) -> _Function:
    if callable(given):
        return given
    fix = f"give a function, {argument}=my_{argument}"
    if inspect.isawaitable(given) or inspect.isgenerator(given) or inspect.isasyncgen(given):
        fix = "pass the function, not its call"
    raise UsageError(f"The {argument} cannot be {type(given).__name__} {_short(given)}, which is not callable: {fix}")


def _refuse_generator(argument: str, function: _Function, fix: str) -> None:
    if _is_generator(function) or _is_async_generator(function):
        raise UsageError(f"{_named(argument, function)} is a generator function, whose body would never run: {fix}")


def _call(function: _Function, arguments: tuple[object, ...], settings_at: int | None, settings: object) -> object:
    if settings_at is None:
        return function(*arguments)
    if settings_at == _BY_KEYWORD:
        return function(*arguments, settings=settings)
    return function(*arguments[:settings_at], settings, *arguments[settings_at:])


def is_coroutine(function: _Function) -> bool:
    """Tells whether a call gives a coroutine."""
    # The function itself too: `inspect.markcoroutinefunction` marks what is called, not what is inside.
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(_code_of(function))


def _is_generator(function: _Function) -> bool:
    return inspect.isgeneratorfunction(_code_of(function))


def _is_async_generator(function: _Function) -> bool:
    return inspect.isasyncgenfunction(_code_of(function))


def _code_of(function: _Function) -> _Function:
    """What holds the code that a call runs first: under any partials, and the `__call__` of an object."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isroutine(function) or inspect.isclass(function):
        return function
    return cast(_Function, type(function).__call__)


def _bound_keywords(function: _Function) -> set[str]:
    bound: set[str] = set()
    while isinstance(function, functools.partial):
        bound.update(function.keywords)
        function = function.func
    return bound


def _named(argument: str, function: _Function) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    return f"The {argument} {getattr(function, '__name__', type(function).__name__)!r}"


def _short(value: object) -> str:
    try:
        shortener = reprlib.Repr()
        shortener.maxstring = shortener.maxother = 200
        text = shortener.repr(value)
    except Exception:  # the value's own method
        text = "whose repr fails"
    return text if len(text) <= 60 else f"{text[:57]}..."
