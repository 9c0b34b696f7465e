"""Items of 1 MiB of bytes, each different from the others: how many MiB per second reach the readers.

With de-duplication QuasiQueue computes a digest of every byte, which no peer does; both ways are measured. The speed at
which this machine copies memory is what everything here is bound by.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from quasiqueue import QuasiQueue, Settings

from ..support import FORK, WORKERS, Figures, Scale, Stopwatch, Workload, all_done, bare_seconds, exhaust, nothing

MIB = 1 << 20


def _items(count: int) -> Iterator[bytes]:
    body = bytes(MIB - 8)
    for number in range(count):
        yield number.to_bytes(8) + body


def _count(scale: Scale) -> int:
    return scale.pick(1000, 100, 4)


def quasiqueue(scale: Scale, *, window: float) -> Figures:
    """All settings at their defaults, with de-duplication or without."""
    count = _count(scale)
    queue = QuasiQueue("large", nothing, _items(count), settings=Settings(prevent_requeuing_time=window))
    with Stopwatch() as watch:
        summary = queue.run()
    all_done(summary, count)
    return {"mib_per_second": count / watch.seconds}


def _timed(run: Callable[[Iterable[bytes]], Iterable[object]], scale: Scale) -> Figures:
    exhaust(run(_items(2)))
    with Stopwatch() as watch:
        exhaust(run(_items(_count(scale))))
    return {"mib_per_second": _count(scale) / watch.seconds}


def pool(scale: Scale) -> Figures:
    """multiprocessing.Pool.imap_unordered, warm."""
    with FORK.Pool(WORKERS) as peer:
        return _timed(lambda items: peer.imap_unordered(nothing, items), scale)


def executor(scale: Scale) -> Figures:
    """ProcessPoolExecutor.map, warm."""
    with ProcessPoolExecutor(WORKERS, mp_context=FORK) as peer:
        return _timed(lambda items: peer.map(nothing, items), scale)


def raw(scale: Scale) -> Figures:
    """A bare multiprocessing.Queue."""
    count = _count(scale)
    queue = FORK.Queue()

    def take() -> None:
        while queue.get() is not None:
            pass

    def give() -> None:
        for item in _items(count):
            queue.put(item)
        for _ in range(WORKERS):
            queue.put(None)

    return {"mib_per_second": count / bare_seconds(take, give)}


def copy(scale: Scale) -> Figures:
    """One process that copies memory, in pieces far larger than its caches."""
    piece = memoryview(bytearray(scale.pick(256, 256, 8) * MIB))
    target = bytearray(len(piece))
    target[:] = piece
    rounds = scale.pick(8, 2, 1)
    with Stopwatch() as watch:
        for _ in range(rounds):
            target[:] = piece
    return {"mib_per_second": rounds * len(piece) / MIB / watch.seconds}


WORKLOAD = Workload(
    "items of 1 MiB of bytes; MiB per second",
    {
        "quasiqueue": partial(quasiqueue, window=300),
        "quasiqueue, without de-duplication": partial(quasiqueue, window=0),
        "multiprocessing.Queue, raw": raw,
        "multiprocessing.Pool, one at a time": pool,
        "ProcessPoolExecutor, one at a time": executor,
        "memory copy": copy,
    },
)
