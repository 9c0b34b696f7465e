"""Every message's body comes out as it was packed, and holds nothing of the memory that it was received in."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quasiqueue._wire.codec import ItemBlob, encode_bulk, encode_item, pack_singles
from quasiqueue._wire.frames import BUFFER_SIZE, Frame
from quasiqueue._wire.messages import (
    NOTHING_RETURNED,
    Kind,
    RecordKind,
    pack_batch,
    pack_ordinal,
    pack_report,
    pack_values,
    unpack_batch,
    unpack_ordinal,
    unpack_report,
    unpack_values,
)
from quasiqueue._wire.scoreboard import Record, pack_record, read_records

ORDINALS = st.integers(1, 2**64 - 2)


def body_of(parts: list[object]) -> memoryview:
    return memoryview(bytearray(b"".join(parts)))  # type: ignore[arg-type]


@given(ORDINALS, st.lists(st.one_of(st.integers(), st.text()), min_size=1))
def test_bulk_batch_round_trip(first: int, items: list[object]) -> None:
    """Items encoded in bulk come out as themselves, with their ordinals."""
    batch = unpack_batch(Frame(Kind.BATCH, body_of(pack_batch(first, len(items), [encode_bulk(items)], bulk=True)), []))
    assert (batch.first, batch.items, batch.encoded) == (first, items, False)
    assert batch.last == first + len(items) - 1


@given(ORDINALS, st.lists(st.lists(st.integers(), max_size=3), min_size=1, max_size=6))
def test_single_batch_round_trip(first: int, items: list[object]) -> None:
    """Items encoded one by one come out as blobs, which do not depend on the frame's memory."""
    encoded = [encode_item(item) for item in items]
    body = body_of(pack_batch(first, len(items), pack_singles(encoded), bulk=False))
    batch = unpack_batch(Frame(Kind.BATCH, body, []))
    body[:] = bytes(len(body))
    assert (batch.first, batch.encoded, batch.last) == (first, True, first + len(items) - 1)
    assert [blob.decode() for blob in batch.items if isinstance(blob, ItemBlob)] == items


def test_large_batch_is_not_copied() -> None:
    """A body that is larger than the receive buffer has memory of its own, which its blobs are views of."""
    body = body_of(pack_batch(1, 1, pack_singles([encode_item(b"x" * (2 * BUFFER_SIZE))]), bulk=False))
    batch = unpack_batch(Frame(Kind.BATCH, body, []))
    (blob,) = batch.items
    assert isinstance(blob, ItemBlob)
    assert isinstance(blob.data, memoryview)
    assert blob.data.obj is body.obj
    assert blob.decode() == b"x" * (2 * BUFFER_SIZE)


@given(
    st.floats(0, 1e6),
    st.integers(0, 2**32 - 1),
    st.lists(st.tuples(ORDINALS, ORDINALS)),
    st.lists(st.binary(max_size=50)),
)
def test_report_round_trip(seconds: float, ran: int, ranges: list[tuple[int, int]], records: list[bytes]) -> None:
    """Seconds, count, ranges and records come out exactly."""
    report = unpack_report(body_of(pack_report(seconds, ran, ranges, records)))
    assert (report.seconds, report.ran, report.ranges, report.records) == (seconds, ran, ranges, b"".join(records))


@given(st.lists(st.builds(Record, ORDINALS, st.floats(0, 1e6), st.sampled_from(RecordKind), st.binary(max_size=50))))
def test_records_round_trip(records: list[Record]) -> None:
    """Records that lie one after the other come out as they went in."""
    assert list(read_records(b"".join(map(pack_record, records)))) == records


def test_report_does_not_depend_on_the_bodys_memory() -> None:
    """The receive buffer is used again while a report is still at work."""
    body = body_of(pack_report(0.5, 2, [(1, 2)], [b"records"]))
    report = unpack_report(body)
    body[:] = bytes(len(body))
    assert (report.ranges, report.records) == ([(1, 2)], b"records")


@given(st.integers(0, 2**64 - 1))
def test_ordinal_round_trip(ordinal: int) -> None:
    """One number of 64 bits."""
    assert unpack_ordinal(body_of(pack_ordinal(ordinal))) == ordinal


def test_nothing_returned_is_above_every_ordinal() -> None:
    """It is the greatest number that the message can carry."""
    assert unpack_ordinal(body_of(pack_ordinal(NOTHING_RETURNED))) == 2**64 - 1
    with pytest.raises(struct.error):
        pack_ordinal(NOTHING_RETURNED + 1)


@given(st.tuples(st.integers(), st.text(), st.booleans(), st.floats(allow_nan=False), st.none()))
def test_values_round_trip(values: tuple[object, ...]) -> None:
    """Rare messages carry any built-in values."""
    assert unpack_values(b"".join(pack_values(*values))) == values


def test_kinds_are_numbers_of_one_byte_and_all_different() -> None:
    """Each kind fits into a header; no two share a number."""
    numbers = [int(kind) for kind in Kind]
    assert len(set(numbers)) == len(numbers)
    assert max(numbers) < 256
