"""What a worker writes down can be read at any moment, also after it was killed."""

import os
from collections.abc import Iterator

import pytest

from quasiqueue._wire.messages import RecordKind
from quasiqueue._wire.scoreboard import JOURNAL_SIZE, RECORD, Progress, Record, Scoreboard, create_file, read_records

from .support import open_descriptors


@pytest.fixture
def board() -> Iterator[Scoreboard]:
    board = Scoreboard(create_file(4), 4)
    yield board
    board.close()


def test_fresh_board_shows_nothing(board: Scoreboard) -> None:
    """No item was begun, none runs, no record was written, no stack, no permission to end."""
    assert board.progress() == Progress(0, frozenset())
    assert list(board.cells) == [0, 0, 0, 0]
    assert bytes(board.journal()) == b""
    assert board.stacks() == ""
    assert board.may_terminate is False


def test_progress_is_the_cursor_and_the_cells(board: Scoreboard) -> None:
    """What runs is in the cells; what was begun is the cursor, or a cell beyond it."""
    board.set_cursor(7)
    assert board.progress() == Progress(7, frozenset())
    board.cells[0] = 6
    board.cells[3] = 7
    assert board.progress() == Progress(7, frozenset({6, 7}))
    board.cells[1] = 9
    assert board.progress() == Progress(9, frozenset({6, 7, 9}))
    board.cells[1] = board.cells[0] = board.cells[3] = 0
    assert board.progress() == Progress(7, frozenset())


def test_another_mapping_of_the_file_sees_the_same(board: Scoreboard) -> None:
    """The worker writes, the main process reads, without a message; what was written outlives the writer."""
    other = Scoreboard(os.dup(board.descriptor), 4)
    other.set_cursor(3)
    other.cells[2] = 3
    assert other.write_record(Record(2, 0.25, RecordKind.FAILED, b"why")) is True
    board.allow_terminate()
    assert other.may_terminate is True
    other.close()
    assert board.progress() == Progress(3, frozenset({3}))
    assert list(read_records(board.journal())) == [Record(2, 0.25, RecordKind.FAILED, b"why")]


def test_journal_keeps_records_in_order_until_cleared(board: Scoreboard) -> None:
    """Records are read as they were written; cleared ones are gone and their room is free again."""
    records = [Record(index, index / 8, RecordKind.RESULT, b"x" * index) for index in range(1, 40)]
    assert [board.write_record(record) for record in records] == [True] * 39
    assert list(read_records(board.journal())) == records
    board.clear_journal()
    assert list(read_records(board.journal())) == []
    assert board.write_record(records[5]) is True
    assert list(read_records(board.journal())) == [records[5]]


def test_record_that_does_not_fit_is_not_written(board: Scoreboard) -> None:
    """A full journal says so and stays as it is; one that fits to the last byte is taken."""
    half = JOURNAL_SIZE // 2 - RECORD.size
    first, second = (Record(index, 0.0, RecordKind.RESULT, bytes([index]) * half) for index in (1, 2))
    assert board.write_record(first) is True
    assert board.write_record(Record(2, 0.0, RecordKind.RESULT, b"x" * (half + 1))) is False
    assert list(read_records(board.journal())) == [first]
    assert board.write_record(second) is True
    assert board.write_record(Record(3, 0.0, RecordKind.RESULT, b"")) is False
    assert list(read_records(board.journal())) == [first, second]


def test_torn_record_is_not_seen(board: Scoreboard) -> None:
    """A record counts only once its length was added: a worker that dies while it writes leaves the row true."""
    board.write_record(Record(1, 0.0, RecordKind.RESULT, b"whole"))
    at = len(board.journal())
    board._journal[at : at + 10] = b"torn......"
    assert [record.payload for record in read_records(board.journal())] == [b"whole"]


def test_cells_and_journal_do_not_overlap(board: Scoreboard) -> None:
    """A full journal leaves the cells alone, and the cells the journal."""
    board.write_record(Record(1, 0.0, RecordKind.RESULT, b"\xff" * (JOURNAL_SIZE - RECORD.size)))
    assert list(board.cells) == [0, 0, 0, 0]
    for index in range(4):
        board.cells[index] = 2**64 - 1
    (record,) = read_records(board.journal())
    assert record.payload == b"\xff" * (JOURNAL_SIZE - RECORD.size)
    assert board.stacks() == ""


def test_stacks_are_appended_behind_everything(board: Scoreboard) -> None:
    """What faulthandler writes to the descriptor lands past the mapped part, one dump after the other."""
    board.set_cursor(5)
    os.write(board.descriptor, b"Thread 1:\n")
    assert board.stacks() == "Thread 1:\n"
    os.write(board.descriptor, "Fäden\n".encode())
    assert board.stacks() == "Thread 1:\nFäden\n"
    assert board.progress() == Progress(5, frozenset())
    assert bytes(board.journal()) == b""


def test_only_the_end_of_long_stacks_is_read(board: Scoreboard) -> None:
    """The last 256 KiB; bytes that are no text are replaced."""
    os.write(board.descriptor, b"a" * 300_000 + b"\xff" + b"z" * 9)
    stacks = board.stacks()
    assert len(stacks) == 1 << 18
    assert stacks.endswith("a\N{REPLACEMENT CHARACTER}zzzzzzzzz")


def test_close_may_be_called_twice_and_leaves_no_descriptor() -> None:
    """The file goes with its last holder."""
    before = open_descriptors()
    board = Scoreboard(create_file(1), 1)
    assert open_descriptors() > before
    board.close()
    board.close()
    assert open_descriptors() == before
    assert board.descriptor == -1


def test_file_that_cannot_be_mapped_is_closed() -> None:
    """A board that could not be made owns its descriptor all the same."""
    before = open_descriptors()
    descriptor = os.open("/dev/null", os.O_RDONLY)
    with pytest.raises(OSError, match=r".+"):
        Scoreboard(descriptor, 1)
    assert open_descriptors() == before


def test_file_is_private_and_not_inherited() -> None:
    """It has no name, and no program that is started gets it."""
    descriptor = create_file(2)
    assert os.get_inheritable(descriptor) is False
    assert os.fstat(descriptor).st_size == (8 + 2) * 8 + JOURNAL_SIZE
    os.close(descriptor)
