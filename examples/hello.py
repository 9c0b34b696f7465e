"""The smallest program: one function gives work, another does it in several processes. Stop it with Ctrl-C."""

import itertools
import os
import time

from quasiqueue import QuasiQueue

numbers = itertools.count(1)


def writer(desired_items):
    return itertools.islice(numbers, desired_items)


def reader(item):
    print(f"process {os.getpid()} got {item}", flush=True)
    time.sleep(0.2)  # so that a person can read along


QuasiQueue("hello", reader, writer).run()
