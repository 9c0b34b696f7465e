"""Asks the writer in an inline run: what the engine's feeder does, without threads and on a virtual clock.

The bench asks for a turn when nothing is left to run; what the source gives goes to the door. Invariant: the writer is
never asked for more than there is room for, nor sooner than its pauses say, nor once it has given enough.
"""

from collections.abc import Callable

from .._main.intake import Intake
from .._main.judge import Judge, Verdict
from .._main.source import Pulled, Source
from ..errors import WriterError
from ..events import Event
from ..settings import Settings
from .calls import Calls, must_come_out
from .clock import VirtualClock


class InlineFeeder:
    """Feeds one inline run.

    Args:
        intake: the door.
        source: the writer.
        settings: the settings in force.
        clock: the time.
        calls: how async parts are called.
        publish: takes events.
        queue: the queue's name.
        most: items to accept; None: any number.
        idle_rounds: how often in a row the writer may say that it has nothing.
        raise_errors: whether the writer's exceptions come out.
    """

    def __init__(
        self,
        intake: Intake,
        source: Source,
        *,
        settings: Settings,
        clock: VirtualClock,
        calls: Calls,
        publish: Callable[[Event], None],
        queue: str,
        most: int | None,
        idle_rounds: int,
        raise_errors: bool,
    ) -> None:
        self._intake = intake
        self._source = source
        self._settings = settings
        self._clock = clock
        self._calls = calls
        self._publish = publish
        self._judge = Judge(settings, queue=queue)
        self._judge.resume_at = clock.now()
        self._most = most
        self._idle_rounds = idle_rounds
        self._raise_errors = raise_errors
        self._accepted = 0
        self._idle = 0
        self._is_over = False
        self.error: WriterError | None = None
        """Why the writer is not asked any more; it is raised once what was accepted has ended."""

    @property
    def resume_at(self) -> float:
        """When it may be asked next, on the virtual clock."""
        return self._judge.resume_at

    def wake(self) -> None:
        """Ends a pause now."""
        self._judge.resume_at = min(self._judge.resume_at, self._clock.now())

    def may_ask(self) -> bool:
        """Tells whether the writer shall be asked again, be it after a pause."""
        has_enough = self._most is not None and self._accepted >= self._most
        return not (self._is_over or has_enough or self._idle >= self._idle_rounds) and self._intake.room() > 0

    def tell_run(self) -> None:
        """Says that an item has run, which may have made new work."""
        self._idle = 0

    def turn(self) -> None:
        """Asks once, and hands what comes to the door."""
        desired = min(self._intake.room(), self._settings.lookup_block_size)
        if self._most is not None:
            desired = min(desired, self._most - self._accepted)
        try:
            if self._source.needs_loop:
                pulled = self._calls.wait(self._source.pull_async(desired, most=desired))
            else:
                pulled = self._source.pull(desired, most=desired)
        except WriterError as error:  # it gave something that holds no items
            if self._raise_errors:
                raise
            self._end(error)
        else:
            self._absorb(pulled)

    def _absorb(self, pulled: Pulled) -> None:
        now = self._clock.now()
        accepted = self._intake.accept(pulled.items, now, types=pulled.types)
        self._accepted += accepted
        verdict = self._judge.answer(pulled, accepted, now)
        if pulled.error is not None:
            self._fail(pulled.error, now)
        elif verdict is Verdict.END:
            self._is_over = True
        elif verdict is Verdict.REST:
            self._idle += 1

    def _fail(self, error: BaseException, now: float) -> None:
        if self._raise_errors or must_come_out(error):
            raise error
        try:
            self._publish(self._judge.error(error, is_over=self._source.is_over, now=now))
        except WriterError as last:
            self._end(last)

    def _end(self, error: WriterError) -> None:
        self.error = error
        self._is_over = True

    def close(self) -> None:
        """Ends an open generator, so that its `finally` blocks run."""
        self._calls.close(self._source)
