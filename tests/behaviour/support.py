"""What the behaviour tests share: a running queue to talk to, a ledger of what readers did, gates, whole programs.

Readers that spawned workers import must be functions at the top of a module; what they need to know (a ledger, a gate)
travels as a path.
"""

import ast
import asyncio
import contextlib
import os
import queue as queues
import re
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil

from quasiqueue import Event, Outcome, QuasiQueue, RunSummary, Settings

LIMIT = 20.0
"""Seconds after which a wait has failed. Nothing here comes near."""

T = TypeVar("T")
EventT = TypeVar("EventT", bound=Event)


def quick(start_method: str, **values: object) -> Settings:
    """Settings of a small queue: one worker unless said otherwise, short pauses."""
    given = {"num_processes": 1, "empty_queue_sleep_time": 0.01, "max_jobs_per_process": None, **values}
    return Settings(start_method=start_method, **given)


def wait_until(condition: Callable[[], T], limit: float = LIMIT) -> T:
    """Wait, in a thread or a program without a loop, until a condition holds. Return what it gave."""
    end = time.monotonic() + limit
    while not (value := condition()):
        if time.monotonic() > end:
            raise TimeoutError("the condition did not come true")
        time.sleep(0.002)
    return value


# ---- a queue that runs in this process


class Running:
    """A queue whose `main()` runs beside the test."""

    def __init__(self, queue: QuasiQueue) -> None:
        self.queue = queue
        self.events: list[Event] = []
        queue.subscribe(self.events.append)
        self.task = asyncio.ensure_future(queue.main())

    async def until(self, condition: Callable[[], T]) -> T:
        """Wait until a condition holds. Return what it gave. Fails at once if the run ends before."""
        async with asyncio.timeout(LIMIT):
            while not (value := condition()):
                if self.task.done():
                    self.task.result()
                    raise AssertionError("the run ended before the condition came true")
                await asyncio.sleep(0.002)
        return value

    def all(self, kind: type[EventT]) -> list[EventT]:
        """All events of a kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    async def event(self, kind: type[EventT], count: int = 1) -> EventT:
        """Wait for the event of a kind that is the `count`th. Return it."""
        await self.until(lambda: len(self.all(kind)) >= count)
        return self.all(kind)[count - 1]

    async def ended(self) -> RunSummary:
        """Wait for the run to end. Return its summary, or raise what it raises."""
        async with asyncio.timeout(LIMIT):
            return await asyncio.shield(self.task)

    async def stopped(self) -> RunSummary:
        """Ask the queue to stop, and wait for its end."""
        self.queue.stop()
        return await self.ended()


@contextlib.asynccontextmanager
async def running(queue: QuasiQueue) -> AsyncIterator[Running]:
    """Run a queue beside the test; whatever happens, it has ended afterwards."""
    run = Running(queue)
    try:
        yield run
    finally:
        if not run.task.done():
            queue.stop(force=True)
            await asyncio.wait({run.task})
        run.task.exception()  # looked at, whether or not the test did


class Basket:
    """A collector that keeps what it gets."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.lists: list[int] = []

    def __call__(self, outcomes: list[Outcome]) -> None:
        self.lists.append(len(outcomes))
        self.outcomes.extend(outcomes)

    def results(self) -> dict[object, object]:
        """Result by item, of the items that are done."""
        return {outcome.item: outcome.result for outcome in self.outcomes if outcome.status == "done"}

    def of(self, item: object) -> Outcome:
        """The one outcome of an item."""
        (outcome,) = (outcome for outcome in self.outcomes if outcome.item == item)
        return outcome


# ---- what readers leave behind


LINE = re.compile(r"^([a-z_]+)\t([^\t\n]+)\t([0-9]+)\t([0-9]+\.[0-9]{6})$", re.MULTILINE)


@dataclass(frozen=True)
class Line:
    """One line of a ledger."""

    what: str
    item: object
    pid: int
    at: float


@dataclass(frozen=True)
class Verdict:
    """What a ledger says against what was expected, sorted; `duplicated` are items that occur more than once."""

    lost: list[object]
    unexpected: list[object]
    duplicated: list[object]


ALL_ONCE = Verdict([], [], [])


@dataclass(frozen=True)
class Ledger:
    """A file to which readers append lines, each with one write, so that no death of a process can lose what it did.

    A kill can cut a write, where a page of the file ends: what is left of it is no line, and spoils no other one.
    """

    path: Path

    def note(self, what: str, item: object) -> None:
        """Append a line: what, the item, this process, the monotonic time."""
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, f"\n{what}\t{item!r}\t{os.getpid()}\t{time.monotonic():.6f}\n".encode())
        finally:
            os.close(descriptor)

    def lines(self, what: str | None = None) -> list[Line]:
        """All whole lines so far, or those that say `what`."""
        text = self.path.read_text() if self.path.exists() else ""
        lines = [Line(what, ast.literal_eval(item), int(pid), float(at)) for what, item, pid, at in LINE.findall(text)]
        return [line for line in lines if what in (None, line.what)]

    def items(self, what: str) -> list[object]:
        """The items of the lines that say `what`, in order."""
        return [line.item for line in self.lines(what)]

    def pid_of(self, what: str, item: object) -> int:
        """The process that wrote the last such line; 0 if there is none."""
        return next((line.pid for line in reversed(self.lines(what)) if line.item == item), 0)

    def check(self, expected: Iterable[object], what: str = "end") -> Verdict:
        """Compare the items of the lines that say `what` with those that were given."""
        counts, expected = Counter(self.items(what)), set(expected)
        return Verdict(
            lost=sorted(expected - counts.keys()),
            unexpected=sorted(counts.keys() - expected),
            duplicated=sorted(item for item, count in counts.items() if count > 1),
        )


@dataclass(frozen=True)
class Gate:
    """A gate for readers in any process: closed until the test opens it."""

    path: Path

    def open(self) -> None:
        """Let everybody through."""
        self.path.touch()

    def is_open(self) -> bool:
        """Say whether it is open."""
        return self.path.exists()

    def wait(self) -> None:
        """Wait until it is open."""
        wait_until(self.path.exists)

    async def wait_async(self) -> None:
        """Do the same in a coroutine."""
        while not self.path.exists():  # noqa: ASYNC110 - a file rings no bell
            await asyncio.sleep(0.002)


# ---- whole programs


class Program:
    """A script in a process, session and home of its own. Its lines of output are events to wait for."""

    def __init__(self, folder: Path, text: str, *, options: Iterable[str] = ("-W", "error"), **variables: str) -> None:
        script = folder / "program.py"
        script.write_text(textwrap.dedent(text))
        self._errors = folder / "stderr.txt"
        environment = {**os.environ, "HOME": str(folder), "FOLDER": str(folder), **variables}
        environment.pop("PYTHONUNBUFFERED", None)  # with it a print() is two writes, and two workers' lines can mix
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, *options, str(script)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
                env=environment,
            )
        self.pid = self.process.pid
        self.lines: list[str] = []
        self._queue: queues.SimpleQueue[str | None] = queues.SimpleQueue()
        self._thread = threading.Thread(target=self._read, name="program-output", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self._queue.put(line.rstrip("\n"))
        self._queue.put(None)

    def line(self, beginning: str, limit: float = LIMIT) -> str:
        """Wait for the next line that begins so. Return what follows the beginning."""
        end = time.monotonic() + limit
        while True:
            try:
                line = self._queue.get(timeout=max(0.0, end - time.monotonic()))
            except queues.Empty:
                line = None
            if line is None:
                raise AssertionError(f"no line {beginning!r}; stdout: {self.lines}, stderr: {self.stderr}")
            self.lines.append(line)
            if line.startswith(beginning):
                return line.removeprefix(beginning).strip()

    def wait_stderr(self, text: str) -> str:
        """Wait until stderr holds a text. Return all of it."""
        return wait_until(lambda: self.stderr if text in self.stderr else "")

    @property
    def stderr(self) -> str:
        """All that it has written there so far."""
        return self._errors.read_text()

    def signal(self, number: int) -> None:
        """Send a signal to its first process."""
        os.kill(self.pid, number)

    def signal_group(self, number: int) -> None:
        """Send a signal to its whole process group, as a terminal does."""
        os.killpg(self.pid, number)

    def members(self) -> list[psutil.Process]:
        """Every process of its session that is alive."""
        return session_members(self.pid)

    def ended(self, limit: float = LIMIT) -> int:
        """Wait for its end. Return its exit code; all lines of its output are in `lines` then."""
        code = self.process.wait(limit)
        self._thread.join(2)  # at once, unless somebody whom it has left behind holds its output
        while not self._queue.empty():
            if (line := self._queue.get()) is not None:
                self.lines.append(line)
        return code

    def close(self) -> list[psutil.Process]:
        """End whatever is left. Return what that was, unless the program itself was still running."""
        left = []
        if self.process.poll() is not None:
            with contextlib.suppress(TimeoutError):
                wait_until(lambda: not self.members(), 2)
            left = self.members()
        for process in self.members():
            with contextlib.suppress(psutil.Error):
                process.kill()
        self.process.wait()
        self._thread.join(LIMIT)
        self.process.stdout.close()
        return left


def is_gone(pid: int) -> bool:
    """Say whether a process has ended, be it reaped yet or not."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def session_members(session: int) -> list[psutil.Process]:
    """Every live process of a session, zombies left out."""
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, psutil.Error):
            if os.getsid(pid) == session and (process := psutil.Process(pid)).status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
