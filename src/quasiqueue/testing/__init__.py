"""A kit for testing programs that use QuasiQueue: run a queue without processes, break workers on purpose.

`run_inline` and `perform` run a queue's own writer, reader and context in this process, on a `VirtualClock`; `kill_on`,
`hang_on` and `fail_on` wrap a reader for runs with real workers; an `OutcomeRecorder` is a collector that asserts that
every item ended exactly once. Nothing of the engine imports this.
"""

from .clock import VirtualClock
from .faults import InjectedFault, fail_on, hang_on, kill_on
from .inline import InlineRun, perform, run_inline
from .outcomes import OutcomeRecorder, assert_settled

__all__ = [
    "InjectedFault",
    "InlineRun",
    "OutcomeRecorder",
    "VirtualClock",
    "assert_settled",
    "fail_on",
    "hang_on",
    "kill_on",
    "perform",
    "run_inline",
]
