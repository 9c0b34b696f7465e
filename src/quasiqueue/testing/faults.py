"""Readers that break on purpose, for runs with real workers: one is killed, hangs or fails at items that a test names.

A wrapper takes a reader and is given to the queue in its place; the queue sees the reader's own signature through it.
It is written `reader=kill_on(reader, 13)`, not as a decorator: a spawned worker finds a reader by its name in its
module, and a decorator would put the wrapper there. Invariant: how often a fault strikes is counted in files that are
created exclusively, so workers that die forget nothing and two never count the same stroke.
"""

import asyncio
import contextlib
import functools
import os
import secrets
import shutil
import signal
import tempfile
import time
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Concatenate, Protocol, TypeAlias, cast

# The queue's own eyes: a wrapper must look to it exactly as the reader does.
from .._callables import is_coroutine, read_signature
from .._main.texts import item_text
from ..errors import UsageError
from ..events import ItemT

Reader: TypeAlias = Callable[Concatenate[ItemT, ...], object]
_LONG = 3600.0


class InjectedFault(Exception):  # noqa: N818 - the word for what it is
    """What `fail_on` raises unless it is told otherwise."""


def kill_on(
    reader: Reader[ItemT],
    item: Callable[[ItemT], bool] | object,
    *,
    times: int | None = None,
    signal: int = signal.SIGKILL,
) -> Reader[ItemT]:
    """Returns a reader that kills its worker, before it runs the given reader.

    Args:
        reader: the reader, sync or async.
        item: at which item: one that is equal to this, or for which this function returns true. With
            `start_method="spawn"` the function must stand at the top of a module.
        times: how often in all, over all workers and items; None: every time.
        signal: what kills it. Workers ignore SIGINT, SIGHUP and SIGTERM, as they always do.

    Raises:
        UsageError: `times` is less than 1.
    """
    return _wrap(reader, item, times, Killing(int(signal)))


def hang_on(
    reader: Reader[ItemT], item: Callable[[ItemT], bool] | object, *, times: int | None = None
) -> Reader[ItemT]:
    """Returns a reader that never comes back: a sync one sleeps, an async one waits. Set an `item_timeout`.

    Args and errors are those of `kill_on`.
    """
    return _wrap(reader, item, times, Hanging())


def fail_on(
    reader: Reader[ItemT],
    item: Callable[[ItemT], bool] | object,
    *,
    times: int | None = None,
    error: BaseException | type[BaseException] | None = None,
) -> Reader[ItemT]:
    """Returns a reader that raises, instead of running the given reader. Works in inline runs, too.

    Args and errors are those of `kill_on`, and:
        error: what to raise, `Retry(delay=1)` or `Reject("no")` included; by default an `InjectedFault`.
    """
    return _wrap(reader, item, times, Failing(error))


class Fault(Protocol):
    """What strikes."""

    def strike(self, item: object, home: int) -> bool:
        """Does its worst. Returns True if the reader shall hang now, False if it shall run.

        Args:
            item: the item.
            home: number of the process that must not be hurt.
        """


@dataclass(frozen=True, slots=True)
class Killing:
    """Kills the process."""

    signal: int

    def strike(self, item: object, home: int) -> bool:
        """Kills this process, if the signal does."""
        _refuse_at_home(home, "kill_on would kill")
        os.kill(os.getpid(), self.signal)
        return False


@dataclass(frozen=True, slots=True)
class Hanging:
    """Hangs."""

    def strike(self, item: object, home: int) -> bool:
        """Has the reader hang."""
        _refuse_at_home(home, "hang_on would stop")
        return True


@dataclass(frozen=True, slots=True)
class Failing:
    """Raises."""

    error: BaseException | type[BaseException] | None

    def strike(self, item: object, home: int) -> bool:
        """Raises the error."""
        if self.error is None:
            raise InjectedFault(f"fail_on failed item {item_text(item)}")
        # One object may be raised many times; it must not collect the traceback of each.
        raise self.error.with_traceback(None) if isinstance(self.error, BaseException) else self.error


def _refuse_at_home(home: int, what: str) -> None:
    if os.getpid() == home:
        raise UsageError(f"{what} this process, which is no worker: use it with run(), not with run_inline or perform.")


class Times:
    """How often a fault may strike, counted over all processes.

    Args:
        most: how often.
        folder: where it is counted; by default one that goes with this object, or when this process ends.
    """

    def __init__(self, most: int, folder: str | None = None) -> None:
        self._most = most
        self._is_spent = False
        if folder is None:
            # Made when it is needed: a spawned worker imports the program, and makes wrappers that nobody uses.
            folder = os.path.join(tempfile.gettempdir(), f"quasiqueue-testing-{secrets.token_hex(8)}")
            weakref.finalize(self, _remove, folder, os.getpid())
        self._folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return Times, (self._most, self._folder)

    def claim(self) -> bool:
        """Counts one more. Returns False if that would be too many."""
        if self._is_spent:
            return False
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        for number in range(self._most):
            with contextlib.suppress(FileExistsError):
                os.close(os.open(os.path.join(self._folder, str(number)), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
                return True
        self._is_spent = True
        return False


def _remove(folder: str, owner: int) -> None:
    if os.getpid() == owner:  # a forked worker has the same object, and may let go of it
        shutil.rmtree(folder, ignore_errors=True)


def _wrap(reader: Reader[ItemT], item: object, times: int | None, fault: Fault) -> Reader[ItemT]:
    if times is not None and times < 1:
        raise UsageError(f"times={times}: a fault strikes at least once; None stands for every time.")
    kind = AsyncFaultyReader if is_coroutine(reader) else FaultyReader
    return kind(reader, item, None if times is None else Times(times), fault, os.getpid())


class FaultyReader:
    """A sync reader with a fault before it.

    Args:
        reader: the reader.
        trigger: an item, or a function that tells whether an item is meant.
        times: how often it may strike; None: every time.
        fault: what strikes.
        home: number of the process that made it, which must not be hurt.
    """

    def __init__(
        self, reader: Callable[..., object], trigger: object, times: Times | None, fault: Fault, home: int
    ) -> None:
        # Messages name the reader, not its wrapper; that it stands in an interactive session is seen, too.
        functools.update_wrapper(self, reader, updated=())
        if (signature := read_signature(reader)) is not None:
            self.__signature__ = signature
        self._reader = reader
        self._given = (reader, trigger, times, fault, home)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), self._given

    def _strike(self, item: object) -> bool:
        _, trigger, times, fault, home = self._given
        is_meant = trigger(item) if callable(trigger) else bool(item == trigger)
        return is_meant and (times is None or times.claim()) and fault.strike(item, home)

    def __call__(self, item: object, /, *arguments: object, **keywords: object) -> object:
        """Runs the reader, unless the fault prevents it."""
        if self._strike(item):
            while True:
                time.sleep(_LONG)
        return self._reader(item, *arguments, **keywords)


class AsyncFaultyReader(FaultyReader):
    """The same for an async reader: a class of its own, because the queue looks whether a call gives a coroutine."""

    async def __call__(self, item: object, /, *arguments: object, **keywords: object) -> object:
        """Runs the reader, unless the fault prevents it."""
        if self._strike(item):
            await asyncio.get_running_loop().create_future()
        return await cast(Awaitable[object], self._reader(item, *arguments, **keywords))
