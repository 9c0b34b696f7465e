"""Many items, a ledger, and somebody who kills, stops, starves, recycles and scales the workers: nothing may be lost.

Run it with `make chaos SECONDS=60`, or `python chaos/chaos.py SECONDS [SEED]`. The seed is printed first; with the same
one the same faults come after the same pauses. It ends with a table, and with exit code 1 if an item was lost, ran
unexpectedly, or ran twice although nobody killed the process that ran it first. The ledger and the log are kept then.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from ledger import Findings, check, read
from work import Item, Work, make_item

from quasiqueue import Event, Outcome, QuasiQueue, RunSummary, Settings
from quasiqueue.events import WorkerDied

ITEMS = 100_000
PROCESSES = 2
LOAD = 0.6
"""The share of the time that the workers would be busy with all items if nobody disturbed them."""

OVERHEAD = 0.0001
"""Seconds that an item takes beside its own: the end of a sleep is late, and two lines are written."""

MOST_OF_TIME = 1.25
"""Nothing is offered any more after this share of the time: a slow machine gets fewer items, not a longer run."""


# ---- who disturbs them


class Chaos:
    """Injects faults into a running queue, at random, and keeps a list of them.

    Args:
        queue: the victim.
        seed: decides what happens when; each kind of fault has random numbers of its own.
    """

    def __init__(self, queue: QuasiQueue[Item], seed: int) -> None:
        self._queue = queue
        self._seed = seed
        self.counts: Counter[str] = Counter()
        self.killed: set[int] = set()

    async def run(self) -> None:
        """Goes on until it is cancelled; every process that was stopped runs again then."""
        async with asyncio.TaskGroup() as group:
            for name in ("kill", "stop", "recycle", "scale"):
                group.create_task(getattr(self, f"_{name}")(random.Random(f"{self._seed} {name}")))

    def _victim(self, chance: random.Random) -> int | None:
        pids = [worker.pid for worker in self._queue.stats().workers if worker.pid is not None]
        return chance.choice(pids) if pids else None

    def _signal(self, name: str, pid: int, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has just left
            os.kill(pid, number)
            self.counts[name] += 1

    async def _kill(self, chance: random.Random) -> None:
        while True:
            await asyncio.sleep(chance.uniform(0.05, 0.5))
            if (pid := self._victim(chance)) is not None:
                self.killed.add(pid)
                self._signal("kills", pid, signal.SIGKILL)

    async def _stop(self, chance: random.Random) -> None:
        while True:
            await asyncio.sleep(chance.uniform(0.1, 1.0))
            if (pid := self._victim(chance)) is None:
                continue
            self._signal("stops", pid, signal.SIGSTOP)
            try:
                await asyncio.sleep(chance.uniform(0.01, 0.3))
            finally:
                self._signal("continued", pid, signal.SIGCONT)

    async def _recycle(self, chance: random.Random) -> None:
        while True:
            await asyncio.sleep(chance.uniform(0.2, 2.0))
            self._queue.recycle()
            self.counts["recycles"] += 1

    async def _scale(self, chance: random.Random) -> None:
        while True:
            await asyncio.sleep(chance.uniform(0.2, 2.0))
            self._queue.scale(chance.choice([PROCESSES - 1, PROCESSES, PROCESSES + 1, PROCESSES + 2]))
            self.counts["scales"] += 1


# ---- the run and its proof


class Job:
    """One finite job under chaos.

    Args:
        folder: where the ledger goes.
        seconds: how long it should take.
        seed: for the faults.
    """

    def __init__(self, folder: Path, seconds: float, seed: int) -> None:
        self._folder = folder
        self._seconds = seconds
        self.offered = 0
        self.outcomes: dict[int, list[str]] = defaultdict(list)
        self.spoiled: list[int] = []
        self.died: list[int] = []
        work = Work(folder, max(0.0, LOAD * PROCESSES * seconds / ITEMS - OVERHEAD))
        self._queue = QuasiQueue(
            "chaos",
            work.reader,
            self._items(),
            context=work.context,
            collector=self._collect,
            settings=Settings(
                num_processes=PROCESSES,
                max_jobs_per_process=2000,
                max_crashes=50,
                max_restarts=100_000,
                start_method="auto",
            ),
        )
        self._queue.subscribe(self._hear)
        self.chaos = Chaos(self._queue, seed)

    def _items(self) -> Iterator[Item]:
        end = time.monotonic() + MOST_OF_TIME * self._seconds
        while self.offered < ITEMS and time.monotonic() < end:
            self.offered += 1
            yield make_item(self.offered)

    def _collect(self, outcomes: list[Outcome[Item]]) -> None:
        for outcome in outcomes:
            self.outcomes[outcome.item[0]].append(outcome.status)
            if outcome.status == "done" and outcome.result != outcome.item:
                self.spoiled.append(outcome.item[0])

    def _hear(self, event: Event) -> None:
        if isinstance(event, WorkerDied):
            self.died.append(event.pid)

    async def run(self) -> RunSummary:
        """Runs the job to its end, disturbed all the time."""
        disturbing = asyncio.ensure_future(self.chaos.run())
        try:
            return await self._queue.main()
        finally:
            disturbing.cancel()
            await asyncio.wait({disturbing})

    def prove(self) -> tuple[Findings, Counter[str]]:
        """Reads the ledger. Returns what is wrong, and the counts of what was noted."""
        runs, words = read(self._folder / "ledger")
        offered = range(1, self.offered + 1)
        found = check(runs, offered=offered, outcomes=self.outcomes, killed=self.chaos.killed, died=self.died)
        found.disagreeing += self.spoiled
        return found, words


def show(job: Job, summary: RunSummary, found: Findings, words: Counter[str]) -> None:
    """Prints the table."""
    faults = job.chaos.counts
    rows = [
        ("seconds", f"{summary.seconds:.1f}"),
        ("items", job.offered),
        *((word, getattr(summary, word)) for word in ("done", "failed", "crashed")),
        ("kills", faults["kills"]),
        ("stops", faults["stops"]),
        ("starvations", words["starved"]),
        ("recycles", f"{faults['recycles']} asked for, {summary.recycled} workers"),
        ("scales", faults["scales"]),
        ("restarts", summary.restarted),
        ("ran again after a kill", found.tied),
        ("of these had finished", found.finished_twice),
        *((name, f"{len(wrong)} {wrong[:10] or ''}".rstrip()) for name, wrong in found.errors().items()),
    ]
    for name, value in rows:
        print(f"{name:<28}{value}")


def main() -> int:
    """Runs the program. Returns its exit code."""
    parser = argparse.ArgumentParser(description="A job under chaos: nothing may be lost, nothing may run unasked.")
    parser.add_argument("seconds", type=float, nargs="?", default=20.0, help="how long the job should take")
    parser.add_argument("seed", type=int, nargs="?", default=None, help="for the same faults again")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="quasiqueue-chaos-"))
    logging.basicConfig(filename=folder / "log", level=logging.INFO)
    job = Job(folder, given.seconds, seed)
    summary = asyncio.run(job.run())
    found, words = job.prove()
    show(job, summary, found, words)
    if any(found.errors().values()):
        print(f"The ledger and the log are kept in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
