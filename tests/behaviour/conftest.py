"""Fixtures of the behaviour tests. After each of them nothing may be left: process, descriptor, thread, memory."""

import asyncio
import contextlib
import inspect
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from pathlib import Path

import psutil
import pytest

from .support import Gate, Ledger, Program, session_members

_PATIENCE = 3.0


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine function."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    asyncio.run(pyfuncitem.obj(**wanted))
    return True


@pytest.fixture(params=["fork", "spawn"])
def start_method(request: pytest.FixtureRequest) -> str:
    """How workers are started. A test that asks for this is run once for each way."""
    return request.param


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """An empty ledger."""
    return Ledger(tmp_path / "ledger")


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """A gate that is closed."""
    return Gate(tmp_path / "gate")


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Start a script as a program of its own; nothing of its session may be left once it has ended."""
    started: list[Program] = []

    def start(text: str, **options: object) -> Program:
        folder = tmp_path / f"program{len(started)}"
        folder.mkdir()
        started.append(Program(folder, text, **options))
        return started[-1]

    yield start
    left = [process for one in started for process in one.close()]
    assert left == []


@pytest.fixture(scope="session")
def tracker() -> int:
    """Start multiprocessing's resource tracker, which lives as long as the tests do. Return its process."""
    resource_tracker.ensure_running()
    return resource_tracker._resource_tracker._pid


@pytest.fixture(autouse=True)
def nothing_left(tracker: int) -> Iterator[None]:
    """Fail a test after which something is left, once it has had a moment to go."""
    looks = {
        "processes": lambda: {child for child in psutil.Process().children(recursive=True) if child.pid != tracker},
        "orphans": _orphans,
        "descriptors": _descriptors,
        "shared memory": _shared_memory,
        "threads": lambda: {thread for thread in threading.enumerate() if thread.name.startswith("quasiqueue-")},
    }
    before = {word: look() for word, look in looks.items()}  # what an earlier test left is not this one's

    def left() -> dict[str, object]:
        found = {word: look() - before[word] for word, look in looks.items()}
        return {word: things for word, things in found.items() if things}

    yield
    end = time.monotonic() + _PATIENCE
    while (found := left()) and time.monotonic() < end:
        time.sleep(0.01)
    assert found == {}


def _descriptors() -> set[tuple[str, str]]:
    found = set()
    for number in os.listdir("/dev/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one that lists them
            found.add((number, os.readlink(f"/proc/self/fd/{number}") if sys.platform == "linux" else ""))
    return found


def _shared_memory() -> set[str]:
    if not os.path.isdir("/dev/shm"):
        return set()
    return {name for name in os.listdir("/dev/shm") if name.startswith(("quasiqueue", "psm_", "sem."))}


def _orphans() -> set[int]:
    """Workers and templates of this session that belong to nobody any more."""
    found = set()
    for process in session_members(os.getsid(0)):
        with contextlib.suppress(psutil.Error):
            if process.ppid() == 1 and " ".join(process.cmdline()).startswith("quasiqueue "):
                found.add(process.pid)
    return found
