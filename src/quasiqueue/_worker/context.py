"""The life of a worker's context: made before the first item, ended when the worker leaves.

A context is a sync or async function, or a generator or async generator that yields once; what comes after its
`yield` runs when the worker leaves. Invariant: its end runs exactly once if its beginning returned.
"""

import inspect
from collections.abc import AsyncGenerator, Generator
from typing import Any, cast

from .._callables import ContextPlan
from ..errors import UsageError


class ContextLife:
    """One worker's context.

    Args:
        plan: how to call the user's function; None where there is no context.
        settings: what its parameter named `settings` gets.
    """

    def __init__(self, plan: ContextPlan | None, settings: object) -> None:
        self._plan = plan
        self._settings = settings
        self._generator: object = None
        self.value: object = None

    @property
    def is_async(self) -> bool:
        """True if `begin_async` and `end_async` must be used."""
        return self._plan is not None and self._plan.is_async

    def begin(self) -> None:
        """Makes the context of a sync function or generator. Raises what it raises; UsageError if it gave None."""
        if self._plan is None:
            return
        made = self._plan.call(self._settings)
        if self._plan.is_generator:
            self._generator = made
            self._keep(next(cast(Generator[object, None, None], made), None))
        else:
            self._keep(made)

    async def begin_async(self) -> None:
        """Makes the context of any kind, inside a running loop. Raises as `begin` does."""
        if self._plan is None or not self._plan.is_async:
            self.begin()
            return
        made: Any = self._plan.call(self._settings)
        if self._plan.is_generator:
            value = await anext(made, None)
            self._generator = made
            self._keep(value)
        else:
            self._keep(await made)

    def _keep(self, value: object) -> None:
        if value is None:
            raise UsageError(
                "The context returned None: return the value that every reader call shall get, a dictionary, say."
            )
        if inspect.isawaitable(value):
            raise UsageError("The context returned a coroutine: declare it with `async def`, or await it inside.")
        self.value = value

    def end(self) -> None:
        """Runs what comes after the `yield`, if it got that far. Raises what it raises."""
        generator, self._generator = self._generator, None
        if not isinstance(generator, Generator) or inspect.getgeneratorstate(generator) != inspect.GEN_SUSPENDED:
            return
        if next(generator, _ENDED) is not _ENDED:
            raise UsageError("The context yielded twice: it must yield once, its end comes after that.")

    async def end_async(self) -> None:
        """Runs what comes after the `yield`, of any kind of context."""
        if not isinstance(self._generator, AsyncGenerator):
            self.end()
            return
        generator, self._generator = self._generator, None
        if await anext(generator, _ENDED) is not _ENDED:
            raise UsageError("The context yielded twice: it must yield once, its end comes after that.")


_ENDED = object()
