"""The few kinds of messages, and how each one's body is packed.

Main process to worker: a batch; recall (give back what has not begun); leave (finish all you hold, then go); stop (give
back, finish what runs, go); cancel one item. Worker to main process: ready; start failed; not started (the system
refused it a thread); report (what has finished, with results and failures); returned; trouble (the context's end
failed); left. Main and template process: start, started, not started, signal, exited.
"""

import pickle
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from .codec import Bytes, ItemBlob, decode_bulk, unpack_singles
from .frames import BUFFER_SIZE, Frame


class Kind(IntEnum):
    """What a frame is."""

    BATCH = 1
    RECALL = 2
    LEAVE = 3
    STOP = 4
    CANCEL = 5

    READY = 16
    START_FAILED = 17
    REPORT = 18
    RETURNED = 19
    LEFT = 20
    TROUBLE = 21

    START = 32
    STARTED = 33
    NOT_STARTED = 34
    SIGNAL = 35
    EXITED = 36


URGENT = frozenset({Kind.RECALL, Kind.STOP, Kind.CANCEL})
"""What a worker must hear of while it runs a reader: its bell is rung once for each of them."""


class RecordKind(IntEnum):
    """What a journal record says of its item."""

    RESULT = 1
    FAILED = 2
    RETRY = 3
    REJECTED = 4
    TIMED_OUT = 5


NOTHING_RETURNED = (1 << 64) - 1
"""The first returned ordinal when there was nothing to give back: greater than any ordinal."""

_BATCH = struct.Struct("<QIB")
_REPORT = struct.Struct("<dII")
_RANGE = struct.Struct("<QQ")
_ORDINAL = struct.Struct("<Q")
_BULK, _SINGLES = 0, 1


@dataclass(slots=True)
class Batch:
    """A received batch. Its items have the ordinals `first`, `first + 1`, ...

    Attributes:
        first: ordinal of the first item.
        items: the items themselves if `encoded` is False, else `ItemBlob`s.
        encoded: whether each item has yet to be unpickled.
    """

    first: int
    items: list[object]
    encoded: bool

    @property
    def last(self) -> int:
        """Ordinal of the last item."""
        return self.first + len(self.items) - 1


def pack_batch(first: int, count: int, payload: Sequence[Bytes], *, bulk: bool) -> list[Bytes]:
    """Returns the body of a batch whose items were encoded in bulk or one by one."""
    return [_BATCH.pack(first, count, _BULK if bulk else _SINGLES), *payload]


def unpack_batch(frame: Frame) -> Batch:
    """Returns the batch in a frame; it does not depend on the frame's memory."""
    first, count, encoding = _BATCH.unpack_from(frame.body)
    body = frame.body[_BATCH.size :]
    if encoding == _BULK:
        return Batch(first, decode_bulk(body), encoded=False)
    if len(frame.body) <= BUFFER_SIZE:  # the receive buffer is used again; larger bodies have memory of their own
        body = memoryview(bytes(body))
    blobs: list[ItemBlob] = unpack_singles(body, count, frame.descriptors)
    return Batch(first, list(blobs), encoded=True)


@dataclass(slots=True)
class Report:
    """What a worker has finished since its last report.

    Attributes:
        seconds: time that the worker was busy with these items.
        ran: how many items that were.
        ranges: their ordinals, as (first, last) pairs.
        records: journal records about some of them, as bytes.
    """

    seconds: float
    ran: int
    ranges: list[tuple[int, int]]
    records: bytes


def pack_report(seconds: float, ran: int, ranges: Sequence[tuple[int, int]], records: Sequence[Bytes]) -> list[Bytes]:
    """Returns the body of a report."""
    return [_REPORT.pack(seconds, ran, len(ranges)) + b"".join(_RANGE.pack(*pair) for pair in ranges), *records]


def unpack_report(body: memoryview) -> Report:
    """Returns the report in a body; it does not depend on the body's memory."""
    seconds, ran, count = _REPORT.unpack_from(body)
    end = _REPORT.size + count * _RANGE.size
    ranges = list(_RANGE.iter_unpack(body[_REPORT.size : end]))
    return Report(seconds, ran, ranges, bytes(body[end:]))


def pack_ordinal(ordinal: int) -> list[Bytes]:
    """Returns the body of a message that is one ordinal: returned, cancel."""
    return [_ORDINAL.pack(ordinal)]


def unpack_ordinal(body: memoryview) -> int:
    """Returns the ordinal in a body."""
    ordinal: int = _ORDINAL.unpack(body)[0]
    return ordinal


def pack_values(*values: object) -> list[Bytes]:
    """Returns the body of a rare message: a tuple of built-in values."""
    return [pickle.dumps(values, pickle.HIGHEST_PROTOCOL)]


def unpack_values(body: Bytes) -> tuple[Any, ...]:
    """Returns the tuple in a body; its types are those that the sender of this kind of message packed."""
    values: tuple[Any, ...] = pickle.loads(body)
    return values
