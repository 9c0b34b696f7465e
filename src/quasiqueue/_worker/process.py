"""What makes a fresh process a worker: its group, signals, stacks, title, descriptors, random numbers.

Called by `entry` before anything of the user's runs. Invariant: from here on no terminal's or group's signal ends the
worker unless the main process has said so, and a fatal one leaves its stacks on the scoreboard.
"""

import contextlib
import faulthandler
import fcntl
import os
import resource
import signal
import socket
import sys
from types import FrameType

from .._wire.scoreboard import Scoreboard

TERMINATED_EXIT_CODE = 128 + signal.SIGTERM
_HIGH_DESCRIPTOR = 512
_IGNORED = (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class Terminated(BaseException):
    """Raised in the reader when the main process ends this worker: its `finally` blocks run, then the worker leaves."""


def lead_group() -> None:
    """Makes this process the leader of a group of its own, so that all it starts can be ended with it."""
    with contextlib.suppress(PermissionError):  # it leads a session already: then the group is its own anyway
        os.setpgid(0, 0)


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


def move_socket_high(sock: socket.socket) -> socket.socket:
    """Does the same to a socket."""
    return socket.socket(fileno=move_high(sock.detach()))


def set_signals(board: Scoreboard) -> None:
    """Ignores what comes from a terminal or a service manager, and lets the main process' TERM through.

    Handlers that do nothing are used rather than SIG_IGN, which programs started by a reader would inherit.
    """
    signal.set_wakeup_fd(-1)
    for number in _IGNORED:
        signal.signal(number, _ignore)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def terminate(_number: int, _frame: FrameType | None) -> None:
        if board.may_terminate:
            raise Terminated

    signal.signal(signal.SIGTERM, terminate)
    faulthandler.enable(file=board.descriptor, all_threads=True)
    faulthandler.register(signal.SIGQUIT, file=board.descriptor, all_threads=True, chain=False)


def _ignore(_number: int, _frame: FrameType | None) -> None:
    pass


def reseed_numpy() -> None:
    """Gives this worker random numbers of its own: numpy's global state is copied by fork, and so would repeat."""
    if (numpy := sys.modules.get("numpy")) is not None and hasattr(numpy, "random"):
        numpy.random.seed()


def set_title(title: str) -> None:
    """Sets what `ps` shows. Only where it is known to be safe after a fork."""
    if sys.platform == "darwin":
        return
    from setproctitle import setproctitle

    setproctitle(title)


def die_with_group() -> None:
    """Ends this worker and all that it started, at once: the main process is gone and nobody waits for results."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
