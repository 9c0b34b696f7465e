"""Where the time of a no-op item goes: nanoseconds per item in each room, along an item's way.

All rooms are built in one process and a block of integers is taken through them, one room after the other, with the
clock read before and after each. No process waits for another here, so the sum is the work itself: the first four and
the last two are the main process', the rest the worker's. The reader's own time is that of a plain loop that calls it.
"""

import random
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from quasiqueue import Settings
from quasiqueue._callables import plan_writer
from quasiqueue._main.intake import Intake
from quasiqueue._main.ledger import Ledger
from quasiqueue._main.settler import Settler
from quasiqueue._main.source import Source
from quasiqueue._main.tally import Tally
from quasiqueue._main.worker import Line, Worker
from quasiqueue._wire.channel import Channel, socket_pair
from quasiqueue._wire.codec import encode_bulk
from quasiqueue._wire.messages import Kind, pack_batch, unpack_batch, unpack_report
from quasiqueue._wire.scoreboard import Scoreboard, create_file
from quasiqueue._worker.line import Inbox, Outbox
from quasiqueue._worker.sync_loop import SyncLoop

from ..support import Figures, Scale, Workload, nothing

BLOCK = 5000
WINDOW = 300.0

DRAW = "source: draw from the iterable"
ADMIT = "door: look the keys up and remember them"
PACK = "dispatcher: take from the backlog, pickle, enter in the ledger"
SEND = "line: to the worker's buffer"
READ = "worker: unpickle"
RUN = "worker: scoreboard, try, call of the reader, report"
CALL = "of which the call itself, in a plain loop"
SETTLE = "dispatcher and settler: report, ledger, counts"
FORGET = "door: forget the keys after the window"


class Stopwatches:
    """Adds up the time that each room takes."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def room(self, name: str) -> Iterator[None]:
        """Takes the time of a block of code."""
        began = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - began


class Main:
    """The main process' rooms, and one worker's record in them; its line is not connected to a loop."""

    def __init__(self, count: int) -> None:
        settings = Settings(prevent_requeuing_time=WINDOW)
        self.source = Source(plan_writer(range(count)), settings)
        self.intake = Intake(capacity=count, window=WINDOW)
        self.settler = Settler(
            self.intake,
            Tally(0.0),
            settings=settings,
            publish=nothing,
            collect=None,
            queue="rooms",
            chance=random.Random(),
        )
        self.ledger = Ledger()
        self.worker = Worker(
            serial=1,
            slot=0,
            line=Line.__new__(Line),
            board=Scoreboard(create_file(1), 1),
            lanes=1,
            is_async=False,
            max_jobs=None,
            due_at_jobs=None,
            started_at=0.0,
            ledger=self.ledger,
        )


def journey(count: int) -> dict[str, float]:
    """Takes `count` integers through all rooms. Returns the seconds that each took."""
    watches = Stopwatches()
    main = Main(count)
    ours, theirs = (Channel(end, blocking=True) for end in socket_pair())
    board = main.worker.board
    outbox = Outbox(theirs, board)
    inbox = Inbox(theirs, -1, outbox)
    loop = SyncLoop(inbox, outbox, board, reader=nothing, keep_results=False, show=nothing)
    for _ in range(count // BLOCK):
        now = time.monotonic()
        with watches.room(DRAW):
            pulled = main.source.pull(BLOCK, most=BLOCK)
        with watches.room(ADMIT):
            main.intake.accept(pulled.items, now, types=pulled.types)
        with watches.room(PACK):
            parcel = main.intake.take(BLOCK)
            assert parcel is not None
            payload = encode_bulk(parcel.items)
            body = pack_batch(main.ledger.hand(parcel), len(parcel), [payload], bulk=True)
        with watches.room(SEND):
            ours.send(Kind.BATCH, body)
            frames = theirs.receive()
            while not frames:
                frames = theirs.receive()
        with watches.room(READ):
            batch = unpack_batch(frames[0])
        with watches.room(CALL):
            for item in batch.items:
                nothing(item)
        with watches.room(RUN):
            loop.turn(batch)
        with watches.room(SETTLE):
            report = unpack_report(ours.receive()[0].body)
            for first, last in report.ranges:
                for holding in main.ledger.strike(first, last):
                    main.settler.settle(main.worker, holding, {}, now)
    with watches.room(FORGET):
        main.intake.expire(time.monotonic() + WINDOW, lambda: ())
    return watches.seconds


def room(scale: Scale, *, name: str) -> Figures:
    """One room's share; the whole way is gone all the same, so that caches are as full as they are in earnest."""
    count = scale.pick(1_000_000, 200_000, 10_000)
    return {"ns_per_item": 1e9 * journey(count)[name] / count}


WORKLOAD = Workload(
    "where the time of a no-op item goes, an integer in blocks of 5000; nanoseconds per item",
    {name: partial(room, name=name) for name in (DRAW, ADMIT, PACK, SEND, READ, RUN, CALL, SETTLE, FORGET)},
)
