"""What every worker of a queue must know; the template process is forked with it, a spawned worker gets it pickled."""

from dataclasses import dataclass

from .._callables import ContextPlan, ReaderPlan


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """The same for all workers of one run.

    Attributes:
        queue: name of the queue, for titles and logs.
        reader: how to call the reader.
        context: how to make what every call of the reader gets; None where there is no context.
        settings: what a parameter named `settings` gets.
        lanes: items that one worker may run at once; 1 with a sync reader.
        keep_results: whether return values are sent back.
    """

    queue: str
    reader: ReaderPlan
    context: ContextPlan | None
    settings: object
    lanes: int
    keep_results: bool
