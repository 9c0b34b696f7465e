"""A worker's end of its line: what the main thread reads, and what the line thread does at the ring of the bell."""

import os
import threading
from collections.abc import Iterator, Sequence

import pytest

from quasiqueue._wire.channel import Channel, socket_pair
from quasiqueue._wire.codec import encode_bulk
from quasiqueue._wire.messages import NOTHING_RETURNED, Kind, pack_batch, pack_ordinal, unpack_ordinal
from quasiqueue._wire.scoreboard import Scoreboard, create_file
from quasiqueue._worker import line as room
from quasiqueue._worker.line import Inbox, Outbox

LIMIT = 30.0


class Kit:
    """An inbox, the main process' end of its line, and the rope of its bell."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ours, theirs = socket_pair()
        ours.settimeout(LIMIT)
        self.main, self.channel = Channel(ours, blocking=True), Channel(theirs, blocking=True)
        self.bell, self.rope = os.pipe()
        self.board = Scoreboard(create_file(1), 1)
        self.inbox = Inbox(self.channel, self.bell, Outbox(self.channel, self.board))
        self.has_died = threading.Event()
        self.changed = threading.Semaphore(0)
        self.inbox.on_change = self.changed.release
        monkeypatch.setattr(room, "die_with_group", self._die)

    def _die(self) -> None:
        """Stands for the end of the worker: the line thread ends too."""
        self.has_died.set()
        raise SystemExit

    def batch(self, first: int, items: Sequence[object]) -> None:
        """Send a batch."""
        self.main.send(Kind.BATCH, pack_batch(first, len(items), [encode_bulk(list(items))], bulk=True))

    def ring(self) -> None:
        """Ring once."""
        os.write(self.rope, b"!")

    def returned(self) -> int:
        """Wait until the worker gives back. Return the first ordinal."""
        while not (frames := self.main.receive()):
            pass
        assert [frame.kind for frame in frames] == [Kind.RETURNED]
        return unpack_ordinal(frames[0].body)

    def close(self) -> None:
        """End it as the main process ends: the line thread dies of that."""
        self.main.close()
        assert self.has_died.wait(LIMIT)
        os.close(self.rope)
        os.close(self.bell)
        self.channel.close()
        self.board.close()


@pytest.fixture
def kit(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kit]:
    kit = Kit(monkeypatch)
    kit.inbox.start_watching()
    yield kit
    kit.close()


def test_recall_reaches_a_worker_whose_main_thread_is_busy(kit: Kit) -> None:
    """At the ring the line thread reads up to the recall, and gives back what was sent before it."""
    kit.batch(1, ["a", "b"])
    kit.batch(3, ["c"])
    kit.main.send(Kind.RECALL)
    kit.ring()
    assert kit.returned() == 1
    assert kit.inbox.batch_nowait() is None


def test_running_item_is_not_given_back(kit: Kit) -> None:
    """What has begun stays; the iterator of its batch ends behind it."""
    kit.batch(1, ["a", "b", "c"])
    batch = kit.inbox.wait_batch()
    assert batch is not None
    numbered = kit.inbox.begin(batch)
    assert next(numbered) == (1, "a")
    kit.main.send(Kind.RECALL)
    kit.ring()
    assert kit.returned() == 2
    assert list(numbered) == []


def test_message_that_comes_after_its_ring_is_waited_for(kit: Kit) -> None:
    """The bell may be quicker than a line that is full: the line thread reads until the message is there."""
    kit.ring()
    kit.batch(1, ["a"])
    kit.main.send(Kind.RECALL)
    assert kit.returned() == 1


def test_ring_whose_message_was_read_already_is_forgotten(kit: Kit) -> None:
    """The main thread was quicker: the line thread waits for nothing, and hears the next one."""
    kit.main.send(Kind.RECALL)
    kit.batch(1, ["a"])
    while (batch := kit.inbox.batch_nowait()) is None:
        kit.inbox.read_ready()
    assert batch.items == ["a"]
    assert kit.returned() == NOTHING_RETURNED
    kit.ring()
    assert kit.changed.acquire(timeout=LIMIT)
    cancelled: list[int] = []
    kit.inbox.on_cancel = cancelled.append
    kit.main.send(Kind.CANCEL, pack_ordinal(7))
    kit.ring()
    assert kit.changed.acquire(timeout=LIMIT)
    assert cancelled == [7]


def test_batches_alone_do_not_wake_the_line_thread(kit: Kit) -> None:
    """They lie in the socket until the main thread reads them: the wake-up that is counted is that of the ring."""
    for first in range(1, 11):
        kit.batch(first, ["a"])
    kit.main.send(Kind.STOP)
    kit.ring()
    assert kit.returned() == 1
    assert kit.changed.acquire(timeout=LIMIT)
    assert kit.changed.acquire(blocking=False) is False
    assert kit.inbox.leaving is True


def test_end_of_the_main_process_is_the_workers(kit: Kit) -> None:
    """Its line ends, while the main thread is busy: the worker dies with all it has started."""
    kit.batch(1, ["a"])
    kit.main.close()
    assert kit.has_died.wait(LIMIT)
