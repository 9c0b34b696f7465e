"""One end of one line: frames and descriptors over a socketpair.

The main process and each of its children share one such pair and nothing else. The main process' end does not block:
what the socket will not take waits here and `flush()` goes on. A child's end blocks. Invariant: a frame is either sent
whole or the line is closed, so the other side never sees a torn message.
"""

import array
import contextlib
import os
import socket
from collections import deque
from collections.abc import Sequence

from .frames import Frame, FrameReader, pack_header

Bytes = bytes | bytearray | memoryview

MAX_DESCRIPTORS = 250
"""Most descriptors in one frame; the kernel's limit for one message is 253."""

_ANCILLARY = socket.CMSG_SPACE(256 * array.array("i").itemsize)
_MAX_PARTS = 512
"""Most pieces given to one sendmsg; the system's limit is 1024."""

_SOCKET_BUFFER = 1 << 20


class LineClosed(Exception):  # noqa: N818 - a state that both sides expect, not a failure
    """The other end is gone."""


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Returns the two ends of a new line, with buffers large enough for a few frames."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    for end in (ours, theirs):
        with contextlib.suppress(OSError):  # the system may cap or refuse it; the default works too
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)
    return ours, theirs


class Channel:
    """Sends and receives frames on one end of a line.

    Args:
        sock: the end; the channel owns it from now on.
        blocking: True for a child's end; False for the main process' end.
    """

    def __init__(self, sock: socket.socket, *, blocking: bool) -> None:
        sock.setblocking(blocking)
        self._socket = sock
        self._reader = FrameReader()
        self._descriptors: deque[int] = deque()
        self._unsent: deque[tuple[list[Bytes], Sequence[int]]] = deque()

    def fileno(self) -> int:
        """Returns the descriptor of the socket; -1 once closed."""
        return self._socket.fileno()

    @property
    def has_unsent(self) -> bool:
        """True while bytes wait for the socket to take them."""
        return bool(self._unsent)

    def send(self, kind: int, parts: Sequence[Bytes] = (), *, descriptors: Sequence[int] = ()) -> bool:
        """Sends one frame, or as much of it as the socket takes now.

        Args:
            kind: the message's kind.
            parts: the body, in pieces; they must not change until they are sent.
            descriptors: at most `MAX_DESCRIPTORS`; the caller keeps its own open until this frame is sent.

        Returns:
            True if all is sent; False if something waits for `flush()`.

        Raises:
            LineClosed: the other end is gone.
        """
        header = pack_header(kind, sum(len(part) for part in parts), len(descriptors))
        self._unsent.append(([header, *parts], descriptors))
        return self.flush()

    def flush(self) -> bool:
        """Sends what waits. Returns True if nothing is left. Raises LineClosed as `send` does."""
        while self._unsent:
            parts, descriptors = self._unsent[0]
            try:
                sent = self._send_some(parts, descriptors)
            except BlockingIOError:
                return False
            except OSError as error:
                raise LineClosed from error
            if rest := _after(parts, sent):
                self._unsent[0] = (rest, ())
            else:
                self._unsent.popleft()
        return True

    def _send_some(self, parts: list[Bytes], descriptors: Sequence[int]) -> int:
        if descriptors:
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
            return self._socket.sendmsg(parts[:_MAX_PARTS], [rights])
        if len(parts) == 1:
            return self._socket.send(parts[0])
        return self._socket.sendmsg(parts[:_MAX_PARTS])

    def receive(self) -> list[Frame]:
        """Receives once and returns the frames that are whole now.

        A blocking end waits until there is something. A frame's body is valid until the next call.

        Returns:
            Whole frames in order; empty if more bytes are needed, or if a non-blocking end has nothing.

        Raises:
            LineClosed: the other end is gone and all that it sent has been received.
        """
        try:
            count, ancillary, _, _ = self._socket.recvmsg_into([self._reader.space()], _ANCILLARY)
        except BlockingIOError:
            return []
        except OSError as error:
            raise LineClosed from error
        self._keep_descriptors(ancillary)
        if not count:
            raise LineClosed
        self._reader.received(count)
        frames = []
        while (found := self._reader.next_frame()) is not None:
            kind, body, wanted = found
            mine = [self._descriptors.popleft() for _ in range(min(wanted, len(self._descriptors)))]
            frames.append(Frame(kind, body, mine))
        return frames

    def _keep_descriptors(self, ancillary: list[tuple[int, int, bytes]]) -> None:
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                received = array.array("i")
                received.frombytes(data[: len(data) - len(data) % received.itemsize])
                for descriptor in received:
                    os.set_inheritable(descriptor, False)
                    self._descriptors.append(descriptor)

    def close(self) -> None:
        """Closes this end, and descriptors that were received and never taken. May be called twice."""
        self._unsent.clear()
        self._socket.close()
        while self._descriptors:
            os.close(self._descriptors.popleft())


def _after(parts: list[Bytes], sent: int) -> list[Bytes]:
    """Returns what is left of `parts` once their first `sent` bytes are gone."""
    for index, part in enumerate(parts):
        if sent < len(part):
            return [memoryview(part)[sent:], *parts[index + 1 :]]
        sent -= len(part)
    return []
