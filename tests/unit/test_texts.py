"""Short texts about items and errors, whatever their own methods do."""

import pytest

from quasiqueue._main.texts import error_info, item_text
from quasiqueue._wire.failures import MAX_MESSAGE, MAX_TRACEBACK

from .support import raises


class ReprRaises:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class StrRaisesError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (5, "5"),
        ("text", "'text'"),
        ("x" * 198, "'" + "x" * 198 + "'"),
        ("x" * 199, "'" + "x" * 196 + "..."),
        (ReprRaises(), "<ReprRaises whose repr fails>"),
        ([ReprRaises()], "<list whose repr fails>"),
    ],
)
def test_item_text_is_a_short_repr(item: object, expected: str) -> None:
    """At most 200 characters; the class where the repr itself fails."""
    assert item_text(item) == expected


def test_error_info_is_the_error_as_data() -> None:
    """Type, message and traceback as text; nothing that only a dead worker has."""
    with pytest.raises(LookupError) as caught:
        raises(LookupError("gone"))()
    told = error_info(caught.value)
    assert (told.type, told.message) == ("LookupError", "gone")
    assert told.traceback.startswith("Traceback (most recent call last):\n")
    assert told.traceback.endswith("LookupError: gone\n")
    assert (told.exit_code, told.signal, told.stack, told.peak_memory) == (None, None, "", None)


def test_error_without_a_text_is_told_all_the_same() -> None:
    """An exception whose `__str__` raises takes nothing with it."""
    told = error_info(StrRaisesError())
    assert (told.type, told.message) == ("StrRaisesError", "(its text cannot be had: __str__ raised RuntimeError)")


def test_long_error_is_cut() -> None:
    """Message and traceback stay within what logs can bear."""
    told = error_info(ValueError("x" * 1_000_000))
    assert told.message == "x" * MAX_MESSAGE
    assert told.traceback == "ValueError: " + "x" * (MAX_MESSAGE - len("ValueError: ")) + " [...]\n"
    error: BaseException = ValueError("first")
    for index in range(10):
        error, before = ValueError(str(index) * 9000), error
        error.__cause__ = before
    assert len(error_info(error).traceback) == len("[...]\n") + MAX_TRACEBACK
