"""Frames: how messages lie in a byte stream.

A frame is a header and a body. The header holds the body's length, the message's kind and how many descriptors travel
with it. `Channel` hands received bytes in and takes whole frames out. Invariant: a frame comes out exactly once, whole,
in the order in which it was sent, however the stream was cut.
"""

import mmap
import struct
from collections import deque
from dataclasses import dataclass

HEADER = struct.Struct("<QBBH")
"""Body length in bytes, message kind, one byte unused, number of descriptors."""

BUFFER_SIZE = 1 << 18
"""Bytes that one receive call can bring; a larger body gets memory of its own and is received straight into it."""

_KEPT_BUFFERS = 2
_KEPT_SIZE = 1 << 21


@dataclass(slots=True)
class Frame:
    """One received message. `body` is valid until the next receive; `descriptors` belong to whoever takes them."""

    kind: int
    body: memoryview
    descriptors: list[int]


def pack_header(kind: int, length: int, descriptors: int) -> bytes:
    """Returns the header of a frame with a body of `length` bytes and that many descriptors."""
    return HEADER.pack(length, kind, 0, descriptors)


class FrameReader:
    """Cuts a stream into frames.

    Use: receive into `space()`, tell `received(n)`, then take frames with `next_frame()` until it returns None.
    """

    def __init__(self) -> None:
        # A map, not a bytearray: a fresh worker pays only for the pages that it uses.
        self._buffer = memoryview(mmap.mmap(-1, BUFFER_SIZE))
        self._start = 0
        self._end = 0
        self._large_buffers = _LargeBuffers()
        self._large: memoryview | None = None
        self._large_filled = 0
        self._large_head = (0, 0)

    def space(self) -> memoryview:
        """Returns where the next bytes of the stream belong. Never empty."""
        if self._large is not None:
            return self._large[self._large_filled :]
        if self._start == self._end:
            self._start = self._end = 0
        elif self._end == BUFFER_SIZE:
            waiting = bytes(self._buffer[self._start : self._end])
            self._start, self._end = 0, len(waiting)
            self._buffer[: self._end] = waiting
        return self._buffer[self._end :]

    def received(self, count: int) -> None:
        """Says that `count` bytes were written at the start of the last `space()`."""
        if self._large is not None:
            self._large_filled += count
        else:
            self._end += count

    def next_frame(self) -> tuple[int, memoryview, int] | None:
        """Returns kind, body and number of descriptors of the next whole frame, or None if more bytes are needed."""
        if self._large is not None:
            if self._large_filled < len(self._large):
                return None
            body, self._large = self._large, None
            return self._large_head[0], body, self._large_head[1]
        held = self._end - self._start
        if held < HEADER.size:
            return None
        length, kind, _, descriptors = HEADER.unpack_from(self._buffer, self._start)
        begin = self._start + HEADER.size
        if held >= HEADER.size + length:
            self._start = begin + length
            return kind, self._buffer[begin : self._start], descriptors
        if HEADER.size + length > BUFFER_SIZE:
            self._large = self._large_buffers.take(length)
            self._large_head = (kind, descriptors)
            self._large_filled = self._end - begin
            self._large[: self._large_filled] = self._buffer[begin : self._end]
            self._start = self._end = 0
        return None


class _LargeBuffers:
    """Memory for large bodies. One is used again once nobody looks at it: fresh pages cost more than what they take.

    Two are kept, because one arrives while another is worked at.
    """

    def __init__(self) -> None:
        self._kept: deque[bytearray] = deque(maxlen=_KEPT_BUFFERS)

    def take(self, length: int) -> memoryview:
        """Returns a view of this length."""
        for buffer in self._kept:
            if len(buffer) >= length and _is_free(buffer):
                return memoryview(buffer)[:length]
        buffer = bytearray(length)
        if length <= _KEPT_SIZE:
            self._kept.append(buffer)
        return memoryview(buffer)


def _is_free(buffer: bytearray) -> bool:
    """Tells whether nobody has a view of it: only then does Python let its size change."""
    try:
        buffer.append(buffer.pop())
    except BufferError:
        return False
    return True
