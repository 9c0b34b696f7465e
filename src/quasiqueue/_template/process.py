"""The template process: forked first, single-threaded, the parent of every worker.

The main process sends it a line and a scoreboard and it forks a worker on them; it reaps, reports, and sends signals,
so that no signal ever hits a process number that was given to somebody else. It runs nothing of the user's. Invariant:
when the main process goes, whichever way, every worker's whole process group goes with it; when only the template goes,
workers finish what they run (their lines tell them when the main process ends), so they carry no parent-death signal.
"""

import contextlib
import gc
import os
import select
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable

from .._wire.channel import Channel, LineClosed
from .._wire.child import ask_parent_death_signal, do_nothing, ignore_signals, lead_group, move_high
from .._wire.frames import Frame
from .._wire.messages import Kind, pack_values, unpack_values
from .._wire.spec import WorkerSpec
from .child import prepare_children, run_child

RunWorker = Callable[[WorkerSpec, int, socket.socket, int, int], None]


def run_template(
    line: socket.socket,
    spec: WorkerSpec,
    main_pid: int,
    *,
    run_worker: RunWorker,
    process_name: Callable[[str, int], str],
    set_title: Callable[[str], None],
) -> None:
    """Serves until the main process closes the line or dies. Called in the child of the fork; never returns there.

    Args:
        line: the template's end of the line to the main process.
        spec: what workers are made with.
        main_pid: the main process.
        run_worker, process_name, set_title: the worker's room, handed in so that this one does not know it.
    """
    code = 1
    try:
        _be_template(main_pid)
        set_title(f"quasiqueue {spec.queue}: template")
        Template(line, spec, main_pid, run_worker, process_name).run()
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def _be_template(main_pid: int) -> None:
    ignore_signals()
    lead_group()
    # In case somebody else holds the main process' end of the line: the signal wakes `poll`, `getppid` tells why.
    ask_parent_death_signal(signal.SIGTERM)
    if os.getppid() != main_pid:  # it died before the line above
        os._exit(1)
    prepare_children()
    # What workers share with us is never written to by their garbage collector. No collection before it: that one would
    # write to every page of the program, which is to copy them all.
    gc.freeze()


class Template:
    """The template's state: which workers live. Arguments as in `run_template`."""

    def __init__(
        self,
        line: socket.socket,
        spec: WorkerSpec,
        main_pid: int,
        run_worker: RunWorker,
        process_name: Callable[[str, int], str],
    ) -> None:
        self._channel = Channel(line, blocking=True)
        self._spec = spec
        self._main_pid = main_pid
        self._run_worker = run_worker
        self._process_name = process_name
        self._serials: dict[int, int] = {}
        self._frames: deque[Frame] = deque()

    def run(self) -> None:
        """Serves until the main process is gone, then ends every worker."""
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_read, False)
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, do_nothing)
        poller = select.poll()
        poller.register(self._channel.fileno(), select.POLLIN)
        poller.register(wake_read, select.POLLIN)
        try:
            while os.getppid() == self._main_pid:
                ready = {descriptor for descriptor, _ in poller.poll()}
                if wake_read in ready:
                    with contextlib.suppress(BlockingIOError):
                        os.read(wake_read, 4096)
                self._reap()
                if self._channel.fileno() in ready:
                    self._frames.extend(self._channel.receive())
                    while self._frames:
                        self._handle(self._frames.popleft())
        except LineClosed:
            pass
        finally:
            self._end_all()

    def _handle(self, frame: Frame) -> None:
        if frame.kind == Kind.START:
            serial, slot = unpack_values(frame.body)
            self._start(serial, slot, frame.descriptors)
        elif frame.kind == Kind.SIGNAL:
            pid, number, whole_group = unpack_values(frame.body)
            self._signal(pid, number, whole_group=whole_group)
        elif frame.kind == Kind.STOP:
            raise LineClosed

    def _start(self, serial: int, slot: int, descriptors: list[int]) -> None:
        began = time.perf_counter()
        try:
            if len(descriptors) != 3:
                raise OSError("the template process is out of descriptors")
            descriptors = list(map(move_high, descriptors))
            pid = os.fork()
        except OSError as error:
            self._channel.send(Kind.NOT_STARTED, pack_values(serial, str(error)))
        else:
            if pid == 0:
                self._become_worker(slot, descriptors)
            with contextlib.suppress(OSError):  # it has ended already
                os.setpgid(pid, pid)
            self._serials[pid] = serial
            self._channel.send(Kind.STARTED, pack_values(serial, pid, time.perf_counter() - began))
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _become_worker(self, slot: int, descriptors: list[int]) -> None:
        """Turns the child of a fork into a worker; never returns."""
        code = 1
        try:
            lead_group()  # the template does the same: whichever comes first, nothing runs in the template's group
            signal.set_wakeup_fd(-1)
            self._forget()
            line, bell, scoreboard = socket.socket(fileno=descriptors[0]), *descriptors[1:]
            name = self._process_name(self._spec.queue, slot)
            code = run_child(lambda: self._run_worker(self._spec, slot, line, bell, scoreboard), name)
        finally:
            os._exit(code)

    def _forget(self) -> None:
        """Closes, in a worker, what is the template's or another worker's: who holds a line keeps it open."""
        self._channel.close()
        for frame in self._frames:
            for descriptor in frame.descriptors:
                os.close(descriptor)

    def _signal(self, pid: int, number: int, *, whole_group: bool) -> None:
        if pid in self._serials:  # not reaped yet, so the number is still its own
            with contextlib.suppress(ProcessLookupError, PermissionError):
                (os.killpg if whole_group else os.kill)(pid, number)

    def _reap(self) -> None:
        while self._serials and (pid := self._next_ended()) is not None:
            # While the leader is not reaped its number is taken, so the group can only be its own.
            self._signal(pid, signal.SIGKILL, whole_group=True)
            _, status, usage = os.wait4(pid, 0)
            serial = self._serials.pop(pid)
            peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
            self._channel.send(Kind.EXITED, pack_values(serial, os.waitstatus_to_exitcode(status), peak))

    def _next_ended(self) -> int | None:
        """Returns a worker that has ended and is not reaped yet."""
        if hasattr(os, "waitid"):
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            return None if ended is None else ended.si_pid
        import psutil

        return next((pid for pid in self._serials if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE), None)

    def _end_all(self) -> None:
        for pid in list(self._serials):
            self._signal(pid, signal.SIGKILL, whole_group=True)
        for pid in list(self._serials):
            os.waitpid(pid, 0)
