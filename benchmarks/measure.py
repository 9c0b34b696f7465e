"""Measures one system at one workload once, and prints the figures as one line of JSON.

`python -m benchmarks.measure WORKLOAD SYSTEM [full|quick|tiny]`, started afresh for each measurement by `runner.py`, so
that none inherits memory, processes or warm caches from another.
"""

import json
import sys
import warnings

from .support import Scale
from .workloads import WORKLOADS


def main(workload: str, system: str, scale: str = "full") -> None:
    """Prints `{"figures": {...}}`, or `{"missing": "why"}` for a peer that is not there."""
    warnings.simplefilter("ignore")  # peers have some
    measure = WORKLOADS[workload].systems[system]
    try:
        answer: dict[str, object] = {"figures": measure(Scale(scale))}
    except ImportError as error:
        answer = {"missing": f"not installed ({error.name})"}
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
