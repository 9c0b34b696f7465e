"""Every decision that is a matter of numbers, with the exact numbers."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quasiqueue._main import policy


class Fixed(random.Random):
    """Draws always the same."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def random(self) -> float:
        """Give it."""
        return self.value


@pytest.mark.parametrize(
    ("old", "new", "expected"), [(None, 0.5, 0.5), (0.1, 0.5, 0.5), (0.5, 0.5, 0.5), (1.0, 0.5, 0.8), (1.0, 0.0, 0.6)]
)
def test_estimate_goes_up_at_once_and_down_slowly(old: float | None, new: float, expected: float) -> None:
    """A slower batch counts in full, a faster one by four tenths."""
    assert policy.estimate(old, new) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("seconds", "backlog", "workers", "last", "expected"),
    [
        (None, 1000, 1, 1000, 1),  # nothing is known: try one
        (1e-5, 10_000, 2, 1000, 2000),  # twenty milliseconds of work
        (1e-5, 10_000, 2, 10, 80),  # at most eight times what was measured
        (1e-5, 100, 2, 1000, 25),  # half of a worker's fair share
        (1e-5, 101, 2, 1000, 26),
        (0.0, 10**6, 2, 10**6, 5000),  # never more than the cap
        (1e-9, 10**6, 2, 10**6, 5000),
        (5e-324, 10**6, 2, 10**6, 5000),  # as little as a clock can tell
        (0.0012, 10_000, 2, 1000, 17),  # rounded
        (0.0134, 10_000, 2, 1000, 1),  # slow items go one by one
        (0.05, 10_000, 2, 1000, 1),
        (60.0, 10_000, 2, 1000, 1),
        (1e-5, 1, 0, 1, 1),
        (1e-5, 0, 4, 8, 1),
    ],
)
def test_batch_size(seconds: float | None, backlog: int, workers: int, last: int, expected: int) -> None:
    """As much as a frame should hold, but no leap into the unknown and nobody's share."""
    assert policy.batch_size(seconds, backlog=backlog, workers=workers, last=last) == expected


@given(st.one_of(st.none(), st.floats(0, 100)), st.integers(0, 10**6), st.integers(0, 64), st.integers(1, 5000))
def test_batch_size_is_always_possible(seconds: float | None, backlog: int, workers: int, last: int) -> None:
    """At least one, at most the cap, whatever was measured."""
    assert 1 <= policy.batch_size(seconds, backlog=backlog, workers=workers, last=last) <= policy.MAX_BATCH


@pytest.mark.parametrize(
    ("seconds", "age", "expected"),
    [(None, 0.0, False), (0.019, 0.0, True), (0.02, 0.0, False), (0.001, 0.0029, True), (0.001, 0.003, False)],
)
def test_may_prefetch(seconds: float | None, age: float, expected: bool) -> None:
    """Only behind quick items, and only as long as the present one is quick too."""
    assert policy.may_prefetch(seconds, age) is expected


@pytest.mark.parametrize(
    ("lanes", "held", "expected"), [(4, 0, 5), (4, 4, 1), (4, 5, 0), (4, 9, 0), (1, 0, 2), (100, 0, 125), (7, 3, 5)]
)
def test_async_credit(lanes: int, held: int, expected: int) -> None:
    """Free tasks and a quarter more, at least one."""
    assert policy.async_credit(lanes, held, free=lanes) == expected


@pytest.mark.parametrize(("free", "held", "expected"), [(3, 0, 3), (3, 2, 1), (3, 3, 0), (1, 3, 0), (0, 0, 0)])
def test_async_credit_beside_one_that_leaves(free: int, held: int, expected: int) -> None:
    """Only what the one before does not run any more, and nothing at hand."""
    assert policy.async_credit(4, held, free=free) == expected


@pytest.mark.parametrize(
    ("age", "idle", "expected"),
    [(0.0029, True, False), (0.003, True, True), (0.049, False, False), (0.05, False, True)],
)
def test_is_stuck(age: float, idle: bool, expected: bool) -> None:
    """After 3 ms if somebody is idle, after 50 ms anyway."""
    assert policy.is_stuck(age, someone_idle=idle) is expected


@pytest.mark.parametrize(
    ("waiting", "idle", "expected"),
    [(0.0029, True, False), (0.003, True, True), (1.0, False, False)],
)
def test_is_stuck_behind_many(waiting: float, idle: bool, expected: bool) -> None:
    """Much that waits behind quick items is called back too, but only for somebody who is idle."""
    assert policy.is_stuck(0.0, waiting=waiting, someone_idle=idle) is expected


@pytest.mark.parametrize(
    ("most", "chance", "expected"),
    [
        (None, 0.5, None),
        (200, 0.0, 200),
        (200, 0.5, 190),
        (200, 0.999, 181),
        (1, 0.999, 1),
        (10, 0.999, 10),
        (11, 0.999, 10),
    ],
)
def test_jobs_of_worker(most: int | None, chance: float, expected: int | None) -> None:
    """Up to a tenth less than the setting, never none."""
    assert policy.jobs_of_worker(most, Fixed(chance)) == expected


@pytest.mark.parametrize(
    ("left", "seconds", "startup", "lanes", "expected"),
    [
        (1, None, 0.05, 1, True),
        (2, None, 0.05, 1, False),
        (0, None, 0.05, 1, True),
        (-3, None, 0.05, 1, True),
        (10, 0.01, 0.05, 1, True),
        (11, 0.01, 0.05, 1, False),
        (4, None, 0.05, 4, True),
        (40, 0.01, 0.05, 4, True),
        (41, 0.01, 0.05, 4, False),
    ],
)
def test_successor_due(left: int, seconds: float | None, startup: float, lanes: int, expected: bool) -> None:
    """When a start takes half the time that is left, or nothing more than what runs at once is left."""
    pace = policy.Pace(seconds_per_item=seconds, startup=startup, at_hand=1000)
    assert policy.successor_due(left, pace, lanes=lanes) is expected


@pytest.mark.parametrize(
    ("at_hand", "rate", "expected"),
    [(9, 0.0, False), (10, 0.0, True), (0, 99.0, False), (0, 100.0, True), (10, 100.0, True)],
)
def test_successor_is_due_only_if_so_many_items_are_likely(at_hand: int, rate: float, expected: bool) -> None:
    """They are at hand, or come at a pace at which the share is used up while a successor starts."""
    pace = policy.Pace(seconds_per_item=0.0001, startup=0.05, rate=rate, at_hand=at_hand)
    assert policy.successor_due(10, pace, lanes=1) is expected


@pytest.mark.parametrize(("slots", "expected"), [(1, 2), (2, 2), (8, 2), (11, 2), (12, 3), (64, 16)])
def test_successors_at_once(slots: int, expected: int) -> None:
    """Two, or a quarter of the slots."""
    assert policy.successors_at_once(slots) == expected


@pytest.mark.parametrize(
    ("attempt", "base", "longest", "chance", "expected"),
    [
        (1, 1.0, 60.0, 0.0, 1.0),
        (2, 1.0, 60.0, 0.0, 2.0),
        (6, 1.0, 60.0, 0.0, 32.0),
        (7, 1.0, 60.0, 0.0, 60.0),
        (10_000, 1.0, 60.0, 0.0, 60.0),
        (1, 1.0, 60.0, 0.5, 0.95),
        (3, 0.5, 60.0, 0.5, 1.9),
        (1, 0.0, 60.0, 0.5, 0.0),
        (1, 10.0, 3.0, 0.0, 3.0),
    ],
)
def test_retry_delay(attempt: int, base: float, longest: float, chance: float, expected: float) -> None:
    """Doubling from `retry_delay` up to `retry_delay_max`, less up to a tenth."""
    delay = policy.retry_delay(attempt, base=base, longest=longest, chance=Fixed(chance))
    assert delay == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("failures", "expected"), [(1, 0.1), (2, 0.2), (5, 1.6), (9, 25.6), (10, 30.0), (10_000, 30.0)]
)
def test_growing_pause(failures: int, expected: float) -> None:
    """Doubling from a tenth of a second up to half a minute."""
    assert policy.growing_pause(failures) == pytest.approx(expected, abs=1e-12)
    assert policy.growing_pause(2, first=1.0) == 2.0


@pytest.mark.parametrize(("deaths", "most", "expected"), [(5, 5, False), (6, 5, True), (0, 0, False), (1, 0, True)])
def test_is_crash_loop(deaths: int, most: int, expected: bool) -> None:
    """More deaths than are borne."""
    assert policy.is_crash_loop(deaths, most) is expected


@pytest.mark.parametrize(
    ("behind", "idle", "running", "limit", "urgent", "expected"),
    [
        (False, True, False, None, False, 0.5),
        (False, True, True, None, False, 0.25),
        (True, False, True, None, False, 0.025),
        (True, True, True, None, False, 0.001),
        (False, True, False, None, True, 0.02),
        (True, False, True, None, True, 0.02),
        (False, False, True, 0.5, False, 0.05),
        (False, False, True, 0.001, False, 0.005),
        (False, False, True, 60.0, False, 0.25),
        (False, True, False, math.inf, False, 0.5),
    ],
)
def test_tick_interval(
    behind: bool, idle: bool, running: bool, limit: float | None, urgent: bool, expected: float
) -> None:
    """As seldom as what goes on allows; often only while an item waits that somebody could run."""
    interval = policy.tick_interval(
        held_behind=behind, someone_idle=idle, has_running=running, limit=limit, urgent=urgent
    )
    assert interval == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("quiet", "expected"), [(0.0, 0.005), (0.1, 0.005), (1.0, 0.05), (2.0, 0.1), (1e6, 0.1)])
def test_harvest_interval(quiet: float, expected: float) -> None:
    """Every 5 ms at first, every 100 ms from two seconds on."""
    assert policy.harvest_interval(quiet) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("code", "name", "expected"),
    [
        (-9, "SIGKILL", "killed by SIGKILL (perhaps out of memory?)"),
        (-11, "SIGSEGV", "killed by SIGSEGV (a crash in native code)"),
        (-6, "SIGABRT", "killed by SIGABRT (a crash in native code)"),
        (-15, "SIGTERM", "killed by SIGTERM"),
        (3, None, "exited with code 3"),
        (0, None, "exited with code 0"),
    ],
)
def test_explain_exit(code: int, name: str | None, expected: str) -> None:
    """How a worker died, and the likely cause."""
    assert policy.explain_exit(code, name) == expected
