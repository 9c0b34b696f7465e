"""What makes a child of ours a worker: its stacks, its end by TERM, its title, random numbers of its own.

Called by `entry` before anything of the user's runs. Invariant: from here on no terminal's or group's signal ends the
worker unless the main process has said so, and a fatal one leaves its stacks on the scoreboard.
"""

import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

from .._wire.child import FROM_OUTSIDE, do_nothing
from .._wire.scoreboard import Scoreboard

Handler = Callable[[int, FrameType | None], None]

TERMINATED_EXIT_CODE = 128 + signal.SIGTERM


class Terminated(BaseException):
    """Raised in the reader when the main process ends this worker: its `finally` blocks run, then the worker leaves."""


def set_signals(board: Scoreboard, *, is_interruptible: Callable[[], bool]) -> None:
    """Lets the main process' TERM through, and has stacks written down, on request and by fatal signals.

    Args:
        board: where the main process says that a TERM is its own, and where stacks go.
        is_interruptible: tells whether `Terminated` may be raised at this moment.
    """

    def terminate(_number: int, _frame: FrameType | None) -> None:
        if board.may_terminate and is_interruptible():
            raise Terminated

    signal.signal(signal.SIGTERM, terminate)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    faulthandler.enable(file=board.descriptor, all_threads=True)
    faulthandler.register(signal.SIGQUIT, file=board.descriptor, all_threads=True, chain=False)
    _free_children(terminate)


def _free_children(terminate: Handler) -> None:
    """Has processes that a reader forks end by signals as those of any program do.

    Signals are blocked around the fork: one that came before the child's handlers are changed would be lost in ours.
    """
    kept = threading.local()

    def block() -> None:
        kept.mask = signal.pthread_sigmask(signal.SIG_BLOCK, FROM_OUTSIDE)

    def unblock() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, kept.mask)

    def free() -> None:
        faulthandler.unregister(signal.SIGQUIT)
        for number in FROM_OUTSIDE:
            if signal.getsignal(number) in (terminate, do_nothing):  # else it is the user's, who may want it there too
                signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)
        unblock()

    os.register_at_fork(before=block, after_in_parent=unblock, after_in_child=free)


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
