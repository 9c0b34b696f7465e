"""A tiny process that outlives the main process by a moment, and ends what spawned workers have started.

Run as a program of its own, beside spawned workers: under fork the template process does this. It imports nothing but
the standard library's smallest parts, so it starts in milliseconds. The main process writes a line per worker, "+PID"
when it was started and "-PID" when it has ended; when the pipe ends, the groups of all that are left are killed.
"""

import os
import signal
import sys


def main() -> None:
    """Reads standard input to its end, then kills."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


if __name__ == "__main__":
    main()
