"""Signals and sudden ends, with whole programs: what a terminal, a service manager or an accident sends."""

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from .support import ALL_ONCE, Ledger, Program, is_gone, wait_until

START = Callable[..., Program]

HEAD = """
    import asyncio
    import itertools
    import logging
    import os
    import signal
    import subprocess
    import sys
    import threading
    import time
    from pathlib import Path

    from quasiqueue import QuasiQueue, Settings

    FOLDER = Path(os.environ["FOLDER"])


    def note(what, item):
        with open(FOLDER / "ledger", "ab", buffering=0) as file:
            file.write(f"\\n{what}\\t{item!r}\\t{os.getpid()}\\t{time.monotonic():.6f}\\n".encode())


    def settings(**values):
        return Settings(**{
            "num_processes": 2,
            "start_method": os.environ.get("HOW", "fork"),
            "max_jobs_per_process": None,
            "graceful_shutdown_timeout": 20,
            **values,
        })


    def writer(desired_items):
        return itertools.islice(numbers, desired_items)


    numbers = itertools.count()
"""

SHORT = """
    def reader(item):
        note("start", item)
        time.sleep(0.2)
        note("end", item)
"""

SHORT_ASYNC = """
    async def reader(item):
        note("start", item)
        await asyncio.sleep(0.2)
        note("end", item)
"""

SUBPROCESS = """
    def reader(item):
        note("start", item)
        subprocess.run([sys.executable, "-c", "import time; time.sleep(0.2)"], check=True)
        note("end", item)
"""

RUN = """
    if __name__ == "__main__":
        queue = QuasiQueue("signals", reader, writer, settings=settings())
        summary = queue.run()
        print("ended", summary.done, summary.released, flush=True)
"""


def ledger_of(program: Program) -> Ledger:
    return Ledger(Path(program.process.args[-1]).parent / "ledger")


def started(program: Program, count: int = 2) -> Ledger:
    """Wait until a program's workers run that many items."""
    ledger = ledger_of(program)

    def enough() -> bool:
        assert program.process.poll() is None, program.stderr
        return len(ledger.lines("start")) >= count

    wait_until(enough)
    return ledger


# ---- graceful ends


@pytest.mark.parametrize("reader", [SHORT, SHORT_ASYNC, SUBPROCESS], ids=["sync", "async", "subprocess"])
def test_ctrl_c_finishes_what_runs_and_ends_with_0(program: START, reader: str) -> None:
    """A terminal's Ctrl-C reaches every process of the group: what runs is finished, no traceback, exit code 0."""
    running = program(HEAD + reader + RUN)
    ledger = started(running)
    running.signal_group(signal.SIGINT)
    done, _released = map(int, running.line("ended").split())
    assert (running.ended(), running.stderr) == (0, "")
    items = ledger.items("start")
    assert ledger.check(items) == ALL_ONCE
    assert done == len(items)


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_sigterm_finishes_what_runs_and_ends_with_0(program: START, how: str) -> None:
    """A service manager's SIGTERM to the main process alone does the same."""
    running = program(HEAD + SHORT + RUN, HOW=how)
    ledger = started(running)
    running.signal(signal.SIGTERM)
    done, _released = map(int, running.line("ended").split())
    assert (running.ended(), running.stderr) == (0, "")
    assert ledger.check(ledger.items("start")) == ALL_ONCE
    assert done == len(ledger.items("start"))


def test_second_signal_kills_now(program: START) -> None:
    """After the first the workers may take their time; the second takes it from them."""
    text = """
    def reader(item):
        note("start", item)
        threading.Event().wait()
    """
    running = program(HEAD + text + RUN)
    started(running)
    running.signal_group(signal.SIGINT)
    with pytest.raises(AssertionError, match="no line"):
        running.line("ended", 0.3)
    began = time.monotonic()
    running.signal_group(signal.SIGINT)
    assert running.line("ended").split()[0] == "0"
    running.ended()
    assert time.monotonic() - began < 5
    assert "Traceback" not in running.stderr


HUNG = {
    "endless loop": """
    def reader(item):
        note("start", item)
        while True:
            pass
    """,
    "C code that holds the interpreter's lock": """
    def reader(item):
        note("start", item)
        sum(itertools.repeat(0))
    """,
    "exceptions caught": """
    def reader(item):
        note("start", item)
        while True:
            try:
                time.sleep(60)
            except BaseException:
                pass
    """,
    "async and endless": """
    async def reader(item):
        note("start", item)
        while True:
            pass
    """,
}


@pytest.mark.parametrize("name", HUNG)
def test_hung_reader_is_bounded_by_the_graceful_timeout(program: START, name: str) -> None:
    """Whatever a reader does, the end comes within `graceful_shutdown_timeout` and five seconds."""
    run = RUN.replace("settings()", "settings(graceful_shutdown_timeout=0.3)")
    running = program(HEAD + HUNG[name] + run)
    started(running)
    began = time.monotonic()
    running.signal_group(signal.SIGINT)
    done, released = map(int, running.line("ended").split())
    assert running.ended() == 0
    assert 0.3 <= time.monotonic() - began < 5.3
    assert done == 0
    assert released >= 2
    assert "Traceback (most" not in running.stderr


# ---- signals that change the work


def test_sighup_replaces_every_worker(program: START) -> None:
    """After SIGHUP all items are run by new processes; none was lost, none run twice."""
    running = program(HEAD + SHORT.replace("0.2", "0.01") + RUN)
    ledger = started(running, 10)
    before = {line.pid for line in ledger.lines()}
    running.signal(signal.SIGHUP)
    wait_until(lambda: all(is_gone(pid) for pid in before))
    count = len(ledger.lines("start"))
    wait_until(lambda: len(ledger.lines("start")) >= count + 10)
    after = {line.pid for line in ledger.lines("start")[count:]}
    running.signal(signal.SIGTERM)
    running.line("ended")
    assert (running.ended(), running.stderr) == (0, "")
    assert (len(before), len(after), before & after) == (2, 2, set())
    assert ledger.check(ledger.items("start")) == ALL_ONCE


def test_sigquit_writes_all_stacks_and_work_goes_on(program: START) -> None:
    """The stacks of the main process and of each worker go to the log, and nothing else happens."""
    text = """
    def reader(item):
        note("start", item)
        wait_for_the_test()
        note("end", item)


    def wait_for_the_test():
        while not (FOLDER / "go").exists():
            time.sleep(0.002)
    """
    running = program(HEAD + text + RUN)
    ledger = started(running)
    running.signal(signal.SIGQUIT)
    running.wait_stderr("stacks of the main process")
    workers = {line.pid for line in ledger.lines("start")}
    for pid in workers:
        running.wait_stderr(f"stacks of worker {pid}")
    assert running.stderr.count("in wait_for_the_test") == 2
    (Path(ledger.path).parent / "go").touch()
    count = len(ledger.lines("end"))
    wait_until(lambda: len(ledger.lines("end")) > count + 10)
    running.signal(signal.SIGTERM)
    running.line("ended")
    assert running.ended() == 0
    assert {line.pid for line in ledger.lines()} == workers


def test_sigusr1_writes_one_line_of_status(program: START) -> None:
    """One line at level INFO with what is done, waits and runs, and each worker."""
    text = """
    logging.basicConfig(level=logging.INFO)
    """
    running = program(HEAD + text + SHORT.replace("0.2", "0.01") + RUN)
    ledger = started(running, 10)
    running.signal(signal.SIGUSR1)
    running.wait_stderr(" waiting, ")
    running.signal(signal.SIGTERM)
    running.line("ended")
    assert running.ended() == 0
    (status,) = re.findall(r"INFO:quasiqueue:signals: (\d+ done .*)\n", running.stderr)
    assert re.fullmatch(r"\d+ done at \d+/s, 0 failed, \d+ waiting, [012] running, workers .+", status)
    for pid in {line.pid for line in ledger.lines("start")}:
        assert str(pid) in status


def test_handlers_are_put_back(program: START) -> None:
    """When `main()` returns or raises, all handlers are as they were before."""
    text = """
    def own(number, frame):
        print("own handler", signal.Signals(number).name, flush=True)


    def reader(item):
        pass


    signals = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGCHLD]
    signal.signal(signal.SIGTERM, own)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    before = [signal.getsignal(number) for number in signals]
    QuasiQueue("signals", reader, range(10), settings=settings()).run()
    print("same", before == [signal.getsignal(number) for number in signals], flush=True)
    try:
        QuasiQueue("signals", reader, lambda: 7, settings=settings(writer_max_errors=1)).run()
    except Exception as error:
        print("raised", type(error).__name__, flush=True)
    print("same", before == [signal.getsignal(number) for number in signals], flush=True)
    signal.raise_signal(signal.SIGTERM)
    """
    running = program(HEAD + text)
    assert running.line("same ") == "True"
    assert running.line("raised ") == "WriterError"
    assert running.line("same ") == "True"
    assert running.line("own handler ") == "SIGTERM"
    assert (running.ended(), "Traceback (most" in running.stderr) == (0, False)


def test_stopped_main_process_times_nothing_out_by_mistake(program: START) -> None:
    """A main process that slept (SIGSTOP, a closed laptop) longer than a limit kills nobody for it."""
    text = """
    def reader(item):
        note("start", item)
        while not (FOLDER / "go").exists():
            time.sleep(0.002)
        note("end", item)
    """
    run = RUN.replace("settings()", "settings(item_timeout=2.5)")
    running = program(HEAD + text + run)
    ledger = started(running)
    running.signal(signal.SIGSTOP)
    time.sleep(3)  # what is tested: longer than the limit
    running.signal(signal.SIGCONT)
    (ledger.path.parent / "go").touch()
    started(running, 10)
    running.signal(signal.SIGTERM)
    running.line("ended")
    assert (running.ended(), running.stderr) == (0, "")
    assert ledger.check(ledger.items("start")) == ALL_ONCE


# ---- sudden ends

GRANDCHILD = """
    def reader(item):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        note("start", item)
        child.wait()
"""


@pytest.mark.parametrize("how", ["fork", "spawn"])
@pytest.mark.parametrize(
    "reader",
    [SHORT, HUNG["C code that holds the interpreter's lock"], GRANDCHILD],
    ids=["sleeping", "in C", "grandchild"],
)
def test_killed_main_process_leaves_no_process(program: START, reader: str, how: str) -> None:
    """SIGKILL of the main process: template, workers and what they started are gone soon, whatever a reader does."""
    running = program(HEAD + reader + RUN, HOW=how)
    started(running)
    running.signal(signal.SIGKILL)
    assert running.process.wait() == -signal.SIGKILL
    wait_until(lambda: not running.members(), 2)


def test_killed_main_process_leaves_no_grandchild_of_a_slow_template(program: START) -> None:
    """A reader starts a process before the template has grouped the new worker: it is in the worker's group anyway."""
    slow = """
    def set_group_late(pid, group):
        if pid:
            time.sleep(1)  # what is tested: a template that is held up
        set_group(pid, group)


    set_group, os.setpgid = os.setpgid, set_group_late
    """
    running = program(HEAD + GRANDCHILD + slow + RUN)
    started(running)
    running.signal(signal.SIGKILL)
    assert running.process.wait() == -signal.SIGKILL
    wait_until(lambda: not running.members(), 5)


def template_of(program: Program) -> int:
    (template,) = psutil.Process(program.pid).children()
    return template.pid


def test_killed_template_ends_the_run_with_one_clear_error(program: START) -> None:
    """What runs is finished, what waits is released, and the error says what happened, once."""
    text = (
        SHORT
        + """
    queue = QuasiQueue("signals", reader, writer, settings=settings())
    try:
        queue.run()
    except Exception as error:
        print("raised", type(error).__name__, error, flush=True)
    stats = queue.stats()
    print("counts", stats.done, stats.failed, stats.crashed, stats.waiting, stats.running, flush=True)
    """
    )
    running = program(HEAD + text)
    ledger = started(running)
    os.kill(template_of(running), signal.SIGKILL)
    error = running.line("raised ")
    assert error.startswith("WorkerStartError The template process of queue 'signals' is gone")
    items = ledger.items("start")
    assert running.line("counts ") == f"{len(items)} 0 0 0 0"
    assert running.ended() == 0
    assert "Traceback" not in running.stderr
    assert ledger.check(items) == ALL_ONCE
