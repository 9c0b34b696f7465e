"""Every decision of the main process that is a matter of numbers, as pure functions.

The rooms measure, these functions judge; nothing here keeps state, reads a clock or touches a process. Seconds are
floats.
"""

import math
import random
from dataclasses import dataclass

FRAME_SECONDS = 0.02
"""Work that one batch should hold. A batch costs all processes together 0.2 to 0.4 ms where every core is busy: so one
or two per cent. What waits in one while a worker is idle is called back long before its turn."""

MAX_BATCH = 5000
MAX_GROWTH = 8
PREFETCH_BELOW = 0.02
"""Seconds per item up to which a worker gets a second batch while it runs one. Above, the way there costs under 1 %."""

STUCK_AFTER = 0.003
"""Seconds: what waits behind an item that has run for so long, or will wait for so long, is called back if somebody is
idle."""

STUCK_ANYWAY = 0.05
"""The same, if nobody is idle at this moment."""

SLOW_ITEM = 60.0
MAX_PAUSE = 30.0
JITTER = 0.1


def estimate(old: float | None, new: float) -> float:
    """Returns the seconds per item to go by after a batch took `new` per item: up at once, down slowly."""
    if old is None or new > old:
        return new
    return 0.6 * old + 0.4 * new


def batch_size(seconds_per_item: float | None, *, backlog: int, workers: int, last: int) -> int:
    """Returns how many items the next batch should hold.

    Args:
        seconds_per_item: measured; None as long as nothing is known.
        backlog: items at hand.
        workers: workers that can take items.
        last: size of the largest batch that the measurement rests on.

    Returns:
        At least 1; as much as `FRAME_SECONDS` of work, but never far beyond what was measured, and never so much that
        other workers would go without.
    """
    if seconds_per_item is None:
        return 1
    by_time = MAX_BATCH if seconds_per_item <= 0 else round(min(MAX_BATCH, FRAME_SECONDS / seconds_per_item))
    fair = math.ceil(backlog / (2 * max(workers, 1)))
    return max(1, min(by_time, MAX_BATCH, last * MAX_GROWTH, fair))


def may_prefetch(seconds_per_item: float | None, age: float) -> bool:
    """Tells whether a worker that is busy should get more behind what it has.

    Args:
        seconds_per_item: measured; None as long as nothing is known.
        age: how long its present item has been running.
    """
    return seconds_per_item is not None and seconds_per_item < PREFETCH_BELOW and age < STUCK_AFTER


def async_credit(lanes: int, held: int, *, free: int) -> int:
    """Returns how many items an async worker may be given: its free tasks, and a quarter more to have at hand.

    Args:
        lanes: items that it runs at once.
        held: items that it holds.
        free: the same as `lanes`; less while a worker that had its place before still runs some.
    """
    return max(0, free - held if free < lanes else lanes + max(1, lanes // 4) - held)


def is_stuck(age: float, *, waiting: float = 0.0, someone_idle: bool) -> bool:
    """Tells whether what a worker holds and has not begun should be called back.

    Args:
        age: how long its present item has been running.
        waiting: how long what waits behind it is expected to take.
        someone_idle: whether another worker could run it now.
    """
    return max(age, waiting) >= STUCK_AFTER if someone_idle else age >= STUCK_ANYWAY


def jobs_of_worker(max_jobs: int | None, chance: random.Random) -> int | None:
    """Returns after how many items a successor should take over; None: never.

    It is `max_jobs`, less up to a tenth, so that workers of one age are not all due together.
    """
    if max_jobs is None:
        return None
    return max(1, max_jobs - int(max_jobs * JITTER * chance.random()))


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast items are run and how many there are: it says when a successor has to be started.

    Attributes:
        seconds_per_item: measured while they run; None as long as nothing is known.
        rate: items per second that one slot has done lately, its idle time included.
        startup: seconds that a worker takes to be ready.
        at_hand: items that can be handed out now.
        is_last: True if none will follow them.
    """

    seconds_per_item: float | None = None
    rate: float = 0.0
    startup: float = 0.0
    at_hand: int = 0
    is_last: bool = False


def successor_due(jobs_left: int, pace: Pace, *, lanes: int) -> bool:
    """Tells whether a worker's successor should be started now, so that it is ready when the worker stops taking.

    Args:
        jobs_left: items that the worker may still be handed.
        pace: how soon those may come.
        lanes: items that it runs at once.
    """
    if jobs_left <= lanes:
        return True
    soon = 2 * pace.startup
    if pace.seconds_per_item is None or jobs_left * pace.seconds_per_item / lanes > soon:
        return False
    return jobs_left <= max(pace.at_hand, pace.rate * soon)  # else the worker waits for items, not they for workers


def successors_at_once(slots: int) -> int:
    """Returns how many successors may be starting at the same time."""
    return max(2, slots // 4)


def retry_delay(attempt: int, *, base: float, longest: float, chance: random.Random) -> float:
    """Returns the pause before the run after `attempt` (1 for the first): doubling, capped, with up to a tenth off."""
    full = min(longest, base * 2.0 ** min(attempt - 1, 60))
    return full * (1 - JITTER * chance.random())


def growing_pause(failures: int, *, first: float = 0.1) -> float:
    """Returns the pause after that many failures in a row (1 for the first)."""
    return min(MAX_PAUSE, first * 2.0 ** min(failures - 1, 60))


def is_crash_loop(deaths: int, max_restarts: int) -> bool:
    """Tells whether that many deaths within the window, without an item finished between them, are too many."""
    return deaths > max_restarts


def tick_interval(
    *, held_behind: bool, someone_idle: bool, has_running: bool, limit: float | None, urgent: bool
) -> float:
    """Returns the seconds until the main process should look at the scoreboards again.

    Args:
        held_behind: some worker holds items that it has not begun.
        someone_idle: some worker could take one of them now.
        has_running: some worker runs an item.
        limit: the shortest time limit that applies to what is going on; None if none does.
        urgent: something is being waited for: a start, a stop, a kill.
    """
    interval = 0.25 if has_running else 0.5
    if held_behind:
        interval = STUCK_AFTER / 3 if someone_idle else STUCK_ANYWAY / 2
    if urgent:
        interval = min(interval, 0.02)
    if limit is not None:
        interval = min(interval, max(0.005, limit / 10))
    return interval


def harvest_interval(quiet: float) -> float:
    """Returns the seconds until a generator that is at work should be looked at, given how long it has been quiet."""
    return min(0.1, max(0.005, quiet / 20))


def explain_exit(code: int, signal_name: str | None) -> str:
    """Returns in words how a worker died and what is the likely cause."""
    if signal_name == "SIGKILL":
        return "killed by SIGKILL (perhaps out of memory?)"
    if signal_name in {"SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE"}:
        return f"killed by {signal_name} (a crash in native code)"
    if signal_name is not None:
        return f"killed by {signal_name}"
    return f"exited with code {code}"
