"""Every error of the project, and the exit codes.

All errors derive from `QuasiQueueError`. A message says what happened, the likely cause and what to do. Nothing here
imports anything of the project, so every room may raise any of them.
"""

import math
from enum import IntEnum


class ExitCode(IntEnum):
    """How a program that runs a queue tells its caller how it went."""

    OK = 0
    ITEMS_FAILED = 1
    USAGE = 2
    SOFTWARE = 70
    FORCED_BY_SIGINT = 130
    FORCED_BY_SIGTERM = 143


class QuasiQueueError(Exception):
    """The base of every error that QuasiQueue raises."""


class UsageError(QuasiQueueError):
    """Something was given that cannot work: a callable of the wrong shape, an empty name, a call at the wrong time."""


class SettingsError(QuasiQueueError):
    """A setting has a value that it cannot have. The message names the setting, the value and where it came from."""


class WriterError(QuasiQueueError):
    """The writer gave something that holds no items, or failed `writer_max_errors` times in a row."""


class CollectorError(QuasiQueueError):
    """The collector failed `writer_max_errors` times in a row; its last exception is the cause."""


class CrashLoopError(QuasiQueueError):
    """Workers died one after the other without finishing an item between them."""


class WorkerStartError(QuasiQueueError):
    """No worker can be started any more: the template process is gone, or the system refuses new processes."""


class QueueFull(QuasiQueueError):  # noqa: N818 - the contract's word, as in the standard library's queue.Full
    """`put()` found no room within `queue_interaction_timeout`. Nothing was accepted; offer the item again later."""


class QueueClosed(QuasiQueueError):  # noqa: N818 - the pair of QueueFull
    """`put()` was called on a queue that takes nothing more: it is stopping, or its run is over."""


class Retry(QuasiQueueError):  # noqa: N818 - raised by readers as a request, not an error
    """Raised by a reader: run this item again later, and count no attempt.

    Args:
        delay: seconds to wait before the item runs again; 0 runs it as soon as a worker is free.

    Raises:
        UsageError: the delay is no number of seconds.
    """

    def __init__(self, delay: float = 0.0) -> None:
        super().__init__(delay)
        try:
            self.delay = float(delay)
        except (TypeError, ValueError):
            self.delay = math.nan
        if not math.isfinite(self.delay):
            raise UsageError(f"Retry(delay={delay!r}): the delay must be a number of seconds.")


class Reject(QuasiQueueError):  # noqa: N818 - raised by readers as a verdict, not an error
    """Raised by a reader: this item fails for good, whatever `max_attempts` says.

    Args:
        reason: why; it becomes the message of the outcome's error.
    """

    def __init__(self, reason: str = "rejected by the reader") -> None:
        super().__init__(reason)
        self.reason = reason
