"""The crash table: whatever happens wherever an item, a result or a context passes, each cell has one exact outcome.

Items are pickled and results are unpickled in the main process: a fault that ends a process ends that one there, so
these cells run as programs of their own, after which nothing may be left.
"""

import ctypes
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from quasiqueue import CrashLoopError, Outcome, QuasiQueue, RunSummary
from quasiqueue.events import ErrorInfo

from .support import ALL_ONCE, Basket, Ledger, Program, quick, wait_until

# ---- the faults


class UnpicklableError(Exception):
    """Holds a lock, so it cannot be pickled."""


def strike(fault: str) -> None:
    """Do harm to the process that calls it."""
    match fault:
        case "raises":
            raise ValueError("struck")
        case "unpicklable error":
            raise UnpicklableError("struck", threading.Lock())
        case "sys.exit":
            sys.exit(3)
        case "os._exit":
            os._exit(4)
        case "SIGSEGV":
            ctypes.string_at(0)
        case "SIGKILL":
            os.kill(os.getpid(), signal.SIGKILL)


# ---- the places; at the top of the module, so that spawned workers can import them


@dataclass(frozen=True)
class StrikesWhenPickled:
    """Strikes in the process that pickles it."""

    fault: str

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        strike(self.fault)
        raise AssertionError("still alive")


@dataclass(frozen=True)
class StrikesWhenUnpickled:
    """Strikes in the process that unpickles it."""

    fault: str

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return strike, (self.fault,)


@dataclass(frozen=True)
class Bad:
    """Can be pickled; the reader does with it what its place says."""

    place: str
    fault: str


def reader(ledger: Ledger, item: object, _ctx: object) -> object:
    if isinstance(item, Bad):
        match item.place:
            case "reader":
                strike(item.fault)
            case "result pickles":
                return StrikesWhenPickled(item.fault)
            case "result unpickles":
                return StrikesWhenUnpickled(item.fault)
    ledger.note("end", item)
    return item


def context(fault: str) -> str:
    strike(fault)
    return "sound"


def bad_item(place: str, fault: str) -> object:
    """Return the item that brings a fault to a place."""
    match place:
        case "item pickles":
            return StrikesWhenPickled(fault)
        case "item unpickles":
            return StrikesWhenUnpickled(fault)
    return Bad(place, fault)


# ---- the outcomes


@dataclass(frozen=True)
class Fails:
    """The item fails, its worker lives, all others are done. `in_worker` tells whether the item came to a worker."""

    type: str
    message: str
    in_worker: bool = True


@dataclass(frozen=True)
class Crashes:
    """The item is crashed after `max_crashes` deaths of workers, all others are done."""

    message: str
    exit_code: int | None
    signal: str | None
    stack: str = ""


@dataclass(frozen=True)
class RunEnds:
    """The run ends with `CrashLoopError`, which says what the first worker said; all items are released."""

    message: str
    first: str


@dataclass(frozen=True)
class MainEnds:
    """The main process ends, with this code, and takes all its processes along."""

    code: int


NOT_PICKLED = "The item StrikesWhenPickled(fault={fault!r}) cannot be pickled, so no worker can get it: "
NOT_UNPICKLED = "the result cannot be unpickled: "
LOCK = "('struck', <unlocked _thread.lock object at "

ENDS_MAIN = {"os._exit": MainEnds(4), "SIGSEGV": MainEnds(-signal.SIGSEGV), "SIGKILL": MainEnds(-signal.SIGKILL)}
FAILS_IN_WORKER = {
    "raises": Fails("ValueError", "struck"),
    "unpicklable error": Fails("UnpicklableError", LOCK),
    "sys.exit": Fails("SystemExit", "3"),
}
CRASHES_WORKER = {
    "os._exit": Crashes("exited with code 4", 4, None),
    "SIGSEGV": Crashes("killed by SIGSEGV (a crash in native code)", None, "SIGSEGV", stack="in strike"),
    "SIGKILL": Crashes("killed by SIGKILL (perhaps out of memory?)", None, "SIGKILL"),
}

TABLE: dict[str, dict[str, Fails | Crashes | RunEnds | MainEnds]] = {
    "item pickles": {
        "raises": Fails("ValueError", NOT_PICKLED + "struck", in_worker=False),
        "unpicklable error": Fails("UnpicklableError", NOT_PICKLED + LOCK, in_worker=False),
        "sys.exit": Fails("SystemExit", NOT_PICKLED + "3", in_worker=False),
        **ENDS_MAIN,
    },
    "item unpickles": {**FAILS_IN_WORKER, **CRASHES_WORKER},
    "context": {
        "raises": RunEnds("ValueError: struck", "ValueError: struck"),
        "unpicklable error": RunEnds("UnpicklableError: " + LOCK, "UnpicklableError: " + LOCK),
        "sys.exit": RunEnds("SystemExit: 3", "SystemExit: 3"),
        "os._exit": RunEnds("exited with code 4", ""),
        "SIGSEGV": RunEnds("killed by SIGSEGV (a crash in native code)", "Fatal Python error: Segmentation fault"),
        "SIGKILL": RunEnds("killed by SIGKILL (perhaps out of memory?)", ""),
    },
    "reader": {**FAILS_IN_WORKER, **CRASHES_WORKER},
    "result pickles": {**FAILS_IN_WORKER, **CRASHES_WORKER},
    "result unpickles": {
        "raises": Fails("ValueError", NOT_UNPICKLED + "struck"),
        "unpicklable error": Fails("UnpicklableError", NOT_UNPICKLED + LOCK),
        "sys.exit": Fails("SystemExit", NOT_UNPICKLED + "3"),
        **ENDS_MAIN,
    },
}
CELLS = [(place, fault, outcome) for place, faults in TABLE.items() for fault, outcome in faults.items()]
GOOD = range(6)
MAX_CRASHES = 2


# ---- the test


def build(place: str, fault: str, start_method: str, ledger: Ledger, basket: Basket) -> QuasiQueue:
    """Return a queue one of whose items, or whose context, meets the fault."""
    items: list[object] = list(GOOD)
    if place != "context":
        items.insert(3, bad_item(place, fault))
    limits = {"max_restarts": 1} if place == "context" else {"max_crashes": MAX_CRASHES}
    return QuasiQueue(
        "table",
        functools.partial(reader, ledger),
        items,
        context=functools.partial(context, fault if place == "context" else ""),
        collector=basket,
        settings=quick(start_method, **limits),
    )


@pytest.mark.parametrize(("place", "fault", "expected"), CELLS, ids=[f"{place}-{fault}" for place, fault, _ in CELLS])
def test_crash_table(
    place: str,
    fault: str,
    expected: Fails | Crashes | RunEnds | MainEnds,
    start_method: str,
    ledger: Ledger,
    program: Callable[..., Program],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One cell: the fault at its place has exactly this outcome, costs nothing but its item, and leaves nothing."""
    basket = Basket()
    if isinstance(expected, MainEnds):
        check_main_ends(program(MAIN_ENDS, PLACE=place, FAULT=fault, START=start_method, **PATH), expected)
        return
    queue = build(place, fault, start_method, ledger, basket)
    if isinstance(expected, RunEnds):
        check_run_ends(queue, expected, basket, ledger)
        return
    summary = queue.run()
    bad = bad_item(place, fault)
    outcome = basket.of(bad)
    assert ledger.check(GOOD) == ALL_ONCE
    assert basket.results() == {item: item for item in GOOD}
    assert len(basket.outcomes) == len(GOOD) + 1
    assert [record.getMessage() for record in caplog.records if f"item {bad!r} {outcome.status}" in record.message]
    if isinstance(expected, Fails):
        check_fails(outcome, summary, expected, fault)
    else:
        check_crashes(outcome, summary, expected)


def check_fails(outcome: Outcome, summary: RunSummary, expected: Fails, fault: str) -> None:
    """The item has failed, and no worker died of it."""
    assert (outcome.status, outcome.result, outcome.crashes) == ("failed", None, 0)
    assert outcome.error.type == expected.type
    assert outcome.error.message.startswith(expected.message.replace("{fault!r}", repr(fault)))
    assert (outcome.error.exit_code, outcome.error.signal) == (None, None)
    assert "in strike" in outcome.error.traceback
    assert (outcome.pid is not None, outcome.attempts) == (expected.in_worker, int(expected.in_worker))
    assert summary == RunSummary(done=len(GOOD), failed=1, seconds=summary.seconds, failures=(outcome,))


def check_crashes(outcome: Outcome, summary: RunSummary, expected: Crashes) -> None:
    """The item was on `max_crashes` dying workers; none of them is counted against another item."""
    error: ErrorInfo = outcome.error
    assert (outcome.status, outcome.result) == ("crashed", None)
    assert (outcome.crashes, outcome.attempts) == (MAX_CRASHES, 0)
    assert error.type == "WorkerDied"
    assert error.message == f"worker {outcome.pid} {expected.message}"
    assert (error.exit_code, error.signal) == (expected.exit_code, expected.signal)
    assert expected.stack in error.stack
    assert bool(error.stack) is bool(expected.stack)
    assert summary == RunSummary(
        done=len(GOOD),
        crashed=1,
        retried=MAX_CRASHES - 1,
        restarted=MAX_CRASHES,
        seconds=summary.seconds,
        failures=(outcome,),
    )


def check_run_ends(queue: QuasiQueue, expected: RunEnds, basket: Basket, ledger: Ledger) -> None:
    """The second death is one too many; the error has the first traceback or stack once; nothing was handed out."""
    with pytest.raises(CrashLoopError) as caught:
        queue.run()
    text = str(caught.value)
    told, _, first = text.partition("\nThe first one said:\n")
    assert told.startswith("2 workers of queue 'table' died within 60 s and no item was finished between them. ")
    assert expected.message in told
    assert expected.first in first
    assert bool(first) is bool(expected.first)
    if first:
        assert first.count("in strike") == 1
    assert [(outcome.item, outcome.status) for outcome in basket.outcomes] == [(item, "released") for item in GOOD]
    assert ledger.lines() == []


# ---- where the main process ends

MAIN_ENDS = """
    import os
    from pathlib import Path

    from behaviour.support import Basket, Ledger
    from behaviour.test_crash_table import build
    from quasiqueue.events import WorkerReady

    if __name__ == "__main__":
        ledger = Ledger(Path(os.environ["FOLDER"], "ledger"))
        queue = build(os.environ["PLACE"], os.environ["FAULT"], os.environ["START"], ledger, Basket())
        queue.subscribe(lambda event: isinstance(event, WorkerReady) and print("ready", event.pid, flush=True))
        queue.run()
        print("still here")
"""
PATH = {"PYTHONPATH": str(Path(__file__).parent.parent)}


def check_main_ends(program: Program, expected: MainEnds) -> None:
    """Nobody can go on without the main process: what is left of its session goes, within a second."""
    program.line("ready")
    assert program.ended() == expected.code
    wait_until(lambda: not program.members(), limit=1.0)
    assert "still here" not in program.lines
