"""Accepted items that no worker holds, first in, first out."""

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from quasiqueue._main.backlog import Backlog
from quasiqueue._main.parcel import Generation, Parcel


def parcel(*items: object, generation: Generation | None = None, keys: bool = False, **changes: object) -> Parcel:
    return Parcel(list(items), [("key", item) for item in items] if keys else None, generation, True, **changes)  # type: ignore[arg-type]


def contents(backlog: Backlog) -> list[list[object]]:
    return [held.items for held in backlog]


def test_empty_backlog_gives_nothing() -> None:
    """There is no item, no parcel, no length."""
    backlog = Backlog()
    assert (len(backlog), backlog.take(5), backlog.take_all(), contents(backlog)) == (0, None, [], [])


def test_items_leave_in_the_order_in_which_they_came() -> None:
    """However many are taken at once."""
    backlog = Backlog()
    backlog.put(parcel(1, 2, 3))
    backlog.put(parcel(4))
    taken = [backlog.take(2), backlog.take(2), backlog.take(2)]
    assert [each.items if each else None for each in taken] == [[1, 2], [3, 4], None]
    assert len(backlog) == 0


def test_fresh_parcels_of_one_generation_are_joined() -> None:
    """Items that came one by one travel together, keys included."""
    generation = Generation(0.0)
    backlog = Backlog()
    for item in range(5):
        backlog.put(parcel(item, generation=generation, keys=True))
    assert contents(backlog) == [[0, 1, 2, 3, 4]]
    taken = backlog.take(3)
    assert taken is not None
    assert (taken.items, taken.keys, taken.generation) == ([0, 1, 2], [("key", 0), ("key", 1), ("key", 2)], generation)
    assert taken.key(1) == ("key", 1)


def test_parcels_of_different_history_are_kept_apart() -> None:
    """Another generation, another encoding, keys of their own, or a run behind them."""
    one, other = Generation(0.0), Generation(1.0)
    backlog = Backlog()
    backlog.put(parcel(1, generation=one))
    backlog.put(parcel(2, generation=other))
    backlog.put(parcel(3, generation=other, keys=True))
    backlog.put(Parcel([4], [("key", 4)], other, False))
    backlog.put(parcel(5, attempts=1))
    backlog.put(parcel(6))
    backlog.put(parcel(7, crashes=1, alone=True))
    assert contents(backlog) == [[1], [2], [3], [4], [5], [6], [7]]
    assert len(backlog) == 7


def test_take_never_joins_histories() -> None:
    """A worker's batch is of one history, so that a suspect item is alone in it."""
    backlog = Backlog()
    backlog.put(parcel(1))
    backlog.give_back(parcel(0, crashes=1, alone=True))
    first, second = backlog.take(10), backlog.take(10)
    assert first is not None
    assert second is not None
    assert (first.items, first.alone, second.items, second.alone) == ([0], True, [1], False)


def test_what_is_given_back_comes_first() -> None:
    """Returned items go before all that wait."""
    backlog = Backlog()
    backlog.put(parcel(3, 4))
    backlog.give_back(parcel(1, 2))
    assert [each.items for each in backlog.take_all()] == [[1, 2], [3, 4]]


def test_parcels_stay_short_enough_to_cut() -> None:
    """Joining ends at 4096 items; a larger block stays as it came."""
    backlog = Backlog()
    for _ in range(10):
        backlog.put(parcel(*range(1000)))
    assert [len(held) for held in backlog] == [4000, 4000, 2000]
    backlog.put(parcel(*range(5000)))
    assert [len(held) for held in backlog] == [4000, 4000, 2000, 5000]


def test_take_all_empties_it() -> None:
    """At the end of the run everything is taken."""
    backlog = Backlog()
    backlog.put(parcel(1, 2))
    backlog.put(parcel(3, attempts=1))
    assert [each.items for each in backlog.take_all()] == [[1, 2], [3]]
    assert (len(backlog), contents(backlog)) == (0, [])


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.integers(1, 9)),
            st.tuples(st.sampled_from(["take", "back"]), st.integers(1, 9)),
        )
    )
)
def test_items_keep_their_order_through_any_use(steps: list[tuple[str, int]]) -> None:
    """Against a plain deque: putting, taking and giving back never lose, double or reorder an item."""
    backlog, model = Backlog(), deque[object]()
    number = 0
    for step, count in steps:
        if step == "put":
            backlog.put(parcel(*range(number, number + count), generation=None))
            model.extend(range(number, number + count))
            number += count
        else:
            taken = backlog.take(count)
            assert (taken is None) is (not model)
            if taken is not None:
                assert taken.items == [model.popleft() for _ in range(len(taken))]
                assert 1 <= len(taken) <= count
                if step == "back":
                    backlog.give_back(taken)
                    model.extendleft(reversed(taken.items))
        assert len(backlog) == len(model)
        assert [item for held in contents(backlog) for item in held] == list(model)
