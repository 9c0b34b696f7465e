"""Runs a function as multiprocessing runs a forked child: its own name, children and finalizers; buffers flushed.

The template prepares once what every child needs, because each page that a child writes to is copied, and a worker's
start is mostly that. Invariant: a child never runs the main process' finalizers, and leaves none of its own behind.
"""

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import process, util
from multiprocessing.context import ForkProcess


def prepare_children() -> None:
    """Makes this process one whose forks are multiprocessing children: nothing of the main process' is inherited."""
    # What multiprocessing's own children do first, with private parts of it that typeshed does not know.
    process._children = set()  # type: ignore[attr-defined]
    process._current_process = ForkProcess()  # type: ignore[attr-defined]
    util._finalizer_registry.clear()  # type: ignore[attr-defined]
    util._run_after_forkers()  # type: ignore[attr-defined]
    # As in every multiprocessing child: several processes cannot share one keyboard.
    with suppress(OSError, ValueError):
        devnull = os.open(os.devnull, os.O_RDONLY)
        os.dup2(devnull, 0)
        os.close(devnull)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - it stays open as long as the process lives


def run_child(function: Callable[[], None], name: str) -> int:
    """Runs a function in the child of a fork.

    Args:
        function: the child's work.
        name: what `multiprocessing.current_process().name` gives there.

    Returns:
        The exit code to leave with.
    """
    multiprocessing.current_process().name = name
    code = 1
    try:
        function()
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        if process._children or util._finalizer_registry:  # type: ignore[attr-defined]
            util._exit_function()  # type: ignore[attr-defined]
        threading._shutdown()  # type: ignore[attr-defined]  # waits for threads that are not daemons, as at any exit
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # a stream may be anything, and closed
                stream.flush()
    return code
