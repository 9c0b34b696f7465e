"""The scoreboard: one file in memory per worker, in which it writes down what it does as it does it.

The worker is the only writer (but for one flag); the main process reads it whenever it likes, without a message, and
still can after the worker was killed. That is how it knows which item a dead worker was running, what it had finished,
and how long an item has been running. Three parts: the row (a cursor, one cell per item that runs at once, flags), the
journal (failures and results that were not sent yet), and, past the mapped part, the stacks that faulthandler appends.

Invariant: the cell of an item is written before its reader is called, and a journal record counts only once its length
has been added, so whatever instant a worker dies at, the row is true.
"""

import fcntl
import mmap
import os
import struct
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

JOURNAL_SIZE = 1 << 18
RECORD = struct.Struct("<QdIB3x")
"""Ordinal of the item, seconds that it ran, length of the payload, kind of the record."""

_HEADER_CELLS = 8
_CURSOR, _JOURNAL_LENGTH, _TERMINATE = range(3)
_MAX_STACK = 1 << 18


def create_file(lanes: int) -> int:
    """Creates the file of one worker.

    Args:
        lanes: how many items the worker may run at once.

    Returns:
        A descriptor; the file has no name and is gone with its last holder. Appends go past the mapped part.

    Raises:
        OSError: the system is out of descriptors or memory.
    """
    if sys.platform == "linux":
        descriptor = os.memfd_create("quasiqueue", os.MFD_CLOEXEC)
    else:
        descriptor, path = tempfile.mkstemp(prefix="quasiqueue-")
        os.unlink(path)
    try:
        os.ftruncate(descriptor, _size(lanes))
        fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_APPEND)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _size(lanes: int) -> int:
    return (_HEADER_CELLS + lanes) * 8 + JOURNAL_SIZE


@dataclass(frozen=True, slots=True)
class Progress:
    """What a worker has begun. Items are named by ordinals: 1, 2, 3, ... in the order they were handed to it.

    Attributes:
        started: every ordinal up to this one was begun, unless it was given back.
        running: ordinals that readers run at this moment; those below `started` that are not here are finished.
    """

    started: int
    running: frozenset[int]


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of a journal: a result, a failure or a request of the item with this ordinal."""

    ordinal: int
    seconds: float
    kind: int
    payload: bytes


class Scoreboard:
    """One worker's file, mapped. The worker writes with `cells`, `begin_*`, `write_record`; the main process reads.

    Args:
        descriptor: from `create_file`; the scoreboard owns it from now on.
        lanes: the number it was created with.
    """

    def __init__(self, descriptor: int, lanes: int) -> None:
        self.descriptor = descriptor
        self._stacks_at = _size(lanes)
        try:
            self._map = mmap.mmap(descriptor, self._stacks_at)
        except OSError:
            os.close(descriptor)
            raise
        self._view = memoryview(self._map)
        cells_end = (_HEADER_CELLS + lanes) * 8
        self._row = self._view[: _HEADER_CELLS * 8].cast("Q")
        self._journal = self._view[cells_end:]
        self.cells = self._view[_HEADER_CELLS * 8 : cells_end].cast("Q")
        """One per item that may run at once: the ordinal that runs there, 0 while none does."""

    # The worker's side.

    def set_cursor(self, ordinal: int) -> None:
        """Says that every ordinal up to this one has been begun."""
        self._row[_CURSOR] = ordinal

    def write_record(self, record: Record) -> bool:
        """Appends a record to the journal. Returns False, and writes nothing, if it does not fit."""
        begin = self._row[_JOURNAL_LENGTH]
        end = begin + RECORD.size + len(record.payload)
        if end > JOURNAL_SIZE:
            return False
        RECORD.pack_into(self._journal, begin, record.ordinal, record.seconds, len(record.payload), record.kind)
        self._journal[begin + RECORD.size : end] = record.payload
        self._row[_JOURNAL_LENGTH] = end
        return True

    def journal(self) -> memoryview:
        """Returns the bytes of all records that were written and not cleared."""
        return self._journal[: min(self._row[_JOURNAL_LENGTH], JOURNAL_SIZE)]

    def clear_journal(self) -> None:
        """Forgets the records: they were sent."""
        self._row[_JOURNAL_LENGTH] = 0

    @property
    def may_terminate(self) -> bool:
        """True once the main process wants a SIGTERM to end this worker; one that comes from elsewhere is ignored."""
        return bool(self._row[_TERMINATE])

    # The main process' side.

    def allow_terminate(self) -> None:
        """Says that the SIGTERM which follows comes from the main process."""
        self._row[_TERMINATE] = 1

    def progress(self) -> Progress:
        """Returns what the worker has begun and is running."""
        running = frozenset(filter(None, self.cells))
        started = max(self._row[_CURSOR], *running) if running else self._row[_CURSOR]
        return Progress(started, running)

    def stacks(self) -> str:
        """Returns what faulthandler has appended so far, the last 256 KiB of it."""
        size = os.fstat(self.descriptor).st_size
        begin = max(self._stacks_at, size - _MAX_STACK)
        return os.pread(self.descriptor, max(0, size - begin), begin).decode("utf-8", "replace")

    def close(self) -> None:
        """Unmaps and closes. May be called twice."""
        if self.descriptor >= 0:
            for view in (self.cells, self._row, self._journal, self._view):
                view.release()
            self._map.close()
            os.close(self.descriptor)
            self.descriptor = -1


def pack_record(record: Record) -> bytes:
    """Returns a record as it stands in a journal."""
    return RECORD.pack(record.ordinal, record.seconds, len(record.payload), record.kind) + record.payload


def read_records(data: memoryview | bytes) -> Iterator[Record]:
    """Yields the records that lie one after the other in `data`."""
    at = 0
    while at < len(data):
        ordinal, seconds, length, kind = RECORD.unpack_from(data, at)
        at += RECORD.size
        yield Record(ordinal, seconds, kind, bytes(data[at : at + length]))
        at += length
