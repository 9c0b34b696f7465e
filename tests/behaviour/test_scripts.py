"""Whole small programs as users write them, under `python -W error`: they work, and say nothing on stderr."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from quasiqueue import QuasiQueue, UsageError

from .support import Program, quick

START = Callable[..., Program]


def items_of(program: Program) -> list[int]:
    """The numbers in the lines that begin with "got"; each line must be whole."""
    return sorted(int(line.removeprefix("got ")) for line in program.lines if line.startswith("got "))


def ends_quietly(program: Program) -> None:
    assert (program.ended(), program.stderr) == (0, "")


def test_first_example_works_without_main_guard(program: START) -> None:
    """The first program of the documentation: two functions, no guard, ended by Ctrl-C with exit code 0."""
    started = program("""
        import itertools
        import os

        from quasiqueue import QuasiQueue

        numbers = itertools.count()


        def writer(desired_items):
            return itertools.islice(numbers, desired_items)


        def reader(item):
            print("got", item, os.getpid(), flush=True)


        QuasiQueue("hello", reader, writer).run()
    """)
    pids = set()
    while len(pids) < 2:
        pids.add(started.line("got ").split()[1])
    started.signal_group(signal.SIGINT)
    ends_quietly(started)
    assert str(started.pid) not in pids


def test_closures_and_lambdas_work_under_fork(program: START) -> None:
    """Reader and writer may be made anywhere, because workers are forked from the running program."""
    started = program("""
        from quasiqueue import DONE, QuasiQueue


        def make(word, limit):
            given = iter([range(limit), DONE])
            return (lambda item: print(word, item, flush=True)), (lambda: next(given))


        QuasiQueue("closures", *make("got", 20)).run()
    """)
    ends_quietly(started)
    assert items_of(started) == list(range(20))


def test_async_program_is_quiet(program: START) -> None:
    """`await main()` in a program of its own, with async writer, reader, context and collector."""
    started = program("""
        import asyncio

        from quasiqueue import DONE, QuasiQueue, Settings


        async def writer(desired_items):
            for item in range(20):
                yield item
            yield DONE


        async def context():
            print("context begun", flush=True)
            yield {"word": "got"}
            print("context ended", flush=True)


        async def reader(item, ctx):
            await asyncio.sleep(0.001)
            return f"{ctx['word']} {item}"


        async def collector(outcomes):
            for outcome in outcomes:
                print(outcome.result, flush=True)


        async def main():
            beside = asyncio.create_task(asyncio.sleep(0.01, "beside"))
            settings = Settings(num_processes=1, max_jobs_per_process=None)
            queue = QuasiQueue("async", reader, writer, context, collector, settings=settings)
            summary = await queue.main()
            print(await beside, summary.done, flush=True)


        asyncio.run(main())
    """)
    assert started.line("beside ") == "20"
    ends_quietly(started)
    assert items_of(started) == list(range(20))
    assert (started.lines.count("context begun"), started.lines.count("context ended")) == (1, 1)


SPAWN = """
    from quasiqueue import QuasiQueue, Settings


    def context():
        return {"word": "got"}


    def reader(item, ctx):
        print(ctx["word"], item, flush=True)


    def collector(outcomes):
        for outcome in outcomes:
            assert outcome.status == "done"


    if __name__ == "__main__":
        settings = Settings(num_processes=2, start_method="spawn")
        summary = QuasiQueue("spawn", reader, range(20), context, collector, settings=settings).run()
        print("done", summary.done, flush=True)
"""


def test_spawn_program_is_quiet(program: START) -> None:
    """The same with spawned workers, which import the program afresh."""
    started = program(SPAWN)
    assert started.line("done ") == "20"
    ends_quietly(started)
    assert items_of(started) == list(range(20))


def test_spawn_without_main_guard_gives_a_clear_error(program: START) -> None:
    """Workers that would start the program again end with a sentence that names the guard; the program ends too."""
    started = program("""
        from quasiqueue import QuasiQueue, Settings


        def reader(item):
            print("got", item, flush=True)


        settings = Settings(num_processes=1, start_method="spawn", max_restarts=1)
        QuasiQueue("guard", reader, range(20), settings=settings).run()
    """)
    assert started.ended() == 1
    assert 'must stand under `if __name__ == "__main__":`' in started.stderr
    assert "CrashLoopError" in started.stderr
    assert items_of(started) == []


def test_spawn_from_standard_input_gives_a_clear_error(program: START) -> None:
    """A reader that no worker can import is refused at once."""
    started = program("""
        import subprocess
        import sys

        text = '''
        from quasiqueue import QuasiQueue, Settings

        def reader(item):
            pass

        QuasiQueue("stdin", reader, range(20), settings=Settings(start_method="spawn")).run()
        '''
        import textwrap

        ended = subprocess.run(
            [sys.executable, "-"], input=textwrap.dedent(text), text=True, capture_output=True, timeout=30, check=False
        )
        print("code", ended.returncode, flush=True)
        print("said", ended.stderr.strip().splitlines()[-1], flush=True)
    """)
    assert started.line("code ") == "1"
    assert "interactive session" in started.line("said ")
    ends_quietly(started)


def test_spawn_refuses_a_lambda_with_a_sentence() -> None:
    """A reader or context that cannot be imported by a spawned worker is refused at construction, with the way out."""
    with pytest.raises(UsageError, match=r"cannot be imported by a spawned worker.*at the top of a module"):
        QuasiQueue("scripts", lambda item: None, [1], settings=quick("spawn"))
    with pytest.raises(UsageError, match=r"The context .* cannot be imported"):
        QuasiQueue("scripts", print, [1], context=lambda: 1, settings=quick("spawn"))


def test_program_with_failing_items_goes_on_and_tells(program: START) -> None:
    """A failing item is one warning on stderr, without a traceback; the program ends as it wants to."""
    started = program("""
        from quasiqueue import QuasiQueue


        def reader(item):
            return 1 / item


        summary = QuasiQueue("failing", reader, [1, 0, 2]).run()
        print("counts", summary.done, summary.failed, summary.ok, flush=True)
    """)
    assert started.line("counts ") == "2 1 False"
    assert started.ended() == 0
    assert started.stderr == "failing: item 0 failed: ZeroDivisionError: division by zero\n"


def test_program_that_prints_is_not_doubled(program: START, tmp_path: Path) -> None:
    """Output that was buffered when workers started, and what readers leave in their buffers, comes out once."""
    started = program("""
        from quasiqueue import QuasiQueue, Settings


        def reader(item):
            print("got", item)


        print("before")
        QuasiQueue("prints", reader, range(20), settings=Settings(num_processes=2)).run()
        print("after")
    """)
    ends_quietly(started)
    assert items_of(started) == list(range(20))
    assert (started.lines.count("before"), started.lines.count("after")) == (1, 1)


def test_atexit_of_the_program_runs_once(program: START) -> None:
    """What a program has registered for its end runs in the main process only."""
    started = program("""
        import atexit

        from quasiqueue import QuasiQueue


        def reader(item):
            pass


        atexit.register(print, "at exit")
        QuasiQueue("atexit", reader, range(20)).run()
    """)
    ends_quietly(started)
    assert started.lines == ["at exit"]


def test_programs_own_children_are_left_alone(program: START) -> None:
    """A subprocess that the program started before the queue lives on when the queue is stopped by force."""
    started = program("""
        import subprocess
        import sys
        import threading

        from quasiqueue import QuasiQueue


        def reader(item):
            print("runs", flush=True)
            threading.Event().wait()


        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        queue = QuasiQueue("children", reader, [1])
        queue.subscribe(lambda event: type(event).__name__ == "WorkerReady" and queue.stop(force=True))
        queue.run()
        print("lives", child.poll() is None, flush=True)
        child.communicate(b"go\\n")
        print("code", child.returncode, flush=True)
    """)
    assert started.line("lives ") == "True"
    assert started.line("code ") == "0"
    assert started.ended() == 0


def test_process_title_names_queue_and_slot(program: START) -> None:
    """`ps` shows which queue a worker belongs to, and never an item."""
    started = program("""
        import threading

        from quasiqueue import QuasiQueue, Settings


        def reader(item):
            print("runs", flush=True)
            threading.Event().wait()


        settings = Settings(num_processes=1, graceful_shutdown_timeout=0)
        QuasiQueue("titled queue", reader, ["a secret item"], settings=settings).run()
    """)
    started.line("runs")
    titles = [" ".join(process.cmdline()) for process in started.members() if process.pid != started.pid]
    assert len(titles) == 2
    assert all("titled queue" in title for title in titles)
    assert not any("secret" in title for title in titles)
    started.signal(signal.SIGTERM)
    assert started.ended() == 0
