"""Ten million items with recycling: does anything grow in the main process? `make soak ITEMS=10000000`.

Samples, from a thread of the same program, after each tenth of the items: resident memory, descriptors, threads, items
waiting. Exits with 1 if descriptors or threads grew between the second sample and the last.
"""

import argparse
import os
import sys
import threading
import time

import psutil

from quasiqueue import QuasiQueue, Settings

WINDOW = 0.2
"""Seconds that keys are remembered: short, so that their number is steady from the start."""


def reader(_item: int) -> None:
    """Does nothing."""


class Sampler:
    """Takes a sample each time another tenth of the items is done."""

    def __init__(self, queue: QuasiQueue[int], items: int) -> None:
        self._queue = queue
        self._step = items // 10
        self.rows: list[tuple[int, int, int, int, int, int]] = []

    def run(self) -> None:
        """Samples until all tenths were seen."""
        process = psutil.Process()
        while len(self.rows) < 10:
            stats = self._queue.stats()
            if stats.done >= self._step * (len(self.rows) + 1):
                memory = process.memory_info().rss >> 10
                workers = len(stats.workers)
                descriptors = process.num_fds() - 3 * workers  # a line, a scoreboard and, at times, one on its way
                self.rows.append(
                    (stats.done, memory, descriptors, threading.active_count(), stats.recycled, stats.waiting)
                )
            time.sleep(0.001)


def main() -> int:
    """Runs it. Returns the exit code."""
    parser = argparse.ArgumentParser(description="Run many items and look at what grows.")
    parser.add_argument("--items", type=int, default=10_000_000)
    args = parser.parse_args()
    settings = Settings(
        max_queue_size=100_000, lookup_block_size=10_000, max_jobs_per_process=20_000, prevent_requeuing_time=WINDOW
    )
    queue: QuasiQueue[int] = QuasiQueue("soak", reader, range(args.items), settings=settings)
    sampler = Sampler(queue, args.items)
    threading.Thread(target=sampler.run, name="quasiqueue-sampler", daemon=True).start()
    summary = queue.run()
    print(f"{'items':>12} {'KiB resident':>13} {'descriptors':>12} {'threads':>8} {'recycled':>9} {'waiting':>8}")
    for done, memory, descriptors, threads, recycled, waiting in sampler.rows:
        print(f"{done:>12,} {memory:>13,} {descriptors:>12} {threads:>8} {recycled:>9,} {waiting:>8,}")
    print(f"{summary.done:,} done in {summary.seconds:.1f} s, {summary.recycled} recycled, process {os.getpid()}")
    early, late = sampler.rows[1], sampler.rows[-1]
    return int(summary.done != args.items or late[2] > early[2] + 4 or late[3] > early[3])


if __name__ == "__main__":
    sys.exit(main())
