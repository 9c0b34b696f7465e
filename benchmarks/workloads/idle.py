"""CPU time of the whole tree of processes while there is nothing to do, and while nothing can be done.

The tree is the main process, the template process and the workers. It settles for a second and is then left alone for
ten; nothing looks at it meanwhile.
"""

import time
from collections.abc import Callable
from itertools import count

import psutil

from quasiqueue import QuasiQueue

from ..support import Figures, Scale, Workload, nothing, run_beside

FOREVER = 3600.0


def cpu_seconds(pid: int) -> float:
    """Returns the CPU time of a process; finer than the hundredths of a second of psutil where the system can."""
    try:
        return time.clock_gettime((~pid << 3) | 2)  # what Linux' clock_getcpuclockid() returns
    except OSError:
        times = psutil.Process(pid).cpu_times()
        return times.user + times.system


def tree_seconds() -> float:
    """Returns the CPU time of this process and all that it has started, as far as they live."""
    me = psutil.Process()
    return sum(cpu_seconds(process.pid) for process in [me, *me.children(recursive=True)])


def _watch(queue: QuasiQueue[int], scale: Scale) -> Figures:
    found: Figures = {}

    def watch() -> None:
        time.sleep(scale.pick(1.0, 1.0, 0.3))
        began, before = time.monotonic(), tree_seconds()
        time.sleep(scale.pick(10.0, 2.0, 0.3))
        after = tree_seconds()
        found["percent_of_a_core"] = 100 * (after - before) / (time.monotonic() - began)

    run_beside(queue, watch)
    return found


def idle(scale: Scale) -> Figures:
    """The writer has nothing; it is asked once per second."""
    return _watch(QuasiQueue("idle", nothing, lambda: None), scale)


def full(scale: Scale) -> Figures:
    """The writer is endless, the queue full, and both workers sleep."""

    def sleep(_: int) -> None:
        time.sleep(FOREVER)

    return _watch(QuasiQueue("full", sleep, count()), scale)


_SYSTEMS: dict[str, Callable[[Scale], Figures]] = {"quasiqueue": idle, "quasiqueue, queue full": full}
WORKLOAD = Workload("CPU of all processes together while idle; percent of one core", _SYSTEMS)
