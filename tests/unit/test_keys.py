"""What makes two items the same, whatever their own methods do."""

import enum
import io
import socket
import uuid
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quasiqueue._main.intake import Intake
from quasiqueue._main.keys import Shielded, bare, is_bulk, key_of, keys_of

from .support import raises


def types_of(items: list[object]) -> set[type]:
    return set(map(type, items))


def accepted(*items: object) -> list[int]:
    """Offer items one by one; 1 where one is taken, 0 where it is a duplicate."""
    intake = Intake(capacity=1000, window=10.0)
    return [intake.accept([item], 0.0) for item in items]


class Color(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    ONE = 1


@dataclass(frozen=True)
class Point:
    x: int
    y: int


class EqRaises:
    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        return hash(self.number)

    def __eq__(self, other: object) -> bool:
        return self.number == other.number  # type: ignore[attr-defined]


class Truthless:
    def __bool__(self) -> bool:
        raise ValueError("the truth value of an array is ambiguous")


class ArrayLike:
    """Hashable, and compared element by element, as some arrays are."""

    def __init__(self, values: list[int]) -> None:
        self.values = values

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> Truthless:  # type: ignore[override]
        return Truthless()


class Unhashable:
    """As numpy's arrays are: no hash, no truth, and a pickle."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, values: list[int]) -> None:
        self.values = values

    def __eq__(self, other: object) -> Truthless:  # type: ignore[override]
        return Truthless()


class HashRaises:
    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        raise RuntimeError("no hash")


class NothingWorks(HashRaises):
    def __reduce__(self) -> str:
        raise RuntimeError("no pickle either")


@pytest.mark.parametrize("same", [(1, True, 1.0, 1 + 0j, Level.ONE), (0, False, 0.0, -0.0), ((1, 2), (True, 2.0))])
def test_items_that_a_dictionary_holds_the_same_are_duplicates(same: tuple[object, ...]) -> None:
    """1 == True == 1.0, in whatever form they come, alone or in tuples."""
    assert accepted(*same) == [1] + [0] * (len(same) - 1)


@pytest.mark.parametrize("different", [(1, "1", b"1"), ("a", b"a"), ((1,), 1), (Color.RED, 1), ((), 0)])
def test_items_that_a_dictionary_holds_apart_are_not(different: tuple[object, ...]) -> None:
    """Texts, bytes, numbers, tuples and members of an enum stay apart."""
    assert accepted(*different) == [1] * len(different)


@given(st.lists(st.one_of(st.integers(-3, 3), st.floats(-2, 2), st.text(max_size=2), st.binary(max_size=2))))
def test_a_block_is_judged_as_a_dictionary_would(items: list[object]) -> None:
    """In one block as one by one, exactly the first of each is taken."""
    intake = Intake(capacity=1000, window=10.0)
    assert intake.accept(list(items), 0.0) == len(dict.fromkeys(items)) == sum(accepted(*items))


def test_nan_is_itself_and_no_other() -> None:
    """As in a dictionary: one NaN twice is a duplicate, two NaNs are two items."""
    one, other = float("nan"), float("nan")
    assert accepted(one, other, one, (one,), (other,), (one,)) == [1, 1, 0, 1, 1, 0]


@pytest.mark.parametrize(
    ("one", "same", "other"),
    [
        (Point(1, 2), Point(1, 2), Point(2, 1)),
        (uuid.UUID(int=1), uuid.UUID(int=1), uuid.UUID(int=2)),
        (frozenset({1}), frozenset({True}), frozenset()),
        ([1, 2], [1, 2], [2, 1]),
        ({"a": [1]}, {"a": [1]}, {"a": [2]}),
        (bytearray(b"a"), bytearray(b"a"), bytearray(b"b")),
        (Unhashable([1]), Unhashable([1]), Unhashable([2])),
        (HashRaises(1), HashRaises(1), HashRaises(2)),
        (([1], 2), ([1], 2), ([1], 3)),
        ((1, (2, [3])), (1, (2, [3])), (1, (2, [4]))),
        ("a" * 5000, "a" * 5000, "a" * 5001),
        (b"a" * 5000, b"a" * 5000, "a" * 5000),
        ("\ud800" * 2000, "\ud800" * 2000, "\ud801" * 2000),
    ],
)
def test_items_of_every_kind_are_compared(one: object, same: object, other: object) -> None:
    """Hashable items as a dictionary compares them, the others by what they pickle to, long texts by a digest."""
    assert accepted(one, same, other, one) == [1, 0, 1, 0]


def test_comparison_that_raises_hurts_nobody() -> None:
    """An `__eq__` that raises on other types makes two items different, its own and the other; equal ones are found."""
    assert accepted(EqRaises(1), 1, EqRaises(1), EqRaises(2), 1) == [1, 1, 0, 1, 0]
    assert accepted(1, EqRaises(1), True, 2, EqRaises(2), EqRaises(1)) == [1, 1, 0, 1, 1, 0]
    intake = Intake(capacity=1000, window=10.0)
    assert intake.accept([EqRaises(3)], 0.0) == 1
    assert intake.accept([1, 2, 3, 4], 0.0) == 4


def test_comparison_without_a_truth_is_no_equality() -> None:
    """Arrays that compare element by element are the same only where they are one object."""
    one = ArrayLike([1])
    assert accepted(one, ArrayLike([1]), one) == [1, 1, 0]


def test_items_with_neither_hash_nor_pickle_are_never_duplicates() -> None:
    """They fail by name when they are to be sent, each."""
    item = NothingWorks(1)
    assert key_of(item) is None
    assert accepted(item, item) == [1, 1]


def test_sockets_and_files_are_never_duplicates() -> None:
    """By themselves and in tuples, however deep; a file in memory is no file in this sense."""
    with socket.socket() as sock, open("/dev/null") as file:
        for item in (sock, file, (sock,), (1, ("a", sock)), (file, "name")):
            assert key_of(item) is None
            assert accepted(item, item) == [1, 1]
    text = io.StringIO("text")
    assert accepted(text, text) == [1, 0]


def test_tuples_deeper_than_python_goes_are_never_duplicates() -> None:
    """Nothing can be done with such an item, and nothing breaks by it."""
    item: object = 1
    for _ in range(100_000):
        item = (item,)
    assert key_of((item, [])) is None


def test_long_texts_are_remembered_by_digest() -> None:
    """What is remembered of a text of megabytes is 16 bytes; of a short one it is itself."""
    key = key_of("x" * 5_000_000)
    assert isinstance(key, tuple)
    assert (key[0], len(key[1])) == (str, 16)
    assert key_of("x" * 1024) == "x" * 1024
    assert key_of(b"x" * 1025) == (bytes, key_of(b"x" * 1025)[1])  # type: ignore[index]


@pytest.mark.parametrize("length", [900, 1024, 1025, 2000, 5000, 16_000, 20_000])
def test_text_has_one_key_in_every_company(length: int) -> None:
    """A text among many small items is the same as the text by itself."""
    text = "x" * length
    intake = Intake(capacity=1000, window=10.0)
    assert intake.accept([text, *range(500)], 0.0) == 501
    assert intake.accept([text], 0.0) == 0
    assert intake.accept([text, [1]], 0.0) == 1


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([], True),
        ([1, 2.0, True, 1j], True),
        (["a", b"b", 3], True),
        ([(1, "a"), (2.0, b"b"), ()], True),
        ([None], False),
        ([[1]], False),
        ([(1, (2, 3))], False),
        ([(1, (2, [3]))], False),
        ([(None,)], False),
        ([Level.ONE], False),
        ([Color.RED], False),
        (["x" * 1100, *range(100)], False),
        (["x" * 900, *range(100)], True),
        (["x" * 900], False),
        ([("x" * 900,), *range(100)], True),
    ],
)
def test_bulk_is_for_small_builtin_values(items: list[object], expected: bool) -> None:
    """Numbers, short texts and flat tuples of them are pickled together; whatever has code or weight is not."""
    assert is_bulk(items, types_of(items)) is expected


def test_keys_of_asks_the_users_function() -> None:
    """Its answers are the keys; one that raises, or cannot be hashed, gives its error."""
    error = LookupError("no id")

    def key(item: object) -> object:
        if item == 3:
            raise error
        return [item] if item == 2 else None if item == 4 else ("id", item)

    keys = keys_of([1, 2, 3, 4], key)
    assert bare(keys[0]) == ("id", 1)  # type: ignore[arg-type]
    assert isinstance(keys[1], TypeError)
    assert keys[2] is error
    assert keys[3] is None
    assert keys_of([], raises(error)) == []


def test_shielded_keys_are_equal_to_what_they_hold() -> None:
    """A key of a foreign type is found among plain ones and shielded ones alike, and is hashed once."""
    assert Shielded((1, 2)) in {(1, 2)}
    assert (1.0, 2) in {Shielded((True, 2))}
    assert Shielded(Point(1, 2)) == Shielded(Point(1, 2))
    assert Shielded(EqRaises(1)) != 1
    assert (bare(Shielded("a")), bare("a"), bare(None)) == ("a", "a", None)
