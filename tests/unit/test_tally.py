"""Counts, rates and the first failures."""

from quasiqueue._main.tally import MAX_FAILURES, Tally
from quasiqueue.events import Outcome, RunSummary, Stats, Status


def outcome(item: object, status: Status = Status.FAILED) -> Outcome[object]:
    return Outcome(item, item, status)  # type: ignore[arg-type]


def test_fresh_tally_counts_nothing() -> None:
    """Everything is zero, but the seconds go on."""
    counts = Tally(10.0).counts(12.5, duplicates=0)
    assert counts.pop("seconds") == 2.5  # type: ignore[misc]
    assert set(counts.values()) == {0}
    assert len(counts) == 9


def test_items_are_counted_by_how_they_ended() -> None:
    """One by one or many at once; a correction takes one back."""
    tally = Tally(0.0)
    for number, status in enumerate(Status, 1):
        tally.count(status, number)
    tally.count(Status.DONE)
    tally.count(Status.DONE, -1)
    tally.retried, tally.recycled, tally.restarted = 7, 8, 9
    assert tally.counts(1.0, duplicates=6) == {
        "done": 1,
        "failed": 2,
        "timed_out": 3,
        "crashed": 4,
        "released": 5,
        "duplicates": 6,
        "retried": 7,
        "recycled": 8,
        "restarted": 9,
        "seconds": 1.0,
    }
    assert (tally.done, tally.ended) == (1, 15)


def test_counts_are_arguments_of_stats_and_summary() -> None:
    """Both take exactly these."""
    counts = Tally(0.0).counts(3.0, duplicates=2)
    assert Stats(**counts).duplicates == 2
    assert RunSummary(**counts).seconds == 3.0
    assert RunSummary(**counts).ok is True


def test_first_failures_are_kept() -> None:
    """The first twenty, in order."""
    tally = Tally(0.0)
    for index in range(30):
        tally.keep(outcome(index))
    assert [kept.item for kept in tally.failures] == list(range(MAX_FAILURES)) == list(range(20))


def test_rate_before_any_sample_is_since_the_start() -> None:
    """Items done by the seconds since then; nothing yet at the very start."""
    tally = Tally(100.0)
    tally.count(Status.DONE, 30)
    assert tally.rate(100.0) == 0.0
    assert tally.rate(110.0) == 3.0


def test_rate_is_of_the_last_five_seconds() -> None:
    """What was long ago does not count; only items that are done do."""
    tally = Tally(0.0)
    for second in range(20):
        tally.sample(float(second))
        tally.count(Status.DONE, second)
        tally.count(Status.FAILED, 1000)
    assert tally.rate(20.0) == sum(range(14, 20)) / 6
    tally.sample(20.0)
    assert tally.rate(20.0) == sum(range(15, 20)) / 5


def test_rate_after_a_long_silence_has_a_sample_left() -> None:
    """However long nothing was sampled, the newest sample stays."""
    tally = Tally(0.0)
    tally.sample(0.0)
    tally.count(Status.DONE, 5)
    tally.sample(1000.0)
    assert tally.rate(1000.0) == 0.0
    tally.count(Status.DONE, 8)
    assert tally.rate(1002.0) == 4.0
