"""Wrong code, each line with the error that a type checker must give.

It is never run. The checker warns of an `ignore` that ignores nothing: a line that is accepted fails the check.
"""

from quasiqueue import DONE, Outcome, QuasiQueue, Reject, Retry, Settings, run_queues


def read(item: int) -> None:
    """Read a number."""


def read_text(item: str) -> None:
    """Read a text."""


def read_nothing() -> None:
    """Take no item."""


def write(desired_items: int) -> list[int]:
    """Give numbers."""
    return [1]


def write_number(desired_items: int) -> int:
    """Give what holds no items."""
    return 1


def collect_texts(outcomes: list[Outcome[str]]) -> None:
    """Collect what another queue runs."""


def key_of_text(item: str) -> str:
    """Tell texts apart."""
    return item


queue = QuasiQueue("numbers", read, write)

# The arguments.
QuasiQueue(5, read, write)  # type: ignore[arg-type]
QuasiQueue("q", read_nothing, write)  # type: ignore[arg-type]
QuasiQueue("q", read, write_number)  # type: ignore[arg-type]
QuasiQueue("q", read, None)  # type: ignore[arg-type]
QuasiQueue("q", read, 5)  # type: ignore[arg-type]
QuasiQueue[int]("q", read_text, write)  # type: ignore[arg-type]
QuasiQueue[int]("q", read, ["text"])  # type: ignore[list-item]
QuasiQueue[int]("q", read, write, collector=collect_texts)  # type: ignore[arg-type]
QuasiQueue[int]("q", read, write, key=key_of_text)  # type: ignore[arg-type]
QuasiQueue("q", read, write, context={"a": 1})  # type: ignore[arg-type]
QuasiQueue("q", read, write, settings={"num_processes": 2})  # type: ignore[arg-type]
QuasiQueue("q", read, write, processes=2)  # type: ignore[call-arg]
QuasiQueue("q", read)  # type: ignore[call-arg]

# The methods.
queue.put("text")  # type: ignore[arg-type]
queue.scale("4")  # type: ignore[arg-type]
queue.subscribe(5)  # type: ignore[arg-type]
queue.settings = Settings()  # type: ignore[misc]
queue.run(5)  # type: ignore[call-arg]
queue.nothing()  # type: ignore[attr-defined]
run_queues("queue")  # type: ignore[arg-type]
summary: int = queue.run()  # type: ignore[assignment]

# Settings and what readers raise.
Settings(num_process=2)  # type: ignore[call-arg]
Settings(start_method="thread")  # type: ignore[arg-type]
Settings(2)  # type: ignore[call-arg]
Retry("soon")  # type: ignore[arg-type]
Reject(5)  # type: ignore[arg-type]
DONE.more()  # type: ignore[attr-defined]


async def forgets_to_await() -> None:
    """Start a run without awaiting it."""
    queue.main()  # type: ignore[unused-coroutine]


def changes(outcome: Outcome[int]) -> None:
    """Change what is frozen."""
    outcome.item = 5  # type: ignore[misc]
    text: str = outcome.item  # type: ignore[assignment]
    print(text)
