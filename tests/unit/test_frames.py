"""Frames come out whole, once and in order, however the stream was cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quasiqueue._wire.frames import BUFFER_SIZE, HEADER, FrameReader, pack_header

Told = tuple[int, bytes, int]


def packed(frames: list[Told]) -> bytes:
    return b"".join(pack_header(kind, len(body), descriptors) + body for kind, body, descriptors in frames)


def fed(reader: FrameReader, data: bytes, cuts: list[int]) -> list[Told]:
    """Hand a stream in, at most as many bytes at a time as `cuts` says, and take the frames out."""
    frames: list[Told] = []
    at = turn = 0
    while at < len(data):
        space = reader.space()
        count = min(cuts[turn % len(cuts)], len(space), len(data) - at)
        space[:count] = data[at : at + count]
        reader.received(count)
        at += count
        turn += 1
        while (found := reader.next_frame()) is not None:
            kind, body, descriptors = found
            frames.append((kind, bytes(body), descriptors))
    return frames


FRAMES = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=300), st.integers(0, 65535)), max_size=12)


@given(FRAMES, st.lists(st.integers(1, 400), min_size=1, max_size=8))
def test_any_cutting_gives_the_same_frames(frames: list[Told], cuts: list[int]) -> None:
    """What goes in as a stream comes out as the frames that it was made of."""
    assert fed(FrameReader(), packed(frames), cuts) == frames


@pytest.mark.parametrize("cut", [1, 7, 4096, BUFFER_SIZE - 1, BUFFER_SIZE, 10 * BUFFER_SIZE])
@pytest.mark.parametrize("size", [0, 1, BUFFER_SIZE - HEADER.size, BUFFER_SIZE - HEADER.size + 1, BUFFER_SIZE, 700_000])
def test_bodies_around_the_buffer_size_come_out_whole(size: int, cut: int) -> None:
    """A body that fits, one that fits exactly, and larger ones come out between their small neighbours."""
    if cut < 100 and size > 1:
        cut = 50_021
    body = (bytes(range(256)) * (size // 256 + 1))[:size]
    frames = [(1, b"before", 0), (2, body, 3), (4, b"after", 0), (5, b"", 1)]
    assert fed(FrameReader(), packed(frames), [cut]) == frames


def test_frames_that_straddle_the_buffers_end_are_moved() -> None:
    """Many frames, none of which divides the buffer, pass through it for several times its size."""
    frames = [(index % 256, bytes([index % 256]) * 999, 0) for index in range(3 * BUFFER_SIZE // 999)]
    assert fed(FrameReader(), packed(frames), [BUFFER_SIZE]) == frames


def test_header_alone_is_no_frame() -> None:
    """Nothing comes out before the last byte of a body has come in."""
    reader = FrameReader()
    data = pack_header(7, 2, 0) + b"ab"
    for byte in data[:-1]:
        reader.space()[0] = byte
        reader.received(1)
        assert reader.next_frame() is None
    reader.space()[0] = data[-1]
    reader.received(1)
    found = reader.next_frame()
    assert found is not None
    assert (found[0], bytes(found[1]), found[2]) == (7, b"ab", 0)
    assert reader.next_frame() is None


def test_large_body_has_memory_of_its_own() -> None:
    """A body larger than the buffer stays as it is when the next bytes arrive; its space is what it lacks."""
    reader = FrameReader()
    header = pack_header(1, BUFFER_SIZE + 5, 0)
    reader.space()[: len(header)] = header
    reader.received(len(header))
    assert reader.next_frame() is None
    assert len(reader.space()) == BUFFER_SIZE + 5
    reader.space()[:] = b"x" * (BUFFER_SIZE + 5)
    reader.received(BUFFER_SIZE + 5)
    found = reader.next_frame()
    assert found is not None
    assert len(reader.space()) == BUFFER_SIZE
    reader.space()[:] = b"y" * BUFFER_SIZE
    assert found[1] == b"x" * (BUFFER_SIZE + 5)


def large(reader: FrameReader, size: int, letter: bytes) -> memoryview:
    """Pass a frame with a large body through a reader. Return the body."""
    data = pack_header(1, size, 0) + letter * size
    while data:
        space = reader.space()
        count = min(len(space), len(data))
        space[:count] = data[:count]
        reader.received(count)
        data = data[count:]
        found = reader.next_frame()
    assert found is not None
    return found[1]


def test_memory_of_a_large_body_is_used_again() -> None:
    """Once nobody looks at it; also for a body that is smaller."""
    reader = FrameReader()
    memory = large(reader, BUFFER_SIZE * 2, b"a").obj
    for size in (BUFFER_SIZE * 2, BUFFER_SIZE + 1):
        body = large(reader, size, b"b")
        assert body.obj is memory
        assert body == b"b" * size
        del body


def test_memory_that_somebody_looks_at_is_left_alone() -> None:
    """Be it at a part of it only: the next bodies lie elsewhere."""
    reader = FrameReader()
    parts = [large(reader, BUFFER_SIZE + 1, letter)[5:9] for letter in (b"a", b"b", b"c", b"d")]
    assert [bytes(part) for part in parts] == [b"aaaa", b"bbbb", b"cccc", b"dddd"]


def test_memory_of_a_very_large_body_is_not_kept() -> None:
    """An item of many MiB does not cost its worker as much for ever."""
    reader = FrameReader()
    memory = large(reader, 5 << 20, b"a").obj
    assert large(reader, 5 << 20, b"b").obj is not memory
