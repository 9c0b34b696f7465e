"""`make bench`: measures every workload, or one, and writes the results. `--help` shows the choices."""

import argparse

from . import machine
from .publish import earlier, publish
from .runner import run_workload
from .support import Scale
from .workloads import WORKLOADS

ROUNDS = {Scale.FULL: 5, Scale.QUICK: 2}


def main() -> None:
    """Parses the arguments, runs, publishes after each workload, so that nothing is lost if it is interrupted."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", choices=WORKLOADS, nargs="+", default=list(WORKLOADS), help="these workloads only")
    parser.add_argument("--quick", action="store_true", help="small sizes, 2 rounds: a look, not a figure to quote")
    parser.add_argument("--rounds", type=int, help="how often each system is measured (5)")
    arguments = parser.parse_args()
    scale = Scale.QUICK if arguments.quick else Scale.FULL
    facts = machine.facts()
    workloads = earlier(facts)
    text = ""
    for name in arguments.only:
        workloads[name] = run_workload(name, rounds=arguments.rounds or ROUNDS[scale], scale=scale)
        text = publish(facts, workloads)
    print(f"\n{text}\n\nWritten to benchmarks/results and docs/performance.md")


if __name__ == "__main__":
    main()
