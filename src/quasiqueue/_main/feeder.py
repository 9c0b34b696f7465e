"""Keeps the backlog filled: how many, ask, filter, put, back off.

The feeder asks the source for what there is room for and hands it to the door. A sync writer runs in the writer's
thread, turn after turn for at most a millisecond before the loop is let in, because the two share one interpreter lock;
an async one runs on the loop, and so does the taking of what is at hand, numbers in a list or a range. Invariant: the
writer is never asked for more than there is room for, and never sooner than its pauses say.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable

from ..errors import QueueClosed
from ..events import Event, WriterSlow
from ..settings import Settings
from . import policy
from .intake import Intake
from .judge import Judge, Verdict
from .source import Pulled, Source
from .threads import CallThread

QUANTUM = 0.001
"""Seconds that the writer's thread goes on before the loop gets the interpreter."""

BLOCK = 5000
"""Most items drawn from an iterator at once."""

_SLOW_WRITER = 60.0
_CLOSE_TIMEOUT = 1.0


class Feeder:
    """Feeds one run.

    Args:
        intake: the door.
        source: the writer.
        settings: the settings in force.
        thread: where a sync writer runs.
        publish: takes events.
        on_items: called on the loop after items may have come in.
        queue: the queue's name, for events.
    """

    def __init__(
        self,
        intake: Intake,
        source: Source,
        *,
        settings: Settings,
        thread: CallThread,
        publish: Callable[[Event], None],
        on_items: Callable[[], None],
        queue: str,
    ) -> None:
        self._intake = intake
        self._source = source
        self._settings = settings
        self._thread = thread
        self._publish = publish
        self._on_items = on_items
        self._queue = queue
        self._judge = Judge(settings, queue=queue)
        self._bell = asyncio.Event()
        self._is_woken = False
        self._accepted_at = 0.0
        self._asking_since: float | None = None
        self._slow_told = False
        self.is_waiting_for_room = False
        self.has_ended = False
        """True once the source has nothing more, ever."""
        self.tell_items: Callable[[], None] = lambda: None
        """Called in the writer's thread after items may have come in."""
        self.is_hungry: Callable[[], bool] = lambda: False
        """Tells whether a worker waits for an item; then the first one is not held back for a fuller block."""

    async def run(self) -> None:
        """Feeds until the source is done. Raises WriterError if the writer is beyond hope."""
        while not self.has_ended:
            await self.turn(time.monotonic())
            self._on_items()
        self._on_items()

    async def turn(self, now: float) -> None:
        """One step: wait for room, wait out a pause, or ask."""
        if self._intake.room() <= 0:
            self.is_waiting_for_room = True
            await self._rest(self._settings.full_queue_sleep_time)
            self.is_waiting_for_room = False
        elif now < self._judge.resume_at and not self._is_woken:
            await self._rest(self._judge.resume_at - now)
            self._judge.resume_at = 0.0
        else:
            self._is_woken = False
            self._asking_since = now
            try:
                await self._ask()
            finally:
                self._asking_since = None
                self._slow_told = False

    async def _rest(self, seconds: float) -> None:
        self._bell.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._bell.wait()

    def wake(self) -> None:
        """Ends a pause now; while the writer is at work, the pause that would follow."""
        self._is_woken = True
        self._bell.set()

    def tell_room(self) -> None:
        """Ends the wait for room if the queue is half empty."""
        if self.is_waiting_for_room and self._intake.is_half_empty():
            self._bell.set()

    async def _ask(self) -> None:
        if self._source.needs_loop:
            self._absorb(await self._source.pull_async(self._desired(), most=self._most()))
            await asyncio.sleep(0)  # an async writer that never waits must not keep the loop to itself
        elif self._source.gives_at_once:
            await self._take_at_once()
        else:
            failed = await self._thread.call(self._ask_for_a_while)
            if failed is not None:  # on the loop, because events are published there
                self._absorb(failed)

    async def _take_at_once(self) -> None:
        """Takes a block out of a container: here on the loop, which is half as quick again as two threads in turns."""
        pulled = self._source.pull(self._desired(), most=self._most())
        if pulled.error is not None or self._intake.knows_keys_at_once(pulled.types):
            self._absorb(pulled)
            await asyncio.sleep(0)  # whoever else has something to do on the loop comes before the next block
        else:  # to tell their keys may take long, and run the user's code
            await self._thread.call(lambda: self._absorb(pulled))

    def _ask_for_a_while(self) -> Pulled | None:
        """Turns in the writer's thread. Returns what an error came with."""
        try:
            return self._ask_turn_by_turn()
        finally:
            self.tell_items()  # sooner than by way of this thread's result, which takes the loop two rounds more

    def _ask_turn_by_turn(self) -> Pulled | None:
        until = time.monotonic() + QUANTUM
        # The first item for a worker that waits goes its way alone; what follows is drawn in blocks meanwhile.
        at_once = self.is_hungry()
        while self._intake.room() > 0 and not self._source.needs_loop:
            pulled = self._source.pull(self._desired(), most=self._most(), at_once=at_once)
            if pulled.error is not None:
                return pulled
            if self._absorb(pulled) is not Verdict.GO_ON or time.monotonic() >= until:
                return None
            if at_once:
                self.tell_items()
                at_once = False
        return None

    def _desired(self) -> int:
        return max(1, min(self._intake.room(), self._settings.lookup_block_size))

    def _most(self) -> int:
        return max(1, min(self._intake.room(), BLOCK))

    def _absorb(self, pulled: Pulled) -> Verdict:
        """Hands a block to the door. Returns what to do next."""
        now = time.monotonic()
        verdict = self._judge.answer(pulled, self._accept(pulled.items, now, pulled.types), now)
        if pulled.error is not None:
            self._publish(self._judge.error(pulled.error, is_over=self._source.is_over, now=now))
        elif verdict is Verdict.END:
            self.has_ended = True
        return verdict

    def _accept(self, items: list[object], now: float, types: set[type] | None = None) -> int:
        try:
            accepted = self._intake.accept(items, now, types=types)
        except QueueClosed:  # the run is stopping; what the writer gave too late stays with it
            self.has_ended = True
            return 0
        if accepted:
            self._accepted_at = now
        return accepted

    def tick(self, now: float) -> None:
        """Looks after a writer that blocks: takes what a generator has drawn meanwhile, and warns once."""
        if self._asking_since is None:
            return
        if now - self._asking_since > QUANTUM and (items := self._source.harvest()):
            self._judge.count(self._accept(items, now))
            self._on_items()
        if now - self._asking_since >= _SLOW_WRITER and not self._slow_told:
            self._slow_told = True
            self._publish(WriterSlow(self._queue, now - self._asking_since))

    def next_harvest(self, now: float) -> float | None:
        """Returns when to look for what a generator at work has drawn; the longer it has been quiet, the later."""
        if self._asking_since is None:
            return None
        return now + policy.harvest_interval(now - max(self._asking_since, self._accepted_at))

    @property
    def is_asking(self) -> bool:
        """True while the writer is at work."""
        return self._asking_since is not None

    async def close(self) -> None:
        """Ends an open generator, so that its `finally` blocks run; a writer that hangs is left alone."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await self._source.close_async()
                await self._thread.call(self._source.close)
