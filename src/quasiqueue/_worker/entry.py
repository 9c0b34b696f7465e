"""The first code of a worker, and its whole life: prepare, context, ready, items, end of the context, left.

Called with a line and a scoreboard by the template process (fork) or by multiprocessing (spawn). Invariant: a worker
says "ready" only once its context has returned, and "left" only once that context has ended.
"""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import NoReturn

from .._wire.channel import Channel, LineClosed
from .._wire.child import ask_parent_death_signal, ignore_signals, lead_group, move_high
from .._wire.failures import error_text
from .._wire.messages import Kind, pack_values
from .._wire.scoreboard import Scoreboard
from .._wire.spec import WorkerSpec
from .async_loop import AsyncLoop
from .context import ContextLife
from .line import Inbox, Outbox
from .process import (
    TERMINATED_EXIT_CODE,
    Terminated,
    die_with_group,
    reseed_numpy,
    set_signals,
    set_title,
)
from .sync_loop import SyncLoop

START_FAILED_EXIT_CODE = 1


def run_worker(spec: WorkerSpec, slot: int, line: socket.socket, bell: int, scoreboard: int) -> None:
    """Lives the life of one worker.

    Args:
        spec: what all workers of the queue have in common.
        slot: the place in the pool.
        line: the worker's end of its line.
        bell: descriptor of the worker's end of its bell.
        scoreboard: descriptor of its scoreboard.

    Raises:
        SystemExit: with code 1 if the context failed or the system refused a thread, 143 if the main process ended the
            worker.
    """
    Worker(spec, slot, line, bell, scoreboard).run()


def run_spawned_worker(
    spec: WorkerSpec, slot: int, line: socket.socket, bell: int, scoreboard: int, main_pid: int
) -> None:
    """The same for a spawned worker, a child of the main process; it ends with it even while a reader holds the GIL."""
    ask_parent_death_signal(signal.SIGKILL)
    if os.getppid() != main_pid:  # it died before the line above
        os._exit(1)
    lead_group()
    ignore_signals()
    high_line = socket.socket(fileno=move_high(line.detach()))
    run_worker(spec, slot, high_line, move_high(bell), move_high(scoreboard))


class Worker:
    """One worker's parts. Arguments as in `run_worker`."""

    def __init__(self, spec: WorkerSpec, slot: int, line: socket.socket, bell: int, scoreboard: int) -> None:
        self._spec = spec
        self._slot = slot
        self._board = Scoreboard(scoreboard, spec.lanes)
        self._is_interruptible = False
        set_signals(self._board, is_interruptible=lambda: self._is_interruptible)
        self._channel = Channel(line, blocking=True)
        self._bell = bell
        self._outbox = Outbox(self._channel, self._board)
        self._context = ContextLife(spec.context, spec.settings)
        self._began = time.perf_counter()
        self._show("starting")
        reseed_numpy()

    def run(self) -> None:
        """Runs until told to leave. Raises SystemExit as `run_worker` does."""
        try:
            if self._spec.reader.is_async:
                asyncio.run(self._run_async())
            elif self._context.is_async:
                with asyncio.Runner() as runner:
                    self._run_sync(runner)
            else:
                self._run_sync(None)
        except Terminated:
            sys.exit(TERMINATED_EXIT_CODE)
        except LineClosed:
            die_with_group()
        self._outbox.send(Kind.LEFT)

    def _allow_interrupt(self) -> None:
        """From here on a TERM of the main process ends what runs. Raises Terminated if one has come already."""
        self._is_interruptible = True
        if self._board.may_terminate:
            raise Terminated

    def _run_sync(self, runner: asyncio.Runner | None) -> None:
        try:
            try:
                self._allow_interrupt()
                if runner is None:
                    self._context.begin()
                else:
                    runner.run(self._context.begin_async())
            except BaseException as error:
                self._refuse_start(error)
            inbox = Inbox(self._channel, self._bell, self._outbox)
            loop = SyncLoop(
                inbox,
                self._outbox,
                self._board,
                reader=self._bound_reader(),
                keep_results=self._spec.keep_results,
                show=self._show,
            )
            self._open_for_work(inbox, loop)
            loop.run()
        finally:
            self._show("leaving")
            try:
                if runner is None:
                    self._context.end()
                else:
                    runner.run(self._context.end_async())
            except Exception as error:
                self._complain(error)

    async def _run_async(self) -> None:
        try:
            try:
                self._allow_interrupt()
                await self._context.begin_async()
            except BaseException as error:
                self._refuse_start(error)
            inbox = Inbox(self._channel, self._bell, self._outbox)
            loop = AsyncLoop(
                inbox, self._outbox, self._board, reader=self._bound_reader(), keep_results=self._spec.keep_results
            )
            self._open_for_work(inbox, loop)
            await loop.run(self._channel.fileno())
        finally:
            self._show("leaving")
            try:
                await self._context.end_async()
            except Exception as error:
                self._complain(error)

    def _bound_reader(self) -> Callable[[object], object]:
        return self._spec.reader.bind(self._context.value, self._spec.settings)

    def _open_for_work(self, inbox: Inbox, loop: SyncLoop | AsyncLoop) -> None:
        os.register_at_fork(after_in_child=inbox.disown)
        os.register_at_fork(after_in_child=loop.disown)
        try:
            inbox.start_watching()
        except RuntimeError as error:  # a thread counts as a process where those are limited
            self._outbox.send(Kind.NOT_STARTED, pack_values(str(error)))
            sys.exit(START_FAILED_EXIT_CODE)
        self._show("ready")
        self._outbox.send(Kind.READY, pack_values(os.getpid(), time.perf_counter() - self._began))

    def _refuse_start(self, error: BaseException) -> NoReturn:
        if isinstance(error, Terminated):
            raise error
        self._outbox.send(Kind.START_FAILED, pack_values(*error_text(error)))
        sys.exit(START_FAILED_EXIT_CODE)

    def _complain(self, error: BaseException) -> None:
        self._outbox.send(Kind.TROUBLE, pack_values(*error_text(error)))

    def _show(self, state: str) -> None:
        set_title(f"quasiqueue {self._spec.queue}: worker {self._slot} {state}")


def process_name(queue: str, slot: int) -> str:
    """Returns a worker's name as `multiprocessing.current_process().name` and logging's `%(processName)s` give it."""
    return f"{queue}-{slot}"
