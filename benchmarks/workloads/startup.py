"""From nothing to the first item: `main()` until the first reader call, the pool's creation until its first item.

Everything is imported before, nothing is warmed up: this is what a program waits for.
"""

import asyncio
import time
from concurrent.futures import ProcessPoolExecutor

from quasiqueue import QuasiQueue

from ..support import FORK, WORKERS, Figures, Notes, Scale, Workload


def quasiqueue(scale: Scale) -> Figures:
    """Two workers, ten items."""
    notes = Notes(1)
    queue = QuasiQueue("startup", lambda _: notes.write(time.monotonic_ns()), range(10))

    async def program() -> int:
        began = time.monotonic_ns()
        await queue.main()
        return began

    began = asyncio.run(program())
    return {"first_item_ms": (min(notes.rows())[0] - began) / 1e6}


def now(_: object) -> int:
    """The peers' function."""
    return time.monotonic_ns()


def pool(scale: Scale) -> Figures:
    """multiprocessing.Pool with fork."""
    began = time.monotonic_ns()
    with FORK.Pool(WORKERS) as peer:
        first = min(peer.imap_unordered(now, range(10)))
    return {"first_item_ms": (first - began) / 1e6}


def executor(scale: Scale) -> Figures:
    """ProcessPoolExecutor with fork."""
    began = time.monotonic_ns()
    with ProcessPoolExecutor(WORKERS, mp_context=FORK) as peer:
        first = min(peer.map(now, range(10)))
    return {"first_item_ms": (first - began) / 1e6}


WORKLOAD = Workload(
    "from the call until the first item runs; milliseconds",
    {"quasiqueue": quasiqueue, "multiprocessing.Pool": pool, "ProcessPoolExecutor": executor},
)
