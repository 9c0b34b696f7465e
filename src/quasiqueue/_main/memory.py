"""How much memory a process uses, as the system tells."""

import psutil


def private_memory(pid: int) -> int | None:
    """Returns the bytes that belong to a process alone, not what a fork shares; None if that cannot be read."""
    try:
        return int(psutil.Process(pid).memory_full_info().uss)
    except (psutil.Error, OSError):  # it is gone, or we are out of descriptors
        return None


def resident_memory(pid: int) -> int | None:
    """Returns the resident bytes of a process; None if that cannot be read."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except (psutil.Error, OSError):  # it is gone, or we are out of descriptors
        return None
