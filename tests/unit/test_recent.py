"""Which keys are remembered, and until when."""

from collections.abc import Hashable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from quasiqueue._main.parcel import Generation
from quasiqueue._main.recent import GENERATIONS_PER_WINDOW, Recent

WINDOW = 64.0
STEP = WINDOW / GENERATIONS_PER_WINDOW


def nobody(_generation: Generation) -> Iterable[Hashable]:
    raise AssertionError("asked for active keys of a generation that has none")


def ended(recent: Recent, keys: list[Hashable], now: float) -> Generation:
    """Accept a block and end it at once."""
    generation = recent.admit_all(keys, now)
    assert generation is not None
    recent.end(generation, keys)
    return generation


def test_block_without_duplicates_is_admitted_whole() -> None:
    """All keys of it are remembered."""
    recent = Recent(WINDOW)
    generation = recent.admit_all([1, 2, 3], 5.0)
    assert generation is not None
    assert (generation.keys, generation.active, generation.accepted_at) == ([1, 2, 3], 3, 5.0)
    assert len(recent) == 3


@pytest.mark.parametrize("block", [[4, 1], [4, 4]])
def test_block_with_a_duplicate_is_not_admitted_whole(block: list[Hashable]) -> None:
    """Nothing of it is remembered, be the duplicate among what is remembered or in the block itself."""
    recent = Recent(WINDOW)
    recent.admit_all([1], 0.0)
    assert recent.admit_all(block, 0.0) is None
    assert len(recent) == 1
    assert recent.admit_each(block, 0.0)[0] == [True, False]


def test_admit_each_tells_new_from_old() -> None:
    """The first of each key is new; None is new every time and never remembered, but counts as active."""
    recent = Recent(WINDOW)
    accepted, generation = recent.admit_each([1, None, 2, 1, None, 2.0], 0.0)
    assert accepted == [True, True, True, False, True, False]
    assert (generation.keys, generation.active) == ([1, 2], 4)
    assert len(recent) == 2


def test_key_is_remembered_for_the_window_from_its_acceptance() -> None:
    """Not shorter, though its item ended at once; when the window has passed it is new again."""
    recent = Recent(WINDOW)
    ended(recent, ["a"], 10.0)
    assert recent.next_expiry() == 10.0 + WINDOW
    recent.expire(10.0 + WINDOW - 0.001, nobody)
    assert recent.admit_all(["a"], 10.0 + WINDOW - 0.001) is None
    recent.expire(10.0 + WINDOW, nobody)
    assert len(recent) == 0
    assert recent.next_expiry() is None
    assert recent.admit_all(["a"], 10.0 + WINDOW) is not None


def test_keys_of_one_generation_expire_with_its_last() -> None:
    """A generation is a 64th of the window long: its first key is remembered by that much longer, not shorter."""
    recent = Recent(WINDOW)
    first = ended(recent, [1], 0.0)
    assert ended(recent, [2], STEP - 0.5) is first
    second = ended(recent, [3], STEP)
    assert second is not first
    recent.expire(WINDOW, nobody)
    assert len(recent) == 3
    recent.expire(WINDOW + STEP - 0.5, nobody)
    assert len(recent) == 1
    recent.expire(WINDOW + STEP, nobody)
    assert len(recent) == 0


def test_key_of_an_active_item_outlives_the_window() -> None:
    """It stays until its item has ended, and is forgotten at that moment; the others of its time go with the window."""
    recent = Recent(WINDOW)
    generation = recent.admit_all([1, 2, 3], 0.0)
    assert generation is not None
    recent.end(generation, [2])
    recent.expire(WINDOW, lambda asked: [1, 3] if asked is generation else [])
    assert (len(recent), generation.is_overdue) == (2, True)
    assert recent.admit_each([1, 2, 3], WINDOW)[0] == [False, True, False]
    recent.end(generation, [1])
    assert recent.admit_each([1, 3], WINDOW)[0] == [True, False]
    recent.end(generation, [3])
    assert generation.active == 0
    assert recent.admit_each([3], WINDOW)[0] == [True]


def test_nobody_is_asked_for_active_keys_of_ended_generations() -> None:
    """Expiry of what has ended costs a few set operations, no walk over what is waiting."""
    recent = Recent(WINDOW)
    ended(recent, list(range(1000)), 0.0)
    recent.expire(WINDOW, nobody)
    assert len(recent) == 0


def test_memory_is_bounded_by_rate_and_window() -> None:
    """Over ten windows of ten keys per step, at most one window's and one generation's keys are held."""
    recent = Recent(WINDOW)
    longest = 0
    for step in range(10 * GENERATIONS_PER_WINDOW):
        now = step * STEP
        recent.expire(now, nobody)
        ended(recent, [(step, index) for index in range(10)], now)
        longest = max(longest, len(recent))
    assert longest == 10 * GENERATIONS_PER_WINDOW


def test_window_of_zero_switches_off() -> None:
    """With no window there is nothing to ask."""
    assert Recent(0).is_on is False
    assert Recent(0.001).is_on is True
    assert Recent(0).next_expiry() is None


@pytest.mark.parametrize("window", [0.001, 0.01, 0.5, 1e9])
def test_windows_of_every_length_hold(window: float) -> None:
    """Very short and very long windows keep what they promise: not one key is forgotten before its time."""
    recent = Recent(window)
    for index in range(20):
        ended(recent, [index], index * window / 10)
        recent.expire(index * window / 10, nobody)
        assert recent.admit_all([max(0, index - 9)], index * window / 10) is None


class Remembering(RuleBasedStateMachine):
    """Against a model that keeps each key's own time: sooner than it nothing is forgotten, and not much later."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.recent = Recent(WINDOW)
        self.accepted_at: dict[Hashable, float] = {}
        self.active: dict[Hashable, Generation] = {}

    @initialize()
    def begin(self) -> None:
        """Begin with an old key that has ended."""
        ended(self.recent, ["old"], self.now)
        self.accepted_at["old"] = self.now

    @rule(seconds=st.sampled_from([0.0, STEP / 2, STEP, WINDOW / 3, WINDOW - STEP, WINDOW]))
    def wait(self, seconds: float) -> None:
        """Let time pass, and forget what is old enough."""
        self.now += seconds
        self.recent.expire(self.now, lambda asked: [key for key, own in self.active.items() if own is asked])

    @rule(keys=st.lists(st.integers(0, 9), max_size=4))
    def offer(self, keys: list[int]) -> None:
        """Offer keys: those that must be remembered are refused, those that must be forgotten are taken."""
        accepted, generation = self.recent.admit_each(keys, self.now)
        for key, is_new in zip(keys, accepted, strict=True):
            if key in self.active or self.now - self.accepted_at.get(key, -2 * WINDOW) < WINDOW:
                assert not is_new
            elif self.now - self.accepted_at.get(key, -2 * WINDOW) >= WINDOW + STEP:
                assert is_new
            if is_new:
                self.accepted_at[key] = self.now
                self.active[key] = generation

    @precondition(lambda self: self.active)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        """End an item."""
        key = data.draw(st.sampled_from(sorted(self.active)))
        self.recent.end(self.active.pop(key), [key])

    @invariant()
    def holds_every_active_key(self) -> None:
        """No active key is new, and nothing is held that the model has never seen."""
        assert [key for key in self.active if self.recent.admit_all([key], self.now) is not None] == []
        assert len(self.active) <= len(self.recent) <= len(self.accepted_at)


TestRemembering = Remembering.TestCase
TestRemembering.settings = settings(max_examples=100, stateful_step_count=40)


@given(st.lists(st.one_of(st.none(), st.integers(0, 5)), max_size=20))
def test_admit_each_is_the_same_in_one_block_and_in_many(keys: list[int | None]) -> None:
    """How a stream of keys is cut into blocks makes no difference."""
    whole, single = Recent(WINDOW), Recent(WINDOW)
    assert whole.admit_each(keys, 0.0)[0] == [single.admit_each([key], 0.0)[0][0] for key in keys]
