"""How much memory a process uses, as the system tells.

psutil is imported when it is first asked: most runs never do, and every worker would carry its pages.
"""


def private_memory(pid: int) -> int | None:
    """Returns the bytes that belong to a process alone, not what a fork shares; None if that cannot be read."""
    return _memory(pid, private=True)


def resident_memory(pid: int) -> int | None:
    """Returns the resident bytes of a process; None if that cannot be read."""
    return _memory(pid, private=False)


def _memory(pid: int, *, private: bool) -> int | None:
    try:
        import psutil
    except (ImportError, OSError):  # out of descriptors: nothing can be imported now
        return None
    try:
        process = psutil.Process(pid)
        return int(process.memory_full_info().uss if private else process.memory_info().rss)
    except (psutil.Error, OSError):  # it is gone, or we are out of descriptors
        return None
