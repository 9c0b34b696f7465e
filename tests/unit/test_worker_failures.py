"""An exception becomes text, whatever its own methods do and however large it is."""

import pickle
from collections.abc import Callable

import pytest

from quasiqueue import Reject, Retry
from quasiqueue._callables import ReaderPlan
from quasiqueue._wire.failures import MAX_MESSAGE, MAX_TRACEBACK, error_text
from quasiqueue._wire.messages import RecordKind, unpack_values
from quasiqueue._worker.failures import describe


class StrRaisesError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class StrExitsError(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class StrIsNoTextError(Exception):
    def __str__(self) -> str:
        return 5  # type: ignore[return-value]  # noqa: PLE0307


class UnpicklableError(Exception):
    def __init__(self) -> None:
        super().__init__("holds a function")
        self.function = lambda: None

    def __reduce__(self) -> str:
        raise TypeError("not to be pickled")


def caught(function: Callable[[], object]) -> BaseException:
    with pytest.raises(BaseException) as caught:  # noqa: PT011
        function()
    return caught.value


def raising(error: BaseException) -> BaseException:
    def user_code() -> None:
        raise error

    return caught(user_code)


def told(error: BaseException) -> tuple[RecordKind, tuple[object, ...]]:
    kind, payload = describe(error)
    return kind, unpack_values(payload)


def test_error_is_type_message_and_traceback() -> None:
    """The three as text, the traceback with the user's line."""
    kind, (name, message, trace) = told(raising(ValueError("what went wrong")))
    assert (kind, name, message) == (RecordKind.FAILED, "ValueError", "what went wrong")
    assert isinstance(trace, str)
    assert trace.startswith("Traceback (most recent call last):\n")
    assert trace.endswith("    raise error\nValueError: what went wrong\n")


def test_reject_is_a_verdict() -> None:
    """Its reason is the message."""
    kind, (name, message, _) = told(raising(Reject("too old")))
    assert (kind, name, message) == (RecordKind.REJECTED, "Reject", "too old")
    assert told(Reject())[1][1] == "rejected by the reader"


@pytest.mark.parametrize("delay", [0, 0.5, 3, -1.0])
def test_retry_is_a_delay(delay: float) -> None:
    """A request, no error: nothing but the seconds travels."""
    assert told(raising(Retry(delay=delay))) == (RecordKind.RETRY, (float(delay),))


def test_subclasses_of_reject_and_retry_count_as_such() -> None:
    """A user's own kinds of both."""

    class Later(Retry):
        pass

    class Never(Reject):
        pass

    assert told(Later(2.0)) == (RecordKind.RETRY, (2.0,))
    assert told(Never("no"))[0] == RecordKind.REJECTED


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (StrRaisesError(), "(its text cannot be had: __str__ raised RuntimeError)"),
        (StrExitsError(), "(its text cannot be had: __str__ raised SystemExit)"),
        (StrIsNoTextError(), "(its text cannot be had: __str__ raised TypeError)"),
    ],
)
def test_error_whose_text_cannot_be_had(error: BaseException, text: str) -> None:
    """It is described all the same."""
    name, message, trace = error_text(raising(error))
    assert (name, message) == (type(error).__name__, text)
    assert trace != ""


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), SystemExit(3), GeneratorExit(), BaseExceptionGroup("two", [ValueError(1)])]
)
def test_errors_beside_exception_are_described(error: BaseException) -> None:
    """Whatever a reader can raise."""
    kind, (name, message, _) = told(raising(error))
    assert (kind, name, message) == (RecordKind.FAILED, type(error).__name__, str(error))


def test_error_that_cannot_be_pickled_travels_as_text() -> None:
    """What travels are three texts."""
    kind, values = told(raising(UnpicklableError()))
    assert (kind, values[:2]) == (RecordKind.FAILED, ("UnpicklableError", "holds a function"))
    assert list(map(type, values)) == [str, str, str]


def test_message_of_100_mb_is_cut() -> None:
    """Message and traceback are cut to what logs can bear; where the error was raised can still be read."""
    kind, payload = describe(raising(ValueError("x" * 100_000_000)))
    _, message, trace = unpack_values(payload)
    assert kind == RecordKind.FAILED
    assert message == "x" * MAX_MESSAGE
    assert isinstance(trace, str)
    assert trace.startswith("Traceback (most recent call last):\n")
    assert "    raise error\n" in trace
    assert trace.endswith("\nValueError: " + "x" * (MAX_MESSAGE - len("ValueError: ")) + " [...]\n")
    assert len(payload) < 2 * MAX_MESSAGE + 1000


def test_long_traceback_keeps_its_end() -> None:
    """Of many long causes the last part is told, which says most."""
    error: BaseException = ValueError("first")
    for index in range(10):
        error, before = ValueError(str(index) * 9000), error
        error.__cause__ = before
    trace = error_text(error)[2]
    assert trace.startswith("[...]\n")
    assert trace.endswith("ValueError: " + "9" * 9000 + "\n")
    assert len(trace) == len("[...]\n") + MAX_TRACEBACK


def test_cycle_of_causes_ends() -> None:
    """Errors that are each other's cause are told once each."""
    one, other = raising(ValueError("one")), raising(KeyError("other"))
    one.__cause__, other.__cause__ = other, one
    _, message, trace = error_text(one)
    assert message == "one"
    assert (trace.count("ValueError: one"), trace.count("KeyError: 'other'")) == (1, 1)


def test_deep_recursion_is_described() -> None:
    """A traceback of a thousand frames is folded."""

    def deeper() -> None:
        deeper()

    name, message, trace = error_text(caught(deeper))
    assert name == "RecursionError"
    assert message.startswith("maximum recursion depth exceeded")
    assert "more times]" in trace
    assert len(trace) < 2000


def test_chain_of_many_causes_is_cut_or_told() -> None:
    """A very long chain of causes cannot break the description."""
    error: BaseException = ValueError("first")
    for index in range(3000):
        error, before = ValueError(str(index)), error
        error.__cause__ = before
    name, message, trace = error_text(error)
    assert (name, message) == ("ValueError", "2999")
    assert len(trace) <= MAX_TRACEBACK + len("[...]\n")
    pickle.dumps((name, message, trace))
    while error.__cause__ is not None:  # taken apart gently: freeing it in one go would recurse as deep
        error.__cause__, error = None, error.__cause__


def test_our_own_frames_are_left_out() -> None:
    """A traceback begins with the user's code; frames of ours that lie further in stay."""

    def user_reader(item: object, context: object, *, settings: object) -> None:
        raise LookupError(f"{item} {context} {settings}")

    bound = ReaderPlan(user_reader, False, True, -1).bind("context", "settings")
    frames = caught(lambda: bound(1)).__traceback__
    while frames is not None and not frames.tb_frame.f_code.co_filename.endswith("_callables.py"):
        frames = frames.tb_next
    assert frames is not None
    name, message, trace = error_text(LookupError("1 context settings").with_traceback(frames))
    assert (name, message) == ("LookupError", "1 context settings")
    assert "_callables.py" not in trace
    assert "in user_reader" in trace
