"""The job of the chaos run: what an item is, and what a worker does with it.

Each item says by its number what becomes of it. Readers note in the ledger what they do as they do it; some of them
spoil things for the next item, as readers in the wild do. Invariant: an item that came to an end of its own has a line
that says which, and the same number always comes to the same end.
"""

import contextlib
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ledger import Ledger

from quasiqueue import Retry

FAILS, RETRIES, STARVES, LONG, LARGE = 101, 103, 997, 499, 211
"""Every so many-th item raises, asks for another run, leaves its process starved, is long, is large."""

LARGE_BYTES = 200_000
LONG_FACTOR = 50
STARVED_LIMIT = 64
"""Descriptors that a starved process may have; all of them are taken then, until its next item."""

Item = tuple[int, bytes]
"""A number, and some ballast."""


def make_item(number: int) -> Item:
    """Returns the item with this number."""
    return number, b"x" * (LARGE_BYTES if number % LARGE == 1 else 0)


class Hunger:
    """Takes all descriptors of a process, and gives them back."""

    def __init__(self) -> None:
        self._taken: list[int] = []
        self._limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    def begin(self) -> None:
        """Lowers the limit and takes what is left, so that nothing can be opened any more."""
        resource.setrlimit(resource.RLIMIT_NOFILE, (STARVED_LIMIT, self._limits[1]))
        with contextlib.suppress(OSError):
            while True:
                self._taken.append(os.open(os.devnull, os.O_RDONLY))

    def end(self) -> None:
        """Gives them back. Does nothing if there is no hunger."""
        while self._taken:
            os.close(self._taken.pop())
        resource.setrlimit(resource.RLIMIT_NOFILE, self._limits)


class Work:
    """Reader and context of the job.

    Args:
        folder: where the ledger is, and the marks of items that have asked for another run.
        seconds: how long an item takes on average.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        self._folder = folder
        self._seconds = seconds

    def context(self) -> Iterator[dict[str, Any]]:
        """Gives every worker a pen of its own."""
        ledger = Ledger(self._folder / "ledger")
        yield {"ledger": ledger, "hunger": Hunger()}
        ledger.close()

    def reader(self, item: Item, ctx: dict[str, Any]) -> Item:
        """Runs one item: notes its start and its end, and takes its time between them."""
        number, payload = item
        ledger, hunger = ctx["ledger"], ctx["hunger"]
        hunger.end()
        ledger.note("start", number)
        time.sleep(self._seconds_of(number))
        if number % RETRIES == 1 and self._is_first_run(number):
            ledger.note("retry", number)
            raise Retry(delay=0.001 * (number % 20))
        if number % STARVES == 1:
            ledger.note("starved", number)
            hunger.begin()  # until the next item: this one is reported, and that one received, without descriptors
        if number % FAILS == 1:
            ledger.note("fail", number)
            raise ValueError(f"item {number} is one of those that fail")
        ledger.note("end", number)
        return number, payload

    def _seconds_of(self, number: int) -> float:
        varied = self._seconds * (number * 7919 % 1000) / 500
        return varied * LONG_FACTOR if number % LONG == 1 else varied

    def _is_first_run(self, number: int) -> bool:
        try:
            os.close(os.open(self._folder / f"retried-{number}", os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return False
        return True
