"""What a worker may not exceed, and the ladder for one that does: stacks, TERM, KILL.

The supervisor has each worker looked at once per tick; what is over a limit is put on the ladder or named for
replacement, what is merely odd gets a warning, once. Invariant: a worker is killed only for a reason that its items'
outcomes will name, and never before its stacks were asked for, unless force was.
"""

import signal
from collections.abc import Callable, Iterable

from ..events import Event, ItemSlow, Notice, StacksDumped, WorkerState
from ..settings import Settings
from . import policy
from .memory import private_memory
from .slot import Slot
from .starter import Starter
from .texts import item_text
from .worker import Kill, Worker

STACK_SECONDS = 0.2
TERM_SECONDS = 1.0
CANCEL_SECONDS = 1.0
LAST_RUNG = 2
_MEMORY_EVERY = 1.0
_MEBIBYTE = 1 << 20


class Limits:
    """Watches the limits of one run.

    Args:
        settings: the settings in force.
        queue: the queue's name, for events.
        publish: takes events.
        cancel: asks an async worker to cancel one item.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        queue: str,
        publish: Callable[[Event], None],
        cancel: Callable[[Worker, int], None],
    ) -> None:
        self._settings = settings
        self._queue = queue
        self._publish = publish
        self._cancel = cancel
        self._memory_at = 0.0

    def check(self, worker: Worker, now: float) -> None:
        """Puts a worker on the ladder if it, or an item that it runs, is over a time limit.

        Args:
            worker: it; it has been looked at in this tick.
            now: patient seconds.
        """
        if worker.kill is not None:
            return
        if worker.state is WorkerState.STARTING and now - worker.started_at >= self._settings.startup_timeout:
            limit = self._settings.startup_timeout
            worker.kill = Kill(f"worker {worker.pid} was not ready after startup_timeout ({limit:g} s)", now)
        elif worker.leaving_since is not None and not len(worker.ledger):
            limit = max(self._settings.graceful_shutdown_timeout, 1.0)
            if now - worker.leaving_since >= limit:
                worker.kill = Kill(f"worker {worker.pid} had finished and did not leave", now)
        if worker.since and self._settings.item_timeout is not None:
            self._check_items(worker, self._settings.item_timeout, now)
        elif worker.since:
            self._warn_of_slow_items(worker, now)

    def _check_items(self, worker: Worker, limit: float, now: float) -> None:
        late = [ordinal for ordinal, since in worker.since.items() if now - since >= limit]
        if worker.is_async:
            for ordinal in late:
                if ordinal not in worker.cancelled:
                    worker.cancelled[ordinal] = now
                    self._cancel(worker, ordinal)
            late = [ordinal for ordinal in late if now - worker.cancelled[ordinal] >= CANCEL_SECONDS]
        if late:
            item = item_text(worker.ledger.item(late[0]))
            reason = f"item {item} ran longer than item_timeout ({limit:g} s) in worker {worker.pid}"
            worker.kill = Kill(reason, now, timed_out=frozenset(late))

    def _warn_of_slow_items(self, worker: Worker, now: float) -> None:
        for ordinal, since in worker.since.items():
            if now - since >= policy.SLOW_ITEM and ordinal not in worker.slow_told:
                worker.slow_told.add(ordinal)
                item = item_text(worker.ledger.item(ordinal))
                self._publish(ItemSlow(self._queue, worker.slot, worker.pid or 0, item, now - since))

    # Memory.

    def check_memory(self, slots: Iterable[Slot], now: float) -> None:
        """Names workers for replacement that have too much memory of their own; looks once a second."""
        limit = self._settings.max_memory_per_process
        if limit is None or now < self._memory_at:
            return
        self._memory_at = now + _MEMORY_EVERY
        for slot in slots:
            worker = slot.worker
            if worker is None or worker.state is not WorkerState.READY or worker.pid is None or slot.replace_reason:
                continue
            used = private_memory(worker.pid)
            if used is not None and used > limit * _MEBIBYTE:
                slot.replace_reason = f"{used / _MEBIBYTE:.0f} MiB of its own, max_memory_per_process is {limit:g}"

    def warn_if_born_large(self, pid: int) -> None:
        """Warns if a worker that has run nothing is above the limit already."""
        limit = self._settings.max_memory_per_process
        if limit is None:
            return
        used = private_memory(pid)
        if used is not None and used > limit * _MEBIBYTE:
            text = (
                f"A fresh worker already has {used / _MEBIBYTE:.0f} MiB of its own, more than max_memory_per_process "
                f"({limit:g} MiB): every worker will be recycled at once. Raise the limit, or load less in the context."
            )
            self._publish(Notice(self._queue, text, warning=True))

    # The ladder.

    def step_down(self, worker: Worker, starter: Starter, now: float) -> None:
        """Takes a worker that is to be killed to its next rung, if that is due."""
        kill = worker.kill
        if kill is None or worker.pid is None or now < kill.next_at:
            return
        match kill.stage:
            case 0:
                starter.signal(worker.pid, signal.SIGQUIT)
                kill.next_at = now + STACK_SECONDS
            case 1:
                kill.stack = worker.board.stacks()
                self._publish(StacksDumped(self._queue, worker.slot, worker.pid, f"{kill.reason}\n{kill.stack}"))
                worker.board.allow_terminate()
                starter.signal(worker.pid, signal.SIGTERM)
                kill.next_at = now + TERM_SECONDS
            case _:
                starter.signal(worker.pid, signal.SIGKILL, whole_group=True)
                kill.next_at = float("inf")
        kill.stage += 1
