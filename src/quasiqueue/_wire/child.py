"""What every child of ours does first: a group of its own, no signals from outside, its descriptors out of the way.

The template process does it for the workers that are forked from it, which inherit all of this but the group; a spawned
worker does it itself.
"""

import contextlib
import fcntl
import os
import resource
import signal
import sys
from types import FrameType

FROM_OUTSIDE = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
_HIGH_DESCRIPTOR = 512
_PR_SET_PDEATHSIG = 1


def lead_group() -> None:
    """Makes this process the leader of a group of its own, so that all it starts can be ended with it."""
    with contextlib.suppress(PermissionError):  # it leads a session already: then the group is its own anyway
        os.setpgid(0, 0)


def ignore_signals() -> None:
    """Ignores what comes from a terminal or a service manager.

    Handlers that do nothing are used rather than SIG_IGN, which programs started by a reader would inherit.
    """
    signal.set_wakeup_fd(-1)
    for number in FROM_OUTSIDE:
        signal.signal(number, do_nothing)


def do_nothing(_number: int, _frame: FrameType | None) -> None:
    """A signal handler that does nothing."""


def move_high(descriptor: int) -> int:
    """Moves a descriptor out of the way of programs that close the low ones. Returns its new number."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = _HIGH_DESCRIPTOR if soft == resource.RLIM_INFINITY else min(_HIGH_DESCRIPTOR, soft // 2)
    try:
        moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, lowest)
    except OSError:  # no room up there: it stays where it is
        return descriptor
    os.close(descriptor)
    return moved


def ask_parent_death_signal(number: int) -> None:
    """Has the kernel send this process a signal when the thread that created it ends. Does nothing but on Linux.

    The parent may have died before: compare `os.getppid()` afterwards.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number)
