"""Turns events into log lines: the project's own log is a subscriber like any other.

Logger `quasiqueue`. Warnings are what somebody may have to act on; items appear there only when they failed, cut to 200
characters.
"""

import logging
from functools import singledispatchmethod

from .. import events
from .texts import item_text


class Logbook:
    """Writes events to a logger.

    Args:
        logger: where to.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._log = logger

    def _say(self, level: int, text: str, *arguments: object) -> None:
        if self._log.isEnabledFor(level):
            self._log.log(level, text, *map(_encodable, arguments))

    @singledispatchmethod
    def write(self, event: events.Event) -> None:
        """Writes one event."""
        self._say(logging.DEBUG, "%s", event)

    @write.register
    def _(self, event: events.RunStarted) -> None:
        self._say(logging.INFO, "%s: started with %d processes (%s)", event.queue, event.processes, event.start_method)

    @write.register
    def _(self, event: events.RunEnded) -> None:
        summary = event.summary
        self._say(
            logging.INFO,
            "%s: ended after %.1f s: %d done, %d failed, %d timed out, %d crashed, %d released",
            event.queue,
            summary.seconds,
            summary.done,
            summary.failed,
            summary.timed_out,
            summary.crashed,
            summary.released,
        )

    @write.register
    def _(self, event: events.StopRequested) -> None:
        self._say(logging.INFO, "%s: stopping%s (%s)", event.queue, " now" if event.force else "", event.reason)

    @write.register
    def _(self, event: events.WorkerDied) -> None:
        items = f"; it was running {', '.join(event.items)}" if event.items else ""
        self._say(logging.WARNING, "%s: %s, slot %d%s", event.queue, event.cause, event.slot, items)

    @write.register
    def _(self, event: events.ItemEnded) -> None:
        outcome = event.outcome
        if outcome.status is events.Status.RELEASED and outcome.error is None:
            self._say(logging.DEBUG, "%s: item %s was released", event.queue, item_text(outcome.item))
            return
        error = outcome.error
        text = "" if error is None else f": {error.type}: {error.message[:500]}"
        self._say(
            logging.WARNING,
            "%s: item %s %s%s",
            event.queue,
            item_text(outcome.item),
            outcome.status.replace("_", " "),
            text,
        )
        if error is not None and error.traceback:
            self._say(logging.INFO, "%s", error.traceback.rstrip())

    @write.register
    def _(self, event: events.ItemRetried) -> None:
        self._say(
            logging.INFO, "%s: item %s runs again in %.1f s (%s)", event.queue, event.item, event.delay, event.reason
        )

    @write.register
    def _(self, event: events.ItemSlow) -> None:
        self._say(
            logging.WARNING,
            "%s: item %s has been running for %.0f s in worker %d, and item_timeout is not set",
            event.queue,
            event.item,
            event.seconds,
            event.pid,
        )

    @write.register
    def _(self, event: events.WriterFailed) -> None:
        self._say(
            logging.WARNING,
            "%s: the writer failed (%d in a row), asked again in %.1f s\n%s",
            event.queue,
            event.failures,
            event.pause,
            event.error.traceback.rstrip(),
        )

    @write.register
    def _(self, event: events.WriterSlow) -> None:
        self._say(logging.WARNING, "%s: the writer has been at one call for %.0f s", event.queue, event.seconds)

    @write.register
    def _(self, event: events.CollectorFailed) -> None:
        self._say(
            logging.WARNING,
            "%s: the collector failed (%d in a row), called again in %.1f s\n%s",
            event.queue,
            event.failures,
            event.pause,
            event.error.traceback.rstrip(),
        )

    @write.register
    def _(self, event: events.StacksDumped) -> None:
        whose = "the main process" if event.slot is None else f"worker {event.pid}"
        self._say(logging.WARNING, "%s: stacks of %s: %s", event.queue, whose, event.text.rstrip())

    @write.register
    def _(self, event: events.Notice) -> None:
        self._say(logging.WARNING if event.warning else logging.INFO, "%s: %s", event.queue, event.text)


def _encodable(argument: object) -> object:
    """Shows lone surrogates, which are in no encoding, as escapes: a log's file takes every line then."""
    return argument.encode("utf-8", "backslashreplace").decode() if isinstance(argument, str) else argument
