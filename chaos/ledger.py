"""The ledger of the chaos run: what readers did, written so that no death can lose it, and what it proves.

Readers in any process note each start and finish of an item; the checker gets the whole file, what was offered, the
outcomes and the faults that were injected. Each note is one `write()` of one line to a file opened with O_APPEND. A
kill can cut that write where a page of the file ends: what is left of it is no line, and as every note begins on a line
of its own, spoils no other one. Invariant: the lines of the file stand in the order in which they were written.
"""

import os
import re
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

FINISHES = {"done": "end", "failed": "fail"}
"""What the last line of an item must say for each outcome that a reader can bring about."""

_LINE = re.compile(r"^([a-z]+) ([0-9]+) ([0-9]+) [0-9]+\.[0-9]{6}$", re.MULTILINE)


class Ledger:
    """One process' pen. Several processes write into one file.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, what: str, number: int) -> None:
        """Appends a line: what, the item's number, this process, the monotonic time."""
        os.write(self._descriptor, f"\n{what} {number} {os.getpid()} {time.monotonic():.6f}\n".encode())

    def close(self) -> None:
        """Lays the pen down."""
        os.close(self._descriptor)


@dataclass
class Run:
    """One call of the reader.

    Attributes:
        pid: the process.
        finish: "end", "fail" or "retry"; empty where the process did not come to it.
    """

    pid: int
    finish: str = ""


@dataclass
class Findings:
    """What is wrong, as numbers of items (of processes for `deaths`), and how many items a kill made run again.

    Attributes:
        lost: accepted, and never came to an end of its own, or has no outcome.
        unexpected: ran or ended and was never offered, or has several outcomes.
        untied: ran again although it had not asked for it and nobody had killed the process that ran it before.
        disagreeing: has another outcome than what it did.
        deaths: processes that the queue called dead and nobody had killed.
        tied: items that ran again after a kill, as promised.
        finished_twice: of these, items that had finished: the kill came between their last instruction and the report.
    """

    lost: list[int] = field(default_factory=list)
    unexpected: list[int] = field(default_factory=list)
    untied: list[int] = field(default_factory=list)
    disagreeing: list[int] = field(default_factory=list)
    deaths: list[int] = field(default_factory=list)
    tied: int = 0
    finished_twice: int = 0

    def errors(self) -> dict[str, list[int]]:
        """Returns what should be empty, by name."""
        return {
            "lost": self.lost,
            "unexpected": self.unexpected,
            "duplicated, untied": self.untied,
            "outcome is not what ran": self.disagreeing,
            "deaths without a kill": self.deaths,
        }


def read(path: Path) -> tuple[dict[int, list[Run]], Counter[str]]:
    """Reads a ledger.

    Returns:
        The runs of each item in order, and how often each word was noted.
    """
    runs: dict[int, list[Run]] = defaultdict(list)
    words: Counter[str] = Counter()
    for what, number, pid in _LINE.findall(path.read_text()):
        words[what] += 1
        if what == "start":
            runs[int(number)].append(Run(int(pid)))
        elif what in ("end", "fail", "retry"):
            own = [run for run in runs[int(number)] if run.pid == int(pid)]
            own[-1].finish = what
    return dict(runs), words


def check(
    runs: Mapping[int, list[Run]],
    *,
    offered: Collection[int],
    outcomes: Mapping[int, list[str]],
    killed: Collection[int],
    died: Collection[int],
) -> Findings:
    """Compares the ledger with what was offered and what the queue said.

    Args:
        runs: from `read`.
        offered: numbers of the items that were accepted.
        outcomes: for each item the statuses that the collector got.
        killed: processes that this program killed.
        died: processes that the queue called dead.
    """
    found = Findings(deaths=sorted(set(died) - set(killed)))
    offered = set(offered)
    found.unexpected = sorted((runs.keys() | outcomes.keys()) - offered)
    for number in sorted(offered):
        ran, said = runs.get(number, []), outcomes.get(number, [])
        if not said or not ran or ran[-1].finish not in ("end", "fail"):
            found.lost.append(number)
            continue
        if len(said) > 1:
            found.unexpected.append(number)
        if FINISHES.get(said[-1]) != ran[-1].finish:
            found.disagreeing.append(number)
        again = [run for run in ran[:-1] if run.finish != "retry"]
        if any(run.pid not in killed for run in again):
            found.untied.append(number)
        elif again:
            found.tied += 1
            found.finished_twice += any(run.finish for run in again)
    return found
