"""The door: what passes it, what is refused, and how threads share it."""

import threading
from collections.abc import Callable, Hashable

import pytest

from quasiqueue import DONE, QueueClosed, QueueFull, UsageError
from quasiqueue._main.intake import Intake
from quasiqueue._main.parcel import Parcel

WINDOW = 100.0


def make_intake(
    capacity: int = 1000, window: float = WINDOW, key: Callable[[object], Hashable] | None = None
) -> Intake:
    return Intake(capacity=capacity, window=window, key=key)


def taken(intake: Intake, most: int = 1000) -> Parcel:
    parcel = intake.take(most)
    assert parcel is not None
    return parcel


class Waiting:
    """A thread that waits in `put`, and what came of it."""

    def __init__(self, intake: Intake, item: object) -> None:
        self.result: object = None
        self._intake = intake
        self._item = item
        self._waits = threading.Event()
        self._wait = intake._changed.wait
        intake._changed.wait = self._tell  # type: ignore[method-assign]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self._waits.wait(60.0)
        with intake._changed:  # it lets go of the lock only once it waits
            pass

    def _tell(self, timeout: float | None = None) -> bool:
        self._waits.set()
        return self._wait(timeout)

    def _run(self) -> None:
        try:
            self.result = self._intake.put(self._item, timeout=60.0)
        except Exception as error:
            self.result = error

    def end(self) -> object:
        self._thread.join(60.0)
        return self.result


def test_accept_takes_what_is_new() -> None:
    """And counts what is not, in a block of small values and in one of others alike."""
    intake = make_intake()
    assert intake.accept([1, 2, 3], 0.0) == 3
    assert intake.accept([3, 4, 4, 5], 0.0) == 2
    assert intake.accept([[1], [2], [1], 5], 0.0) == 2
    assert intake.accept([], 0.0) == 0
    assert (intake.duplicates, intake.waiting, intake.remembered) == (4, 7, 7)
    assert [parcel.items for parcel in intake.take_all()] == [[1, 2, 3, 4, 5], [[1], [2]]]


def test_block_of_duplicates_brings_nothing() -> None:
    """No parcel, no room used."""
    intake = make_intake()
    intake.accept([1], 0.0)
    assert intake.accept([1, True, 1.0], 1.0) == 0
    assert (intake.duplicates, intake.waiting) == (3, 1)


def test_parcels_know_keys_and_encoding() -> None:
    """Small values are their own keys and travel in bulk; others have keys beside them and travel singly."""
    intake = make_intake()
    intake.accept([1, "a"], 0.0)
    bulk = taken(intake)
    assert (bulk.bulk, bulk.keys, bulk.key(1)) == (True, None, "a")
    intake.accept([{"a": 1}, 7], 0.0)
    single = taken(intake)
    assert (single.bulk, single.items, single.key(1)) == (False, [{"a": 1}, 7], 7)
    assert single.keys is not None
    assert single.keys[0] != single.keys[1]


def test_users_key_decides() -> None:
    """Items with the same key are the same; None is never a duplicate; outcomes get the key as the user gave it."""
    intake = make_intake(key=lambda item: item["id"])  # type: ignore[index]
    rows = [{"id": 1, "n": 1}, {"id": 1, "n": 2}, {"id": None}, {"id": None}, {"id": (2, "x")}]
    assert intake.accept(rows, 0.0) == 4
    parcel = taken(intake)
    assert parcel.items == [{"id": 1, "n": 1}, {"id": None}, {"id": None}, {"id": (2, "x")}]
    assert [parcel.key(index) for index in range(4)] == [1, None, None, (2, "x")]
    assert type(parcel.key(3)) is tuple
    assert intake.duplicates == 1


def test_items_whose_key_raises_are_set_aside() -> None:
    """They are to fail, each with its error; the others of the block are taken."""

    def key(item: object) -> Hashable:
        if item == 2:
            raise LookupError("no id")
        return [] if item == 4 else item  # type: ignore[return-value]

    intake = make_intake(key=key)
    assert intake.accept([1, 2, 3, 4], 0.0) == 2
    assert taken(intake).items == [1, 3]
    refused = intake.take_refused()
    assert [(each.item, type(each.error)) for each in refused] == [(2, LookupError), (4, TypeError)]
    assert intake.take_refused() == []
    assert intake.accept([2], 0.0) == 0
    assert [each.item for each in intake.take_refused()] == [2]


def test_put_of_an_item_whose_key_raises_is_accepted() -> None:
    """It will end as failed, so it was no duplicate."""
    intake = make_intake(key=lambda item: 1 // item)  # type: ignore[operator]
    assert intake.put(0, timeout=0.0) is True
    assert [each.item for each in intake.take_refused()] == [0]


def test_without_a_window_nothing_is_a_duplicate() -> None:
    """And nothing is remembered, nor the user's key asked."""
    intake = make_intake(window=0.0, key=lambda item: 1 // 0)
    assert intake.accept([1, 1, [2], [2]], 0.0) == 4
    assert (intake.remembered, intake.duplicates, intake.next_expiry()) == (0, 0, None)
    parcel = taken(intake)
    assert (parcel.items, parcel.key(0), parcel.generation) == ([1, 1, [2], [2]], None, None)
    intake.end(parcel)


def test_room_counts_what_waits_anywhere() -> None:
    """The backlog, and what the dispatcher says of the rest; the writer may have gone beyond."""
    intake = make_intake(capacity=10)
    intake.accept([1, 2, 3], 0.0)
    assert (intake.waiting, intake.backlog, intake.room(), intake.is_half_empty()) == (3, 3, 7, True)
    intake.elsewhere = 3
    assert (intake.waiting, intake.backlog, intake.room(), intake.is_half_empty()) == (6, 3, 4, False)
    intake.accept(list(range(10, 20)), 0.0)
    assert intake.room() == -6


@pytest.mark.parametrize(
    ("capacity", "waiting", "expected"), [(1, 0, True), (1, 1, False), (3, 1, True), (3, 2, False), (10, 5, True)]
)
def test_half_empty_is_half_or_less(capacity: int, waiting: int, expected: bool) -> None:
    """A queue of one place is half empty when it is empty."""
    intake = make_intake(capacity=capacity)
    intake.accept(list(range(waiting)), 0.0)
    assert intake.is_half_empty() is expected


def test_put_says_whether_the_item_was_new() -> None:
    """True, or False for a duplicate; the same item of the writer's is one too."""
    intake = make_intake()
    assert [intake.put(item, timeout=0.0) for item in (1, 2, 1, [3], [3])] == [True, True, False, True, False]
    assert intake.accept([2], 0.0) == 0
    assert intake.duplicates == 3


def test_put_without_room_says_what_to_do() -> None:
    """Nothing is accepted; the message has the numbers and the ways out."""
    intake = make_intake(capacity=2)
    intake.accept([1, 2], 0.0)
    with pytest.raises(QueueFull) as caught:
        intake.put(3, timeout=0.001)
    assert str(caught.value) == (
        "No room for another item within 0.001 s: 2 are waiting and max_queue_size is 2. "
        "Offer it again later, or raise max_queue_size or queue_interaction_timeout."
    )
    intake.take(1)
    assert intake.put(3, timeout=0.0) is True


@pytest.mark.parametrize("item", [None, DONE])
def test_put_refuses_what_is_no_item(item: object) -> None:
    """None and DONE are what a writer says when it has none."""
    intake = make_intake()
    with pytest.raises(UsageError, match=r"that is no item"):
        intake.put(item, timeout=0.0)
    assert intake.waiting == 0


def test_put_waits_for_room() -> None:
    """A thread that waits goes on as soon as it is told that items have left."""
    intake = make_intake(capacity=1)
    intake.accept([1], 0.0)
    waiting = Waiting(intake, 2)
    intake.take(1)
    intake.tell_room()
    assert waiting.end() is True
    assert taken(intake).items == [2]


def test_put_that_waits_learns_of_the_end() -> None:
    """When the door closes, whoever waits is refused, and nobody waits on."""
    intake = make_intake(capacity=1)
    intake.accept([1], 0.0)
    waiting = Waiting(intake, 2)
    intake.close()
    assert isinstance(waiting.end(), QueueClosed)
    assert [parcel.items for parcel in intake.take_all()] == [[1]]


def test_many_threads_put_each_item_once() -> None:
    """Eight threads offer the same thousand items: each is taken exactly once, by one of them."""
    intake = make_intake(capacity=10_000)
    results: list[list[bool]] = [[] for _ in range(8)]

    def offer(mine: list[bool]) -> None:
        for item in range(1000):
            mine.append(intake.put(item, timeout=0.0))  # noqa: PERF401 - results must be seen one by one

    threads = [threading.Thread(target=offer, args=(mine,)) for mine in results]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [sum(column) for column in zip(*results, strict=True)] == [1] * 1000
    assert sorted(item for parcel in intake.take_all() for item in parcel.items) == list(range(1000))  # type: ignore[type-var]
    assert intake.duplicates == 7000


def test_closed_door_takes_nothing() -> None:
    """Neither from the writer nor by `put`; what is inside stays."""
    intake = make_intake()
    intake.accept([1], 0.0)
    assert intake.close() is True
    with pytest.raises(QueueClosed, match=r"^The queue takes nothing more: .* Put items before that\.$"):
        intake.accept([2], 0.0)
    with pytest.raises(QueueClosed):
        intake.put(3, timeout=0.0)
    assert (intake.accept([], 0.0), intake.waiting, intake.duplicates) == (0, 1, 0)


def test_door_closes_only_if_empty_where_asked() -> None:
    """A run that is done closes it unless something came in meanwhile: an item, one on its way, one refused."""
    intake = make_intake(key=lambda item: 1 // item)  # type: ignore[operator]
    intake.accept([1], 0.0)
    assert intake.close(only_if_empty=True) is False
    intake.take(1)
    intake.elsewhere = 1
    assert intake.close(only_if_empty=True) is False
    intake.elsewhere = 0
    intake.accept([0], 0.0)
    assert intake.close(only_if_empty=True) is False
    intake.take_refused()
    assert (intake.is_closed, intake.close(only_if_empty=True), intake.is_closed) == (False, True, True)


def test_given_back_parcels_keep_their_order() -> None:
    """Several that are given back together come out as they were, before all others."""
    intake = make_intake(window=0.0)
    intake.accept([1, 2, 3, 4, 5], 0.0)
    first, second = taken(intake, 2), taken(intake, 2)
    intake.give_back(iter([first, second]))
    assert [parcel.items for parcel in intake.take_all()] == [[1, 2], [3, 4], [5]]


def test_old_keys_are_forgotten_but_those_of_active_items() -> None:
    """What waits in the backlog, and what is elsewhere, keeps its key beyond the window; what has ended does not."""
    intake = make_intake()
    intake.accept([1, 2, 3], 0.0)
    one = taken(intake, 1)
    intake.end(one)
    two = taken(intake, 1)
    assert intake.next_expiry() == WINDOW
    intake.expire(WINDOW, lambda: [two])
    assert (intake.remembered, intake.next_expiry()) == (2, None)
    assert intake.accept([1, 2, 3], WINDOW) == 1
    intake.end(two)
    assert intake.accept([2, 3], WINDOW) == 1
    assert intake.duplicates == 3


def test_keys_of_ended_items_stay_for_the_window() -> None:
    """An item that has ended is a duplicate until its time has passed."""
    intake = make_intake()
    intake.accept([[1]], 0.0)
    intake.end(taken(intake))
    intake.expire(WINDOW - 1, list)
    assert intake.accept([[1]], WINDOW - 1) == 0
    intake.expire(2 * WINDOW, list)
    assert intake.accept([[1]], 2 * WINDOW) == 1
