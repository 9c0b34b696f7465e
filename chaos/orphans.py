"""Kills a main process at random moments, and looks for anything that it left behind: `make orphans ROUNDS=200`.

Each round starts a program of its own session (workers start, run, are recycled, have children of their own), kills its
main process with SIGKILL after a random part of a second, and waits at most a second for every process of the round to
be gone. They carry a mark in their environment, so that nothing else is ever looked at or touched.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

MARK = "QUASIQUEUE_ORPHANS_ROUND"
PROGRAM = """
import itertools, os, subprocess, sys, time
from quasiqueue import QuasiQueue, Settings

def reader(item):
    if item % 50 == 0:
        subprocess.run([sys.executable, "-S", "-c", "import time; time.sleep(20)"])
    if item % 71 == 0:
        sum(itertools.repeat(0))  # never returns, and holds the interpreter's lock
    time.sleep(0.001)

print("started", flush=True)
settings = Settings(max_jobs_per_process=20, num_processes=3)
QuasiQueue("orphans", reader, itertools.count(1), settings=settings).run()
"""


def left_of(mark: str) -> list[psutil.Process]:
    """Returns the processes that carry a mark and have not ended."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def one_round(number: int, chance: random.Random) -> list[str]:
    """Runs one round. Returns the names of what was left a second after the kill; it is ended then."""
    mark = f"{os.getpid()}-{number}"
    environment = {**os.environ, MARK: mark}
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, start_new_session=True) as main:
        assert main.stdout is not None
        main.stdout.readline()
        time.sleep(chance.random() * 0.4)  # the random moment
        main.send_signal(signal.SIGKILL)
        main.wait()
        until = time.monotonic() + 1.0
        while (left := left_of(mark)) and time.monotonic() < until:
            time.sleep(0.02)
        names = [" ".join(process.cmdline()) for process in left]
        for process in left:
            process.kill()
    return names


def main() -> int:
    """Runs the rounds. Returns the exit code: 1 if anything was left."""
    parser = argparse.ArgumentParser(description="Kill main processes at random moments and look for orphans.")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    args = parser.parse_args()
    print(f"seed {args.seed}", flush=True)
    chance = random.Random(args.seed)
    shared_memory = set(Path("/dev/shm").glob("*"))
    bad = 0
    for number in range(1, args.rounds + 1):
        if names := one_round(number, chance):
            bad += 1
            print(f"round {number}: left {names}", flush=True)
    new_files = set(Path("/dev/shm").glob("*")) - shared_memory
    print(f"{args.rounds} rounds, {bad} with processes left, {len(new_files)} files left in shared memory")
    return 1 if bad or new_files else 0


if __name__ == "__main__":
    sys.exit(main())
