"""What the writer's answers mean, on a time of the tests' own."""

import pytest

from quasiqueue._main.judge import MANY_DUPLICATES, Judge, Verdict
from quasiqueue._main.source import Next, Pulled
from quasiqueue.errors import WriterError
from quasiqueue.settings import Settings


@pytest.fixture
def judge() -> Judge:
    return Judge(Settings(empty_queue_sleep_time=7.0, writer_max_errors=3), queue="court")


def some(count: int, *, after: Next = Next.MORE, ends_call: bool = False) -> Pulled:
    return Pulled(list(range(count)), {int}, after, ends_call=ends_call)


def test_items_go_on(judge: Judge) -> None:
    """New items: asked again at once, also after the call that gave them."""
    assert judge.answer(some(5), 5, now=100.0) is Verdict.GO_ON
    assert judge.answer(some(1, ends_call=True), 1, now=100.0) is Verdict.GO_ON
    assert judge.resume_at == 0.0


@pytest.mark.parametrize("nothing", [some(0, after=Next.NOTHING_NOW), some(3, ends_call=True)])
def test_nothing_new_rests(judge: Judge, nothing: Pulled) -> None:
    """Nothing, or a call of nothing but duplicates: a rest of empty_queue_sleep_time."""
    assert judge.answer(nothing, 0, now=100.0) is Verdict.REST
    assert judge.resume_at == 107.0


def test_call_with_something_new_in_it_does_not_rest(judge: Judge) -> None:
    """Its last part was old, an earlier one, or what was taken meanwhile, was new."""
    judge.answer(some(3), 1, now=100.0)
    assert judge.answer(some(3, ends_call=True), 0, now=100.0) is Verdict.GO_ON
    judge.count(1)
    assert judge.answer(some(3, ends_call=True), 0, now=100.0) is Verdict.GO_ON
    assert judge.answer(some(3, ends_call=True), 0, now=100.0) is Verdict.REST


def test_endless_duplicates_rest(judge: Judge) -> None:
    """A generator that never ends its call rests after many duplicates in a row; one new item begins the count anew."""
    half = some(MANY_DUPLICATES // 2)
    assert judge.answer(half, 0, now=100.0) is Verdict.GO_ON
    assert judge.answer(half, 1, now=100.0) is Verdict.GO_ON
    assert judge.answer(half, 0, now=100.0) is Verdict.GO_ON
    assert judge.answer(half, 0, now=100.0) is Verdict.REST
    assert judge.answer(half, 0, now=100.0) is Verdict.GO_ON


def test_done_ends(judge: Judge) -> None:
    """The end, with or without last items."""
    assert judge.answer(some(2, after=Next.DONE), 0, now=100.0) is Verdict.END


def test_errors_rest_longer_and_longer_until_it_is_enough(judge: Judge) -> None:
    """Three in a row are too many; an answer between them begins the count anew."""
    assert judge.error(ValueError("no"), is_over=False, now=100.0).pause == pytest.approx(0.1)
    second = judge.error(ValueError("no"), is_over=False, now=100.0)
    assert (second.failures, second.pause, judge.resume_at) == (2, pytest.approx(0.2), pytest.approx(100.2))
    judge.answer(some(1), 1, now=101.0)
    assert judge.error(ValueError("no"), is_over=False, now=102.0).failures == 1
    judge.error(ValueError("no"), is_over=False, now=102.0)
    with pytest.raises(WriterError, match=r"'court' failed 3 times in a row. The last error was ValueError: enough"):
        judge.error(ValueError("enough"), is_over=False, now=102.0)


@pytest.mark.parametrize("ends_call", [False, True])
def test_duplicates_before_each_error_are_no_success(ends_call: bool) -> None:
    """Errors stay in a row if all that comes between them is old; what is new, or a call that ends well, counts."""
    judge = Judge(Settings(writer_max_errors=2), queue="court")
    judge.error(ValueError("no"), is_over=False, now=100.0)
    judge.answer(some(5), 0, now=101.0)
    with pytest.raises(WriterError, match="failed 2 times in a row"):
        judge.error(ValueError("no"), is_over=False, now=101.0)
    if ends_call:
        judge.answer(some(5, ends_call=True), 0, now=102.0)
    else:
        judge.count(1)
    assert judge.error(ValueError("no"), is_over=False, now=103.0).failures == 1


def test_first_error_can_be_the_last() -> None:
    """With `writer_max_errors=1` the message says "once"."""
    judge = Judge(Settings(writer_max_errors=1), queue="court")
    with pytest.raises(WriterError, match=r"failed once\. The last error was ValueError: no\."):
        judge.error(ValueError("no"), is_over=False, now=100.0)


def test_error_of_what_cannot_go_on_is_the_last(judge: Judge) -> None:
    """A generator that has raised is over: one error is enough, and it is the cause."""
    error = ValueError("no")
    with pytest.raises(WriterError, match="failed once, and cannot go on") as raised:
        judge.error(error, is_over=True, now=100.0)
    assert raised.value.__cause__ is error
