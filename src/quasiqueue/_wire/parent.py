"""Asks the kernel to tell a child when its parent dies. Linux only; elsewhere the end of the line has to do."""

import sys

_PR_SET_PDEATHSIG = 1


def ask_parent_death_signal(number: int) -> None:
    """Has the kernel send this process a signal when the thread that created it ends.

    The parent may have died before: compare `os.getppid()` afterwards.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number)
