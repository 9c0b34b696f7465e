"""What outcomes say: results, those of one status, and whether every accepted item has exactly one.

A run hands in outcomes, by way of a collector (`OutcomeRecorder`) or as the result of an inline run. Invariant: items
are told apart as the engine tells them apart when no `key` is given; those without identity (sockets) by being the
same object.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Generic

from .._main.keys import key_of
from .._main.texts import item_text
from ..events import ItemT, Outcome, Status

_MOST_NAMED = 20


def assert_settled(outcomes: Iterable[Outcome[ItemT]], accepted: Iterable[ItemT]) -> None:
    """Asserts that every accepted item has exactly one outcome, of whatever status, and no other item has one.

    Args:
        outcomes: all outcomes of a run.
        accepted: the items that the queue accepted: without duplicates, unless `prevent_requeuing_time` is 0; one that
            stands here twice must have ended twice.

    Raises:
        AssertionError: it is not so; the message names lost, unexpected and doubled items.
    """
    __tracebackhide__ = True
    found, texts = defaultdict[Hashable, list[Status]](list), dict[Hashable, str]()
    for outcome in outcomes:
        identity = _identity(outcome.item)
        found[identity].append(outcome.status)
        texts[identity] = item_text(outcome.item)
    wanted = Counter[Hashable]()
    for item in accepted:
        identity = _identity(item)
        wanted[identity] += 1
        texts.setdefault(identity, item_text(item))
    more = {identity: statuses for identity, statuses in found.items() if len(statuses) > wanted[identity]}
    faults = {
        "lost": [texts[identity] for identity, count in wanted.items() for _ in range(count - len(found[identity]))],
        "unexpected": [_with_statuses(texts[one], statuses) for one, statuses in more.items() if not wanted[one]],
        "doubled": [_with_statuses(texts[one], statuses) for one, statuses in more.items() if wanted[one]],
    }
    if any(faults.values()):
        total = sum(map(len, found.values()))
        lines = [f"{wanted.total()} accepted items should have one outcome each, and there are {total} outcomes:"]
        lines += [f"  {word} ({len(names)}): {_listed(names)}" for word, names in faults.items() if names]
        raise AssertionError("\n".join(lines))


def _identity(item: object) -> Hashable:
    key = key_of(item)
    return ("object", id(item)) if key is None else key


def _with_statuses(text: str, statuses: Sequence[Status]) -> str:
    return f"{text} ({', '.join(statuses)})"


def _listed(names: Sequence[str]) -> str:
    more = [f"and {len(names) - _MOST_NAMED} more"] if len(names) > _MOST_NAMED else []
    return ", ".join([*names[:_MOST_NAMED], *more])


class OutcomeList(Generic[ItemT]):
    """Outcomes and what can be asked of them.

    Attributes:
        outcomes: in the order in which items ended, as far as one is known.
    """

    def __init__(self) -> None:
        self.outcomes: list[Outcome[ItemT]] = []

    def by_status(self, status: Status | str) -> list[Outcome[ItemT]]:
        """Returns the outcomes of one status.

        Args:
            status: a `Status`, or its word: "done", "failed", "timed_out", "crashed", "released".

        Raises:
            ValueError: there is no such status.
        """
        wanted = Status(status)
        return [outcome for outcome in self.outcomes if outcome.status is wanted]

    def results(self) -> dict[ItemT, object]:
        """Returns the reader's return value by item, for the items that are done.

        Raises:
            TypeError: an item cannot be hashed; then look through `outcomes`.
        """
        return {outcome.item: outcome.result for outcome in self.by_status(Status.DONE)}

    def assert_each_once(self, items: Iterable[ItemT]) -> None:
        """Asserts that each of these items has exactly one outcome, of whatever status, and no other item has one.

        Raises:
            AssertionError: it is not so; the message names lost, unexpected and doubled items.
        """
        __tracebackhide__ = True
        assert_settled(self.outcomes, items)


class OutcomeRecorder(OutcomeList[ItemT]):
    """A collector that keeps every outcome: `QuasiQueue(..., collector=recorder)`.

    Where types are checked it is made with the type of the items, as in `OutcomeRecorder[int]()`.

    Args:
        then: a collector to pass the outcomes on to: a sync function that takes a list.
    """

    def __init__(self, then: Callable[[list[Outcome[ItemT]]], object] | None = None) -> None:
        super().__init__()
        self._then = then

    def __call__(self, outcomes: list[Outcome[ItemT]]) -> None:
        """Takes outcomes from the queue."""
        if self._then is not None:
            self._then(list(outcomes))
        self.outcomes += outcomes  # after it, because a collector that fails gets the same outcomes again
