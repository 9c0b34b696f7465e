"""Runs measurements, each in a fresh process, and collects their figures.

`__main__.py` says what and how often; `publish.py` gets the results. Systems take turns within a round, in a different
order in each, so that a machine that gets slower or busier does so for all of them. Invariant: one measurement that
fails or hangs costs its own figure, no other, and leaves no process behind.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quasiqueue import Settings

from . import machine
from .support import Scale
from .workloads import WORKLOADS

ROOT = Path(__file__).parent.parent
LIMIT = 180.0
"""Seconds that one measurement may take."""


def run_workload(name: str, *, rounds: int, scale: Scale) -> dict[str, Any]:
    """Measures all systems of a workload. Returns its part of results.json."""
    workload = WORKLOADS[name]
    systems: dict[str, Any] = {system: {} for system in workload.systems}
    load = machine.load()
    for number in range(rounds):
        for system in order(list(systems), number):
            if "missing" not in systems[system]:
                add(systems[system], measure(name, system, scale))
                print(f"{name:10} round {number + 1}/{rounds}  {system}: {told(systems[system])}", flush=True)
    return {"about": workload.about, "scale": scale.value, "rounds": rounds, "load": load, "systems": systems}


def order(systems: list[str], number: int) -> list[str]:
    """Returns the systems in the order of one round: there and back by turns."""
    return systems if number % 2 == 0 else systems[::-1]


def add(system: dict[str, Any], answer: dict[str, Any]) -> None:
    """Adds one measurement to a system's figures."""
    for name, value in answer.pop("figures", {}).items():
        system.setdefault("figures", {}).setdefault(name, []).append(value)
    system.update(answer)


def told(system: dict[str, Any]) -> str:
    """Returns the latest figures for the screen."""
    if "missing" in system or "figures" not in system:
        return str(system.get("missing") or system.get("failed"))
    return ", ".join(f"{values[-1]:,.4g} {name}" for name, values in system["figures"].items())


def measure(workload: str, system: str, scale: Scale) -> dict[str, Any]:
    """Measures once. Returns `figures`, `missing`, or `failed` with the reason."""
    command = [sys.executable, "-m", "benchmarks.measure", workload, system, scale.value]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=dict(_environment()),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=LIMIT)
        except (subprocess.TimeoutExpired, KeyboardInterrupt) as error:
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, KeyboardInterrupt):
                raise
            return {"failed": f"not finished within {LIMIT:g} s"}
    if process.returncode != 0 or not output.strip():
        return {"failed": (errors.strip().splitlines() or ["no answer"])[-1]}
    answer: dict[str, Any] = json.loads(output.splitlines()[-1])
    return answer


def _environment() -> Iterator[tuple[str, str]]:
    """The environment without anything that would change a setting."""
    names = {name.upper() for name in Settings.model_fields} | {"NUM_PROCESS"}
    for name, value in os.environ.items():
        if not any(name.upper().endswith(setting) for setting in names):
            yield name, value
