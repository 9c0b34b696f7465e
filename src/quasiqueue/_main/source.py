"""Where items come from: the writer, asked for some, or an iterable, drawn from.

The feeder pulls; what comes out are blocks of items and a word on what comes next. Whatever a writer gave is drawn from
lazily. Invariant: nothing that a writer gave is dropped: what is not taken now, and what came before an exception,
comes out at a later pull.
"""

import inspect
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Generator, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from types import NoneType
from typing import Any, cast

from .._callables import WriterPlan
from .._types import DONE, Done
from ..errors import WriterError
from .threads import is_being_cancelled

_DRAW_SECONDS = 0.001
"""Longest time that items which were drawn wait for more to be drawn with them."""

_LOOK_EVERY = 16
_SLOW_ITEM = 0.0002
"""Seconds per item from which on an iterator counts as slow."""

_CONTAINERS = frozenset({list, tuple, range, set, frozenset, deque})
"""Iterating over exactly these, not over what derives from them, runs nobody's code: a block of them never waits."""


class Next(Enum):
    """What a source will have after a pull."""

    MORE = "more"
    NOTHING_NOW = "nothing now"
    DONE = "done"


@dataclass(slots=True)
class Pulled:
    """What one pull brought.

    Attributes:
        items: the items.
        types: the types that occur among them.
        next: what comes after them.
        error: what the user's code raised after giving them.
        ends_call: True if all that one call of the writer gave has now been taken.
    """

    items: list[object]
    types: set[type]
    next: Next
    error: BaseException | None = None
    ends_call: bool = False


class Source:
    """Draws from a writer.

    Args:
        plan: how to ask it.
        settings: what its parameter named `settings` gets.
    """

    def __init__(self, plan: WriterPlan, settings: object) -> None:
        self._plan = plan
        self._settings = settings
        self._items: Iterator[object] | AsyncIterator[object] | None = None
        self._kind: type = NoneType
        self._is_slow = False
        self._leftover: deque[object] = deque()
        self._inlet: deque[object] = deque()
        self._inlet_lock = threading.Lock()
        self._is_over = False

    @property
    def needs_loop(self) -> bool:
        """True if the next pull must be `pull_async`, on the loop; False if it must be `pull`, in a thread."""
        return isinstance(self._items, AsyncIterator) or (self._items is None and self._plan.is_async)

    @property
    def gives_at_once(self) -> bool:
        """True if the next pull only takes items out of a container: nobody's code runs, so any thread may do it."""
        return self._items is not None and self._kind in _CONTAINERS

    def _open(self, given: object) -> None:
        self._kind = type(given)
        if isinstance(given, AsyncIterable):
            self._items = aiter(given)
        else:
            self._items = iter(cast(Iterable[object], given))

    def pull(self, desired: int, *, most: int, at_once: bool = False) -> Pulled:
        """Takes up to `most` items; asks the writer for `desired` if nothing is at hand. May block in the user's code.

        Args:
            desired: what the writer is asked for.
            most: the most to take.
            at_once: somebody waits for an item: take one, rather than wait for more, where taking may block.

        Raises:
            WriterError: the writer gave something that holds no items.
        """
        if self._leftover or self._is_over:
            return self._from_leftover(most)
        try:
            if self._items is None and not self._plan.is_function:
                self._open(self._plan.source)
            elif self._items is None:
                answer = self._plan.ask(desired, self._settings)
                if (pulled := self._interpret(answer)) is not None:
                    return pulled
                if self.needs_loop:
                    return Pulled([], set(), Next.MORE)
            items = cast(Iterator[object], self._items)
            if self.gives_at_once:
                return self._take(items, most)
            exhausted = self._draw(items, 1 if at_once or self._is_slow else most)
        except BaseException as error:  # the user's code: the feeder decides what becomes of the run
            if isinstance(error, WriterError) and self._items is None:  # it gave nothing to draw from
                raise
            return self._broken(error)
        return self._judge(self._drain(), exhausted=exhausted)

    async def pull_async(self, desired: int, *, most: int) -> Pulled:
        """The same for async writers, on the loop; returns early rather than hold items back for long."""
        if self._leftover or self._is_over:
            return self._from_leftover(most)
        try:
            if self._items is None and not self._plan.is_function:
                self._open(self._plan.source)
            elif self._items is None:
                answer: Any = self._plan.ask(desired, self._settings)
                answer = await answer if inspect.isawaitable(answer) else answer
                if (pulled := self._interpret(answer)) is not None:
                    return pulled
            if not isinstance(self._items, AsyncIterator):
                if not self.gives_at_once:  # it may block, and raise: that is for `pull`
                    return Pulled([], set(), Next.MORE)
                return self._take(cast(Iterator[object], self._items), most)
            exhausted = await self._draw_async(self._items, most)
        except BaseException as error:  # the user's code: the feeder decides what becomes of the run
            if is_being_cancelled():
                raise
            if isinstance(error, WriterError) and self._items is None:  # it gave nothing to draw from
                raise
            return self._broken(error)
        return self._judge(self._drain(), exhausted=exhausted)

    def _take(self, items: Iterator[object], most: int) -> Pulled:
        """Takes a block out of a container."""
        block = list(islice(items, most))
        types: set[type] | None = {int} if block and self._kind is range else None
        return self._judge(block, exhausted=len(block) < most, types=types)

    def _draw(self, items: Iterator[object], most: int) -> bool:
        """Draws into the inlet: not beyond "nothing now", and no longer than the user's code is quick to give.

        Returns:
            True if the iterator has come to its end.
        """
        began = time.monotonic()
        count, ended = 0, True
        for count, item in enumerate(islice(items, most), 1):
            self._inlet.append(item)
            if item is None or item is DONE or (not count % _LOOK_EVERY and time.monotonic() - began > _DRAW_SECONDS):
                ended = False
                break
        # Items that come slowly are passed on one by one: while the next is waited for, this one would lie here.
        self._is_slow = time.monotonic() - began > _SLOW_ITEM * count
        return ended and count < most

    async def _draw_async(self, items: AsyncIterator[object], most: int) -> bool:
        """The same for an async iterator."""
        until = time.monotonic() + _DRAW_SECONDS
        for _ in range(most):
            try:
                item = await anext(items)
            except StopAsyncIteration:
                return True
            self._inlet.append(item)
            if item is None or item is DONE or time.monotonic() >= until:
                break
        return False

    def _interpret(self, answer: object) -> Pulled | None:
        """Judges what a writer returned; None if there is an iterator to draw from now."""
        if answer is None:
            return Pulled([], set(), Next.NOTHING_NOW, ends_call=True)
        if answer is DONE:
            self._is_over = True
            return Pulled([], set(), Next.DONE, ends_call=True)
        if isinstance(answer, (str, bytes, bytearray, dict)) or not isinstance(answer, (Iterable, AsyncIterable)):
            if inspect.iscoroutine(answer):
                answer.close()
            raise WriterError(_refusal(answer))
        self._open(answer)
        return None

    def _judge(self, block: list[object], *, exhausted: bool, types: set[type] | None = None) -> Pulled:
        if exhausted:
            self._items = None
            self._is_over = self._is_over or not self._plan.is_function
        types = set(map(type, block)) if types is None else types
        if Done in types:
            # Nothing behind DONE is taken, whether it was drawn already or not.
            self._is_over = True
            block = block[: next(index for index, item in enumerate(block) if item is DONE)]
            self._leftover.clear()
            types = set(map(type, block))
        if NoneType in types:
            cut = next(index for index, item in enumerate(block) if item is None)
            self._leftover.extendleft(reversed(block[cut + 1 :]))
            return self._pulled(block[:cut], Next.NOTHING_NOW)
        return self._pulled(block, Next.MORE, types=types)

    def _pulled(self, block: list[object], then: Next, *, types: set[type] | None = None) -> Pulled:
        if self.is_over:
            then = Next.DONE
        ends_call = self._items is None and not self._leftover
        return Pulled(block, set(map(type, block)) if types is None else types, then, ends_call=ends_call)

    def _from_leftover(self, most: int) -> Pulled:
        block = [self._leftover.popleft() for _ in range(min(most, len(self._leftover)))]
        return self._judge(block, exhausted=False)

    def _broken(self, error: BaseException) -> Pulled:
        items = self._drain()
        # A generator that raised is finished; any other iterator may go on.
        if self._plan.is_function or isinstance(self._items, (Generator, AsyncGenerator)):
            self._items = None
            self._is_over = not self._plan.is_function
        pulled = self._judge(items, exhausted=False)
        pulled.error = error
        return pulled

    def harvest(self) -> list[object]:
        """Takes the items that a pull which blocks right now has drawn so far. Called on another thread."""
        items = []
        with self._inlet_lock:
            while self._inlet and type(self._inlet[0]) not in (NoneType, Done):
                items.append(self._inlet.popleft())
        return items

    def _drain(self) -> list[object]:
        with self._inlet_lock:
            items = list(self._inlet)
            self._inlet.clear()
        return items

    @property
    def is_over(self) -> bool:
        """True if nothing will ever come any more."""
        return self._is_over and not self._leftover

    def close(self) -> None:
        """Ends an open sync generator, so that its `finally` blocks run. Called in the pull's thread."""
        if isinstance(self._items, Generator):
            self._items.close()

    async def close_async(self) -> None:
        """The same for an async generator, on the loop."""
        if isinstance(self._items, AsyncGenerator):
            await self._items.aclose()


def _refusal(answer: object) -> str:
    kind = type(answer).__name__
    if inspect.iscoroutine(answer):
        return "The writer returned a coroutine, so nothing ran: declare it with `async def`."
    if isinstance(answer, (str, bytes, bytearray)):
        return (
            f"The writer returned a {kind}, which would be taken apart into characters: return a list with it inside."
        )
    if isinstance(answer, dict):
        return "The writer returned a dict: return a list with it inside, or its items() or keys()."
    return f"The writer returned {kind}, which holds no items: return a list of items, a generator, None or DONE."
