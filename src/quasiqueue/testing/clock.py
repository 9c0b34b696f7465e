"""Time that passes only when somebody says so.

An inline run waits on it, so a retry after a minute takes no time; a test moves it on to see what happens later.
Invariant: it never goes back.
"""


class VirtualClock:
    """A clock for inline runs.

    Args:
        now: seconds that it shows at first.
    """

    def __init__(self, now: float = 0.0) -> None:
        self._now = now

    def __repr__(self) -> str:
        return f"VirtualClock({self._now})"

    def now(self) -> float:
        """Returns what it shows, in seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Moves it on; a writer, reader or subscriber may do so in the middle of a run.

        Args:
            seconds: how far; 0 is fine.

        Raises:
            ValueError: a negative number, or one that is none.
        """
        if not seconds >= 0:
            raise ValueError(f"advance({seconds}): time goes forward only; give seconds, 0 or more.")
        self._now += seconds
