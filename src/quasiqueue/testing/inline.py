"""Runs a queue in this process and this thread, without any worker: for unit tests and debuggers.

The program under test hands in its queue; its own writer, reader, context, key and collector run, and the engine's own
rooms decide (`_main.source`, `intake`, `settler`, `policy`). Invariant: nothing that is started here outlives the call,
and the queue can be run again afterwards.
"""

from collections.abc import Sequence
from typing import cast

from .._queue import QuasiQueue
from .._worker.context import ContextLife
from ..errors import UsageError
from ..events import ItemT, Outcome, RunSummary
from .bench import Bench
from .calls import Calls
from .clock import VirtualClock
from .outcomes import OutcomeList


class InlineRun(OutcomeList[ItemT]):
    """What an inline run brought.

    Attributes:
        outcomes: how each item ended, in that order, with results whether or not there is a collector.
        summary: the counts; its seconds are those of the virtual clock.
    """

    def __init__(self, outcomes: Sequence[Outcome[ItemT]], summary: RunSummary) -> None:
        super().__init__()
        self.outcomes += outcomes
        self.summary = summary

    def __repr__(self) -> str:
        return f"InlineRun({self.summary})"


def run_inline(
    queue: QuasiQueue[ItemT],
    *,
    max_items: int | None = None,
    idle_rounds: int = 1,
    raise_errors: bool = True,
    clock: VirtualClock | None = None,
    ctx: object = None,
) -> InlineRun[ItemT]:
    """Runs a queue without processes, threads or waiting, until its writer has nothing and everything has ended.

    There is one worker, this process: it makes the context first, then runs one item after the other. The writer is
    asked when nothing is left to run, the collector is called before that. Items are pickled on their way to the
    reader, and results on their way to a collector, as in a real run. Time stands still but for pauses (of the writer,
    of retries), which the clock leaps over; retries come without jitter. What needs processes has no effect:
    `item_timeout` and the limits of workers.

    Args:
        queue: the program's own queue; it must not be running. `put()` and `stop()` on it work before and meanwhile.
        max_items: stop asking the writer once so many items were accepted from it; an endless one needs it.
        idle_rounds: stop asking it once it has said "nothing now" so many times in a row. Between two of them
            `empty_queue_sleep_time` passes on the clock. An item that runs begins the count anew.
        raise_errors: let the first exception of reader, writer, key or collector out, as it is. `Retry` and `Reject`
            are no errors and do what they always do. False: an exception becomes what it becomes in a real run:
            another attempt, a failed item, another call. Those of the context come out in any case, and so do
            KeyboardInterrupt, the end of a debugger, and `pytest.fail`.
        clock: the time; by default a new clock.
        ctx: what the reader gets as context; None: what the queue's own context gives.

    Returns:
        The outcomes and the summary.

    Raises:
        UsageError: the queue runs, or has async parts while a loop runs in this thread, or needs no context.
        WriterError, CollectorError: as in a real run, where they are not the user's own exceptions.
    """
    if (max_items is not None and max_items < 0) or idle_rounds < 1:
        raise UsageError(f"max_items={max_items}, idle_rounds={idle_rounds}: give 0 or more items, 1 or more rounds.")
    _check_ctx(queue, ctx)
    bench = Bench(
        queue.name,
        queue._plans,
        queue.settings,
        queue._subscribers,
        clock=clock or VirtualClock(),
        most=max_items,
        idle_rounds=idle_rounds,
        raise_errors=raise_errors,
    )
    runtime = queue._begin()
    try:
        bench.take_over(runtime)
        queue._runtime = bench
        summary = bench.run_inline(ctx)
    finally:
        queue._runtime = queue._new_runtime()
        queue._is_running = False
    return InlineRun(cast(list[Outcome[ItemT]], bench.outcomes), summary)


def perform(queue: QuasiQueue[ItemT], item: ItemT, *, ctx: object = None) -> object:
    """Calls a queue's reader for one item, here and now: with the context, which ends afterwards, and the settings.

    Args:
        queue: the program's own queue.
        item: goes to the reader as it is; it need not be one that can be pickled.
        ctx: what the reader gets as context; None: what the queue's own context gives.

    Returns:
        What the reader returns.

    Raises:
        UsageError: as `run_inline`.
        BaseException: what reader or context raise, as it is, `Retry` and `Reject` included.
    """
    _check_ctx(queue, ctx)
    plans = queue._plans
    with Calls() as calls, calls.context(ContextLife(plans.context, queue.settings), instead=ctx) as value:
        return calls.read(plans.reader, plans.reader.bind(value, queue.settings), item)


def _check_ctx(queue: QuasiQueue[ItemT], ctx: object) -> None:
    if ctx is not None and not queue._plans.reader.has_context:
        raise UsageError(f"The reader of queue {queue.name!r} takes no context: leave ctx= out.")
