"""How a run ends: the ladder, in numbered steps.

The runtime hands over its rooms once it is to end, for whatever reason. Invariant: whatever a reader, a writer or a
collector does, this returns within `graceful_shutdown_timeout` and five seconds; after it no process is left and every
accepted item has an outcome.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from .._wire.messages import Kind
from ..events import WorkerState
from .dispatcher import Dispatcher
from .feeder import Feeder
from .intake import Intake
from .settler import Settler
from .starter import Starter
from .supervisor import Supervisor
from .worker import Worker

LADDER_SECONDS = 2.5
"""From the first rung (stacks) over TERM to KILL, and the end of what was killed."""

WRITER_SECONDS = 0.5
"""The most that an async writer gets to end when it is cancelled."""

CONTEXT_SECONDS = 1.0
"""How long a context that is still being made as the run ends may take, before it is interrupted."""

COLLECTOR_SECONDS = 1.5
"""The most that a collector gets, after all workers are gone, for what is left."""


class Shutdown:
    """Ends one run. Arguments are the rooms that take part; `timeout` is seconds for what runs to finish."""

    def __init__(
        self,
        *,
        intake: Intake,
        feeder: Feeder,
        feeding: asyncio.Task[None],
        dispatcher: Dispatcher,
        settler: Settler,
        supervisor: Supervisor,
        starter: Starter,
        close_collector: Callable[[float], Awaitable[None]],
        timeout: float,
    ) -> None:
        self._intake = intake
        self._feeder = feeder
        self._feeding = feeding
        self._dispatcher = dispatcher
        self._settler = settler
        self._supervisor = supervisor
        self._starter = starter
        self._close_collector = close_collector
        self._timeout = timeout
        self._forced = asyncio.Event()
        self._gone = asyncio.Event()
        self._starting: list[Worker] = []

    def force(self) -> None:
        """Skips what is left of the patience: workers are killed now."""
        self._forced.set()

    def tell_progress(self) -> None:
        """Says that a worker may have ended."""
        if not self._supervisor.workers:
            self._gone.set()

    async def run(self) -> None:
        """Goes down the steps, all of them: if one fails, its error is raised once the last is done."""
        errors: list[Exception] = []
        for step in (
            self._1_stop_asking,
            self._2_tell_workers_to_finish,
            self._3_wait_for_workers,
            self._4_kill_workers,
            self._5_release_the_rest,
            self._6_let_the_collector_finish,
            self._7_end_the_starter,
        ):
            try:
                await step()
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]

    async def _1_stop_asking(self) -> None:
        """The writer is not asked again, nothing is put any more, no worker started, no item run again."""
        self._dispatcher.is_stopping = self._settler.is_stopping = self._supervisor.is_stopping = True
        self._intake.close()
        self._feeding.cancel()
        # Its error, if any, has been noted already; an async writer that ignores its cancellation is left behind.
        await asyncio.wait({self._feeding}, timeout=WRITER_SECONDS)

    async def _2_tell_workers_to_finish(self) -> None:
        """Workers give back what they have not begun, finish what they run, end their contexts and leave."""
        workers = self._supervisor.workers.values()
        self._starting = [worker for worker in workers if worker.state is WorkerState.STARTING]
        for worker in workers:
            worker.takes = False
            worker.state = WorkerState.LEAVING
            worker.line.send(Kind.STOP)
        self.tell_progress()

    async def _3_wait_for_workers(self) -> None:
        """For as long as they may take; contexts that nobody needs any more get less."""
        patience = min(CONTEXT_SECONDS, self._timeout)
        await self._wait(patience)
        for worker in self._starting:
            if worker.serial in self._supervisor.workers and worker.ready_after is None:
                self._supervisor.abort(worker)
        await self._wait(self._timeout - patience)

    async def _wait(self, seconds: float) -> None:
        gone = asyncio.ensure_future(self._gone.wait())
        forced = asyncio.ensure_future(self._forced.wait())
        await asyncio.wait({gone, forced}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in (gone, forced):
            task.cancel()

    async def _4_kill_workers(self) -> None:
        """Stacks, TERM, KILL for those that are left; KILL at once if forced."""
        if not self._supervisor.workers:
            return
        reason = (
            "was killed because the run was stopped by force"
            if self._forced.is_set()
            else "did not finish within graceful_shutdown_timeout"
        )
        self._supervisor.kill_all(reason, at_once=self._forced.is_set())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LADDER_SECONDS):
                await self._gone.wait()

    async def _5_release_the_rest(self) -> None:
        """What the backlog, the retries and the ledgers still show is released."""
        while self._supervisor.workers:
            _, worker = self._supervisor.workers.popitem()
            for holding in worker.ledger.take_from(1):
                self._settler.release(holding.parcel)
            worker.close()
        for parcel in self._intake.take_all():
            self._settler.release(parcel)
        self._settler.release_delayed()

    async def _6_let_the_collector_finish(self) -> None:
        """It gets all outcomes, in bounded time; an open generator of the writer's is ended meanwhile."""
        if not self._feeder.is_asking:
            await self._feeder.close()
        await self._close_collector(COLLECTOR_SECONDS)

    async def _7_end_the_starter(self) -> None:
        """The template process goes last."""
        await self._starter.stop()
