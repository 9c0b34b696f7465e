"""Which items one worker holds: against a plain dictionary of ordinals."""

from hypothesis import given
from hypothesis import strategies as st

from quasiqueue._main.ledger import Holding, Ledger
from quasiqueue._main.parcel import Generation, Parcel


def parcel(*items: object, keys: bool = False) -> Parcel:
    return Parcel(list(items), [("key", item) for item in items] if keys else None, Generation(0.0), True)


def entries(holdings: list[Holding]) -> dict[int, object]:
    return {holding.first + index: item for holding in holdings for index, item in enumerate(holding.parcel.items)}


def filled(*sizes: int) -> tuple[Ledger, dict[int, object]]:
    """Return a ledger with batches of these sizes, and its model. The item of an ordinal is its text."""
    ledger, model, next_ordinal = Ledger(), dict[int, object](), 1
    for size in sizes:
        items = [str(next_ordinal + index) for index in range(size)]
        assert ledger.hand(parcel(*items)) == next_ordinal
        model.update({next_ordinal + index: item for index, item in enumerate(items)})
        next_ordinal += size
    return ledger, model


def test_ordinals_are_counted_from_one_and_never_given_twice() -> None:
    """Also when everything was struck out in between."""
    ledger = Ledger()
    assert (ledger.handed, ledger.first(), ledger.batches, len(ledger)) == (0, None, 0, 0)
    assert ledger.hand(parcel("a", "b")) == 1
    assert entries(ledger.strike(1, 2)) == {1: "a", 2: "b"}
    assert ledger.hand(parcel("c")) == 3
    assert (ledger.handed, ledger.first(), ledger.batches, len(ledger)) == (3, 3, 1, 1)


def test_oldest_batch_is_struck_out_whole_without_cutting() -> None:
    """The common report gives back the very parcel that was handed out."""
    ledger = Ledger()
    first, second = parcel(1, 2), parcel(3)
    ledger.hand(first)
    ledger.hand(second)
    (struck,) = ledger.strike(1, 2)
    assert struck.parcel is first
    assert [holding.parcel for holding in ledger] == [second]


def test_strike_in_the_middle_keeps_both_ends() -> None:
    """Items, keys and generation go with each piece."""
    ledger = Ledger()
    whole = parcel("a", "b", "c", "d", keys=True)
    ledger.hand(whole)
    (struck,) = ledger.strike(2, 3)
    assert (struck.first, struck.last, struck.parcel.items) == (2, 3, ["b", "c"])
    assert (struck.parcel.keys, struck.parcel.generation) == ([("key", "b"), ("key", "c")], whole.generation)
    assert [(holding.first, holding.last, holding.parcel.keys) for holding in ledger] == [
        (1, 1, [("key", "a")]),
        (4, 4, [("key", "d")]),
    ]
    assert len(ledger) == 2


def test_ordinals_that_are_not_held_are_passed_over() -> None:
    """What was reported before, given back before, or never handed out changes nothing."""
    ledger, _ = filled(3)
    assert entries(ledger.strike(2, 2)) == {2: "2"}
    assert ledger.strike(2, 2) == []
    assert ledger.strike(10, 20) == []
    assert entries(ledger.strike(1, 100)) == {1: "1", 3: "3"}
    assert len(ledger) == 0


def test_take_from_gives_everything_behind() -> None:
    """What a worker returns is all from one ordinal on; an ordinal beyond all takes nothing."""
    ledger, _ = filled(2, 3)
    assert ledger.take_from(2**64 - 1) == []
    assert ledger.take_from(6) == []
    assert entries(ledger.take_from(2)) == {2: "2", 3: "3", 4: "4", 5: "5"}
    assert entries(list(ledger)) == {1: "1"}


def test_item_names_what_runs() -> None:
    """By ordinal; None where nothing is held."""
    ledger, _ = filled(2, 2)
    ledger.strike(2, 3)
    assert [ledger.item(ordinal) for ordinal in range(6)] == [None, "1", None, None, "4", None]


def test_autopsy_tells_finished_from_running_from_untouched() -> None:
    """Each running item is a holding of its own; the ledger is empty afterwards."""
    ledger, _ = filled(4, 3)
    found = ledger.autopsy(5, frozenset({2, 5}))
    assert entries(found.finished) == {1: "1", 3: "3", 4: "4"}
    assert [(holding.first, holding.parcel.items) for holding in found.running] == [(2, ["2"]), (5, ["5"])]
    assert entries(found.untouched) == {6: "6", 7: "7"}
    assert (len(ledger), list(ledger)) == (0, [])


def test_autopsy_of_a_worker_that_began_nothing() -> None:
    """Everything is untouched; ordinals that were struck out before are not found again."""
    ledger, model = filled(2, 2)
    ledger.strike(1, 1)
    found = ledger.autopsy(0, frozenset({1}))
    assert (found.finished, found.running) == ([], [])
    assert entries(found.untouched) == {ordinal: item for ordinal, item in model.items() if ordinal > 1}


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("hand"), st.integers(1, 6), st.just(0)),
        st.tuples(st.just("strike"), st.integers(0, 40), st.integers(0, 12)),
        st.tuples(st.just("take from"), st.integers(1, 40), st.just(0)),
    ),
    max_size=25,
)


@given(STEPS, st.integers(0, 60), st.frozensets(st.integers(1, 60), max_size=5))
def test_ledger_does_what_a_dictionary_does(
    steps: list[tuple[str, int, int]], started: int, running: frozenset[int]
) -> None:
    """Any ranges, in any order: what comes out was in, once, in order, and the rest stays."""
    ledger, model, handed = Ledger(), dict[int, object](), 0
    for step, one, other in steps:
        if step == "hand":
            items = [str(handed + 1 + index) for index in range(one)]
            assert ledger.hand(parcel(*items)) == handed + 1
            model.update({handed + 1 + index: item for index, item in enumerate(items)})
            handed += one
        else:
            first, last = (one, one + other) if step == "strike" else (one, 10**6)
            holdings = ledger.strike(first, last) if step == "strike" else ledger.take_from(first)
            out = [
                (holding.first + index, item) for holding in holdings for index, item in enumerate(holding.parcel.items)
            ]
            assert out == [(ordinal, model.pop(ordinal)) for ordinal in sorted(model) if first <= ordinal <= last]
        assert entries(list(ledger)) == model
        assert (len(ledger), ledger.handed, ledger.first()) == (len(model), handed, min(model, default=None))
    found = ledger.autopsy(started, running)
    assert entries(found.running) == {ordinal: item for ordinal, item in model.items() if ordinal in running}
    rest = {ordinal: item for ordinal, item in model.items() if ordinal not in running}
    assert entries(found.finished) == {ordinal: item for ordinal, item in rest.items() if ordinal <= started}
    assert entries(found.untouched) == {ordinal: item for ordinal, item in rest.items() if ordinal > started}
