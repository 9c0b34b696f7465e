"""One end of a line: frames and descriptors cross it, nothing is torn, nothing is left open."""

import fcntl
import os
import socket
from collections.abc import Iterator

import pytest

from quasiqueue._wire.channel import MAX_DESCRIPTORS, Channel, LineClosed, socket_pair
from quasiqueue._wire.frames import BUFFER_SIZE, Frame

from .support import open_descriptors

Pair = tuple[Channel, Channel]


@pytest.fixture
def line() -> Iterator[Pair]:
    ours, theirs = socket_pair()
    pair = Channel(ours, blocking=False), Channel(theirs, blocking=True)
    yield pair
    for end in pair:
        end.close()


def received(channel: Channel, count: int) -> list[tuple[int, bytes]]:
    """Receive until `count` frames have come."""
    frames: list[tuple[int, bytes]] = []
    while len(frames) < count:
        frames += [(frame.kind, bytes(frame.body)) for frame in channel.receive()]
    return frames


def test_frames_cross_in_order(line: Pair) -> None:
    """Several frames, of one piece, of several, of none, arrive as they were sent."""
    ours, theirs = line
    assert ours.send(1, [b"one"]) is True
    assert ours.send(2, [b"", b"two ", bytearray(b"pieces"), memoryview(b"!")]) is True
    assert ours.send(3) is True
    assert received(theirs, 3) == [(1, b"one"), (2, b"two pieces!"), (3, b"")]


def test_blocking_end_sends_what_the_other_end_reads(line: Pair) -> None:
    """The way back works likewise."""
    ours, theirs = line
    theirs.send(9, [b"back"])
    assert received(ours, 1) == [(9, b"back")]


def test_nothing_to_receive_is_no_frame(line: Pair) -> None:
    """A non-blocking end that has nothing says so at once."""
    assert line[0].receive() == []


def test_more_pieces_than_one_call_takes_arrive(line: Pair) -> None:
    """A body of more pieces than the system takes at once is sent in several calls."""
    pieces = [bytes([index % 256]) for index in range(3000)]
    assert line[0].send(1, pieces) is True
    assert received(line[1], 1) == [(1, b"".join(pieces))]


def test_descriptors_travel(line: Pair) -> None:
    """A descriptor arrives as a number of the receiver's, which names the same open file and is not inherited."""
    read, write = os.pipe()
    line[0].send(1, [b"x"], descriptors=[read, write])
    os.close(read)
    os.close(write)
    (frame,) = line[1].receive()
    read, write = frame.descriptors
    os.write(write, b"through")
    assert os.read(read, 100) == b"through"
    assert [os.get_inheritable(number) for number in (read, write)] == [False, False]
    os.close(read)
    os.close(write)


def test_descriptors_belong_to_the_frame_they_came_with(line: Pair) -> None:
    """Frames with and without descriptors, read in one go, keep theirs apart."""
    files = [os.open("/dev/null", os.O_RDONLY) for _ in range(3)]
    line[0].send(1, [b"a"], descriptors=files[:1])
    line[0].send(2, [b"b"])
    line[0].send(3, [b"c"], descriptors=files[1:])
    frames: list[Frame] = []
    counts = []
    while len(frames) < 3:
        new = line[1].receive()
        counts += [(frame.kind, len(frame.descriptors)) for frame in new]
        frames += new
    assert counts == [(1, 1), (2, 0), (3, 2)]
    for number in [*files, *(number for frame in frames for number in frame.descriptors)]:
        os.close(number)


def test_as_many_descriptors_as_promised_fit_into_one_frame(line: Pair) -> None:
    """The documented most travels in one frame."""
    null = os.open("/dev/null", os.O_RDONLY)
    line[0].send(1, [b"x"], descriptors=[null] * MAX_DESCRIPTORS)
    os.close(null)
    (frame,) = line[1].receive()
    assert len(frame.descriptors) == MAX_DESCRIPTORS == 250
    for number in frame.descriptors:
        os.close(number)


def test_what_the_socket_does_not_take_waits_for_flush(line: Pair) -> None:
    """A non-blocking end keeps the rest, in order, and sends it as the other end reads; nothing is torn or doubled."""
    ours, theirs = line
    bodies = [bytes([65 + index]) * 3_000_000 for index in range(3)]
    assert ours.send(0, [bodies[0]]) is False
    assert ours.has_unsent is True
    assert ours.send(1, [bodies[1], b"end"]) is False
    assert ours.send(2, [bodies[2]]) is False
    frames: list[tuple[int, bytes]] = []
    while len(frames) < 3:
        ours.flush()
        frames += [(frame.kind, bytes(frame.body)) for frame in theirs.receive()]
    assert frames == [(0, bodies[0]), (1, bodies[1] + b"end"), (2, bodies[2])]
    assert ours.flush() is True
    assert ours.has_unsent is False


def test_descriptors_of_a_frame_that_waited_travel_once(line: Pair) -> None:
    """A frame behind a full socket, and one that was sent in part, bring each descriptor exactly once."""
    ours, theirs = line
    null = os.open("/dev/null", os.O_RDONLY)
    body = b"x" * 3_000_000
    before = open_descriptors()
    assert ours.send(0, [body], descriptors=[null]) is False
    assert ours.send(1, [body], descriptors=[null, null]) is False
    frames: list[tuple[int, list[int]]] = []
    while len(frames) < 2:
        ours.flush()
        frames += [(frame.kind, frame.descriptors) for frame in theirs.receive()]
    assert [(kind, len(numbers)) for kind, numbers in frames] == [(0, 1), (1, 2)]
    assert open_descriptors() == before + 3
    for number in [null, *frames[0][1], *frames[1][1]]:
        os.close(number)


def test_pieces_are_not_copied_before_they_are_sent(line: Pair) -> None:
    """What waits is the caller's own object, cut by a view."""
    body = b"x" * 8_000_000
    line[0].send(1, [body])
    ((parts, _),) = line[0]._unsent
    assert parts[-1].obj is body


def test_end_of_the_other_side_comes_after_all_that_it_sent(line: Pair) -> None:
    """What was sent before the end is still received; then the line is closed, for receiving and for sending."""
    ours, theirs = line
    theirs.send(1, [b"last words"])
    theirs.close()
    assert received(ours, 1) == [(1, b"last words")]
    with pytest.raises(LineClosed):
        ours.receive()
    with pytest.raises(LineClosed):
        ours.send(2, [b"nobody hears"])
    with pytest.raises(LineClosed):
        ours.flush()


def test_torn_frame_never_comes_out(line: Pair) -> None:
    """A frame whose sender died in the middle is not given to anybody."""
    ours, theirs = line
    theirs._socket.send(b"\x05\x00\x00")
    theirs.close()
    assert ours.receive() == []
    with pytest.raises(LineClosed):
        ours.receive()


def test_close_may_be_called_twice_and_drops_untaken_descriptors(line: Pair) -> None:
    """Descriptors whose frame never became whole are closed with the line."""
    ours, theirs = line
    null = os.open("/dev/null", os.O_RDONLY)
    before = open_descriptors()
    ours.send(1, [b"x" * (BUFFER_SIZE + 4_000_000)], descriptors=[null])
    assert theirs.receive() == []
    assert open_descriptors() == before + 1
    theirs.close()
    theirs.close()
    assert open_descriptors() == before - 1
    assert theirs.fileno() == -1
    os.close(null)


def test_closed_end_refuses_everything(line: Pair) -> None:
    """A closed end raises the same as one whose other side is gone."""
    line[0].close()
    assert line[0].has_unsent is False
    with pytest.raises(LineClosed):
        line[0].send(1, [b"x"])
    with pytest.raises(LineClosed):
        line[0].receive()


def test_ends_are_set_blocking_and_not_inherited() -> None:
    """The main process' end never blocks, a child's does; neither reaches a program that is started."""
    ours, theirs = socket_pair()
    channels = Channel(ours, blocking=False), Channel(theirs, blocking=True)
    assert [sock.getblocking() for sock in (ours, theirs)] == [False, True]
    assert [fcntl.fcntl(sock, fcntl.F_GETFD) & fcntl.FD_CLOEXEC for sock in (ours, theirs)] == [fcntl.FD_CLOEXEC] * 2
    assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM
    for channel in channels:
        channel.close()
