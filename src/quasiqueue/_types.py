"""Values that cross the border between the user's functions and the queue. Imports nothing of the project."""

from enum import Enum
from typing import Final, Literal


class Done(Enum):
    """The type of `DONE`: an enum, so that type checkers can tell it from items."""

    DONE = "DONE"

    def __repr__(self) -> str:
        return "quasiqueue.DONE"


DONE: Final[Literal[Done.DONE]] = Done.DONE
"""Returned or yielded by a writer: there is nothing more, ever. The run finishes what it has and ends."""
