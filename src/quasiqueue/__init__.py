"""QuasiQueue: two functions in, a set of healthy processes that stay busy out.

`QuasiQueue(name, reader, writer).run()` calls `writer(desired_items)` in the main process whenever the queue runs low,
and `reader(item)` once per item in worker processes.
"""

from ._queue import QuasiQueue, run_queues
from ._types import DONE, Done
from .errors import (
    CollectorError,
    CrashLoopError,
    ExitCode,
    QuasiQueueError,
    QueueClosed,
    QueueFull,
    Reject,
    Retry,
    SettingsError,
    UsageError,
    WorkerStartError,
    WriterError,
)
from .events import ErrorInfo, Event, Outcome, RunSummary, Stats, Status, WorkerState, WorkerStats
from .settings import Settings

__version__ = "1.0.0.dev0"

__all__ = [
    "DONE",
    "CollectorError",
    "CrashLoopError",
    "Done",
    "ErrorInfo",
    "Event",
    "ExitCode",
    "Outcome",
    "QuasiQueue",
    "QuasiQueueError",
    "QueueClosed",
    "QueueFull",
    "Reject",
    "Retry",
    "RunSummary",
    "Settings",
    "SettingsError",
    "Stats",
    "Status",
    "UsageError",
    "WorkerStartError",
    "WorkerState",
    "WorkerStats",
    "WriterError",
    "run_queues",
]
